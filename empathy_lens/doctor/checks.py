"""The result of one check."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

__all__ = ["Check", "Status", "judged", "worst"]

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """What was looked at, how it stands, the figure with its bound, and the remedy if any.

    ``warn`` is for what may hurt or could not be looked at, ``fail`` for what will not work.
    """

    name: str
    status: Status
    figure: str
    bound: str = ""
    remedy: str = ""

    def to_dict(self) -> dict[str, str]:
        return asdict(self)


def judged(name: str, value: float, bound: float, unit: str, remedy: str) -> Check:
    """A check of a figure that must not exceed its bound; NaN exceeds every bound."""
    holds = value <= bound
    figure, limit = f"{value:.2g} {unit}".rstrip(), f"at most {bound:.2g}"
    return Check(name, "ok" if holds else "fail", figure, limit, "" if holds else remedy)


def worst(checks: Iterable[Check]) -> Status:
    """The gravest status of all."""
    order: tuple[Status, ...] = ("ok", "warn", "fail")
    return max((c.status for c in checks), key=order.index, default="ok")
