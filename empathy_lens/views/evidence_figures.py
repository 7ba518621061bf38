"""Figures of the evidence card: what the probe is worth beside simpler explanations."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import plotly.graph_objects as go

from .runs import estimate, get, numbers_of
from .text import estimate_text, number_text, shortened, signed_text
from .theme import COLOURS, GREY, NEGATIVE, POSITIVE, dots

__all__ = ["EVIDENCE_FIGURES"]

Row = tuple[str, tuple[float, float, float], str]

AUROC = "AUROC (0.5 = chance)"
SPAN = (0.4, 1.0)


def probe_against_baselines(evidence: Any) -> go.Figure | None:
    """The probe beside readers of words, and what random and shuffled directions reach."""
    probe = estimate(get(evidence, "probe"))
    baselines = numbers_of(evidence, "baselines")
    if probe is None and not baselines:
        return None
    rows = _rows({"the probe": get(evidence, "probe")}, POSITIVE) + _rows(baselines, NEGATIVE)
    for name, null in numbers_of(evidence, "nulls").items():
        mean, p95 = estimate(get(null, "mean")), estimate(get(null, "p95"))
        if mean and p95:
            rows.append((f"null: {_words(name)}", (mean[0], mean[0], p95[0]), GREY))
    delta = get(evidence, "delta_vs_best_baseline")
    best = get(evidence, "headline", "best_baseline")
    finding = ""
    if probe is not None and estimate(delta) is not None and isinstance(best, str):
        finding = (
            f"The probe reaches {number_text(probe[0])}, the best reader of words, {_words(best)}, "
            f"{estimate_text(baselines.get(best))}. Difference {estimate_text(delta)}."
        )
    return dots(
        "AUROC of the probe and of baselines that read words only, held-out pairs",
        AUROC,
        rows,
        finding=finding,
        note="Bars are confidence intervals; those of nulls run from their mean to their 95th "
        "percentile.",
        chance=0.5,
        span=SPAN,
    )


def hard_pairs(evidence: Any) -> go.Figure | None:
    """Pairs in which words and deeds part, by kind."""
    kinds = _rows(numbers_of(evidence, "hard_pairs", "by_kind"), NEGATIVE)
    rows = _rows({"all hard pairs": get(evidence, "hard_pairs", "all")}, POSITIVE) + kinds
    if not rows:
        return None
    return dots(
        "AUROC on hard pairs, where words and deeds part, by kind",
        AUROC,
        rows,
        finding=_reaches(
            "Over all hard pairs the direction reaches", get(evidence, "hard_pairs", "all")
        ),
        note="Hard pairs are matched in words: below 0.5 the direction follows words, not deeds.",
        chance=0.5,
        span=SPAN,
    )


def contrasts(evidence: Any) -> go.Figure | None:
    """How well the direction tells apart what it should not: sentiment, politeness, …"""
    found = numbers_of(evidence, "contrasts")
    rows = []
    for name, row in found.items():
        point = estimate(get(row, "auroc"))
        cosine = estimate(get(row, "cosine"))
        if point:
            label = (
                f"{_words(name)} (cosine {signed_text(round(cosine[0], 2))})"
                if cosine
                else _words(name)
            )
            rows.append((label, point, COLOURS[3]))
    if not rows:
        return None
    return dots(
        "AUROC of the direction on other contrasts (0.5 = blind to them)",
        AUROC,
        rows,
        finding=_read_too({name: get(row, "auroc") for name, row in found.items()}),
        note="Far from 0.5 the direction also reads the other contrast. The cosine is between "
        "the two directions at the chosen layer.",
        chance=0.5,
        span=SPAN,
    )


def leave_one_out(what: str, evidence: Any) -> go.Figure | None:
    """AUROC on each scenario, source or format of a direction learnt from the other ones."""
    rows = _rows(numbers_of(evidence, f"leave_one_{what}_out"), COLOURS[2])
    if not rows:
        return None
    return dots(
        f"AUROC on a {what} that the direction never saw",
        AUROC,
        rows,
        finding=_range(rows),
        note=f"Each row: the direction is learnt from the other {what}s and tested on this one.",
        chance=0.5,
        span=SPAN,
    )


def estimators(evidence: Any) -> go.Figure | None:
    """Held-out AUROC of each way of making a direction, and of the choice among them."""
    rows = []
    selection = get(evidence, "selection")
    nested, chosen = (estimate(get(selection, k)) for k in ("nested_auroc", "test_auroc"))
    if chosen:
        rows.append((f"selected: {_name(get(selection, 'estimator'))}", chosen, POSITIVE))
    if nested:
        rows.append(("choosing, nested CV on training pairs", nested, GREY))
    for name, row in numbers_of(evidence, "estimators").items():
        point = estimate(get(row, "test_auroc"))
        layer = get(row, "layer")
        if point:
            where = f" (layer {layer})" if isinstance(layer, int) else ""
            rows.append((f"{_words(name)}{where}", point, COLOURS[0]))
    if not rows:
        return None
    return dots(
        "AUROC by estimator and pooling of the direction, held-out pairs",
        AUROC,
        rows,
        finding=_selected(selection) or _range(rows),
        note="The layer of each was chosen by cross-validation on the training pairs.",
        chance=0.5,
        span=SPAN,
    )


EVIDENCE_FIGURES: dict[str, Callable[[Any], go.Figure | None]] = {
    "probe_against_baselines": probe_against_baselines,
    "hard_pairs": hard_pairs,
    "contrasts": contrasts,
    **{f"leave_one_{w}_out": partial(leave_one_out, w) for w in ("scenario", "source", "format")},
    "estimators": estimators,
}


def _rows(found: dict[str, Any], colour: str) -> list[Row]:
    return [
        (_words(name), point, colour)
        for name, value in found.items()
        if (point := estimate(value)) is not None
    ]


def _words(name: str) -> str:
    return name.replace("_", " ")


def _name(value: Any) -> str:
    return _words(shortened(value, 40))


def _reaches(what: str, value: Any) -> str:
    return f"{what} {estimate_text(value)}." if estimate(value) is not None else ""


def _read_too(aurocs: dict[str, Any]) -> str:
    """Which contrasts' intervals leave out 0.5."""
    found = {name: e for name, value in aurocs.items() if (e := estimate(value)) is not None}
    read = [
        f"{_words(name)} ({number_text(value)})"
        for name, (value, low, high) in found.items()
        if not low <= 0.5 <= high
    ]
    if not read:
        return f"No interval of the {len(found)} contrasts leaves out 0.5."
    blind = len(found) - len(read)
    return f"The interval leaves out 0.5 for {', '.join(read)}; not for the other {blind}."


def _selected(selection: Any) -> str:
    """What cross-validation chose, and what that is worth, in a sentence."""
    chosen, nested = (get(selection, name) for name in ("test_auroc", "nested_auroc"))
    if estimate(chosen) is None:
        return ""
    how = (
        f"{_name(get(selection, 'estimator'))}, {_name(get(selection, 'pooling'))} pooling, "
        f"layer {_name(get(selection, 'layer'))}"
    )
    whole = f"; the choosing itself {estimate_text(nested)} on training pairs" if nested else ""
    return f"Cross-validation chose {how}: {estimate_text(chosen)}{whole}."


def _range(rows: list[Row]) -> str:
    low, high = min(rows, key=lambda r: r[1][0]), max(rows, key=lambda r: r[1][0])
    if len(rows) < 2:
        return ""
    return f"From {number_text(low[1][0])} ({low[0]}) to {number_text(high[1][0])} ({high[0]})."
