"""Ways to estimate a direction, side by side, and an honest choice among them.

Layers and estimators are chosen by group-wise cross-validation on the train pairs; the test
pairs only judge what was chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from ..directions import ESTIMATORS, sides
from ..errors import DegenerateDataError, InputError
from ..stats import auroc
from ..types import Activations, Estimate, as_unit
from ..validation import group_folds, scores
from .measure import attempt, choose_layer, fit, group_auroc, probe_scores

__all__ = [
    "Configuration",
    "EstimatorRow",
    "agreement",
    "best_of",
    "compare_estimators",
    "nested_auroc",
    "select_configuration",
    "stability",
]

N_STABILITY = 20


@dataclass(frozen=True)
class EstimatorRow:
    """One estimator at the layer that cross-validation on train chose for it.

    ``cv_auroc`` is that layer's out-of-fold AUROC on train, optimistic for being the best of
    all layers; ``test_auroc`` is not. ``stability``: mean cosine between directions of bootstrap
    resamples of the train situations; ``agreement``: mean cosine between the differences of two
    train pairs at that layer, 1 if every pair moves the same way. Both in [-1, 1].
    """

    layer: int
    cv_auroc: float
    test_auroc: Estimate | None
    stability: float
    agreement: float

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "test_auroc": self.test_auroc and self.test_auroc.to_dict()}


@dataclass(frozen=True)
class Configuration:
    """Pooling, estimator and layer with the best cross-validated AUROC on the train pairs."""

    pooling: str
    estimator: str
    layer: int
    cv_auroc: float

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def select_configuration(
    trains: Activations | Sequence[Activations],
    estimators: Sequence[str] = tuple(ESTIMATORS),
    *,
    seed: int = 0,
) -> Configuration:
    """The best pooling x estimator x layer by group-wise cross-validation; ties to the first.

    ``trains``: the train pairs' activations, or several of them that differ in pooling. The
    winner's ``cv_auroc`` is optimistic: judge it on held-out pairs, or by :func:`nested_auroc`.
    Raises DegenerateDataError for fewer than four situations or one class.
    """
    pools = [trains] if isinstance(trains, Activations) else list(trains)
    if not pools or not estimators:
        raise InputError("select_configuration: expected activations and estimators, got none")
    found = []
    for train in pools:
        for name in estimators:
            chosen = choose_layer(train, name, seed=seed)
            best = chosen.cv_auroc[chosen.layer]
            found.append(Configuration(train.pooling, name, chosen.layer, best))
    return max(found, key=lambda c: round(c.cv_auroc, 6))


def best_of(rows: Mapping[str, EstimatorRow], pooling: str) -> Configuration | None:
    """The same choice, from a table that :func:`compare_estimators` made."""
    found = [Configuration(pooling, name, r.layer, r.cv_auroc) for name, r in rows.items()]
    return max(found, key=lambda c: round(c.cv_auroc, 6), default=None)


def nested_auroc(
    train: Activations,
    estimators: Sequence[str] = tuple(ESTIMATORS),
    *,
    seed: int = 0,
) -> float:
    """AUROC in [0, 1] of the whole procedure, choice included, on the train pairs alone.

    Nested cross-validation (Varma & Simon 2006): within each outer fold the layer and estimator
    are chosen on the rest by inner folds. With all estimators it takes five times as long as
    :func:`select_configuration`.
    """
    folds = group_folds(train.groups, train.scenario_ids, seed=seed)
    held_out = np.empty(len(folds))
    for number in np.unique(folds):
        outside = torch.from_numpy(folds == number)
        rest = train.select(~outside)
        chosen = select_configuration(rest, estimators, seed=seed)
        direction = fit(rest, chosen.layer, chosen.estimator)
        held_out[outside.numpy()] = scores(direction, train.select(outside))
    return float(auroc(held_out, train.labels.numpy()))


def compare_estimators(
    train: Activations,
    test: Activations,
    estimators: Sequence[str] = tuple(ESTIMATORS),
    *,
    reasons: dict[str, str],
    seed: int,
    n_resamples: int,
) -> Mapping[str, EstimatorRow]:
    """A row for each estimator, at the layer that train chose for it; see EstimatorRow."""
    rows = {}
    options: dict[str, Any] = {"seed": seed, "n_resamples": n_resamples}
    for name in estimators:
        part = f"estimators: {name}"
        chosen = attempt(reasons, part, choose_layer, train, name, seed=seed)
        if chosen is None:
            continue
        values = attempt(reasons, part, probe_scores, fit(train, chosen.layer, name), test)
        estimate = None
        if values is not None:
            estimate = attempt(reasons, part, group_auroc, values, test, **options)
        rows[name] = EstimatorRow(
            layer=chosen.layer,
            cv_auroc=chosen.cv_auroc[chosen.layer],
            test_auroc=estimate,
            stability=stability(train, chosen.layer, name, seed=seed),
            agreement=agreement(train, chosen.layer),
        )
    return rows


def stability(
    train: Activations, layer: int, estimator: str, *, n: int = N_STABILITY, seed: int = 0
) -> float:
    """Mean cosine between the directions of ``n`` bootstrap resamples of situations, in [-1, 1]."""
    positive, negative = sides(train, layer)
    _, group = np.unique(np.asarray(train.groups)[train.labels.numpy()], return_inverse=True)
    members = [np.flatnonzero(group == g) for g in range(int(group.max()) + 1)]
    rng = np.random.default_rng(seed)
    vectors = []
    for _ in range(n):
        drawn = rng.integers(len(members), size=len(members))
        rows = torch.from_numpy(np.concatenate([members[g] for g in drawn]))
        a, b = positive[rows], negative[rows]
        vector = as_unit(ESTIMATORS[estimator](a, b))
        vectors.append(vector if (a - b).mean(dim=0) @ vector >= 0 else -vector)
    return _mean_cosine(torch.stack(vectors))


def agreement(train: Activations, layer: int) -> float:
    """Mean cosine between two pairs' differences (Tan et al. 2024, arXiv 2407.12404).

    In [-1, 1]: 1 if all pairs move one way, near 0 if each goes its own. NaN-free: pairs whose
    sides coincide are left out. Raises DegenerateDataError with fewer than two others.
    """
    positive, negative = sides(train, layer)
    differences = positive - negative
    differences = differences[differences.norm(dim=1) > 0]
    if len(differences) < 2:
        raise DegenerateDataError(f"agreement needs 2 pairs that differ, got {len(differences)}")
    return _mean_cosine(differences / differences.norm(dim=1, keepdim=True))


def _mean_cosine(units: Float[torch.Tensor, "row d_model"]) -> float:
    """Mean over distinct pairs of rows, from the length of their sum."""
    n = len(units)
    return float((units.double().sum(dim=0).square().sum() - n) / (n * (n - 1)))
