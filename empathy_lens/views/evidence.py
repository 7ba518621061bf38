"""The evidence card's figures and tables: the probe beside simpler explanations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Literal

import plotly.graph_objects as go

from ..evidence import Evidence, NullDistribution, Selection
from ..types import Estimate
from .run_results import RunResults
from .tables import Table, measured, table
from .text import Value, estimate_text, number_text, shortened, signed_text, words
from .theme import COLOURS, GREY, NEGATIVE, POSITIVE, Dot, auroc_dots

Estimates = Mapping[str, Estimate | None]
Part = Literal["scenario", "source", "format"]
ESTIMATOR = attrgetter(
    "pooling", "layer", "cv_auroc", "test_auroc", "p_corrected", "stability", "agreement"
)
GAINS = {
    "naive_bayes": "minus naive Bayes",
    "tfidf_logistic": "minus TF-IDF and logistic regression",
    "sentence_embedding": "minus sentence embedding",
    "length": "minus text length",
}


def probe_against_baselines(run: RunResults) -> go.Figure | None:
    """The probe beside readers of words, and what random and shuffled directions reach."""
    card = run.evidence
    if card is None or (card.probe is None and not card.baselines):
        return None
    rows = _dots({"the probe": card.probe}, POSITIVE) + _dots(card.baselines, NEGATIVE)
    rows += [
        Dot(f"null: {name}", null.mean, null.mean, null.p95, GREY)
        for name, null in _nulls(card).items()
    ]
    best, delta = card.headline.best_baseline, card.delta_vs_best_baseline
    finding, reader = "", card.baselines.get(best) if best else None
    if best and card.probe and delta and reader:
        finding = (
            f"The probe reaches {number_text(card.probe.value)}, the best reader of words, "
            f"{words(best)}, {estimate_text(reader)}. Difference {estimate_text(delta)}."
        )
    return auroc_dots(
        "AUROC of the probe and of baselines that read words only, held-out pairs",
        rows,
        finding,
        "Bars are confidence intervals; those of nulls run from their mean to their 95th "
        "percentile.",
    )


def hard_pairs(run: RunResults) -> go.Figure | None:
    """Pairs in which words and deeds part, by kind."""
    if run.evidence is None or (hard := run.evidence.hard_pairs) is None:
        return None
    whole = hard.all and f"Over all hard pairs the direction reaches {estimate_text(hard.all)}."
    return auroc_dots(
        "AUROC on hard pairs, where words and deeds part, by kind",
        _dots({"all hard pairs": hard.all}, POSITIVE) + _dots(hard.by_kind, NEGATIVE),
        whole or "",
        "Hard pairs are matched in words: below 0.5 the direction follows words, not deeds.",
    )


def contrasts(run: RunResults) -> go.Figure | None:
    """How well the direction tells apart what it should not: sentiment, politeness, …"""
    rows, aurocs = [], {}
    for name, row in run.evidence.contrasts.items() if run.evidence else ():
        if row.auroc:
            cosine = row.cosine
            beside = "" if cosine is None else f" (cosine {signed_text(round(cosine, 2))})"
            rows.append(Dot.of(f"{words(name)}{beside}", row.auroc, COLOURS[3]))
            aurocs[name] = row.auroc
    return auroc_dots(
        "AUROC of the direction on other contrasts (0.5 = blind to them)",
        rows,
        _read_too(aurocs),
        "Far from 0.5 the direction also reads the other contrast. The cosine is between "
        "the two directions at the chosen layer.",
    )


def left_out(run: RunResults, part: Part) -> go.Figure | None:
    """AUROC on each scenario, source or format of a direction learnt from the other ones."""
    rows = _dots(_by_part(run.evidence)[part], COLOURS[2]) if run.evidence else []
    return auroc_dots(
        f"AUROC on a {part} that the direction never saw",
        rows,
        _range(rows),
        f"Each row: the direction is learnt from the other {part}s and tested on this one.",
    )


def estimators(run: RunResults) -> go.Figure | None:
    """Held-out AUROC of each way of making a direction, and of the choice among them."""
    if run.evidence is None:
        return None
    chosen, rows = run.evidence.selection, []
    if chosen and chosen.test_auroc:
        rows.append(Dot.of(f"selected: {words(chosen.estimator)}", chosen.test_auroc, POSITIVE))
    if chosen and chosen.nested_auroc:
        rows.append(Dot.of("choosing, nested CV on training pairs", chosen.nested_auroc, GREY))
    for name, row in run.evidence.estimators.items():
        if row.test_auroc:
            what = f"{words(name)} (layer {row.layer})"
            rows.append(Dot.of(what, row.test_auroc, COLOURS[0]))
    return auroc_dots(
        "AUROC by estimator and pooling of the direction, held-out pairs",
        rows,
        _selected(chosen) or _range(rows),
        "The layer of each was chosen by cross-validation on the training pairs.",
    )


def _dots(estimates: Estimates, colour: str) -> list[Dot]:
    return [Dot.of(words(name), value, colour) for name, value in estimates.items() if value]


def _nulls(card: Evidence) -> dict[str, NullDistribution]:
    nulls = card.nulls
    named = {"random directions": nulls.random_directions, "shuffled labels": nulls.shuffled_labels}
    named["control tasks"] = card.selectivity.control if card.selectivity else None
    return {name: null for name, null in named.items() if null is not None}


def _by_part(card: Evidence) -> dict[Part, Estimates]:
    return {
        "scenario": card.leave_one_scenario_out,
        "source": card.leave_one_source_out,
        "format": card.leave_one_format_out,
    }


def _read_too(aurocs: Mapping[str, Estimate]) -> str:
    """Which contrasts' intervals leave out 0.5."""
    read = [
        f"{words(name)} ({number_text(e.value)})"
        for name, e in aurocs.items()
        if not e.low <= 0.5 <= e.high
    ]
    if not read:
        return f"No interval of the {len(aurocs)} contrasts leaves out 0.5."
    blind = len(aurocs) - len(read)
    return f"The interval leaves out 0.5 for {', '.join(read)}; not for the other {blind}."


