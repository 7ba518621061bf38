"""Paired differences of situations: their sign, their size in standard deviations, their test."""

from typing import cast

import numpy as np
from jaxtyping import Bool, Float, Real

from ..errors import DegenerateDataError, InputError
from ..types import Estimate
from .groups import MIN_GROUPS, Design, Ids, as_labels, as_scores, group_codes
from .permutation import Alternative, permutation_p
from .resampling import bootstrap

_CHUNK_ELEMENTS = 1 << 21


def pair_differences(
    scores: Real[np.ndarray, "item"],
    labels: Bool[np.ndarray, "item"],
    pair_ids: Ids,
    groups: Ids,
) -> Float[np.ndarray, "group"]:
    """Positive minus negative score of each pair, averaged over the pairs of a group.

    One value a group (situation), in the units of ``scores`` and the sorted order of the group
    ids; above 0 where the positive sides score higher. Pairs of one situation are not
    independent, their mean is one observation; with ``groups=pair_ids`` every pair is its own.
    Where a pair has several texts on a side, their mean stands for it.

    Raises InputError for a pair that lacks a side or lies in two groups, and for NaN.
    """
    values = as_scores(scores)
    if values.ndim != 1:
        raise InputError(f"scores: expected one score an item, got shape {values.shape}")
    positive = as_labels(labels, len(values))
    pairs = group_codes(pair_ids, len(values), "pair_ids")
    outer = group_codes(groups, len(values), "groups")
    group_of_pair = np.empty(int(pairs.max()) + 1, dtype=np.intp)
    group_of_pair[pairs] = outer
    apart = np.flatnonzero(group_of_pair[pairs] != outer)
    if len(apart):
        raise InputError(
            f"groups: expected one group a pair, but pair {str(pair_ids[apart[0]])!r} lies in two"
        )
    n_pos, n_neg = (
        np.bincount(pairs[side], minlength=len(group_of_pair)) for side in (positive, ~positive)
    )
    lacking = np.flatnonzero((n_pos == 0) | (n_neg == 0))
    if len(lacking):
        first = int(np.flatnonzero(pairs == lacking[0])[0])
        side = "negative" if n_pos[lacking[0]] else "positive"
        raise InputError(
            f"pair_ids: expected both sides of every pair, but pair {str(pair_ids[first])!r} has "
            f"no {side} one ({len(lacking)} pairs lack a side)"
        )
    signed = np.where(positive, values / n_pos[pairs], -values / n_neg[pairs])
    n_pairs = np.bincount(group_of_pair)
    return np.bincount(outer, weights=signed) / n_pairs


def paired_accuracy(
    differences: Real[np.ndarray, "group"], *, seed: int, n_resamples: int = 10_000
) -> Estimate:
    """Share of groups whose difference is above 0, ties counted half, in [0, 1]; chance is 0.5.

    Interval by bootstrap over groups (BCa), ``p`` against 0.5 by inverting it. Where all
    groups agree, both are Clopper-Pearson's, with groups as trials.

    Raises DegenerateDataError for fewer than three groups, InputError for NaN.
    """
    values = as_differences(differences)
    right = (values > 0) + 0.5 * (values == 0)

    def share(weights: np.ndarray) -> np.ndarray:
        return weights @ right / weights.sum(axis=1)

    design = Design(range(len(values)), seed=seed, n_resamples=n_resamples)
    return cast(Estimate, bootstrap(share, design, bounds=(0.0, 1.0), null=0.5))


def cohen_dz(
    differences: Real[np.ndarray, "group"], *, seed: int, n_resamples: int = 10_000
) -> Estimate:
    """Mean difference in standard deviations of the differences (n - 1 in the denominator).

    Unbounded, 0 for no effect, positive where positive sides score higher. This is Cohen's
    d_z (Lakens 2013, "Calculating and reporting effect sizes", eq. 6), not comparable with d
    of unpaired items: what both sides of a pair share has cancelled. Interval by bootstrap
    over groups (BCa), ``p`` against 0 by inverting it.

    Raises DegenerateDataError for fewer than three groups or differences that do not vary.
    """
    values = np.sort(as_differences(differences))
    spread = float(np.ptp(values))
    if spread <= 1e-12 * np.abs(values).max():
        raise DegenerateDataError(
            f"differences: expected values that vary, got {values[0]:.6g} for every group"
        )
    centre = float(values.mean())
    centred = values - centre

    def d_z(weights: np.ndarray) -> np.ndarray:
        n = weights.sum(axis=1)
        shift = weights @ centred / n
        variance = np.maximum(weights @ centred**2 - n * shift**2, 0) / np.maximum(n - 1, 1)
        deviation = np.sqrt(variance)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(deviation > 1e-9 * spread, (centre + shift) / deviation, np.nan)

    design = Design(range(len(values)), seed=seed, n_resamples=n_resamples)
    return cast(Estimate, bootstrap(d_z, design, null=0.0))


def sign_flip_p(
    differences: Real[np.ndarray, "group"],
    *,
    n_permutations: int = 10_000,
    seed: int,
    alternative: Alternative = "two-sided",
) -> float:
    """P-value of "differences are symmetric about 0", by flipping the sign of whole groups.

    The statistic is the mean difference. All ``2 ** n`` flips are taken where they are at most
    ``n_permutations`` (Fisher 1935, sec. 21: an exact test), else ``n_permutations`` random ones,
    and p is (1 + as extreme) / (1 + flips) (Phipson & Smyth 2010). ``"greater"`` asks whether
    positive sides score higher. Of ``n`` groups p is at least ``2 ** -n``, two-sided twice that.

    Raises InputError for an unknown alternative, fewer than 100 permutations or NaN,
    DegenerateDataError for fewer than three groups.
    """
    if alternative not in ("greater", "less", "two-sided"):
        raise InputError(
            f"alternative: expected 'greater', 'less' or 'two-sided', got {alternative!r}"
        )
    if n_permutations < 100:
        raise InputError(f"n_permutations: expected at least 100, got {n_permutations}")
    # Sorted, so that the order in which groups come changes no draw; scaled, as ties between
    # flips are told apart with an absolute slack.
    values = np.sort(as_differences(differences))
    values = values / max(float(np.abs(values).max()), 1e-300)
    n = len(values)
    exact = n < 63 and 2**n <= n_permutations
    if exact:
        flips = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        # Row 0 flips nothing: permutation_p adds the observed order itself.
        null = (1.0 - 2.0 * flips[1:]) @ values
    else:
        rng = np.random.default_rng(seed)
        rows = max(1, _CHUNK_ELEMENTS // n)
        sizes = [min(rows, n_permutations - start) for start in range(0, n_permutations, rows)]
        null = np.concatenate(
            [(1.0 - 2.0 * rng.integers(0, 2, size=(size, n))) @ values for size in sizes]
        )
    observed = float(values.sum())
    if alternative == "two-sided":
        return float(permutation_p(abs(observed), abs(null)))
    return float(permutation_p(observed, null, alternative))


def as_differences(differences: object, name: str = "differences") -> Float[np.ndarray, "group"]:
    values = as_scores(differences, name)
    if values.ndim != 1:
        raise InputError(f"{name}: expected one value a group, got shape {values.shape}")
    if len(values) < MIN_GROUPS:
        raise DegenerateDataError(
            f"{name}: expected at least {MIN_GROUPS} groups, got {len(values)}"
        )
    return values
