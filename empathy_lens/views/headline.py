"""The few numbers of a run to remember: the report's tiles, and the rows of a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .runs import estimate, get, plain, rows
from .text import number_text, p_text, prose, shortened

__all__ = ["Measure", "measures", "tally", "verdicts"]

CSS = {"supported": "yes", "not supported": "no", "cannot tell": "unknown"}


@dataclass(frozen=True)
class Measure:
    """A named number with its interval.

    ``span`` is the whole range it could lie in, ``chance`` the value that says nothing.
    """

    name: str
    value: tuple[float, float, float]
    span: tuple[float, float]
    chance: float
    note: str = ""

    @property
    def number(self) -> str:
        return number_text(self.value[0])

    @property
    def interval(self) -> str:
        low, high = self.value[1:]
        return "" if low == high else f"[{number_text(low)}, {number_text(high)}]"

    @property
    def places(self) -> dict[str, float]:
        """Where value, low, high and chance lie on the range, in percent."""
        bottom, top = self.span
        marks = {"v": self.value[0], "l": self.value[1], "h": self.value[2], "c": self.chance}
        return {
            name: round(100 * min(max((mark - bottom) / (top - bottom), 0.0), 1.0), 1)
            for name, mark in marks.items()
        }


def measures(run: Mapping[str, Any]) -> list[Measure]:
    """What of the headline numbers the saved parts hold, in the order of the report."""
    evidence, eia = run.get("evidence"), run.get("eia_correlation")
    validation, steering = run.get("validation_auroc"), run.get("steering_examples")
    layer = str(get(validation, "selected_layer"))
    auroc = get(evidence, "probe") or get(validation, "layers", layer, "auroc")
    corrected = get(evidence, "permutation_p_corrected")
    p = f"{p_text(corrected)} over all layers" if plain(corrected) else ""
    best = get(evidence, "headline", "best_baseline")
    against = f"best: {shortened(best, 60).replace('_', ' ')}" if isinstance(best, str) else ""
    unit, signed = (0.0, 1.0), (-1.0, 1.0)
    listed: list[tuple[str, Any, tuple[float, float], float, str]] = [
        ("AUROC, held-out pairs", auroc, unit, 0.5, p),
        ("AUROC, hard pairs", get(evidence, "hard_pairs", "all"), unit, 0.5, ""),
        (
            "probe minus reader of words",
            get(evidence, "delta_vs_best_baseline"),
            signed,
            0.0,
            against,
        ),
        ("rubric score, Pearson r", get(eia, "rubric", "pearson"), signed, 0.0, ""),
        (
            "own play, log-odds of helping, ρ given game and turn",
            get(eia, "on_policy", "every_choice", "leaning_partial"),
            signed,
            0.0,
            "",
        ),
        (
            "steered play, EIA score per alpha",
            get(run.get("steered_play"), "slope", "score"),
            (-0.5, 0.5),
            0.0,
            "",
        ),
    ]
    found = []
    for name, data, span, chance, note in listed:
        value = estimate(data)
        if value is not None:
            own_p = get(data, "p")
            said = [note] if note else []
            said += [p_text(own_p)] if plain(own_p) else []
            found.append(Measure(name, value, span, chance, ", ".join(said)))
    share, out_of = get(steering, "successes"), get(steering, "out_of")
    if plain(share) and plain(out_of) and out_of > 0:
        value = (share / out_of,) * 3
        counted = f"{number_text(share)} of {number_text(out_of)} texts"
        found.append(Measure("steering successes", value, unit, 0.0, counted))
    return found


def verdicts(evidence: Any) -> list[dict[str, str]]:
    """The evidence card's claims, each with its verdict and reason."""
    return [
        {
            "claim": shortened(row.get("claim", ""), 500),
            "verdict": shortened(row.get("verdict", "cannot tell"), 60),
            "css": CSS.get(str(row.get("verdict")), "unknown"),
            "because": prose(row.get("because") or "", 1500),
        }
        for row in rows(evidence, "verdicts")
    ]


def tally(found: list[dict[str, str]]) -> str:
    """How many claims stand, in a sentence."""
    count = {css: sum(row["css"] == css for row in found) for css in ("yes", "no", "unknown")}
    if not found:
        return ""
    return (
        f"Of {len(found)} claims about the direction, {count['yes']} are supported, "
        f"{count['no']} are not, and {count['unknown']} cannot be decided with this data."
    )
