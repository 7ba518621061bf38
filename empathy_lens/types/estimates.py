"""A figure with its interval, and how stored results leave out what they lack."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, TypeVar

from pydantic import Field

from ..errors import InputError

T = TypeVar("T")

Optionally = Annotated[T | None, Field(exclude_if=lambda value: value is None)]
"""A stored field that its file leaves out while it is None, which must be its default."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its uncertainty. Every number that the library reports is one.

    ``n`` counts items, ``n_groups`` the independent groups that were resampled, and
    ``method`` names how the interval was made. ``p`` is a two-sided p-value where a null
    was tested, else None.
    """

    value: float
    low: float
    high: float
    confidence: float
    n: int
    n_groups: int
    method: str
    seed: int | None = None
    p: Optionally[float] = None

    def __post_init__(self) -> None:
        if not all(math.isfinite(x) for x in (self.value, self.low, self.high)):
            raise InputError(f"Estimate must be finite, got {self.value} [{self.low}, {self.high}]")
        slack = 1e-9 * max(1.0, abs(self.value))
        if not self.low - slack <= self.value <= self.high + slack:
            raise InputError(
                f"Estimate: expected a value within its interval, got {self.value} "
                f"[{self.low}, {self.high}]"
            )
        if not 0 < self.confidence < 1 or not (self.p is None or 0 <= self.p <= 1):
            raise InputError(
                "Estimate: expected a confidence and a p between 0 and 1, got "
                f"{self.confidence} and {self.p}"
            )
        if not 0 <= self.n_groups <= self.n:
            raise InputError(
                f"Estimate: expected at most as many groups as items, got {self.n_groups} groups "
                f"of {self.n} items"
            )

    def __repr__(self) -> str:
        return f"Estimate({self}, n = {self.n} in {self.n_groups} groups)"

    def __str__(self) -> str:
        p = "" if self.p is None else f", p = {self.p:.3g}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]{p}"
