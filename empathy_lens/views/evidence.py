"""The evidence card's figures and tables: the probe beside simpler explanations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from ..evidence import Evidence, NullDistribution, Selection
from ..types import Estimate
from .tables import Table, table
from .text import Value, estimate_text, number_text, shortened, signed_text, words
from .theme import COLOURS, GREY, NEGATIVE, POSITIVE, Dot, dots

__all__ = ["evidence_figures", "evidence_tables"]

Estimates = Mapping[str, Estimate | None]


def evidence_figures(evidence: Evidence) -> dict[str, go.Figure | None]:
    """The card's figures by name, None where it does not hold what one shows."""
    return {
        "probe_against_baselines": probe_against_baselines(evidence),
        "hard_pairs": hard_pairs(evidence),
        "contrasts": contrasts(evidence),
        "leave_one_scenario_out": left_out("scenario", evidence.leave_one_scenario_out),
        "leave_one_source_out": left_out("source", evidence.leave_one_source_out),
        "leave_one_format_out": left_out("format", evidence.leave_one_format_out),
        "estimators": estimators(evidence),
    }


def probe_against_baselines(evidence: Evidence) -> go.Figure | None:
    """The probe beside readers of words, and what random and shuffled directions reach."""
    if evidence.probe is None and not evidence.baselines:
        return None
    rows = _dots({"the probe": evidence.probe}, POSITIVE) + _dots(evidence.baselines, NEGATIVE)
    rows += [
        Dot(f"null: {words(name)}", null.mean, null.mean, null.p95, GREY)
        for name, null in _nulls(evidence).items()
    ]
    best, delta = evidence.headline.best_baseline, evidence.delta_vs_best_baseline
    finding, reader = "", evidence.baselines.get(best) if best else None
    if best and evidence.probe and delta and reader:
        finding = (
            f"The probe reaches {number_text(evidence.probe.value)}, the best reader of words, "
            f"{words(best)}, {estimate_text(reader)}. Difference {estimate_text(delta)}."
        )
    return _auroc_dots(
        "AUROC of the probe and of baselines that read words only, held-out pairs",
        rows,
        finding,
        "Bars are confidence intervals; those of nulls run from their mean to their 95th "
        "percentile.",
    )


def hard_pairs(evidence: Evidence) -> go.Figure | None:
    """Pairs in which words and deeds part, by kind."""
    hard = evidence.hard_pairs
    if hard is None:
        return None
    whole = hard.all and f"Over all hard pairs the direction reaches {estimate_text(hard.all)}."
    return _auroc_dots(
        "AUROC on hard pairs, where words and deeds part, by kind",
        _dots({"all hard pairs": hard.all}, POSITIVE) + _dots(hard.by_kind, NEGATIVE),
        whole or "",
        "Hard pairs are matched in words: below 0.5 the direction follows words, not deeds.",
    )


def contrasts(evidence: Evidence) -> go.Figure | None:
    """How well the direction tells apart what it should not: sentiment, politeness, …"""
    read = {name: row for name, row in evidence.contrasts.items() if row.auroc is not None}
    rows = []
    for name, row in read.items():
        beside = "" if row.cosine is None else f" (cosine {signed_text(round(row.cosine, 2))})"
        if row.auroc:
            rows.append(Dot.of(f"{words(name)}{beside}", row.auroc, COLOURS[3]))
    return _auroc_dots(
        "AUROC of the direction on other contrasts (0.5 = blind to them)",
        rows,
        _read_too({name: row.auroc for name, row in read.items() if row.auroc}),
        "Far from 0.5 the direction also reads the other contrast. The cosine is between "
        "the two directions at the chosen layer.",
    )


def left_out(what: str, parts: Estimates) -> go.Figure | None:
    """AUROC on each scenario, source or format of a direction learnt from the other ones."""
    rows = _dots(parts, COLOURS[2])
    return _auroc_dots(
        f"AUROC on a {what} that the direction never saw",
        rows,
        _range(rows),
        f"Each row: the direction is learnt from the other {what}s and tested on this one.",
    )


def estimators(evidence: Evidence) -> go.Figure | None:
    """Held-out AUROC of each way of making a direction, and of the choice among them."""
    chosen, rows = evidence.selection, []
    if chosen and chosen.test_auroc:
        rows.append(Dot.of(f"selected: {words(chosen.estimator)}", chosen.test_auroc, POSITIVE))
    if chosen and chosen.nested_auroc:
        rows.append(Dot.of("choosing, nested CV on training pairs", chosen.nested_auroc, GREY))
    for name, row in evidence.estimators.items():
        if row.test_auroc:
            what = f"{words(name)} (layer {row.layer})"
            rows.append(Dot.of(what, row.test_auroc, COLOURS[0]))
    return _auroc_dots(
        "AUROC by estimator and pooling of the direction, held-out pairs",
        rows,
        (_selected(chosen) if chosen else "") or _range(rows),
        "The layer of each was chosen by cross-validation on the training pairs.",
    )


