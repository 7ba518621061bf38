"""Figures of a steering sweep: dose-response beside its controls, effect against damage, layers."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from .runs import estimate, get, numbers_of, plain, rows
from .text import estimate_text, number_text, plotly_text, signed_text
from .theme import COLOURS, DIVERGING, GREY, POSITIVE, SYMBOLS, faint, interval, new_figure

__all__ = ["dose_response", "effect_against_damage", "effect_by_layer"]

ALPHA = "alpha (steering strength, in mean class gaps)"
CROWDED = 6
"""Layers that can be drawn with intervals and labels at every point."""

Point = tuple[dict[str, Any], tuple[float, float, float], tuple[float, float, float]]
"""A setting, its effect and its damage, both as (value, low, high)."""


def dose_response(steering: Any) -> go.Figure | None:
    """Mean shift of the action's log-odds by alpha, with interval, beside control directions."""
    points = sorted(
        (float(row["alpha"]), found)
        for row in rows(steering, "dose_response")
        if plain(row.get("alpha")) and (found := estimate(row.get("shift"))) is not None
    )
    if not points:
        return None
    figure = new_figure(
        "Shift of the empathic action's log-odds by steering strength (nats per token)",
        ALPHA,
        "log-odds shift (nats per token)",
        height=460,
        finding=_slope_finding(steering),
        note="Above 0 the model leans more to the empathic actions than unsteered. Line: mean over "
        "the prompts that settings were not chosen on. Shaded around it: 95% interval over "
        "situations. Grey and dashed: where 95% of control directions of equal norm lie. Dotted: "
        "what a plain instruction to be kind does instead.",
    )
    n_random = number_text(get(steering, "random", "n"))
    _add_band(figure, steering, "random", f"{n_random} random directions", GREY, fill=True)
    n_shuffled = number_text(get(steering, "shuffled", "n"))
    _add_band(figure, steering, "shuffled", f"{n_shuffled} shuffled labels", COLOURS[1], fill=False)
    x = [a for a, _ in points]
    figure.add_scatter(
        x=x + x[::-1],
        y=[found[2] for _, found in points] + [found[1] for _, found in points[::-1]],
        mode="lines",
        fill="toself",
        fillcolor=faint(POSITIVE),
        line={"width": 0},
        hoverinfo="skip",
        name="95% interval",
    )
    figure.add_scatter(
        x=x,
        y=[found[0] for _, found in points],
        customdata=[[found[1], found[2]] for _, found in points],
        mode="lines+markers",
        line={"color": POSITIVE, "width": 3},
        marker={"size": 9},
        hovertemplate="alpha %{x}<br>shift %{y:.3f} [%{customdata[0]:.3f}, %{customdata[1]:.3f}]"
        "<extra></extra>",
        name="the direction",
    )
    told = estimate(get(steering, "instruction", "shift"))
    if told is not None:
        figure.add_hline(
            y=told[0],
            line={"color": COLOURS[2], "dash": "dot", "width": 2},
            annotation_text="plain instruction",
        )
    figure.add_hline(y=0, line={"color": GREY, "width": 1})
    return figure


def _add_band(
    figure: go.Figure, steering: Any, control: str, name: str, colour: str, *, fill: bool
) -> None:
    """``by_alpha``: {alpha: {"low", "high"}} of the mean shift under control directions."""
    band = []
    for alpha, row in numbers_of(steering, control, "by_alpha").items():
        low, high = estimate(get(row, "low")), estimate(get(row, "high"))
        try:
            at = float(alpha)
        except ValueError:
            continue
        if low and high:
            band.append((at, low[0], high[0]))
    if not band:
        return
    band.sort()
    figure.add_scatter(
        x=[a for a, _, _ in band] + [a for a, _, _ in band[::-1]],
        y=[high for _, _, high in band] + [low for _, low, _ in band[::-1]],
        mode="lines",
        fill="toself" if fill else "none",
        fillcolor="rgba(127,127,127,0.2)" if fill else None,
        line={"width": 0 if fill else 1, "color": colour, "dash": "dash"},
        hoverinfo="skip",
        name=plotly_text(name, 60),
    )


def effect_against_damage(steering: Any) -> go.Figure | None:
    """The frontier: effect of each setting against its loss on neutral text."""
    points = _settings(steering)
    if not points:
        return None
    layers = sorted({str(row.get("layer")) for row, _, _ in points}, key=lambda k: (len(k), k))
    crowded = len(layers) > CROWDED
    shades = sample_colorscale("Viridis", len(layers)) if crowded else COLOURS
    figure = new_figure(
        "Effect against damage: log-odds shift and loss on neutral text, by setting",
        "increase of the loss on neutral text (nats per token)",
        "log-odds shift (nats per token)",
        height=460,
        finding=_frontier_finding(points),
        note="Each point is one layer and alpha; points of a layer are joined in the order of "
        "alpha. Good settings lie high (adding) or low (removing) and to the left. "
        + ("Hover for the intervals." if crowded else "Bars: 95% intervals."),
    )
    for i, layer in enumerate(layers):
        mine = [p for p in points if str(p[0].get("layer")) == layer]
        mine.sort(key=lambda p: float(p[0]["alpha"]))
        figure.add_scatter(
            x=[cost[0] for _, _, cost in mine],
            y=[gain[0] for _, gain, _ in mine],
            error_y=None if crowded else interval([gain for _, gain, _ in mine]),
            error_x=None if crowded else interval([cost for _, _, cost in mine]),
            mode="lines+markers" if crowded else "lines+markers+text",
            text=[signed_text(float(row["alpha"])) for row, _, _ in mine],
            textposition="top center",
            customdata=[[*gain[1:], *cost[1:]] for _, gain, cost in mine],
            line={"color": shades[i % len(shades)], "width": 1, "dash": "dot"},
            marker={"symbol": SYMBOLS[i % len(SYMBOLS)], "size": 9},
            hovertemplate="alpha %{text}<br>shift %{y:.3f} [%{customdata[0]:.3f}, "
            "%{customdata[1]:.3f}]<br>loss %{x:+.3f} [%{customdata[2]:.3f}, %{customdata[3]:.3f}]"
            "<extra>%{fullData.name}</extra>",
            name=plotly_text(f"layer {layer}", 40),
        )
    return figure


