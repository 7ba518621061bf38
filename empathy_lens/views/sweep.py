"""A steering sweep over layers: effect against damage, and which setting to use."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from ..steering.analysis import FrontierPoint
from ..steering.examples import SteeringResults
from .run_results import RunResults
from .steering import ALPHA
from .text import estimate_text, number_text, plotly_text, signed_text
from .theme import COLOURS, DIVERGING, SYMBOLS, interval, new_figure

CROWDED = 6
"""Layers that can be drawn with intervals and labels at every point."""


def effect_against_damage(steering: SteeringResults | None) -> go.Figure | None:
    """The frontier: effect of each setting against its loss on neutral text."""
    settings = steering.frontier if steering else ()
    if not settings:
        return None
    layers = sorted({row.layer for row in settings})
    crowded = len(layers) > CROWDED
    shades = sample_colorscale("Viridis", len(layers)) if crowded else COLOURS
    figure = new_figure(
        "Effect against damage: log-odds shift and loss on neutral text, by setting",
        "increase of the loss on neutral text (nats per token)",
        "log-odds shift (nats per token)",
        height=460,
        finding=_frontier_finding(settings),
        note="Each point is one layer and alpha; points of a layer are joined in the order of "
        "alpha. Good settings lie high (adding) or low (removing) and to the left. "
        + ("Hover for the intervals." if crowded else "Bars: 95% intervals."),
    )
    for i, layer in enumerate(layers):
        mine = sorted((row for row in settings if row.layer == layer), key=lambda row: row.alpha)
        figure.add_scatter(
            x=[row.loss_increase.value for row in mine],
            y=[row.effect.value for row in mine],
            error_y=None if crowded else interval([row.effect for row in mine]),
            error_x=None if crowded else interval([row.loss_increase for row in mine]),
            mode="lines+markers" if crowded else "lines+markers+text",
            text=[signed_text(row.alpha) for row in mine],
            textposition="top center",
            customdata=[
                [row.effect.low, row.effect.high, row.loss_increase.low, row.loss_increase.high]
                for row in mine
            ],
            line={"color": shades[i % len(shades)], "width": 1, "dash": "dot"},
            marker={"symbol": SYMBOLS[i % len(SYMBOLS)], "size": 9},
            hovertemplate="alpha %{text}<br>shift %{y:.3f} [%{customdata[0]:.3f}, "
            "%{customdata[1]:.3f}]<br>loss %{x:+.3f} [%{customdata[2]:.3f}, %{customdata[3]:.3f}]"
            "<extra>%{fullData.name}</extra>",
            name=plotly_text(f"layer {layer}", 40),
        )
    return figure


def effect_by_layer(run: RunResults) -> go.Figure | None:
    """Which layer, which strength: the effect of every setting, and where it costs too much."""
    sweep, concept = run.steering_sweep, run.concept
    if sweep is None or not sweep.frontier:
        return None
    at = {(row.layer, row.alpha): row for row in sweep.frontier}
    layers, alphas = sorted({k for k, _ in at}), sorted({a for _, a in at})
    grid = [[at.get((layer, alpha)) for alpha in alphas] for layer in layers]
    largest = max(abs(row.effect.value) for row in sweep.frontier) or 1.0
    figure = new_figure(
        f"Shift of the {plotly_text(concept.positive, 40)} action's log-odds by layer and strength "
        "(nats per token)",
        ALPHA,
        "layer",
        height=200 + 26 * len(layers),
        finding=_answer_finding(sweep),
        note=f"Blue: the model leans more to the {concept.positive} actions than unsteered; "
        "orange: less. Crosses: the loss on neutral text or the share of plain questions answered "
        "rightly is out of bounds. Circles: what is recommended.",
    )
    figure.add_heatmap(
        x=[signed_text(alpha) for alpha in alphas],
        y=[str(layer) for layer in layers],
        z=[[row and row.effect.value for row in across] for across in grid],
        customdata=[[_hover(row) if row else "" for row in across] for across in grid],
        zmin=-largest,
        zmax=largest,
        colorscale=DIVERGING,
        xgap=1,
        ygap=1,
        colorbar={"thickness": 12, "outlinewidth": 0},
        hovertemplate="layer %{y}, alpha %{x}<br>%{customdata}<extra></extra>",
    )
    broken = [(row.layer, row.alpha) for row in sweep.frontier if not row.within]
    chosen = [(a.layer, a.alpha) for a in sweep.recommendation.values() if a]
    for symbol, settings in (("x-thin", broken), ("circle-open", chosen)):
        shown = [setting for setting in settings if setting in at]
        figure.add_scatter(
            x=[signed_text(alpha) for _, alpha in shown],
            y=[str(layer) for layer, _ in shown],
            mode="markers",
            marker={
                "symbol": symbol,
                "size": 11,
                "color": "#000000",
                "line": {"width": 2, "color": "#000000"},
            },
            hoverinfo="skip",
            showlegend=False,
        )
    figure.update_xaxes(type="category", showgrid=False, zeroline=False)
    figure.update_yaxes(type="category", showgrid=False, zeroline=False)
    return figure


def _hover(row: FrontierPoint) -> str:
    said = [f"shift {estimate_text(row.effect)}", f"loss {estimate_text(row.loss_increase)}"]
    if row.accuracy:
        said.append(f"plain questions right {estimate_text(row.accuracy)}")
    return "<br>".join(said)


def _answer_finding(sweep: SteeringResults) -> str:
    """What is recommended, in a sentence for each side."""
    said = []
    for towards, answer in sweep.recommendation.items():
        if answer is None:
            said.append(f"{towards}: no setting within the bounds moves the choice")
            continue
        works = "shown to work" if answer.works else "not shown to work"
        said.append(
            f"{towards}: layer {answer.layer} at alpha {signed_text(answer.alpha)}, {works}"
        )
    return f"Best setting for {'; for '.join(said)}." if said else ""


def _frontier_finding(settings: Sequence[FrontierPoint]) -> str:
    row = max(settings, key=lambda row: abs(row.effect.value))
    return (
        f"The largest shift, {signed_text(round(row.effect.value, 3))} nats per token at layer "
        f"{number_text(row.layer)} and alpha {signed_text(row.alpha)}, changes the loss on neutral "
        f"text by {signed_text(round(row.loss_increase.value, 3))}."
    )
