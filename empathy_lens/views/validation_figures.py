"""Figures of detection: how well each layer's direction parts held-out texts."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from .runs import estimate, get, numbers_of, plain, rows
from .text import estimate_text, number_text, plotly_text
from .theme import COLOURS, GREY, NEGATIVE, POSITIVE, faint, new_figure

__all__ = ["auroc_by_layer", "projection_distributions"]


def auroc_by_layer(validation: Any, evidence: Any = None) -> go.Figure | None:
    """AUROC of every layer with its interval, and the random directions' band at the chosen one."""
    layers = sorted(
        (int(layer), row)
        for layer, row in numbers_of(validation, "layers").items()
        if str(layer).isdecimal() and estimate(get(row, "auroc"))
    )
    if not layers:
        return None
    points = [estimate(row["auroc"]) or (0.0, 0.0, 0.0) for _, row in layers]
    x = [layer for layer, _ in layers]
    selected = get(validation, "selected_layer")
    null = get(evidence, "nulls", "random_directions")
    figure = new_figure(
        "AUROC of the direction on held-out pairs, by layer (0.5 = chance)",
        "layer",
        "AUROC (0 to 1)",
        finding=_layers_finding(dict(layers), selected, null),
        note="Line: held-out AUROC of each layer. Shaded: its confidence interval. "
        "Dotted: cross-validated AUROC on the training pairs, on which the layer was chosen.",
    )
    figure.add_scatter(
        x=x + x[::-1],
        y=[p[2] for p in points] + [p[1] for p in points[::-1]],
        mode="lines",
        fill="toself",
        fillcolor=faint(POSITIVE),
        line={"width": 0},
        hoverinfo="skip",
        name=f"{_confidence(layers[0][1])} interval",
    )
    figure.add_scatter(
        x=x,
        y=[p[0] for p in points],
        customdata=[[p[1], p[2]] for p in points],
        mode="lines+markers",
        line={"color": POSITIVE, "width": 2},
        name="held-out",
        hovertemplate="layer %{x}<br>%{y:.3f} [%{customdata[0]:.3f}, %{customdata[1]:.3f}]"
        "<extra></extra>",
    )
    cv = [(layer, row.get("cv_auroc")) for layer, row in layers if estimate(row.get("cv_auroc"))]
    if cv:
        figure.add_scatter(
            x=[layer for layer, _ in cv],
            y=[(estimate(value) or (0.0,))[0] for _, value in cv],
            mode="lines",
            line={"color": COLOURS[2], "dash": "dot", "width": 2},
            name="cross-validated (training)",
        )
    _add_random_band(figure, x, null)
    for layer, point in zip(x, points, strict=True):
        if layer == selected:
            figure.add_scatter(
                x=[layer],
                y=[point[0]],
                mode="markers",
                marker={
                    "symbol": "circle-open",
                    "size": 16,
                    "color": NEGATIVE,
                    "line": {"width": 3},
                },
                name=f"chosen layer {layer}",
            )
    figure.update_yaxes(range=[min(0.4, *(p[1] for p in points)) - 0.02, 1.02])
    figure.update_xaxes(dtick=max(1, -(-len(x) // 12)), zeroline=False)
    return figure


def _layers_finding(layers: dict[int, Any], selected: Any, null: Any) -> str:
    chosen = get(layers.get(selected, {}), "auroc")
    said = f"The chosen layer {selected} reaches {estimate_text(chosen)}. " if chosen else ""
    p95 = estimate(get(null, "p95"))
    if p95 is None:
        return said
    values = [(estimate(row["auroc"]) or p95)[0] for row in layers.values()]
    above = sum(value > p95[0] for value in values)
    return (
        f"{said}{above} of {len(values)} layers lie above the 95th percentile of "
        f"{number_text(get(null, 'n'))} random directions at the chosen layer "
        f"({number_text(p95[0])})."
    )


def _sides_finding(items: list[dict[str, Any]]) -> str:
    right = {
        name: [(item["projection"] > 0) == label for item in items if item.get("label") is label]
        for label, name in ((True, "empathic"), (False, "task-focused"))
    }
    parts = [f"{sum(found)} of {len(found)} {name}" for name, found in right.items()]
    return f"{' and '.join(parts)} texts lie on their side of the threshold."


def _add_random_band(figure: go.Figure, x: list[int], null: Any) -> None:
    mean, p95 = estimate(get(null, "mean")), estimate(get(null, "p95"))
    sd = estimate(get(null, "sd"))
    if mean is None or sd is None:
        return
    low, high = max(mean[0] - sd[0], 0.0), min(mean[0] + sd[0], 1.0)
    figure.add_scatter(
        x=[x[0], x[-1], x[-1], x[0]],
        y=[low, low, high, high],
        mode="lines",
        fill="toself",
        fillcolor="rgba(127,127,127,0.18)",
        line={"width": 0},
        hoverinfo="skip",
        name="random directions, mean ± sd",
    )
    if p95 is not None:
        figure.add_scatter(
            x=[x[0], x[-1]],
            y=[p95[0], p95[0]],
            mode="lines",
            line={"color": GREY, "dash": "dash", "width": 1.5},
            name="random, 95th percentile",
        )


def projection_distributions(validation: Any) -> go.Figure | None:
    """Where the held-out texts of each class project, scenario by scenario."""
    items = [r for r in rows(validation, "projections") if plain(r.get("projection"))]
    if not items:
        return None
    figure = new_figure(
        "Projection of held-out texts, by class and scenario (0 = threshold)",
        "",
        "projection − threshold (mean class gaps)",
        height=440,
        finding=_sides_finding(items),
        note="Each point is one text. Above 0 a text is read as empathic. One unit is the gap "
        "between the class means on the training pairs.",
    )
    scenarios = list(dict.fromkeys(str(item.get("scenario_id")) for item in items))
    for label, name, colour, symbol in (
        (True, "empathic", POSITIVE, "circle"),
        (False, "task-focused", NEGATIVE, "diamond"),
    ):
        mine = [item for item in items if item.get("label") is label]
        figure.add_box(
            # A scenario's name is text to be shown: as a category it could be read as a number.
            x=[scenarios.index(str(item.get("scenario_id"))) for item in mine],
            y=[item["projection"] for item in mine],
            text=[
                f"{plotly_text(item.get('pair_id'), 80)}<br>{plotly_text(item.get('text', ''))}"
                for item in mine
            ],
            hovertemplate="%{text}<br>projection %{y:.3f}<extra></extra>",
            name=name,
            offsetgroup=name,
            boxpoints="all",
            jitter=0.5,
            pointpos=0,
            fillcolor=faint(colour),
            line={"color": colour, "width": 1},
            marker={"color": colour, "symbol": symbol, "size": 6, "opacity": 0.8},
        )
    figure.add_hline(y=0, line={"color": GREY, "dash": "dot", "width": 1.5})
    figure.update_layout(boxmode="group")
    figure.update_xaxes(
        tickvals=list(range(len(scenarios))),
        ticktext=[plotly_text(name.replace("_", " "), limit=40, width=10) for name in scenarios],
        tickangle=0,
        range=[-0.5, len(scenarios) - 0.5],
        showgrid=False,
        zeroline=False,
    )
    return figure


def _confidence(row: Any) -> str:
    confidence = get(row, "auroc", "confidence")
    return f"{confidence:.0%}" if isinstance(confidence, int | float) else "confidence"
