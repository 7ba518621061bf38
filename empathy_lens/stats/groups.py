"""Checked inputs: scores, labels, the groups that belong together, and how they are resampled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Literal, cast

import numpy as np
from jaxtyping import Bool, Float, Int

from ..errors import DegenerateDataError, InputError

MIN_GROUPS = 3
"""Below this number of groups no interval is given: it would say more than the data do."""

Ids = Sequence[Hashable] | np.ndarray
"""One hashable id an item; equal ids belong together."""

Groups = Ids | Sequence[Ids]
"""One id an item, or such sequences from the outermost level to the innermost.

``L`` sequences of equal length ``N`` are read as levels where ``L < N``, so that a list of
tuples may also be a list of ids.
"""


IntervalMethod = Literal["bca", "percentile"]


@dataclass(frozen=True, eq=False)
class Design:
    """Which items belong together, and how often and from which seed they are resampled.

    Groups are drawn with replacement and bring all their items. ``groups`` may be a list of
    levels, outermost first, e.g. ``[scenario_ids, situation_ids]``: then inner groups are
    drawn with replacement within each drawn outer one. That counts the inner variance twice
    (Davison & Hinkley 1997, sec. 3.8, who prefer the outermost level only: pass just that).
    For a mean over 8 scenarios of 6 situations, intervals covered the truth in 97 to 100 %
    of draws with both levels and in 92 to 94 % with scenarios alone: both is the cautious
    choice where outer groups are few (``experiments/check_statistics.py``).

    ``strata`` (one an item, constant within an outermost group) keeps the number of
    outermost groups of each stratum fixed: the strata are then the population, not a
    sample of one.

    ``method`` of the interval: ``"bca"``, bias-corrected and accelerated, the acceleration by a
    jackknife over the outermost groups (Efron 1987; Efron & Tibshirani 1993, eqs. 14.10 to
    14.15); ``"percentile"``, plain quantiles. None leaves it to the statistic: percentile for
    correlations, else BCa.

    ``small_sample`` widens the nominal level to ``Phi(-sqrt(G / df) * t_df)`` with ``G`` outermost
    groups and ``df = G - (number of strata)`` (Hesterberg 2015, "expanded percentile", here also
    within BCa). Without it intervals from 20 to 40 groups are too short.
    """

    groups: Groups
    strata: Ids | None = None
    _: KW_ONLY
    seed: int
    n_resamples: int = 10_000
    confidence: float = 0.95
    method: IntervalMethod | None = None
    small_sample: bool = True

    @classmethod
    def within(
        cls, groups: Sequence[str], strata: Sequence[str], *, seed: int, n_resamples: int = 10_000
    ) -> Design:
        """Groups resampled within strata if each stratum has two or more, else all together.

        A stratum of one group cannot vary.
        """
        n_groups = Counter(stratum for stratum, _ in set(zip(strata, groups, strict=True)))
        kept = list(strata) if min(n_groups.values()) >= 2 else None
        return cls(list(groups), kept, seed=seed, n_resamples=n_resamples)


def as_scores(values: object, name: str = "scores") -> Float[np.ndarray, "*batch item"]:
    """``values`` as finite float64. Raises InputError for NaN, infinity or no items."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: expected numbers, got {type(values).__name__}") from error
    if array.ndim == 0 or array.shape[-1] == 0:
        raise InputError(f"{name}: expected at least one item, got shape {array.shape}")
    bad = ~np.isfinite(array)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise InputError(
            f"{name}: expected finite numbers, got {array[first]} at index {first} "
            f"({int(bad.sum())} of {array.size} are not finite)"
        )
    return array


def as_labels(labels: object, n_items: int, name: str = "labels") -> Bool[np.ndarray, "item"]:
    """``labels`` as booleans, both classes present.

    Raises InputError for other values than True/False (or 1/0) and for a wrong length,
    DegenerateDataError where a class is absent.
    """
    array = np.asarray(labels)
    if array.shape != (n_items,):
        raise InputError(f"{name}: expected shape ({n_items},), got {array.shape}")
    if array.dtype != np.bool_:
        if array.dtype.kind not in "iuf" or not np.isin(array, (0, 1)).all():
            raise InputError(f"{name}: expected True/False, got {np.unique(array)[:5].tolist()}")
        array = array.astype(np.bool_)
    if array.all() or not array.any():
        raise DegenerateDataError(
            f"{name}: expected both classes, got {int(array.sum())} positive and "
            f"{int((~array).sum())} negative items"
        )
    return array


def group_codes(ids: Ids, n_items: int | None = None, name: str = "groups") -> np.ndarray:
    """Integers 0..n_groups-1, one an item, in the sorted order of the ids.

    Sorting, rather than order of appearance, makes every resample independent of the order
    in which the items come.
    """
    if isinstance(ids, str | bytes):
        raise InputError(f"{name}: expected one id an item, got the single string {ids!r}")
    listed = ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
    if n_items is not None and len(listed) != n_items:
        raise InputError(f"{name}: expected {n_items} ids, one an item, got {len(listed)}")
    try:
        missing = [i for i, one in enumerate(listed) if one is None or one != one]
        distinct = set(listed)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: expected hashable ids, got {listed[:2]!r}") from error
    if missing:
        raise InputError(f"{name}: expected an id for every item, got none for item {missing[0]}")
    try:
        ordered = sorted(distinct)
    except TypeError:
        ordered = sorted(distinct, key=lambda one: (type(one).__name__, repr(one)))
    code = {one: i for i, one in enumerate(ordered)}
    return np.fromiter((code[one] for one in listed), dtype=np.intp, count=len(listed))


def nested_codes(groups: Groups, n_items: int | None = None) -> list[Int[np.ndarray, "item"]]:
    """Codes of each level, outermost first; an inner id counts within its outer group."""
    levels = _levels(groups)
    codes = [group_codes(levels[0], n_items)]
    for depth, level in enumerate(levels[1:], start=1):
        inner = group_codes(level, len(codes[0]), f"groups[{depth}]")
        _, joint = np.unique(np.stack([codes[-1], inner]), axis=1, return_inverse=True)
        codes.append(joint.reshape(-1).astype(np.intp))
    n_groups = int(codes[0].max(initial=-1)) + 1
    if n_groups < MIN_GROUPS:
        raise DegenerateDataError(
            f"groups: expected at least {MIN_GROUPS} distinct groups to resample, got {n_groups}"
        )
    return codes


def _levels(groups: Groups) -> list[Ids]:
    if isinstance(groups, np.ndarray):
        return list(groups) if groups.ndim == 2 else [groups]
    if isinstance(groups, list | tuple) and groups:
        nested = all(isinstance(one, list | tuple | np.ndarray) for one in groups)
        if nested and len({len(one) for one in groups}) == 1 and len(groups) < len(groups[0]):
            return list(groups)
    return [cast(Ids, groups)]
