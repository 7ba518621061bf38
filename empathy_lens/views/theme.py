"""One look for all figures: Okabe-Ito colours, which every kind of colour vision tells apart.

Backgrounds are transparent and the ink is a grey that reads on white and on black alike; the
report sets the ink to the reader's light or dark scheme.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from ..types import Estimate
from .text import plotly_text, shortened

POSITIVE = "#0072B2"
NEGATIVE = "#D55E00"
GREY = "#7F7F7F"
DIVERGING = ((0.0, NEGATIVE), (0.5, "#F4F4F4"), (1.0, POSITIVE))
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
SYMBOLS = ("circle", "triangle-down", "square", "triangle-up", "cross", "diamond")
DOTTED = {"color": GREY, "dash": "dot", "width": 1}
"""The line at the value that says nothing."""

Numbers = Sequence[float | int | None]

_INK = "#767676"
_GRID = "rgba(127,127,127,0.25)"
_AXIS = {
    "gridcolor": _GRID,
    "zerolinecolor": "rgba(127,127,127,0.6)",
    "linecolor": _GRID,
    "automargin": True,
    "title": {"standoff": 10, "font": {"size": 13}},
}
TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": _INK},
        "title": {"font": {"size": 15}, "x": 0, "xref": "paper", "xanchor": "left"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "colorway": COLOURS,
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "legend": {
            "orientation": "h",
            "yref": "container",
            "y": 0,
            "yanchor": "bottom",
            "x": 0,
            "font": {"size": 12},
        },
        "margin": {"l": 56, "r": 16, "t": 84, "b": 56},
        "hoverlabel": {"align": "left"},
        "hovermode": "closest",
    }
)


class Dot(NamedTuple):
    """A named row of a figure: a value, the bar around it, and a colour."""

    name: str
    value: float
    low: float
    high: float
    colour: str

    @classmethod
    def of(cls, name: str, estimate: Estimate, colour: str) -> Dot:
        return cls(name, estimate.value, estimate.low, estimate.high, colour)


def new_figure(
    title: str, x: str, y: str, *, height: int = 420, note: str = "", finding: str = ""
) -> go.Figure:
    """An empty figure in the theme.

    ``title`` names the quantity and its units, ``finding`` says in a sentence what this run's
    numbers show, ``note`` how to read the marks.
    """
    figure = go.Figure()
    figure.update_layout(
        template=TEMPLATE,
        title={"text": title, "subtitle": {"text": plotly_text(finding, 400, 110)}},
        xaxis_title_text=x,
        yaxis_title_text=y,
        height=height,
        meta={"note": note, "finding": shortened(finding, 600)},
    )
    return figure


def add_estimates(
    figure: go.Figure, x: Numbers, estimates: Sequence[Estimate], at: str, **look: object
) -> None:
    """A line through estimates; what hovers says ``at`` and each interval."""
    figure.add_scatter(
        x=x,
        y=[e.value for e in estimates],
        customdata=[[e.low, e.high] for e in estimates],
        mode="lines+markers",
        hovertemplate=f"{at}%{{y:.3f}} [%{{customdata[0]:.3f}}, %{{customdata[1]:.3f}}]"
        "<extra></extra>",
        **look,
    )


def add_band(
    figure: go.Figure,
    x: Numbers,
    there: Numbers,
    back: Numbers,
    name: str,
    fill: str | None,
    **line: object,
) -> None:
    """What lies between two curves over ``x``: filled in a colour, or outlined without one."""
    figure.add_scatter(
        x=[*x, *reversed(x)],
        y=[*there, *reversed(back)],
        mode="lines",
        fill="toself" if fill else "none",
        fillcolor=fill,
        line={"width": 0, **line},
        hoverinfo="skip",
        name=name,
    )


def dots(
    title: str,
    x: str,
    rows: Sequence[Dot],
    *,
    note: str,
    finding: str,
    chance: float,
    span: tuple[float, float],
) -> go.Figure | None:
    """One row each: a dot with its interval, first row on top; None without rows.

    ``span`` is the part of the axis that is always shown, so that figures of one quantity can
    be compared by eye.
    """
    if not rows:
        return None
    height = 150 + 40 * len(rows)
    figure = new_figure(title, x, "", height=height, note=note, finding=finding)
    for colour in dict.fromkeys(row.colour for row in rows):
        mine = [(i, row) for i, row in enumerate(rows) if row.colour == colour]
        symbol = SYMBOLS[COLOURS.index(colour)] if colour in COLOURS else "circle-open"
        figure.add_scatter(
            x=[row.value for _, row in mine],
            y=[i for i, _ in mine],
            error_x=interval([row for _, row in mine]),
            mode="markers",
            marker={"color": colour, "size": 10, "symbol": symbol},
            text=[plotly_text(row.name) for _, row in mine],
            customdata=[[row.low, row.high] for _, row in mine],
            hovertemplate="%{text}<br>%{x:.3f} [%{customdata[0]:.3f}, %{customdata[1]:.3f}]"
            "<extra></extra>",
            showlegend=False,
        )
    ends = [chance, *span, *(v for row in rows for v in (row.value, row.low, row.high))]
    margin = 0.04 * (max(ends) - min(ends))
    figure.update_xaxes(range=[min(ends) - margin, max(ends) + margin], zeroline=False)
    figure.add_vline(x=chance, line=DOTTED)
    figure.update_yaxes(
        tickvals=list(range(len(rows))),
        ticktext=[plotly_text(row.name, limit=60, width=28) for row in rows],
        range=[len(rows) - 0.4, -0.6],
        showgrid=False,
        zeroline=False,
    )
    return figure


def auroc_dots(title: str, rows: Sequence[Dot], finding: str, note: str) -> go.Figure | None:
    """One row for each AUROC."""
    what = "AUROC (0.5 = chance)"
    return dots(title, what, rows, finding=finding, note=note, chance=0.5, span=(0.4, 1.0))


def interval(estimates: Sequence[Estimate | Dot]) -> dict[str, object]:
    """Plotly's error bars for values with their intervals."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(e.high - e.value, 0.0) for e in estimates],
        "arrayminus": [max(e.value - e.low, 0.0) for e in estimates],
        "thickness": 1.5,
        "width": 4,
    }


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue of a colour, 0 to 255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def faint(colour: str) -> str:
    """The colour as a see-through fill."""
    red, green, blue = rgb(colour)
    return f"rgba({red},{green},{blue},0.18)"


def colour_of(i: int) -> str:
    """The colour of the i-th curve or group."""
    return COLOURS[i % len(COLOURS)]


def marker(i: int, size: int, **more: object) -> dict[str, object]:
    """The marks of the i-th curve or group, so that colour never carries meaning alone."""
    return {"color": colour_of(i), "symbol": SYMBOLS[i % len(SYMBOLS)], "size": size, **more}


def layer_axis(n_layers: int, **more: object) -> dict[str, object]:
    """An axis of layers, with at most twelve of them numbered."""
    return {"dtick": max(1, -(-n_layers // 12)), **more, "zeroline": False}
