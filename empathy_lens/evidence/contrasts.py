"""Is the direction only something simpler: sentiment, courtesy, length, refusal, idleness?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .. import stats
from ..directions import sides
from ..errors import DegenerateDataError
from ..types import Activations, Direction, Estimate
from .measure import attempt, auroc_gain, fit, group_auroc, probe_scores, swap_p

__all__ = ["Contrast", "judge_contrasts", "shuffled_cosine"]

N_FLIPS = 1000


@dataclass(frozen=True)
class Contrast:
    """How our direction and another concept's bear on each other's pairs.

    ``auroc``: our direction on the other concept's pairs, in [0, 1]; 0.5 = it does not see them;
    ``p_holm``: p of that, two-sided, labels swapped within pairs, corrected for all contrast sets
    tried (Holm 1979).
    ``cosine``: of the other concept's own mean difference with ours at our layer, in [-1, 1];
    ``cosine_p95``: what |cosine| reaches in 5% of draws when the other concept's sides are
    shuffled within pairs. ``own_direction``: AUROC of the other concept's direction on *our*
    test pairs, turned to fit the train pairs; scaling it to our norm would change no rank, so
    this is the null of equal norm. ``gain``: our AUROC there minus its. None: no figure.
    """

    auroc: Estimate | None
    p_holm: float | None
    cosine: float | None
    cosine_p95: float | None
    own_direction: Estimate | None
    gain: Estimate | None

    def to_dict(self) -> dict[str, Any]:
        return {
            name: value.to_dict() if isinstance(value, Estimate) else value
            for name, value in vars(self).items()
        }


def judge_contrasts(
    direction: Direction,
    contrasts: Mapping[str, Activations],
    train: Activations,
    test: Activations,
    *,
    reasons: dict[str, str],
    seed: int,
    n_resamples: int,
    n_permutations: int,
) -> dict[str, Contrast]:
    """Every contrast set against the direction; reasons for missing figures go to ``reasons``."""
    found, p_values = {}, {}
    for name, items in contrasts.items():
        label = f"contrasts: {name}"
        values = attempt(reasons, label, probe_scores, direction, items)
        found[name] = _judge_contrast(
            direction,
            items,
            values,
            train,
            test,
            label=label,
            reasons=reasons,
            seed=seed,
            n_resamples=n_resamples,
        )
        if values is not None and found[name].auroc is not None:
            p_values[name] = swap_p(
                values, items, n_permutations=n_permutations, seed=seed, alternative="two-sided"
            ).p[0]
    if not p_values:
        return found
    corrected = stats.holm(list(p_values.values())).tolist()
    return found | {
        name: replace(found[name], p_holm=p) for name, p in zip(p_values, corrected, strict=True)
    }


def _judge_contrast(
    direction: Direction,
    contrast: Activations,
    values: Float[np.ndarray, "item"] | None,
    train: Activations,
    test: Activations,
    *,
    label: str,
    reasons: dict[str, str],
    seed: int,
    n_resamples: int,
) -> Contrast:
    options: dict[str, Any] = {"seed": seed, "n_resamples": n_resamples}
    auroc = None
    if values is not None:
        auroc = attempt(reasons, label, group_auroc, values, contrast, **options)
    layer = direction.site.layer
    other = attempt(reasons, f"{label} (own direction)", fit, contrast, layer, "mean_difference")
    if other is None:
        return Contrast(auroc, None, None, None, None, None)
    own = attempt(reasons, f"{label} (own direction)", _oriented_scores, other, train, test)
    ours = attempt(reasons, label, probe_scores, direction, test)
    own_auroc = gain = None
    if own is not None:
        own_auroc = attempt(reasons, label, group_auroc, own, test, **options)
    if own is not None and ours is not None:
        gain = attempt(reasons, label, auroc_gain, ours, own, test, **options)
    return Contrast(
        auroc=auroc,
        p_holm=None,
        cosine=float(other.vector @ direction.vector),
        cosine_p95=shuffled_cosine(contrast, direction, seed),
        own_direction=own_auroc,
        gain=gain,
    )


def _oriented_scores(
    other: Direction, train: Activations, test: Activations
) -> Float[np.ndarray, "item"]:
    if train.labels.all() or not train.labels.any():
        raise DegenerateDataError("the train pairs lack a class to orient by")
    agrees = stats.auroc(probe_scores(other, train), train.labels.numpy()) >= 0.5
    return probe_scores(other, test) * (1.0 if agrees else -1.0)


def shuffled_cosine(contrast: Activations, direction: Direction, seed: int) -> float:
    """95% quantile of |cosine| between ours and the contrast's with random signs of its pairs."""
    positive, negative = sides(contrast, direction.site.layer)
    differences: Float[Tensor, "pair d_model"] = (positive - negative).double()
    rng = np.random.default_rng(seed)
    signs = torch.from_numpy(rng.choice((-1.0, 1.0), size=(N_FLIPS, len(differences))))
    vectors = signs @ differences
    norms = vectors.norm(dim=1).clamp_min(torch.finfo(torch.float64).tiny)
    cosines = (vectors @ direction.vector.double()) / norms
    return float(cosines.abs().quantile(0.95))
