"""Choosing layer, estimator and pooling on train pairs, and what that whole procedure is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from ..directions import ESTIMATORS
from ..errors import InputError
from ..types import Activations, Estimate, Pooling
from ..validation import group_folds, scores
from .measure import attempt, auroc_gain, choose_layer, fit, group_auroc, probe_scores, swap_p

__all__ = [
    "Configuration",
    "Selection",
    "best_of",
    "check_same_items",
    "judge_selection",
    "nested_auroc",
    "nested_scores",
    "select_configuration",
]


@dataclass(frozen=True)
class Configuration:
    """A pooling, estimator and layer, and its out-of-fold AUROC on the train pairs."""

    pooling: Pooling
    estimator: str
    layer: int
    cv_auroc: float

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Selection:
    """The configuration that cross-validation on train chose, and two honest figures for it.

    ``chosen.cv_auroc`` is the best of ``n_tried`` and so too good. ``nested_auroc`` is that of
    the whole procedure, choice included, on train; ``test_auroc`` that of the chosen direction on
    test, with ``p`` by swapping test labels within pairs: one direction is tested, so nothing is
    to be corrected. ``gains`` are test AUROC minus each word baseline's, ``over_headline`` minus
    the card's own direction. None where there is no figure.
    """

    chosen: Configuration
    n_tried: int
    nested_auroc: Estimate | None
    test_auroc: Estimate | None
    p: float | None
    gains: Mapping[str, Estimate | None]
    over_headline: Estimate | None

    def to_dict(self) -> dict[str, Any]:
        figures = ("nested_auroc", "test_auroc", "over_headline")
        return {
            **self.chosen.to_dict(),
            "n_tried": self.n_tried,
            "p": self.p,
            "gains": {name: gain and gain.to_dict() for name, gain in self.gains.items()},
            **{name: e.to_dict() if (e := getattr(self, name)) else None for name in figures},
        }


def select_configuration(
    trains: Activations | Sequence[Activations],
    estimators: Sequence[str] = tuple(ESTIMATORS),
    *,
    seed: int = 0,
) -> Configuration:
    """The best pooling x estimator x layer by group-wise cross-validation; ties to the first.

    ``trains``: the train pairs' activations, or several of them that differ in pooling. The
    winner's ``cv_auroc`` is optimistic: judge it on held-out pairs, or by :func:`nested_auroc`.
    Raises DegenerateDataError for fewer than four situations or one class, InputError for
    poolings of different items.
    """
    pools = [trains] if isinstance(trains, Activations) else list(trains)
    if not pools or not estimators:
        raise InputError("select_configuration: expected activations and estimators, got none")
    check_same_items(pools)
    found = []
    for train in pools:
        for name in estimators:
            chosen = choose_layer(train, name, seed=seed)
            best = chosen.cv_auroc[chosen.layer]
            found.append(Configuration(train.pooling, name, chosen.layer, best))
    return best_of(found)


def best_of(found: Sequence[Configuration]) -> Configuration:
    """The one with the highest cross-validated AUROC; the first of those that tie."""
    return max(found, key=lambda c: round(c.cv_auroc, 6))


def nested_scores(
    trains: Activations | Sequence[Activations],
    estimators: Sequence[str] = tuple(ESTIMATORS),
    *,
    seed: int = 0,
) -> Float[np.ndarray, "item"]:
    """Scores of every train item by the procedure that never saw the item's situation.

    Nested cross-validation (Varma & Simon 2006): within each outer fold, pooling, estimator and
    layer are chosen on the rest by inner folds. Takes five times as long as
    :func:`select_configuration`, whose errors it raises.
    """
    pools = [trains] if isinstance(trains, Activations) else list(trains)
    check_same_items(pools)
    first = pools[0]
    folds = group_folds(first.groups, first.scenario_ids, seed=seed)
    held_out = np.empty(len(folds))
    for number in np.unique(folds):
        outside = torch.from_numpy(folds == number)
        rests = {pool.pooling: pool.select(~outside) for pool in pools}
        chosen = select_configuration(list(rests.values()), estimators, seed=seed)
        direction = fit(rests[chosen.pooling], chosen.layer, chosen.estimator)
        unseen = next(pool for pool in pools if pool.pooling == chosen.pooling).select(outside)
        held_out[outside.numpy()] = scores(direction, unseen)
    return held_out


def nested_auroc(
    trains: Activations | Sequence[Activations],
    estimators: Sequence[str] = tuple(ESTIMATORS),
    *,
    seed: int = 0,
    n_resamples: int = 10_000,
) -> Estimate:
    """AUROC in [0, 1] of the whole procedure, choice included, on the train pairs alone.

    The interval resamples situations but keeps the fitted directions, so it is somewhat too
    short (Bates, Hastie & Tibshirani 2023). Raises as :func:`nested_scores`, and
    DegenerateDataError for too few situations to resample.
    """
    items = trains if isinstance(trains, Activations) else trains[0]
    held_out = nested_scores(trains, estimators, seed=seed)
    return group_auroc(held_out, items, seed=seed, n_resamples=n_resamples)


def judge_selection(
    found: Sequence[Configuration],
    trains: Sequence[Activations],
    tests: Sequence[Activations],
    estimators: Sequence[str],
    *,
    words: Mapping[str, Float[np.ndarray, "item"]],
    headline: Float[np.ndarray, "item"] | None,
    reasons: dict[str, str],
    seed: int,
    n_resamples: int,
    n_permutations: int,
) -> Selection | None:
    """The best of ``found`` and its figures, or None with the reason where none was found.

    ``trains`` and ``tests`` are pooled alike, in the same order; ``words`` and ``headline`` are
    scores of test items by the word baselines and by the card's own direction.
    """
    if not found:
        reasons["selection"] = "no configuration could be cross-validated on the train pairs"
        return None
    options: dict[str, Any] = {"seed": seed, "n_resamples": n_resamples}
    chosen = best_of(found)
    place = [train.pooling for train in trains].index(chosen.pooling)
    direction = fit(trains[place], chosen.layer, chosen.estimator)
    test, part = tests[place], "selection"
    nested = attempt(reasons, f"{part}: nested", nested_auroc, trains, estimators, **options)
    values = attempt(reasons, part, probe_scores, direction, test)
    selection = Selection(
        chosen=chosen,
        n_tried=len(found) * len(trains[0].layers),
        nested_auroc=nested,
        test_auroc=None,
        p=None,
        gains={},
        over_headline=None,
    )
    if values is None:
        return selection
    gains = {
        name: attempt(reasons, f"{part}: gains: {name}", auroc_gain, values, one, test, **options)
        for name, one in words.items()
    }
    over = None
    if headline is not None:
        label = f"{part}: over_headline"
        over = attempt(reasons, label, auroc_gain, values, headline, test, **options)
    p = attempt(reasons, part, swap_p, values, test, n_permutations=n_permutations, seed=seed)
    return replace(
        selection,
        test_auroc=attempt(reasons, part, group_auroc, values, test, **options),
        p=None if p is None else float(p.p[0]),
        gains=gains,
        over_headline=over,
    )


def check_same_items(pools: Sequence[Activations]) -> None:
    """Raises InputError unless the activations are of the same items, each pooled differently."""
    names = [pool.pooling for pool in pools]
    if len(set(names)) < len(names):
        raise InputError(f"poolings: expected each once, got {', '.join(names)}")
    for pool in pools[1:]:
        if (pool.pair_ids, pool.labels.tolist()) != (pools[0].pair_ids, pools[0].labels.tolist()):
            raise InputError(
                f"poolings: expected the same items in the same order, got others under "
                f"{pool.pooling} than under {names[0]}"
            )