def _selected(chosen: Selection | None) -> str:
    """What cross-validation chose, and what that is worth, in a sentence."""
    if chosen is None or chosen.test_auroc is None:
        return ""
    estimator, pooling = (words(shortened(t, 40)) for t in (chosen.estimator, chosen.pooling))
    how = f"{estimator}, {pooling} pooling, layer {chosen.layer}"
    nested = chosen.nested_auroc
    whole = f"; the choosing itself {estimate_text(nested)} on training pairs" if nested else ""
    return f"Cross-validation chose {how}: {estimate_text(chosen.test_auroc)}{whole}."


def _range(rows: Sequence[Dot]) -> str:
    if len(rows) < 2:
        return ""
    low, high = min(rows, key=lambda r: r.value), max(rows, key=lambda r: r.value)
    return f"From {number_text(low.value)} ({low.name}) to {number_text(high.value)} ({high.name})."


def evidence_tables(run: RunResults) -> Iterator[Table]:
    """The card's tables, in the order of the report."""
    if (card := run.evidence) is None:
        return
    yield table(
        "baselines",
        "AUROC of the probe and of baselines, held-out pairs",
        "reader | AUROC",
        measured(
            {
                "the probe": card.probe,
                "the probe, pairs the right way round": card.paired_accuracy,
                "the probe, d_z within pairs": card.d_z,
                **card.baselines,
            }
        ),
    )
    yield table(
        "nulls",
        "What directions without meaning reach (AUROC)",
        "null | mean | sd | 95th percentile | 99th percentile | draws",
        ((name, n.mean, n.sd, n.p95, n.p99, n.n) for name, n in _nulls(card).items()),
    )
    yield table(
        "estimators",
        "Ways of making the direction (p allows for all rows having been tried)",
        "estimator | pooling | layer | CV AUROC (training) | held-out AUROC | p | stability | "
        "agreement",
        ((words(name), *ESTIMATOR(row)) for name, row in card.estimators.items()),
    )
    yield table(
        "selection",
        "Layer, estimator and pooling chosen by cross-validation on training pairs",
        "figure | value",
        measured(_selection(card.selection) if card.selection else {}),
    )
    tests = measured(_transfer(card))
    yield table("transfer", "AUROC beyond the held-out pairs", "test | AUROC", tests)
    yield table(
        "contrasts",
        "Other contrasts that the direction should not read",
        "contrast | share of our own gap | AUROC | p after Holm | cosine of the directions | "
        "pairs needed",
        (
            (words(name), c.equivalence, c.auroc, c.p_holm, c.cosine, c.pairs_needed)
            for name, c in card.contrasts.items()
        ),
    )
    yield table(
        "detectable",
        "What the tests could have found in 80% of draws",
        "direction | figure | effect found | n | smallest effect that matters | n needed for it",
        (
            (words(d.configuration), words(name), m.effect, m.n, m.wanted, m.n_needed)
            for d in card.directions
            for name, m in d.minimal_detectable.items()
        ),
    )


def _selection(chosen: Selection) -> dict[str, Value]:
    return {
        "estimator": chosen.estimator,
        "pooling": chosen.pooling,
        "layer": chosen.layer,
        "configurations tried": chosen.n_tried,
        "CV AUROC (training), too good: the best of all tried": chosen.cv_auroc,
        "AUROC of the whole procedure (training, nested CV)": chosen.nested_auroc,
        "held-out AUROC": chosen.test_auroc,
        "p": chosen.p,
        "held-out AUROC minus the run's direction": chosen.over_headline,
        **{what: chosen.gains.get(name) for name, what in GAINS.items()},
    }


def _transfer(card: Evidence) -> dict[str, Estimate | None]:
    hard, masked = card.hard_pairs, card.lexically_ablated
    tests: dict[str, Estimate | None] = {}
    if hard:
        tests |= {"all hard pairs": hard.all, **hard.by_kind}
    if masked:
        tests["telling words masked"] = masked.auroc
        tests |= {f"telling words masked: {name}": e for name, e in masked.baselines.items()}
    for part, estimates in _by_part(card).items():
        tests |= {f"left-out {part}: {name}": e for name, e in estimates.items()}
    return tests
