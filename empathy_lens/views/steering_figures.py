"""Figures of texts written under steering."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from .runs import get, plain, rows
from .text import number_text, plotly_text, signed_text
from .theme import COLOURS, SYMBOLS, new_figure

__all__ = ["steering_damage"]


def steering_damage(steering: Any) -> go.Figure | None:
    """Effect against damage: log-odds shift and repetition of each completion."""
    examples = _with_numbers(steering, "alpha", "shift", "repetition")
    if not examples:
        return None
    figure = new_figure(
        "Texts under steering: log-odds shift and repetition of each completion",
        "log-odds shift against unsteered (nats)",
        "repetition (0 to 1)",
        height=440,
        finding=_damage_finding(steering, examples),
        note="Each point is one completion. High points repeat themselves: the strength broke "
        "the text rather than steered it.",
    )
    alphas = sorted({float(row["alpha"]) for row in examples})
    for i, alpha in enumerate(alphas):
        mine = [row for row in examples if float(row["alpha"]) == alpha]
        figure.add_scatter(
            x=[row["shift"] for row in mine],
            y=[row["repetition"] for row in mine],
            mode="markers",
            marker={
                "color": COLOURS[i % len(COLOURS)],
                "symbol": SYMBOLS[i % len(SYMBOLS)],
                "size": 9,
                "opacity": 0.8,
            },
            text=[plotly_text(row.get("completion", "")) for row in mine],
            hovertemplate="%{text}<extra>%{fullData.name}</extra>",
            name=f"alpha {signed_text(alpha)}",
        )
    highest = max(float(row["repetition"]) for row in examples)
    figure.update_yaxes(range=[-0.02, max(0.4, 1.1 * highest)], zeroline=False)
    return figure


def _damage_finding(steering: Any, examples: list[dict[str, Any]]) -> str:
    highest = max(float(row["repetition"]) for row in examples)
    said = f"The highest repetition of {len(examples)} texts is {number_text(highest, 2)}"
    out_of = get(steering, "out_of")
    if not plain(out_of):
        return f"{said}."
    successes = number_text(get(steering, "successes"))
    return f"{said}; {successes} of {number_text(out_of)} steered texts count as success."


def _with_numbers(steering: Any, *names: str) -> list[dict[str, Any]]:
    return [
        row for row in rows(steering, "examples") if all(plain(row.get(name)) for name in names)
    ]
