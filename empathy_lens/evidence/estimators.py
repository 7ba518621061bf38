"""Ways to estimate a direction, side by side: how each does on test, and how stable it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from ..directions import ESTIMATORS, sides
from ..errors import DegenerateDataError
from ..types import Activations, Estimate, as_unit
from .measure import attempt, choose_layer, fit, group_auroc, probe_scores, swap_p
from .selection import Configuration

__all__ = ["EstimatorRow", "agreement", "compare_estimators", "stability"]

N_STABILITY = 20


@dataclass(frozen=True)
class EstimatorRow:
    """One estimator under one pooling, at the layer that cross-validation on train chose for it.

    ``configuration.cv_auroc`` is that layer's out-of-fold AUROC on train, optimistic for being
    the best of all layers; ``test_auroc`` is not. ``p``: test labels swapped within pairs;
    ``p_corrected`` allows for all rows having been tried (maxT). ``stability``: mean cosine
    between directions of bootstrap resamples of the train situations; ``agreement``: mean cosine
    between the differences of two train pairs at that layer, 1 if every pair moves the same way.
    Both in [-1, 1].
    """

    configuration: Configuration
    test_auroc: Estimate | None
    p: float | None
    p_corrected: float | None
    stability: float
    agreement: float

    def to_dict(self) -> dict[str, Any]:
        return {
            **self.configuration.to_dict(),
            "test_auroc": self.test_auroc and self.test_auroc.to_dict(),
            **{
                name: getattr(self, name) for name in ("p", "p_corrected", "stability", "agreement")
            },
        }


def compare_estimators(
    trains: Sequence[Activations],
    tests: Sequence[Activations],
    estimators: Sequence[str] = tuple(ESTIMATORS),
    *,
    reasons: dict[str, str],
    seed: int,
    n_resamples: int,
    n_permutations: int,
) -> Mapping[str, EstimatorRow]:
    """A row for each pooling and estimator, at the layer that train chose for it.

    ``trains`` and ``tests`` are the same items pooled in the same ways. Rows of the first pooling
    have the estimator's name, others add the pooling. See EstimatorRow.
    """
    rows: dict[str, EstimatorRow] = {}
    scored: dict[str, Float[np.ndarray, "item"]] = {}
    for train, test in zip(trains, tests, strict=True):
        for name in estimators:
            key = name if train.pooling == trains[0].pooling else f"{name}, {train.pooling} token"
            part = f"estimators: {key}"
            chosen = attempt(reasons, part, choose_layer, train, name, seed=seed)
            if chosen is None:
                continue
            direction = fit(train, chosen.layer, name)
            values = attempt(reasons, part, probe_scores, direction, test)
            estimate = None
            if values is not None:
                scored[key] = values
                options: dict[str, Any] = {"seed": seed, "n_resamples": n_resamples}
                estimate = attempt(reasons, part, group_auroc, values, test, **options)
            rows[key] = EstimatorRow(
                configuration=Configuration(
                    train.pooling, name, chosen.layer, chosen.cv_auroc[chosen.layer]
                ),
                test_auroc=estimate,
                p=None,
                p_corrected=None,
                stability=stability(train, chosen.layer, name, seed=seed),
                agreement=agreement(train, chosen.layer),
            )
    if not scored:
        return rows
    draws: dict[str, Any] = {"n_permutations": n_permutations, "seed": seed}
    stacked = np.stack(list(scored.values()))
    found = attempt(reasons, "estimators: p", swap_p, stacked, tests[0], **draws)
    if found is None:
        return rows
    p_values = zip(scored, found.p.tolist(), found.p_max.tolist(), strict=True)
    return rows | {
        key: replace(rows[key], p=p, p_corrected=p_corrected) for key, p, p_corrected in p_values
    }


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
