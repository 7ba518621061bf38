"""Conditional logistic regression on pair differences, with Firth's penalty."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from jaxtyping import Float, Real
from scipy.optimize import brentq
from scipy.special import expit, log_expit
from scipy.stats import chi2

from ..errors import DegenerateDataError, InputError
from ..types import Estimate
from .groups import MIN_GROUPS, as_scores

CONFIDENCE = 0.95
_MAX_ITERATIONS = 200
_FAR = 100.0
"""A signed root of the deviance beyond any limit, where the information has underflowed."""


def conditional_logit(
    differences: Real[np.ndarray, "pair k"], columns: Sequence[int] | None = None
) -> list[Estimate]:
    """Does each column still tell the sides of a pair apart, given the other columns?

    Each row holds, a column a score, the positive minus the negative side of an independent
    pair (or situation: :func:`pair_differences`). The chance that the positive side is the
    positive one is modelled as ``sigmoid(differences @ coefficients)``: logistic regression
    conditional on the pair, which has no intercept (Breslow & Day 1980, ch. 7). Coefficients are
    log-odds per standard deviation of their column (root mean square about 0, as there is no
    intercept), above 0 where positive sides score higher.

    Firth's (1993) penalty, half the log determinant of the information, keeps them finite under
    separation (Heinze & Schemper 2002). The 95 % interval and ``p``, against 0, are of the
    profile of the penalised likelihood, and so cannot disagree. ``columns``: those to give an
    Estimate of, given all others (None: every one).

    Raises InputError for NaN or no column, DegenerateDataError for fewer than three pairs, no
    more pairs than columns, and columns that are constantly 0 or depend on one another.
    """
    values = as_scores(differences, "differences")
    if values.ndim != 2:
        raise InputError(f"differences: expected (pair, k), got shape {values.shape}")
    n, k = values.shape
    if n < max(MIN_GROUPS, k + 1):
        raise DegenerateDataError(
            f"differences: expected at least {max(MIN_GROUPS, k + 1)} pairs for {k} columns, "
            f"got {n}"
        )
    # By their largest first: squares of very small or large scores leave the range of floats.
    peak = np.abs(values).max(axis=0)
    if (peak == 0).any():
        raise DegenerateDataError(
            f"differences: expected values other than 0 in column {int(np.argmin(peak))}"
        )
    x = values / peak
    x /= np.sqrt((x**2).mean(axis=0))
    if np.linalg.svd(x, compute_uv=False)[-1] < 1e-6 * np.sqrt(n):
        raise DegenerateDataError("differences: the columns depend on one another")
    every = np.arange(k)
    fitted, top = _fit(x, np.zeros(k), every)
    deviations = np.sqrt(np.diag(np.linalg.inv(_penalised(x, fitted)[1])))
    wanted = every.tolist() if columns is None else columns
    return [_profiled(x, fitted, top, j, float(deviations[j])) for j in wanted]


def _profiled(
    x: Float[np.ndarray, "pair k"], fitted: np.ndarray, top: float, j: int, deviation: float
) -> Estimate:
    others = np.delete(np.arange(len(fitted)), j)
    best = float(fitted[j])
    start = fitted

    @cache
    def root(at: float) -> float:
        """Signed root of the deviance at coefficient ``at``: nearly linear in it."""
        nonlocal start
        _, information, _ = _penalised(x, start)
        moved = start.copy()
        moved[j] = at
        if len(others):  # along the ridge
            slope = np.linalg.solve(information[np.ix_(others, others)], information[others, j])
            moved[others] -= slope * (at - start[j])
        reached, value = _fit(x, moved, others)
        if value == -np.inf:
            return float(np.sign(at - best)) * _FAR
        start = reached
        return float(np.sign(at - best) * np.sqrt(max(0.0, 2 * (top - value))))

    reach = float(np.sqrt(chi2.ppf(CONFIDENCE, 1)))

    def end(sign: int) -> float:
        # Near separation the standard error is far too wide, and the profile far from it.
        step = min(reach * deviation, 2.0)
        while sign * root(best + sign * step) < reach:
            step *= 2
        near, far = best, best + sign * step
        return float(brentq(lambda at: root(at) - sign * reach, near, far, rtol=1e-7, xtol=1e-7))

    low = end(-1)
    start = fitted
    high = end(1)
    start = fitted
    p = float(chi2.sf(root(0.0) ** 2, 1))
    return Estimate(best, low, high, CONFIDENCE, len(x), len(x), "firth-profile-likelihood", p=p)


def _fit(
    x: Float[np.ndarray, "pair k"], start: np.ndarray, free: np.ndarray
) -> tuple[Float[np.ndarray, "k"], float]:
    """Coefficients of the highest penalised likelihood, those not ``free`` held, and its value."""
    beta = start
    value, information, chosen = _penalised(x, beta)
    for _ in range(_MAX_ITERATIONS if len(free) and value > -np.inf else 0):
        weights = chosen * (1 - chosen)
        leverage = weights * ((x @ np.linalg.inv(information)) * x).sum(axis=1)
        score = (1 - chosen + leverage * (0.5 - chosen)) @ x[:, free]
        step = np.linalg.solve(information[np.ix_(free, free)], score)
        gain = float(score @ step)
        step *= min(1.0, 2.0 / np.abs(step).max()) if gain > 0 else 1.0
        while True:
            moved = beta.copy()
            moved[free] += step
            new = _penalised(x, moved)
            if new[0] >= value or np.abs(step).max() < 1e-9:
                break
            step = step / 2
        if new[0] < value:
            break
        beta, (value, information, chosen) = moved, new
        if gain < 1e-9:
            break
    return beta, value


def _penalised(
    x: Float[np.ndarray, "pair k"], beta: Float[np.ndarray, "k"]
) -> tuple[float, Float[np.ndarray, "k k"], Float[np.ndarray, "pair"]]:
    """Penalised log-likelihood, information, and each pair's chance of what was seen."""
    along = x @ beta
    chosen = expit(along)
    information = (x * (chosen * (1 - chosen))[:, None]).T @ x
    sign, log_determinant = np.linalg.slogdet(information)
    if sign <= 0:
        return -np.inf, information, chosen
    return float(log_expit(along).sum() + 0.5 * log_determinant), information, chosen
