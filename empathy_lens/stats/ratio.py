"""One mean as a share of another, with Fieller's interval."""

import numpy as np
from jaxtyping import Real
from scipy.optimize import brentq
from scipy.special import stdtr, stdtrit

from ..errors import DegenerateDataError
from ..types import Estimate
from .paired import as_differences

CONFIDENCE = 0.95


def gap_ratio(
    theirs: Real[np.ndarray, "group"],
    ours: Real[np.ndarray, "group2"],
    *,
    null: float | None = None,
) -> Estimate:
    """Mean of ``theirs`` over mean of ``ours``, two independent sets of situations.

    Both hold the gap of each situation along one direction (:func:`pair_differences`); 1 means
    that theirs is as wide as ours, 0 that there is none, negative that it points the other
    way. The 95 % interval holds every ratio r at which Welch's t test, with Satterthwaite's
    degrees of freedom at r, does not find mean(theirs) - r mean(ours) to differ from 0
    (Fieller 1954; with unequal variances: Hasler, Vonk & Hothorn 2008). ``null`` sets ``p``,
    two-sided, of that very test. ``n`` counts both sets, ``n_groups`` theirs: near a ratio
    of 0 it is they who limit what can be found.

    Raises InputError for NaN, DegenerateDataError for fewer than three groups, values that do
    not vary, and where the set of ratios is unbounded: ours is not surely away from 0.
    """
    above, below = as_differences(theirs, "theirs"), as_differences(ours, "ours")
    for name, values in (("theirs", above), ("ours", below)):
        if np.ptp(values) <= 1e-12 * np.abs(values).max():
            raise DegenerateDataError(f"{name}: expected gaps that vary, got a constant")
    unit = float(below.std(ddof=1)) / np.sqrt(len(below))
    b = float(below.mean()) / unit  # ours in its own standard errors
    tail = (1 - CONFIDENCE) / 2
    if abs(b) <= stdtrit(len(below) - 1, 1 - tail):
        raise DegenerateDataError(
            f"ours: expected a mean surely away from 0, got {below.mean():.3g} +- {unit:.3g} "
            "(standard error): a share of it has no bounded interval; more pairs are needed"
        )
    a, variance = float(above.mean()) / unit, float(above.var(ddof=1)) / len(above) / unit**2
    ratio = a / b

    def tail_area(at: float) -> float:
        total = variance + at**2
        df = total**2 / (variance**2 / (len(above) - 1) + at**4 / (len(below) - 1))
        return float(stdtr(df, -abs(a - at * b) / np.sqrt(total)))

    def end(sign: int) -> float:
        reach = np.sqrt(variance + ratio**2) / abs(b)
        while tail_area(ratio + sign * reach) > tail:
            reach *= 2
        return float(brentq(lambda at: tail_area(at) - tail, ratio, ratio + sign * reach))

    return Estimate(
        ratio,
        end(-1),
        end(1),
        CONFIDENCE,
        len(above) + len(below),
        len(above),
        "fieller-welch",
        p=None if null is None else min(1.0, 2 * tail_area(null)),
    )
