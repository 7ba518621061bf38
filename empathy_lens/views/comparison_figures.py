"""Figures that lay several runs over each other, drawn from their saved results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from .headline import Measure
from .runs import estimate, get, numbers_of, plain, rows
from .text import number_text, plotly_text
from .theme import COLOURS, GREY, SYMBOLS, dots, new_figure

__all__ = ["compared_aurocs", "compared_dose_response", "compared_layers"]

Runs = Mapping[str, Mapping[str, Any]]


def compared_layers(runs: Runs) -> go.Figure | None:
    """Held-out AUROC by relative depth, a curve for each run."""
    curves: dict[str, list[tuple[float, int, float, float, float]]] = {}
    for name, run in runs.items():
        layers = {
            int(layer): point
            for layer, row in numbers_of(run.get("validation_auroc"), "layers").items()
            if str(layer).isdecimal() and (point := estimate(get(row, "auroc")))
        }
        deepest = max(layers, default=0)
        if deepest:
            curves[name] = [(k / deepest, k, *layers[k]) for k in sorted(layers)]
    if not curves:
        return None
    best = {name: max(curve, key=lambda p: p[2]) for name, curve in curves.items()}
    words = [f"{name} {number_text(p[2])} (layer {p[1]})" for name, p in best.items()]
    figure = new_figure(
        "AUROC on held-out pairs, by relative depth (0 = first layer, 1 = last)",
        "relative depth of the layer",
        "AUROC (0.5 = chance)",
        finding=f"Highest: {', '.join(words)}.",
        note="Each curve is one run. The ring marks the layer that was chosen on training pairs.",
    )
    for i, (name, curve) in enumerate(curves.items()):
        style = {"color": COLOURS[i % len(COLOURS)], "symbol": SYMBOLS[i % len(SYMBOLS)]}
        figure.add_scatter(
            x=[p[0] for p in curve],
            y=[p[2] for p in curve],
            customdata=[[p[1], p[3], p[4]] for p in curve],
            mode="lines+markers",
            line={"color": style["color"], "width": 2},
            marker={**style, "size": 7},
            name=plotly_text(name, 60),
            hovertemplate="layer %{customdata[0]}<br>%{y:.3f} [%{customdata[1]:.3f}, "
            "%{customdata[2]:.3f}]<extra>%{fullData.name}</extra>",
        )
        selected = get(runs[name].get("validation_auroc"), "selected_layer")
        for place in (p for p in curve if p[1] == selected):
            figure.add_scatter(
                x=[place[0]],
                y=[place[2]],
                mode="markers",
                marker={"symbol": "circle-open", "size": 16, "color": style["color"]},
                showlegend=False,
                hoverinfo="skip",
            )
    figure.add_hline(y=0.5, line={"color": GREY, "dash": "dot", "width": 1})
    figure.update_xaxes(range=[-0.03, 1.03], zeroline=False)
    return figure


def compared_aurocs(found: Mapping[str, list[Measure]]) -> go.Figure | None:
    """Held-out and hard pairs of each run, row by row."""
    drawn = [
        (f"{run}: {measure.name.removeprefix('AUROC, ')}", measure.value, COLOURS[i % len(COLOURS)])
        for i, (run, measures) in enumerate(found.items())
        for measure in measures
        if measure.name.startswith("AUROC")
    ]
    if not drawn:
        return None
    return dots(
        "AUROC of each run's direction on held-out and on hard pairs",
        "AUROC (0.5 = chance)",
        drawn,
        finding=f"Highest: {(best := max(drawn, key=lambda row: row[1][0]))[0]}, "
        f"{number_text(best[1][0])}.",
        note="Bars are confidence intervals.",
        chance=0.5,
        span=(0.4, 1.0),
    )


def compared_dose_response(runs: Runs) -> go.Figure | None:
    """Mean shift of the action's log-odds by alpha, a curve for each run."""
    figure = new_figure(
        "Mean shift of the empathic action's log-odds by steering strength (nats per token)",
        "alpha (mean class gaps)",
        "log-odds shift (nats per token)",
        note="Above 0 the model leans more to the empathic action than unsteered. Alpha counts "
        "each model's own class gaps.",
    )
    for i, (name, run) in enumerate(runs.items()):
        shifts = {
            float(row["alpha"]): found[0]
            for row in rows(run.get("steering_examples"), "dose_response")
            if plain(row.get("alpha")) and (found := estimate(row.get("shift"))) is not None
        }
        if shifts:
            colour = COLOURS[i % len(COLOURS)]
            figure.add_scatter(
                x=sorted(shifts),
                y=[shifts[a] for a in sorted(shifts)],
                mode="lines+markers",
                line={"color": colour, "width": 2},
                marker={"color": colour, "symbol": SYMBOLS[i % len(SYMBOLS)], "size": 8},
                name=plotly_text(name, 60),
                hovertemplate="alpha %{x}<br>shift %{y:.3f}<extra>%{fullData.name}</extra>",
            )
    if not figure.data:
        return None
    figure.add_hline(y=0, line={"color": GREY, "dash": "dot", "width": 1})
    return figure
