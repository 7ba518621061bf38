"""Figures of a run, drawn from its saved JSON and from nothing else.

Each function takes one saved file as a dictionary and returns a figure, or None where the file
does not hold what the figure shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import plotly.graph_objects as go

from ..errors import InputError
from .evidence_figures import EVIDENCE_FIGURES
from .runs import PARTS, estimate, get, numbers_of, plain, rows
from .steering_figures import steering_damage
from .sweep_figures import dose_response, effect_against_damage
from .text import number_text, plotly_text
from .theme import COLOURS, GREY, NEGATIVE, POSITIVE, SYMBOLS, faint, new_figure

__all__ = ["auroc_by_layer", "projection_distributions", "run_figures", "score_against_projection"]


def run_figures(run: Mapping[str, Any]) -> dict[str, go.Figure]:
    """Every figure that the run's saved parts allow, by name, in the order of the report.

    ``run`` maps file stems to their content (``{"validation_auroc": {...}, …}``, as
    ``views.runs.read_run`` gives it). Absent parts are skipped; an unknown name is an InputError.
    """
    unknown = sorted(set(run) - set(PARTS))
    if unknown:
        raise InputError(f"run: expected parts named {', '.join(PARTS)}, got {', '.join(unknown)}")
    validation, evidence = run.get("validation_auroc"), run.get("evidence")
    eia, steering = run.get("eia_correlation"), run.get("steering_examples")
    draw: dict[str, Callable[[], go.Figure | None]] = {
        "auroc_by_layer": lambda: auroc_by_layer(validation, evidence),
        "projection_distributions": lambda: projection_distributions(validation),
        **{name: partial(make, evidence) for name, make in EVIDENCE_FIGURES.items()},
        "eia_score_against_projection": lambda: score_against_projection(eia),
        "steering_dose_response": lambda: dose_response(steering),
        "steering_frontier": lambda: effect_against_damage(steering),
        "steering_damage": lambda: steering_damage(steering),
    }
    drawn = {name: make() for name, make in draw.items()}
    return {name: figure for name, figure in drawn.items() if figure is not None}


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
    figure = new_figure(
        "AUROC of the direction on held-out pairs, by layer (0.5 = chance)",
        "layer",
        "AUROC (0 to 1)",
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
        name="held-out AUROC",
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
            name="cross-validated, training pairs",
        )
    _add_random_band(figure, x, get(evidence, "nulls", "random_directions"))
    selected = get(validation, "selected_layer")
    for layer, point in zip(x, points, strict=True):
        if layer == selected:
            figure.add_scatter(
                x=[layer],
                y=[point[0]],
                mode="markers",
                marker={"symbol": "star", "size": 16, "color": NEGATIVE},
                name=f"chosen layer {layer}",
            )
    figure.update_yaxes(range=[min(0.4, *(p[1] for p in points)) - 0.02, 1.02])
    figure.update_xaxes(dtick=max(1, -(-len(x) // 12)), zeroline=False)
    return figure


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
        name=f"{number_text(get(null, 'n'))} random directions, mean ± 1 sd",
    )
    if p95 is not None:
        figure.add_scatter(
            x=[x[0], x[-1]],
            y=[p95[0], p95[0]],
            mode="lines",
            line={"color": GREY, "dash": "dash", "width": 1.5},
            name="their 95th percentile",
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
        height=460,
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


def score_against_projection(eia: Any) -> go.Figure | None:
    """Rubric score of each completion against its projection, with each scenario's means."""
    items = [
        r
        for r in rows(eia, "rubric", "items")
        if plain(r.get("projection")) and plain(r.get("score"))
    ]
    if not items:
        return None
    figure = new_figure(
        "Projection of rubric completions, by EIA score (0 to 2)",
        "EIA score (0 = task only, 2 = empathic)",
        "projection − threshold (mean class gaps)",
        height=460,
        note="Each point is one completion written to earn a score of the rubric; points are "
        "spread sideways by scenario. Lines join the scenario's means.",
    )
    scenarios = list(dict.fromkeys(str(item.get("scenario_id")) for item in items))
    for i, scenario in enumerate(scenarios):
        mine = [item for item in items if str(item.get("scenario_id")) == scenario]
        shift = 0.5 * ((i + 0.5) / len(scenarios) - 0.5)
        style = {"color": COLOURS[i % len(COLOURS)], "symbol": SYMBOLS[i % len(SYMBOLS)]}
        figure.add_scatter(
            x=[item["score"] + shift for item in mine],
            y=[item["projection"] for item in mine],
            text=[plotly_text(item.get("completion_id"), 80) for item in mine],
            customdata=[item["score"] for item in mine],
            mode="markers",
            marker={**style, "size": 7, "opacity": 0.75},
            hovertemplate="%{text}<br>score %{customdata}, projection %{y:.3f}<extra></extra>",
            name=plotly_text(scenario, 40),
            legendgroup=str(i),
        )
        means = numbers_of(eia, "rubric", "per_scenario", scenario, "mean_by_score")
        line = sorted(
            (float(s), m) for s, m in means.items() if s.isdecimal() and estimate(m) is not None
        )
        if line:
            figure.add_scatter(
                x=[s + shift for s, _ in line],
                y=[(estimate(m) or (0.0,))[0] for _, m in line],
                mode="lines",
                line={"color": style["color"], "width": 2},
                legendgroup=str(i),
                showlegend=False,
                hoverinfo="skip",
            )
    figure.add_hline(y=0, line={"color": GREY, "dash": "dot", "width": 1})
    figure.update_xaxes(tickvals=sorted({item["score"] for item in items}), zeroline=False)
    return figure


def _confidence(row: Any) -> str:
    confidence = get(row, "auroc", "confidence")
    return f"{confidence:.0%}" if isinstance(confidence, int | float) else "confidence"
