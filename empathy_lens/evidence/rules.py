"""What every verdict is made of: the rule of three, the weakest ruling, and how n is named."""

from __future__ import annotations

from collections.abc import Iterable

from ..types import Estimate
from .card import Evidence, Ruling, Verdict

__all__ = [
    "ALPHA",
    "CHANCE",
    "above",
    "few",
    "named_n",
    "p_text",
    "significant",
    "unknown",
    "weakest",
]

CHANCE = 0.5
ALPHA = 0.05
FEW = 30
"""Below so many situations (or trials) a verdict says that they are few."""


def above(estimate: Estimate | None, threshold: float) -> Ruling:
    """Supported, not supported or cannot tell: is the figure above the threshold?

    *Supported* where its whole interval lies above; *not supported* where the figure itself does
    not reach above; *cannot tell* where it does but the interval includes the threshold, or where
    there is no figure.
    """
    if estimate is None or estimate.n_groups < 2:
        return "cannot tell"
    if estimate.low > threshold:
        return "supported"
    return "cannot tell" if estimate.value > threshold else "not supported"


def significant(p: float | None) -> Ruling:
    """Supported where p is at most ALPHA; a larger or missing p cannot tell."""
    return "supported" if p is not None and p <= ALPHA else "cannot tell"


def weakest(rulings: Iterable[Ruling]) -> Ruling:
    """The most doubtful ruling: "not supported", then "cannot tell", then "supported"."""
    order: tuple[Ruling, ...] = ("not supported", "cannot tell", "supported")
    return min(rulings, key=order.index, default="cannot tell")


def named_n(estimate: Estimate) -> str:
    """How many situations stand behind a figure, and whether they are few."""
    return f"n = {estimate.n_groups} situations{few(estimate.n_groups)}"


def few(n: int) -> str:
    return " (few)" if n < FEW else ""


def p_text(p: float | None) -> str:
    return f"p = {'not computed' if p is None else f'{p:.3g}'}"


def unknown(claim: str, e: Evidence, *parts: str) -> Verdict:
    """ "Cannot tell", with the recorded reason of the first part that has one."""
    for part in parts:
        for name, reason in e.not_computed.items():
            if name == part or name.startswith(f"{part}: "):
                return Verdict(claim, "cannot tell", reason)
    return Verdict(claim, "cannot tell", "not measured in this run")
