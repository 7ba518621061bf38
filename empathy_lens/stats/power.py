"""What a test could have found, and how many groups would find it."""

import math

from scipy.stats import t as student_t

from ..errors import DegenerateDataError, InputError
from ..types import Estimate
from .groups import MIN_GROUPS

LEVEL = 0.05


def minimal_detectable(estimate: Estimate, *, power: float = 0.8) -> float:
    """Smallest true distance from the null that a two-sided 5 % test finds at this power.

    In the units of the estimate, above 0: ``(t_.975 + t_power) * se`` (Bloom 1995, "Minimum
    detectable effects"), Student's t with ``n_groups - 1`` degrees of freedom. The standard
    error is the wider side of the interval in units of its own t, so that an interval
    that ends at a bound (AUROC 1.0) is not taken for a precise one. What the data turned
    out to show plays no part: this is not "observed power" (Hoenig & Heisey 2001).

    Raises InputError for a power outside (0.05, 1), DegenerateDataError for an interval without
    width or fewer than three groups.
    """
    return _multiple(power, estimate.n_groups) * _standard_error(estimate)


def n_needed(estimate: Estimate, effect: float, *, power: float = 0.8) -> int:
    """Groups (situations) with which a two-sided 5 % test finds ``effect`` at this power.

    ``effect`` is a distance from the null, in the units of the estimate and of either sign. The
    standard error is that of :func:`minimal_detectable`, falling with the square root of the
    groups; at least three.

    Raises as :func:`minimal_detectable`, and InputError for an effect of 0 or NaN.
    """
    if not math.isfinite(effect) or effect == 0:
        raise InputError(f"effect: expected a finite distance other than 0, got {effect}")
    deviation = _standard_error(estimate) * math.sqrt(estimate.n_groups)

    def found(n: int) -> bool:
        return bool(_multiple(power, n) * deviation <= abs(effect) * math.sqrt(n))

    high = MIN_GROUPS
    while not found(high):
        high *= 2
    low = max(MIN_GROUPS, high // 2)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if found(middle) else (middle + 1, high)
    return high


def _multiple(power: float, n_groups: int) -> float:
    if not LEVEL < power < 1:
        raise InputError(f"power: expected a number between {LEVEL} and 1, got {power}")
    return float(student_t.isf(LEVEL / 2, n_groups - 1) + student_t.ppf(power, n_groups - 1))


def _standard_error(estimate: Estimate) -> float:
    width = max(estimate.high - estimate.value, estimate.value - estimate.low)
    if width <= 0 or estimate.n_groups < MIN_GROUPS:
        raise DegenerateDataError(
            f"expected an interval of some width from at least {MIN_GROUPS} groups, got {estimate} "
            f"from {estimate.n_groups}"
        )
    tail = (1 - estimate.confidence) / 2
    return width / float(student_t.isf(tail, estimate.n_groups - 1))