def effect_by_layer(sweep: Any) -> go.Figure | None:
    """Which layer, which strength: the effect of every setting, and where it costs too much."""
    points = [p for p in _settings(sweep) if plain(p[0].get("layer"))]
    if not points:
        return None
    layers = sorted({int(row["layer"]) for row, _, _ in points})
    alphas = sorted({float(row["alpha"]) for row, _, _ in points})
    at = {(int(row["layer"]), float(row["alpha"])): (row, gain, cost) for row, gain, cost in points}
    grid = [[at.get((layer, alpha)) for alpha in alphas] for layer in layers]
    largest = max(abs(gain[0]) for _, gain, _ in points) or 1.0
    names, strengths = [str(layer) for layer in layers], [signed_text(a) for a in alphas]
    figure = new_figure(
        "Shift of the empathic action's log-odds by layer and strength (nats per token)",
        ALPHA,
        "layer",
        height=200 + 26 * len(layers),
        finding=_answer_finding(sweep),
        note="Blue: the model leans more to the empathic actions than unsteered; orange: less. "
        "Crosses: the loss on neutral text or the share of plain questions answered rightly is "
        "out of bounds. Circles: what is recommended.",
    )
    figure.add_heatmap(
        x=strengths,
        y=names,
        z=[[point and point[1][0] for point in row] for row in grid],
        customdata=[[_hover(point) for point in row] for row in grid],
        zmin=-largest,
        zmax=largest,
        colorscale=DIVERGING,
        xgap=1,
        ygap=1,
        colorbar={"thickness": 12, "outlinewidth": 0},
        hovertemplate="layer %{y}, alpha %{x}<br>%{customdata}<extra></extra>",
    )
    broken = [(row["layer"], row["alpha"]) for row, _, _ in points if row.get("within") is False]
    answers = numbers_of(sweep, "recommendation").values()
    chosen = [(get(a, "layer"), get(a, "alpha")) for a in answers]
    for symbol, settings in (("x-thin", broken), ("circle-open", chosen)):
        shown = [(k, a) for k, a in settings if plain(k) and plain(a) and (k, a) in at]
        figure.add_scatter(
            x=[signed_text(float(a)) for _, a in shown],
            y=[str(k) for k, _ in shown],
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


def _settings(steering: Any) -> list[Point]:
    return [
        (row, gain, cost)
        for row in rows(steering, "frontier")
        if plain(row.get("alpha"))
        and (gain := estimate(row.get("effect"))) is not None
        and (cost := estimate(row.get("loss_increase"))) is not None
    ]


def _hover(point: Point | None) -> str:
    if point is None:
        return ""
    row, _, _ = point
    said = [
        f"{name} {estimate_text(row[key])}"
        for name, key in (
            ("shift", "effect"),
            ("loss", "loss_increase"),
            ("plain questions right", "accuracy"),
        )
        if estimate(row.get(key)) is not None
    ]
    return "<br>".join(said)


def _answer_finding(sweep: Any) -> str:
    """What is recommended, in a sentence for each side."""
    said = []
    for towards, answer in numbers_of(sweep, "recommendation").items():
        layer, alpha = get(answer, "layer"), get(answer, "alpha")
        if not plain(layer) or not plain(alpha):
            said.append(f"{towards}: no setting within the bounds moves the choice")
            continue
        works = "shown to work" if get(answer, "works") is True else "not shown to work"
        said.append(f"{towards}: layer {layer} at alpha {signed_text(float(alpha))}, {works}")
    return f"Best setting for {'; for '.join(said)}." if said else ""


def _slope_finding(steering: Any) -> str:
    slope, share = get(steering, "mean_slope"), get(steering, "random", "share_below")
    if not plain(slope):
        return ""
    beside = (
        f", more than under {share:.0%} of {number_text(get(steering, 'random', 'n'))} random "
        "directions of equal norm"
        if plain(share)
        else ""
    )
    moved = signed_text(round(slope, 4))
    return f"One class gap moves the log-odds by {moved} nats per token on average{beside}."


def _frontier_finding(points: list[Point]) -> str:
    row, gain, cost = max(points, key=lambda point: abs(point[1][0]))
    return (
        f"The largest shift, {signed_text(round(gain[0], 3))} nats per token at layer "
        f"{number_text(row.get('layer'))} and alpha {signed_text(float(row['alpha']))}, changes "
        f"the loss on neutral text by {signed_text(round(cost[0], 3))}."
    )
