"""Checked inputs: scores, labels, and the groups that belong together."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from ..errors import DegenerateDataError, InputError

__all__ = ["MIN_GROUPS", "Groups", "Ids", "as_labels", "as_scores", "group_codes", "nested_codes"]

MIN_GROUPS = 3
"""Below this number of groups no interval is given: it would say more than the data do."""

Ids = Sequence[Hashable] | np.ndarray
"""One hashable id an item; equal ids belong together."""

Groups = Ids | Sequence[Ids]
"""One id an item, or such sequences from the outermost level to the innermost.

``L`` sequences of equal length ``N`` are read as levels where ``L < N``, so that a list of
tuples may also be a list of ids.
"""


def as_scores(values: Any, name: str = "scores") -> Float[np.ndarray, "*batch item"]:
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


def as_labels(labels: Any, n_items: int, name: str = "labels") -> Bool[np.ndarray, "item"]:
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


def group_codes(ids: Any, n_items: int | None = None, name: str = "groups") -> np.ndarray:
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


def nested_codes(groups: Any, n_items: int | None = None) -> list[Int[np.ndarray, "item"]]:
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


def _levels(groups: Any) -> list[Any]:
    if isinstance(groups, np.ndarray):
        return list(groups) if groups.ndim == 2 else [groups]
    if isinstance(groups, list | tuple) and groups:
        nested = all(isinstance(one, list | tuple | np.ndarray) for one in groups)
        if nested and len({len(one) for one in groups}) == 1 and len(groups) < len(groups[0]):
            return list(groups)
    return [groups]
