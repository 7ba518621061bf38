"""Choosing layer, estimator and pooling on train pairs, and what that whole procedure is worth.

Ways to estimate a direction stand side by side: how each does on test, and how stable it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float

from ..directions import ESTIMATORS, sides
from ..errors import DegenerateDataError, InputError
from ..types import Activations, Direction, Estimate, Pooling, as_unit
from .measure import (
    DRAWS,
    Attempts,
    Draws,
    Figures,
    StudyData,
    WordScores,
    choose_layer,
    fit,
    group_auroc,
    probe_scores,
    swap_p,
)
from .validation import group_folds, scores


@dataclass(frozen=True)
class Configuration:
    """A pooling, estimator and layer, and its out-of-fold AUROC on the train pairs."""

    pooling: Pooling
    estimator: str
    layer: int
    cv_auroc: float


@dataclass(frozen=True)
class Selection(Configuration):
    """The configuration that cross-validation on train chose, and two honest figures for it.

    ``cv_auroc`` is the best of ``n_tried`` and so too good. ``nested_auroc`` is that of
    the whole procedure, choice included, on train; ``test_auroc`` that of the chosen direction on
    test, with ``p`` by swapping test labels within pairs: one direction is tested, so nothing is
    to be corrected. ``gains`` are test AUROC minus each word baseline's, ``over_headline`` minus
    the card's own direction. None where there is no figure.
    """

    n_tried: int
    p: float | None
    gains: Figures
    nested_auroc: Estimate | None
    test_auroc: Estimate | None
    over_headline: Estimate | None


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
    pools = _pools(trains)
    if not pools or not estimators:
        raise InputError("select_configuration: expected activations and estimators, got none")
    return _best_of([_configured(train, name, seed) for train in pools for name in estimators])


def _configured(train: Activations, estimator: str, seed: int) -> Configuration:
    """The estimator at the layer that cross-validation chooses for it."""
    chosen = choose_layer(train, estimator, seed=seed)
    return Configuration(train.pooling, estimator, chosen.layer, chosen.cv_auroc[chosen.layer])


def _pools(trains: Activations | Sequence[Activations]) -> list[Activations]:
    """One or several poolings as a list. Raises InputError unless they are of the same items."""
    pools = [trains] if isinstance(trains, Activations) else list(trains)
    names = [pool.pooling for pool in pools]
    if len(set(names)) < len(names):
        raise InputError(f"poolings: expected each once, got {', '.join(names)}")
    for pool in pools[1:]:
        if (pool.pair_ids, pool.labels.tolist()) != (pools[0].pair_ids, pools[0].labels.tolist()):
            raise InputError(
                f"poolings: expected the same items in the same order, got others under "
                f"{pool.pooling} than under {names[0]}"
            )
    return pools


def _best_of(tried: Sequence[Configuration]) -> Configuration:
    """The one with the highest cross-validated AUROC; the first of those that tie."""
    return max(tried, key=lambda c: round(c.cv_auroc, 6))


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
    pools = {pool.pooling: pool for pool in _pools(trains)}
    first = next(iter(pools.values()))
    folds = group_folds(first.groups, first.strata, seed=seed)
    held_out = np.empty(len(folds))
    for number in np.unique(folds):
        outside = torch.from_numpy(folds == number)
        rests = {name: pool.select(~outside) for name, pool in pools.items()}
        chosen = select_configuration(list(rests.values()), estimators, seed=seed)
        direction = fit(rests[chosen.pooling], chosen.layer, chosen.estimator)
        held_out[outside.numpy()] = scores(direction, pools[chosen.pooling].select(outside))
    return held_out


def nested_auroc(
    trains: Activations | Sequence[Activations],
    estimators: Sequence[str] = tuple(ESTIMATORS),
    draws: Draws = DRAWS,
) -> Estimate:
    """AUROC in [0, 1] of the whole procedure, choice included, on the train pairs alone.

    The interval resamples situations but keeps the fitted directions, so it is somewhat too
    short (Bates, Hastie & Tibshirani 2023). Raises as :func:`nested_scores`, and
    DegenerateDataError for too few situations to resample.
    """
    held_out = nested_scores(trains, estimators, seed=draws.seed)
    return group_auroc(held_out, _pools(trains)[0], draws)


def judge_selection(
    direction: Direction,
    data: StudyData,
    estimators: Sequence[str],
    words: WordScores,
    *,
    attempt: Attempts,
) -> tuple[Mapping[str, EstimatorRow], Selection | None]:
    """Estimators side by side under each pooling, and the best of them with its figures.

    ``words`` are scores of test items. None with the reason where nothing could be tried.
    """
    part = "selection"
    trains, tests = (
        _pools([pool.train for pool in data.poolings]),
        _pools([pool.test for pool in data.poolings]),
    )
    rows = compare_estimators(trains, tests, estimators, attempt=attempt)
    headline = attempt(part, probe_scores, direction, data.test)
    if not rows:
        attempt.note(part, "no configuration could be cross-validated on the train pairs")
        return rows, None
    chosen = _best_of(list(rows.values()))
    test = data.under(chosen.pooling).test
    fitted = fit(data.under(chosen.pooling).train, chosen.layer, chosen.estimator)
    nested = attempt(f"{part}: nested", nested_auroc, trains, estimators, attempt.draws)
    values = attempt(part, probe_scores, fitted, test)
    gains = attempt.gains(f"{part}: gains", values, words, test)
    over_headline = attempt.gain(f"{part}: over_headline", values, headline, test)
    p = None if values is None else attempt(part, swap_p, values, test, attempt.draws)
    return rows, Selection(
        pooling=chosen.pooling,
        estimator=chosen.estimator,
        layer=chosen.layer,
        cv_auroc=chosen.cv_auroc,
        n_tried=len(rows) * len(data.train.layers),
        p=None if p is None else float(p.p[0]),
        gains=gains,
        nested_auroc=nested,
        test_auroc=attempt.auroc(part, values, test),
        over_headline=over_headline,
    )


N_STABILITY = 20


@dataclass(frozen=True)
class EstimatorRow(Configuration):
    """One estimator under one pooling, at the layer that cross-validation on train chose for it.

    ``cv_auroc`` is that layer's out-of-fold AUROC on train, optimistic for being
    the best of all layers; ``test_auroc`` is not. ``p``: test labels swapped within pairs;
    ``p_corrected`` allows for all rows having been tried (maxT). ``stability``: mean cosine
    between directions of bootstrap resamples of the train situations; ``agreement``: mean cosine
    between the differences of two train pairs at that layer, 1 if every pair moves the same way.
    Both in [-1, 1].
    """

    test_auroc: Estimate | None
    p: float | None
    p_corrected: float | None
    stability: float
    agreement: float


def compare_estimators(
    trains: Sequence[Activations],
    tests: Sequence[Activations],
    estimators: Sequence[str] = tuple(ESTIMATORS),
    *,
    attempt: Attempts,
) -> Mapping[str, EstimatorRow]:
    """A row for each pooling and estimator, at the layer that train chose for it.

    ``trains`` and ``tests`` are the same items pooled in the same ways. Rows of the first pooling
    have the estimator's name, others add the pooling. See EstimatorRow.
    """
    rows, scored, seed = {}, {}, attempt.draws.seed
    for train, test in zip(trains, tests, strict=True):
        for name in estimators:
            key = name if train.pooling == trains[0].pooling else f"{name}, {train.pooling} token"
            part = f"estimators: {key}"
            chosen = attempt(part, _configured, train, name, seed)
            if chosen is None:
                continue
            values = attempt(part, probe_scores, fit(train, chosen.layer, name), test)
            if values is not None:
                scored[key] = values
            rows[key] = EstimatorRow(
                **vars(chosen),
                test_auroc=attempt.auroc(part, values, test),
                p=None,
                p_corrected=None,
                stability=stability(train, chosen.layer, name, seed=seed),
                agreement=agreement(train, chosen.layer),
            )
    if scored:
        stacked = np.stack(list(scored.values()))
        swapped = attempt("estimators: p", swap_p, stacked, tests[0], attempt.draws)
        if swapped is not None:
            for key, p, p_max in zip(
                scored, swapped.p.tolist(), swapped.p_max.tolist(), strict=True
            ):
                rows[key] = replace(rows[key], p=p, p_corrected=p_max)
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
