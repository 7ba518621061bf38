"""Cluster bootstrap: resample groups, never items that belong together."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr, ndtri
from scipy.stats import t as student_t

from ..errors import DegenerateDataError, InputError
from ..types import Estimate
from .groups import Design, Ids, group_codes, nested_codes

WeightedStatistic = Callable[
    [Float[np.ndarray, "resample item"]], Float[np.ndarray, "resample *out"]
]

_CHUNK_ELEMENTS = 1 << 21
_MAX_UNDEFINED = 0.05


def cluster_weights(design: Design) -> Float[np.ndarray, "resample item"]:
    """How often each item occurs in each cluster-bootstrap resample (0, 1, 2, …).

    Raises DegenerateDataError for fewer than three groups or a stratum of one group.
    """
    levels = nested_codes(design.groups)
    stratum_of_group = _strata_of_groups(levels[0], design.strata)
    chunks = _weight_chunks(levels, stratum_of_group, design.n_resamples, design.seed)
    return np.concatenate(list(chunks))


def bootstrap(
    statistic: WeightedStatistic,
    design: Design,
    *,
    bounds: tuple[float, float] | None = None,
    n_trials: int | None = None,
    null: float | None = None,
) -> Estimate | list[Estimate]:
    """Cluster-bootstrap interval of a statistic of weighted items.

    Parameters
    ----------
    statistic
        Maps weights ``"resample item"`` (whole multiplicities) to ``"resample"``, which
        gives one Estimate, or to ``"resample out"``, which gives a list of them; NaN where
        a resample leaves it undefined.
    design
        What is resampled, how often, and which interval is made of it.
    bounds, n_trials
        Range of the statistic, and the number of independent comparisons (default: groups)
        that back a boundary interval: where every resample gives one value, the bootstrap
        knows nothing and the interval is Clopper-Pearson's for 0 surprises in ``n_trials``.
    null
        Value under the null hypothesis; sets ``p``, two-sided, by inverting the interval
        (p <= 1 - confidence where the interval leaves ``null`` out, above it where not; a
        boundary interval is inverted likewise).

    Raises
    ------
    DegenerateDataError
        Fewer than three groups; more than 5 % of resamples undefined; all resamples equal
        and no ``bounds`` given.
    InputError
        Lengths that do not agree, or options out of range.
    """
    confidence, n_resamples = design.confidence, design.n_resamples
    method = design.method or "bca"
    if not 0 < confidence < 1:
        raise InputError(f"confidence: expected a number between 0 and 1, got {confidence}")
    if n_resamples < 100:
        raise InputError(f"n_resamples: expected at least 100, got {n_resamples}")
    if method not in ("bca", "percentile"):
        raise InputError(f"method: expected 'bca' or 'percentile', got {method!r}")
    levels = nested_codes(design.groups)
    stratum_of_group = _strata_of_groups(levels[0], design.strata)
    n_items, n_groups = len(levels[0]), len(stratum_of_group)

    whole = np.asarray(statistic(np.ones((1, n_items))))
    observed = _columns(whole)[0]
    if not np.isfinite(observed).all():
        raise DegenerateDataError("the statistic is undefined (NaN) on the data as given")
    chunks = _weight_chunks(levels, stratum_of_group, n_resamples, design.seed)
    resampled = np.concatenate([_columns(statistic(weights)) for weights in chunks])

    df = n_groups - len(np.unique(stratum_of_group))
    small_sample = design.small_sample
    scale = np.sqrt(n_groups / df) if small_sample else 1.0
    tail = (1 - confidence) / 2
    reach = scale * (student_t.ppf(1 - tail, df) if small_sample else ndtri(1 - tail))

    acceleration = np.zeros_like(observed)
    if method == "bca":
        acceleration = _acceleration(statistic, levels[0], stratum_of_group)

    estimates = []
    for k, value in enumerate(observed.tolist()):
        values = np.sort(_defined(resampled[:, k]))
        shape = _Shape(values, value, method, float(acceleration[k]))
        low, high = (float(np.quantile(values, shape.level(z))) for z in (-reach, reach))
        low, high = min(low, value), max(high, value)
        name, p = f"cluster-bootstrap-{method}", None
        if null is not None:
            z = shape.nominal(null) / scale
            p = 2 * float(student_t.cdf(-abs(z), df) if small_sample else ndtr(-abs(z)))
            p = min(1.0, max(p, 1 / (n_resamples + 1)))
        if high - low <= 1e-9 * max(1.0, abs(value)):
            low, high, name = _boundary(value, bounds, n_trials or n_groups, tail)
            p = None if null is None else _boundary_p(value, bounds, n_trials or n_groups, null)
        if p is not None and null is not None:
            p = _on_the_interval_s_side(p, low <= null <= high, confidence)
        estimates.append(
            Estimate(value, low, high, confidence, n_items, n_groups, name, seed=design.seed, p=p)
        )
    return estimates if whole.ndim > 1 else estimates[0]


class _Shape:
    """The map between normal quantiles and levels of the bootstrap distribution."""

    def __init__(self, values: np.ndarray, value: float, method: str, acceleration: float):
        self.values = values
        self.acceleration = acceleration
        self.bias = self._normal_quantile(value) if method == "bca" else 0.0

    def level(self, z: float) -> float:
        """Which quantile of the resampled values is the limit at nominal ``z``."""
        shifted = self.bias + z
        stretch = 1 - self.acceleration * shifted
        if stretch <= 0:
            return float(shifted > 0)
        return float(ndtr(self.bias + shifted / stretch))

    def nominal(self, point: float) -> float:
        """Inverse of ``level``: the nominal ``z`` at which the limit would be ``point``."""
        moved = self._normal_quantile(point) - self.bias
        stretch = 1 + self.acceleration * moved
        if stretch <= 0:
            return float(np.sign(moved) * np.inf)
        return moved / stretch - self.bias

    def _normal_quantile(self, point: float) -> float:
        # Ties count half: AUROC and accuracy are lattice-valued.
        slack = 1e-12 * max(1.0, abs(point))
        below = np.searchsorted(self.values, point - slack, side="left")
        up_to = np.searchsorted(self.values, point + slack, side="right")
        n = len(self.values)
        quantile = float(ndtri(np.clip((below + up_to) / (2 * n), 0.5 / n, 1 - 0.5 / n)))
        if below > 0 and up_to < n:
            return quantile
        # Beyond every resample: how far is told by their spread, not by how many were drawn.
        spread = float(self.values.std())
        beyond = (point - float(self.values.mean())) / spread if spread else quantile
        return min(quantile, beyond) if quantile < 0 else max(quantile, beyond)


def _boundary(
    value: float, bounds: tuple[float, float] | None, n_trials: int, tail: float
) -> tuple[float, float, str]:
    # No resample differs, so no comparison among n_trials independent ones did. Another
    # value then has probability at most `rate`, and may lie anywhere within the bounds.
    if bounds is None:
        raise DegenerateDataError(
            f"every resample gave {value:.6g}: the data do not vary, so no interval can be given"
        )
    rate = 1 - tail ** (1 / n_trials)
    low, high = (value + rate * (bound - value) for bound in bounds)
    return low, high, f"clopper-pearson-boundary-{n_trials}-trials"


def _boundary_p(
    value: float, bounds: tuple[float, float] | None, n_trials: int, null: float
) -> float:
    # Twice the tail at which the interval of `_boundary` ends at `null`.
    assert bounds is not None  # `_boundary` has raised otherwise
    reach = bounds[1] - value if null > value else value - bounds[0]
    rate = min(1.0, abs(null - value) / reach) if reach > 0 else float(null != value)
    return float(min(1.0, 2 * (1 - rate) ** n_trials))


def _on_the_interval_s_side(p: float, contained: bool, confidence: float) -> float:
    # Interpolated quantiles and half-counted ties may differ by a resample.
    level = round(1 - confidence, 12)
    return max(p, float(np.nextafter(level, 1))) if contained else min(p, level)


def _acceleration(
    statistic: WeightedStatistic, outer: np.ndarray, stratum_of_group: np.ndarray
) -> np.ndarray:
    n_groups = len(stratum_of_group)
    chunk = max(1, _CHUNK_ELEMENTS // len(outer))
    left_out = np.concatenate(
        [
            _columns(statistic((outer != np.arange(start, stop)[:, None]).astype(np.float64)))
            for start in range(0, n_groups, chunk)
            for stop in [min(start + chunk, n_groups)]
        ]
    )
    if not np.isfinite(left_out).all():
        worst = int(np.argwhere(~np.isfinite(left_out))[0, 0])
        raise DegenerateDataError(
            f"the statistic is undefined without group number {worst} (in sorted order): too "
            "few groups carry a class or vary"
        )
    influence = np.empty_like(left_out)
    for stratum in np.unique(stratum_of_group):
        members = stratum_of_group == stratum
        spread = left_out[members].mean(axis=0) - left_out[members]
        influence[members] = (members.sum() - 1) * spread
    variance = (influence**2).sum(axis=0)
    safe = np.where(variance > 0, variance, 1.0)
    return np.where(variance > 0, (influence**3).sum(axis=0) / (6 * safe**1.5), 0.0)


def _weight_chunks(
    levels: list[np.ndarray], stratum_of_group: np.ndarray, n_resamples: int, seed: int
) -> Iterator[np.ndarray]:
    if n_resamples * len(levels[0]) > _CHUNK_ELEMENTS:
        yield from _drawn_weights(levels, stratum_of_group, n_resamples, seed)
    else:
        codes = tuple(tuple(level.tolist()) for level in levels)
        yield _kept_weights(codes, tuple(stratum_of_group.tolist()), n_resamples, seed)


@lru_cache(maxsize=8)  # a card resamples one set of texts for every figure that it gives of them
def _kept_weights(
    levels: tuple[tuple[int, ...], ...],
    stratum_of_group: tuple[int, ...],
    n_resamples: int,
    seed: int,
) -> np.ndarray:
    arrays = [np.array(level) for level in levels]
    (weights,) = _drawn_weights(arrays, np.array(stratum_of_group), n_resamples, seed)
    weights.flags.writeable = False
    return weights


def _drawn_weights(
    levels: list[np.ndarray], stratum_of_group: np.ndarray, n_resamples: int, seed: int
) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(stratum_of_group == s) for s in np.unique(stratum_of_group)]
    children = [_children(outer, inner) for outer, inner in pairwise(levels)]
    chunk = max(1, _CHUNK_ELEMENTS // len(levels[0]))
    for start in range(0, n_resamples, chunk):
        size = min(chunk, n_resamples - start)
        counts = np.empty((size, len(stratum_of_group)), dtype=np.int64)
        for groups in members:
            counts[:, groups] = rng.multinomial(len(groups), _uniform(len(groups)), size=size)
        for inner_of in children:
            inner_counts = np.empty((size, sum(map(len, inner_of))), dtype=np.int64)
            for outer, inner in enumerate(inner_of):
                # An outer group drawn k times has its inner groups redrawn k times.
                drawn = counts[:, outer] * len(inner)
                inner_counts[:, inner] = rng.multinomial(drawn, _uniform(len(inner)))
            counts = inner_counts
        yield counts[:, levels[-1]].astype(np.float64)


def _uniform(n: int) -> np.ndarray:
    return np.full(n, 1 / n)


def _children(outer: np.ndarray, inner: np.ndarray) -> list[np.ndarray]:
    return [np.unique(inner[outer == group]) for group in range(int(outer.max()) + 1)]


def _strata_of_groups(outer: np.ndarray, strata: Ids | None) -> np.ndarray:
    n_groups = int(outer.max()) + 1
    if strata is None:
        return np.zeros(n_groups, dtype=np.intp)
    codes = group_codes(strata, len(outer), "strata")
    of_group = np.empty(n_groups, dtype=np.intp)
    of_group[outer] = codes
    if (of_group[outer] != codes).any():
        item = int(np.flatnonzero(of_group[outer] != codes)[0])
        raise InputError(f"strata: expected one stratum a group, but item {item}'s group has two")
    sizes = np.bincount(of_group)
    if sizes.min() < 2:
        raise DegenerateDataError(
            f"strata: expected at least 2 groups in each, got group counts {sizes.tolist()}; "
            "merge strata or leave them out"
        )
    return of_group


def _columns(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, dtype=np.float64).reshape(len(values), -1)


def _defined(values: np.ndarray) -> np.ndarray:
    defined = values[np.isfinite(values)]
    if len(defined) < (1 - _MAX_UNDEFINED) * len(values):
        raise DegenerateDataError(
            f"the statistic is undefined in {len(values) - len(defined)} of {len(values)} "
            "resamples (a class or all variation is lost): more groups are needed, or "
            "strata= to keep each class present"
        )
    return defined
