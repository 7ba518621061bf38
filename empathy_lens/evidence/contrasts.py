"""Is the direction only something simpler: sentiment, courtesy, length, refusal, idleness?

Each such concept's own pairs are read by our direction, and its own direction lies beside ours.
Cosines show how directions lie to each other, across layers and to the contrasts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .. import stats
from ..directions import sides
from ..types import Activations, Direction, Estimate
from .measure import Attempts, ItemScores, differences, fit, probe_scores

N_FLIPS = 1000
EQUIVALENT = 0.5
"""A concept whose gap along the direction is surely less than this share of our own is not it."""
POWER_EACH_SIDE = 0.9
"""For both ends of an interval to keep within bounds in 80% of draws."""


@dataclass(frozen=True)
class Contrast:
    """How our direction and another concept's bear on each other's pairs.

    ``auroc`` is our direction's on the other concept's pairs, in [0, 1]; 0.5 = it does not see
    them. ``equivalence`` is the mean gap that their pairs show along our direction as a share of
    the gap that our own test pairs show (Fieller's interval): 0 = none, 1 = as much.
    ``sign_flip_p`` is the two-sided p of their gap, ``p_holm`` the same corrected for all contrast
    sets (Holm 1979). ``pairs_needed`` is how many pairs each set would need for the interval of
    ``equivalence`` to fit within ±0.5 in 80% of draws, were the share 0. ``cosine`` and
    ``cosine_p95`` are as in :class:`ContrastCosine`. ``own_direction`` is the AUROC of the other
    concept's direction on *our* test pairs, its sign chosen on our train pairs; ``gain`` is our
    AUROC there minus that. None: no figure.
    """

    auroc: Estimate | None
    p_holm: float | None
    cosine: float | None
    cosine_p95: float | None
    own_direction: Estimate | None
    gain: Estimate | None
    equivalence: Estimate | None = None
    sign_flip_p: float | None = None
    pairs_needed: int | None = None


def judge_contrasts(
    direction: Direction,
    contrasts: Mapping[str, Activations],
    train: Activations,
    test: Activations,
    *,
    attempt: Attempts,
) -> dict[str, Contrast]:
    """Every contrast set against the direction; reasons for missing figures go to ``attempt``."""
    rows = {
        name: _judge(name, direction, contrasts[name], train, test, attempt) for name in contrasts
    }
    p_values = {name: row.sign_flip_p for name, row in rows.items() if row.sign_flip_p is not None}
    if p_values:
        corrected = stats.holm(list(p_values.values())).tolist()
        for name, p in zip(p_values, corrected, strict=True):
            rows[name] = replace(rows[name], p_holm=p)
    return rows


def _judge(
    name: str,
    direction: Direction,
    contrast: Activations,
    train: Activations,
    test: Activations,
    attempt: Attempts,
) -> Contrast:
    """One contrast set; ``p_holm`` is None as yet."""
    part = f"contrasts: {name}"
    own_part = f"{part} (own direction)"
    values = attempt(part, probe_scores, direction, contrast)
    ours = attempt(part, probe_scores, direction, test)
    equivalence = None
    if values is not None and ours is not None:
        gaps = differences(values, contrast), differences(ours, test)
        equivalence = attempt(f"{part} (share)", stats.gap_ratio, *gaps)
    measured = Contrast(
        auroc=attempt.auroc(part, values, contrast),
        p_holm=None,
        cosine=None,
        cosine_p95=None,
        own_direction=None,
        gain=None,
        equivalence=equivalence,
        sign_flip_p=attempt.paired(part, values, contrast).sign_flip_p,
        pairs_needed=None
        if equivalence is None
        else stats.n_needed(equivalence, EQUIVALENT, power=POWER_EACH_SIDE),
    )
    theirs = attempt(own_part, fit, contrast, direction.site.layer, "mean_difference")
    if theirs is None:
        return measured
    own = attempt(own_part, _oriented_scores, theirs, train, test)
    cosine = _cosine(direction, theirs, contrast, attempt.draws.seed)
    return replace(
        measured,
        cosine=cosine.cosine,
        cosine_p95=cosine.shuffled_p95,
        own_direction=attempt.auroc(own_part, own, test),
        gain=attempt.gain(own_part, ours, own, test),
    )


def _oriented_scores(other: Direction, train: Activations, test: Activations) -> ItemScores:
    agrees = stats.auroc(probe_scores(other, train), train.labels.numpy()) >= 0.5
    return probe_scores(other, test) * (1.0 if agrees else -1.0)


def layer_cosines(directions: Mapping[int, Direction]) -> Float[Tensor, "layer layer"]:
    """Cosine of every two layers' directions, in [-1, 1], layers in ascending order.

    All layers write to one residual stream, so their directions can be compared as they are.
    """
    stacked = torch.stack([directions[layer].vector.double() for layer in sorted(directions)])
    return (stacked @ stacked.T).clamp(-1, 1).float()


@dataclass(frozen=True)
class ContrastCosine:
    """Cosine of our direction with a contrast's mean difference at one layer, in [-1, 1].

    ``shuffled_p95`` is the 95% quantile of its absolute value when the sides of the contrast's
    pairs are swapped at random: a smaller cosine shows nothing.
    """

    cosine: float
    shuffled_p95: float


@dataclass(frozen=True)
class Cosines:
    """The content of ``cosines.json``; rows and columns are in the order of ``layers``.

    ``across_layers`` is (layer, layer); ``contrasts`` has one cosine a layer by contrast, None
    where the contrast has no direction.
    """

    layers: tuple[int, ...]
    across_layers: tuple[tuple[float, ...], ...]
    contrasts: Mapping[str, tuple[ContrastCosine | None, ...]]

    def __post_init__(self) -> None:
        if len({len(row) for row in self.across_layers}) > 1:
            raise ValueError("across_layers: expected rows of one length")


def direction_cosines(
    directions: Mapping[int, Direction], contrasts: Mapping[str, Activations], *, seed: int
) -> Cosines:
    """Cosines across layers, and with each contrast's mean difference at the same layer."""
    layers = sorted(directions)
    across = layer_cosines(directions).tolist()
    return Cosines(
        layers=tuple(layers),
        across_layers=tuple(tuple(round(v, 5) for v in row) for row in across),
        contrasts={
            name: tuple(_with_contrast(directions[k], theirs, seed) for k in layers)
            for name, theirs in contrasts.items()
        },
    )


def _with_contrast(direction: Direction, contrast: Activations, seed: int) -> ContrastCosine | None:
    theirs = Attempts()("cosine", fit, contrast, direction.site.layer, "mean_difference")
    return None if theirs is None else _cosine(direction, theirs, contrast, seed)


def _cosine(
    direction: Direction, theirs: Direction, contrast: Activations, seed: int
) -> ContrastCosine:
    """Of our direction with the contrast's, and with it under random signs of its pairs."""
    positive, negative = sides(contrast, direction.site.layer)
    differences: Float[Tensor, "pair d_model"] = (positive - negative).double()
    rng = np.random.default_rng(seed)
    signs = torch.from_numpy(rng.choice((-1.0, 1.0), size=(N_FLIPS, len(differences))))
    vectors = signs @ differences
    norms = vectors.norm(dim=1).clamp_min(torch.finfo(torch.float64).tiny)
    shuffled = (vectors @ direction.vector.double()) / norms
    return ContrastCosine(
        float(theirs.vector @ direction.vector), float(shuffled.abs().quantile(0.95))
    )
