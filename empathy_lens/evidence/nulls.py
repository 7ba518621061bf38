"""What would be seen without a concept: random directions and shuffled labels, both measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from pydantic import Field
from scipy.stats import rankdata

from .. import stats
from ..directions import Estimator, random_directions, sides
from ..errors import DegenerateDataError, InputError
from ..types import Activations
from .measure import Draws, fit, probe_scores
from .validation import group_folds

Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class NullDistribution:
    """Mean, standard deviation and upper quantiles of ``n`` null AUROCs, each in [0, 1].

    ``p`` is the share of them (and of the observed value itself) that reach the observed value.
    """

    mean: Share
    sd: Annotated[float, Field(ge=0)]
    p95: Share
    p99: Share
    n: Annotated[int, Field(ge=1)]
    p: Share
    what: str


class LabelSwaps(NamedTuple):
    """``observed_max`` over layers of the out-of-fold AUROC, and its selection-corrected p."""

    observed_max: float
    p_corrected: float
    null: NullDistribution


def random_direction_null(
    train: Activations, test: Activations, layer: int, observed: float, *, n: int, seed: int
) -> NullDistribution:
    """Test AUROC of ``n`` directions drawn evenly from the sphere and projected for real.

    Each is turned so that the train positives project higher, as a fitted direction is; with
    arbitrary signs the null would centre on 0.5 whatever the data. Norm plays no part in AUROC.
    Raises DegenerateDataError for one class on either side.
    """
    draws = random_directions(n, train.values.shape[-1], seed=seed).double()
    train_auroc, test_auroc = (
        stats.auroc((draws @ items.at(layer).double().T).numpy(), items.labels.numpy())
        for items in (train, test)
    )
    oriented = np.where(train_auroc >= 0.5, test_auroc, 1 - test_auroc)
    what = f"test AUROC of random directions at layer {layer}, each oriented on the train pairs"
    return _distribution(oriented, observed, what)


@dataclass(frozen=True)
class Selectivity:
    """AUROC on test minus the mean AUROC of control tasks (Hewitt & Liang 2019): the same fit at
    the same layer to labels drawn at random, both labels of a situation's pairs together, and
    tested on labels drawn so too. 0 = the probe reads any labels as well."""

    selectivity: float
    control: NullDistribution


N_CONTROL_TASKS = 50


def control_tasks(
    train: Activations,
    test: Activations,
    layer: int,
    estimator: str | Estimator,
    observed: float,
    *,
    n: int = N_CONTROL_TASKS,
    seed: int,
) -> Selectivity:
    """The observed AUROC beside those of ``n`` control tasks.

    Raises DegenerateDataError where random labels give no direction.
    """
    rng = np.random.default_rng(seed)
    aurocs = np.empty(n)
    for i in range(n):
        drawn_train, drawn_test = (_labels_at_random(items, rng) for items in (train, test))
        direction = fit(drawn_train, layer, estimator)
        aurocs[i] = stats.auroc(probe_scores(direction, test), drawn_test.labels.numpy())
    what = f"test AUROC of control tasks at layer {layer}: labels at random by situation"
    null = _distribution(aurocs, observed, what)
    return Selectivity(observed - null.mean, null)


def _labels_at_random(items: Activations, rng: np.random.Generator) -> Activations:
    _, situation = np.unique(np.asarray(items.groups), return_inverse=True)
    swapped = (rng.random(int(situation.max()) + 1) < 0.5)[situation]
    return replace(items, labels=torch.from_numpy(items.labels.numpy() ^ swapped))


def label_swap_null(train: Activations, draws: Draws) -> LabelSwaps:
    """Is the best layer's cross-validated AUROC more than choosing among layers would give?

    On the train pairs alone, both labels of a situation's pairs are swapped at random, the mean
    difference is refitted at every layer in every fold, and the out-of-fold AUROC of the best
    layer is kept (maxT: Westfall & Young 1993; p with the observed order: Phipson & Smyth 2010).
    A swap turns the sign of a pair's difference, so refitting all permutations is one matrix
    product a fold and layer.

    Raises DegenerateDataError for one class, too few situations, or a layer without variation.
    """
    labels = train.labels.numpy()
    if labels.all() or not labels.any():
        raise DegenerateDataError("swapping labels within pairs needs both classes")
    folds = group_folds(train.groups, train.scenario_ids, seed=draws.seed)[labels]
    groups = [g for g, positive in zip(train.groups, labels, strict=True) if positive]
    signs = _swap_signs(groups, draws.n_permutations, draws.seed)
    best = np.zeros(len(signs))
    for layer in train.layers:
        positive, negative = (side.double().numpy() for side in sides(train, layer))
        out_of_fold = _refitted_scores(positive, negative, signs, folds)
        best = np.maximum(best, _auroc_of_signs(out_of_fold, signs > 0))
    p = float(stats.permutation_p(float(best[0]), best[1:]))
    what = "out-of-fold AUROC on train of the best layer, labels swapped within situations"
    return LabelSwaps(float(best[0]), p, _distribution(best[1:], float(best[0]), what))


def _swap_signs(
    groups: Sequence[str], n_permutations: int, seed: int
) -> Float[np.ndarray, "draw pair"]:
    """+1 or -1 a pair, equal within a group; the first row is the data as they are."""
    if n_permutations < 1:
        raise InputError(f"n_permutations: expected at least 1, got {n_permutations}")
    _, code = np.unique(np.asarray(groups), return_inverse=True)
    rng = np.random.default_rng(seed)
    drawn = rng.choice((-1.0, 1.0), size=(n_permutations, int(code.max()) + 1))[:, code]
    return np.concatenate([np.ones((1, len(code))), drawn])


def _refitted_scores(
    positive: Float[np.ndarray, "pair d_model"],
    negative: Float[np.ndarray, "pair d_model"],
    signs: Float[np.ndarray, "draw pair"],
    folds: np.ndarray,
) -> Float[np.ndarray, "draw item"]:
    """Out-of-fold scores of positives, then negatives, as ``validation.scores`` scales them."""
    n_pairs = len(positive)
    items = np.concatenate([positive, negative])
    items = items - items.mean(axis=0)
    differences = positive - negative
    onto = items @ differences.T
    gram = differences @ differences.T
    fold_of_item = np.concatenate([folds, folds])
    out = np.empty((len(signs), 2 * n_pairs))
    for fold in np.unique(folds):
        kept = np.flatnonzero(folds != fold)
        held = np.flatnonzero(fold_of_item == fold)
        centre = onto[np.ix_(fold_of_item != fold, kept)].mean(axis=0)
        along = signs[:, kept] @ (onto[np.ix_(held, kept)] - centre).T * len(kept)
        squared = np.einsum("rp,rp->r", signs[:, kept] @ gram[np.ix_(kept, kept)], signs[:, kept])
        if not (squared > 0).all():
            raise DegenerateDataError("swapped labels gave a layer where the classes coincide")
        out[:, held] = along / squared[:, None]
    return out


def _auroc_of_signs(
    scores: Float[np.ndarray, "draw item"], swapped: Bool[np.ndarray, "draw pair"]
) -> Float[np.ndarray, "draw"]:
    """AUROC of each row with its own labels: pair i's first side is positive where True."""
    n_pairs = swapped.shape[1]
    ranks = rankdata(scores, axis=1)
    labels = np.concatenate([swapped, ~swapped], axis=1)
    u = (ranks * labels).sum(axis=1) - n_pairs * (n_pairs + 1) / 2
    return np.asarray(u / n_pairs**2)


def _distribution(null: Float[np.ndarray, "draw"], observed: float, what: str) -> NullDistribution:
    return NullDistribution(
        mean=float(null.mean()),
        sd=float(null.std(ddof=1)) if len(null) > 1 else 0.0,
        p95=float(np.quantile(null, 0.95)),
        p99=float(np.quantile(null, 0.99)),
        n=len(null),
        p=float(stats.permutation_p(observed, null)),
        what=what,
    )
