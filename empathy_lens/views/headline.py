"""The few numbers of a run to remember: the report's tiles, and the rows of a comparison."""

from __future__ import annotations

from dataclasses import dataclass

from ..evidence import Evidence
from ..types import Estimate
from .run_results import RunResults
from .text import number_text, p_text, prose, shortened, words

CSS = {"supported": "yes", "refuted": "no", "not supported": "no", "cannot tell": "unknown"}


@dataclass(frozen=True)
class Measure:
    """A named number with its interval, ``value`` alone where there is none.

    ``span`` is the whole range it could lie in, ``chance`` the value that says nothing.
    """

    name: str
    value: float
    low: float
    high: float
    span: tuple[float, float]
    chance: float
    note: str = ""

    @property
    def number(self) -> str:
        return number_text(self.value)

    @property
    def interval(self) -> str:
        if self.low == self.high:
            return ""
        return f"[{number_text(self.low)}, {number_text(self.high)}]"

    @property
    def places(self) -> dict[str, float]:
        """Where value, low, high and chance lie on the range, in percent."""
        bottom, top = self.span
        marks = {"v": self.value, "l": self.low, "h": self.high, "c": self.chance}
        return {
            name: round(100 * min(max((mark - bottom) / (top - bottom), 0.0), 1.0), 1)
            for name, mark in marks.items()
        }


def measures(run: RunResults) -> list[Measure]:
    """What of the headline numbers the saved parts hold, in the order of the report."""
    unit, signed = (0.0, 1.0), (-1.0, 1.0)
    listed: list[Measure] = []

    def add(
        name: str, e: Estimate | None, span: tuple[float, float], chance: float, note: str = ""
    ) -> None:
        if e is not None:
            said = ", ".join(filter(None, (note, "" if e.p is None else p_text(e.p))))
            listed.append(Measure(name, e.value, e.low, e.high, span, chance, said))

    evidence, validation = run.evidence, run.validation_auroc
    if evidence and evidence.probe:
        corrected = evidence.permutation_p_corrected
        p = "" if corrected is None else f"{p_text(corrected)} over all layers"
        add("AUROC, held-out pairs", evidence.probe, unit, 0.5, p)
    elif validation and (chosen := validation.layers.get(validation.selected_layer)):
        add("AUROC, held-out pairs", chosen.auroc, unit, 0.5)
    if evidence:
        if evidence.hard_pairs:
            add("AUROC, hard pairs", evidence.hard_pairs.all, unit, 0.5)
        best = evidence.headline.best_baseline
        against = f"best: {words(shortened(best, 60))}" if best else ""
        delta = evidence.delta_vs_best_baseline
        add("probe minus reader of words", delta, signed, 0.0, against)
    if run.eia_correlation:
        add("rubric score, Pearson r", run.eia_correlation.rubric.pearson, signed, 0.0)
    if run.on_policy:
        act = run.on_policy.every_choice.act_partial
        given = shortened(run.on_policy.given or "game and turn", 60)
        add(f"own play, helping or not, ρ given {given}", act, signed, 0.0)
    if run.steered_play:
        slope = run.steered_play.slope["score"]
        add("steered play, EIA score per alpha", slope, (-0.5, 0.5), 0.0)
    if (steering := run.steering_examples) and steering.out_of:
        share = steering.successes / steering.out_of
        counted = f"{number_text(steering.successes)} of {number_text(steering.out_of)} texts"
        listed.append(Measure("steering successes", share, share, share, unit, 0.0, counted))
    return listed


def verdicts(evidence: Evidence | None) -> list[dict[str, str]]:
    """The evidence card's claims, each with its verdict, reason and rule, and the direction that
    it is ``of``: the study's, the selected one, or none in particular."""
    if evidence is None:
        return []
    named = {
        d.configuration: f"{which}: {words(d.configuration)}"
        for d, which in zip(
            evidence.directions, ("the study's direction", "selected"), strict=False
        )
    }
    return [
        {
            "claim": shortened(row.claim, 500),
            "of": shortened(named.get(row.configuration, row.configuration), 300),
            "verdict": row.verdict,
            "css": CSS[row.verdict],
            "because": prose(row.because, 1500),
            "rule": prose(row.rule, 1500),
        }
        for row in evidence.verdicts
    ]


def by_direction(listed: list[dict[str, str]]) -> list[tuple[str, list[dict[str, str]]]]:
    """The claims about each direction, in the order of the card."""
    return [
        (of, [row for row in listed if row["of"] == of])
        for of in dict.fromkeys(row["of"] for row in listed)
    ]


def tally(listed: list[dict[str, str]]) -> str:
    """How many claims stand, in a sentence."""
    count = {css: sum(row["css"] == css for row in listed) for css in ("yes", "no", "unknown")}
    if not listed:
        return ""
    return (
        f"Of {len(listed)} claims, {count['yes']} are supported, {count['no']} are refuted, and "
        f"{count['unknown']} cannot be decided with this data."
    )