def _auroc_dots(title: str, rows: Sequence[Dot], finding: str, note: str) -> go.Figure | None:
    if not rows:
        return None
    return dots(
        title,
        "AUROC (0.5 = chance)",
        rows,
        finding=finding,
        note=note,
        chance=0.5,
        span=(0.4, 1.0),
    )


def _dots(estimates: Estimates, colour: str) -> list[Dot]:
    return [Dot.of(words(name), value, colour) for name, value in estimates.items() if value]


def _nulls(evidence: Evidence) -> dict[str, NullDistribution]:
    nulls = evidence.nulls
    listed = {
        "random_directions": nulls.random_directions,
        "shuffled_labels": nulls.shuffled_labels,
    }
    return {name: null for name, null in listed.items() if null is not None}


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


def _selected(chosen: Selection) -> str:
    """What cross-validation chose, and what that is worth, in a sentence."""
    if chosen.test_auroc is None:
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


def evidence_tables(evidence: Evidence) -> list[Table | None]:
    """The card's tables, in the order of the report."""
    return [
        table(
            "baselines",
            "AUROC of the probe and of baselines, held-out pairs",
            ("reader", "AUROC"),
            _named({"the probe": evidence.probe}, evidence.baselines),
        ),
        table(
            "nulls",
            "What directions without meaning reach (AUROC)",
            ("null", "mean", "sd", "95th percentile", "99th percentile", "draws"),
            (
                (words(name), null.mean, null.sd, null.p95, null.p99, null.n)
                for name, null in _nulls(evidence).items()
            ),
        ),
        table(
            "estimators",
            "Ways of making the direction (p allows for all rows having been tried)",
            (
                "estimator",
                "pooling",
                "layer",
                "CV AUROC (training)",
                "held-out AUROC",
                "p",
                "stability",
                "agreement",
            ),
            (
                (
                    words(name),
                    row.pooling,
                    row.layer,
                    row.cv_auroc,
                    row.test_auroc,
                    row.p_corrected,
                    row.stability,
                    row.agreement,
                )
                for name, row in evidence.estimators.items()
            ),
        ),
        table(
            "selection",
            "Layer, estimator and pooling chosen by cross-validation on training pairs",
            ("figure", "value"),
            _selection_rows(evidence.selection),
        ),
        table(
            "transfer", "AUROC beyond the held-out pairs", ("test", "AUROC"), _transfer(evidence)
        ),
        table(
            "contrasts",
            "Other contrasts that the direction should not read",
            ("contrast", "AUROC", "p after Holm", "cosine of the directions"),
            (
                (words(name), row.auroc, row.p_holm, row.cosine)
                for name, row in evidence.contrasts.items()
            ),
        ),
    ]


def _selection_rows(chosen: Selection | None) -> list[tuple[str, Value]]:
    if chosen is None:
        return []
    gains = {
        "naive_bayes": "minus naive Bayes",
        "tfidf_logistic": "minus TF-IDF and logistic regression",
        "sentence_embedding": "minus sentence embedding",
        "length": "minus text length",
    }
    rows: list[tuple[str, Value]] = [
        ("estimator", chosen.estimator),
        ("pooling", chosen.pooling),
        ("layer", chosen.layer),
        ("configurations tried", chosen.n_tried),
        ("CV AUROC (training), too good: the best of all tried", chosen.cv_auroc),
        ("AUROC of the whole procedure (training, nested CV)", chosen.nested_auroc),
        ("held-out AUROC", chosen.test_auroc),
        ("p", chosen.p),
        ("held-out AUROC minus the run's direction", chosen.over_headline),
        *((what, chosen.gains.get(name)) for name, what in gains.items()),
    ]
    return [(what, value) for what, value in rows if value is not None]


def _transfer(evidence: Evidence) -> list[tuple[str, Value]]:
    hard, masked = evidence.hard_pairs, evidence.lexically_ablated
    listed: list[Estimates] = []
    if hard:
        listed += [{"all hard pairs": hard.all}, hard.by_kind]
    if masked:
        listed += [
            {"telling words masked": masked.auroc},
            {f"telling words masked: {name}": e for name, e in masked.baselines.items()},
        ]
    for what, parts in (
        ("scenario", evidence.leave_one_scenario_out),
        ("source", evidence.leave_one_source_out),
        ("format", evidence.leave_one_format_out),
    ):
        listed.append({f"left-out {what}: {name}": value for name, value in parts.items()})
    return _named(*listed)


def _named(*mappings: Estimates) -> list[tuple[str, Value]]:
    return [(words(name), e) for mapping in mappings for name, e in mapping.items() if e]
