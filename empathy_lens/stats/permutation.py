"""Permutation tests that exchange only what the design makes exchangeable."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Real
from scipy.stats import rankdata

from ..errors import DegenerateDataError, InputError
from .groups import Groups, Ids, as_labels, as_scores, group_codes, nested_codes

Exchange = Literal["groups", "within"]
Alternative = Literal["greater", "less", "two-sided"]


class PermutationResult(NamedTuple):
    """Per layer: the observed statistic, its p, and its p corrected for the best of all."""

    observed: Float[np.ndarray, "layer"]
    p: Float[np.ndarray, "layer"]
    p_max: Float[np.ndarray, "layer"]
    n_permutations: int
    seed: int


def permutations(
    groups: Groups,
    *,
    n_permutations: int,
    seed: int,
    exchange: Exchange = "groups",
    strata: Ids | None = None,
) -> Int[np.ndarray, "permutation item"]:
    """Random orders ``order`` of the items, so that ``y[order]`` is ``y`` under the null.

    ``exchange="within"`` shuffles items inside their outermost group. ``"groups"`` also
    moves whole groups, each to the place of a group of the same size (and stratum), so that
    what the items of a group share stays together. Valid where groups, and items within
    them, are exchangeable under the null (Winkler et al. 2015, "whole-block" and
    "within-block" exchangeability). Groups whose size no other group has stay in place, so
    with very unequal sizes the test sees mostly what happens inside groups.

    Raises DegenerateDataError where nothing can move.
    """
    codes = nested_codes(groups)[0]
    layer_of = np.zeros_like(codes) if strata is None else group_codes(strata, len(codes), "strata")
    rng = np.random.default_rng(seed)
    order = np.argsort(codes, kind="stable")
    shuffled = np.argsort(codes + rng.random((n_permutations, len(codes))), axis=1)
    sizes = np.bincount(codes)
    starts = np.cumsum(sizes) - sizes
    moved = bool((sizes > 1).any())
    if exchange == "groups":
        stratum = layer_of[order[starts]]
        placed = np.empty_like(shuffled)
        for key in sorted(set(zip(stratum.tolist(), sizes.tolist(), strict=True))):
            alike = starts[(stratum == key[0]) & (sizes == key[1])]
            moved |= len(alike) > 1
            source = alike[np.argsort(rng.random((n_permutations, len(alike))), axis=1)]
            offset = np.arange(key[1])
            slots = (alike[:, None] + offset).ravel()
            taken = (source[:, :, None] + offset).reshape(n_permutations, -1)
            placed[:, slots] = np.take_along_axis(shuffled, taken, axis=1)
        shuffled = placed
    elif exchange != "within":
        raise InputError(f"exchange: expected 'groups' or 'within', got {exchange!r}")
    if not moved:
        raise DegenerateDataError(
            f"exchange={exchange!r}: nothing can be exchanged: no two groups of a stratum have "
            "the same size and no group has two items"
        )
    result = np.empty_like(shuffled)
    result[:, order] = shuffled
    return result


def pair_swap_labels(
    labels: Bool[np.ndarray, "item"],
    pair_ids: Ids,
    *,
    n_permutations: int,
    seed: int,
    groups: Groups | None = None,
) -> Bool[np.ndarray, "permutation item"]:
    """Labels under the null that a pair's two sides are exchangeable.

    Every pair (or larger group, whose labels are then shuffled) is swapped on its own.
    With ``groups``, all pairs of one outermost group are swapped together, which stays
    valid where pairs of a group are correlated; every pair must then be balanced.

    Raises DegenerateDataError where no pair holds both classes.
    """
    positive = as_labels(labels, len(labels))
    pairs = group_codes(pair_ids, len(positive), "pair_ids")
    n_pos = np.bincount(pairs, weights=positive)
    n_neg = np.bincount(pairs, weights=~positive)
    if not ((n_pos > 0) & (n_neg > 0)).any():
        raise DegenerateDataError("pair_ids: expected pairs that hold both classes, got none")
    if groups is None:
        order = permutations(pairs, n_permutations=n_permutations, seed=seed, exchange="within")
        return positive[order]
    if (n_pos != n_neg).any():
        raise InputError(
            "pair_ids: swapping by groups needs pairs with as many positives as negatives"
        )
    outer = nested_codes(groups, len(positive))[0]
    rng = np.random.default_rng(seed)
    flips = rng.random((n_permutations, int(outer.max()) + 1)) < 0.5
    return positive ^ flips[:, outer]


def auroc_permutation(
    scores: Real[np.ndarray, "*layer item"],
    labels: Bool[np.ndarray, "item"],
    pair_ids: Ids,
    *,
    n_permutations: int = 10_000,
    seed: int,
    groups: Groups | None = None,
    alternative: Alternative = "greater",
) -> PermutationResult:
    """Is AUROC above chance, at each layer and at the best of all layers?

    Labels are swapped within pairs as in :func:`pair_swap_labels`. ``p_max`` compares each
    layer with the best layer of every permutation (:func:`max_statistic_p`), and so allows
    for the choice of the layer on these very data; ``p`` does not. With
    ``alternative="two-sided"`` the distance from 0.5 is tested.
    """
    if alternative not in ("greater", "two-sided"):
        raise InputError(f"alternative: expected 'greater' or 'two-sided', got {alternative!r}")
    rows = np.atleast_2d(as_scores(scores))
    positive = as_labels(labels, rows.shape[-1])
    codes = group_codes(pair_ids, len(positive), "pair_ids")
    # A canonical order, so that the order in which items come does not change the draws.
    order = np.lexsort((*rows, positive, codes))
    swapped = pair_swap_labels(
        positive[order],
        codes[order],
        n_permutations=n_permutations,
        seed=seed,
        groups=None if groups is None else nested_codes(groups, len(positive))[0][order],
    )
    ranks = rankdata(rows, axis=-1)[:, order]
    n_pos = int(positive.sum())
    n_comparisons = n_pos * (len(positive) - n_pos)
    offset = n_pos * (n_pos + 1) / 2
    observed = (ranks[:, positive[order]].sum(axis=1) - offset) / n_comparisons
    null = (swapped.astype(np.float64) @ ranks.T - offset) / n_comparisons
    tested, tested_null = observed, null
    if alternative == "two-sided":
        tested, tested_null = abs(observed - 0.5), abs(null - 0.5)
    return PermutationResult(
        observed=observed,
        p=np.asarray(permutation_p(tested, tested_null)),
        p_max=max_statistic_p(tested, tested_null),
        n_permutations=n_permutations,
        seed=seed,
    )


def permutation_p(
    observed: float | Float[np.ndarray, "*k"],
    null: Float[np.ndarray, "permutation *k"],
    alternative: Alternative = "greater",
) -> Float[np.ndarray, "*k"]:
    """(1 + number of null values at least as extreme) / (1 + number of null values).

    The observed order is itself one of the permutations, so p is never 0 and the test is
    exact (Phipson & Smyth 2010). ``"two-sided"`` doubles the smaller tail.
    """
    value, draws = as_scores(np.atleast_1d(observed), "observed"), as_scores(null, "null")
    value = value.reshape(np.shape(observed))
    if draws.ndim != value.ndim + 1 or draws.shape[1:] != value.shape:
        raise InputError(f"null: expected (permutation, *{value.shape}), got {draws.shape}")
    # Equal statistics computed along different paths may differ in the last bits.
    slack = 1e-10 * np.maximum(1.0, abs(value))
    above = (1 + (draws >= value - slack).sum(axis=0)) / (1 + len(draws))
    below = (1 + (draws <= value + slack).sum(axis=0)) / (1 + len(draws))
    if alternative == "greater":
        return np.asarray(above)
    if alternative == "less":
        return np.asarray(below)
    if alternative == "two-sided":
        return np.asarray(np.minimum(1.0, 2 * np.minimum(above, below)))
    raise InputError(f"alternative: expected 'greater', 'less' or 'two-sided', got {alternative!r}")


def max_statistic_p(
    observed: Float[np.ndarray, "k"], null: Float[np.ndarray, "permutation k"]
) -> Float[np.ndarray, "k"]:
    """Single-step maxT: p of each statistic, corrected for having looked at all k.

    Each observed value is compared with the largest of the k in every permutation, which
    keeps their correlation (Westfall & Young 1993; Nichols & Holmes 2002). The
    statistics must be on one scale, and large must mean extreme. Family-wise, in (0, 1].
    """
    value, draws = as_scores(observed, "observed"), as_scores(null, "null")
    if value.ndim != 1 or draws.ndim != 2 or draws.shape[1] != len(value):
        raise InputError(
            f"expected observed (k,) and null (permutation, k), got {value.shape}, {draws.shape}"
        )
    return permutation_p(value, np.repeat(draws.max(axis=1)[:, None], len(value), axis=1))


def holm(p_values: Sequence[float] | np.ndarray) -> Float[np.ndarray, "k"]:
    """P-values adjusted for k tests, family-wise, in the order given (Holm 1979)."""
    p = as_scores(p_values, "p_values")
    if p.ndim != 1 or (p < 0).any() or (p > 1).any():
        raise InputError("p_values: expected a list of numbers between 0 and 1")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, stepped)
    return adjusted
