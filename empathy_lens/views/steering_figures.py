"""Figures of texts written under steering."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from .runs import plain, rows
from .text import plotly_text, signed_text
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
    figure.update_yaxes(rangemode="tozero")
    return figure


def _with_numbers(steering: Any, *names: str) -> list[dict[str, Any]]:
    return [
        row for row in rows(steering, "examples") if all(plain(row.get(name)) for name in names)
    ]
