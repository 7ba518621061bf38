"""What projections say of texts that were scored by the rubric."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from .runs import estimate, get, numbers_of, plain, rows
from .text import estimate_text, plotly_text
from .theme import COLOURS, GREY, SYMBOLS, new_figure

__all__ = ["score_against_projection"]


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
        height=440,
        finding=_rubric_finding(get(eia, "rubric"), len(items)),
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
            name=plotly_text(scenario.replace("_", " "), 40),
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


def _rubric_finding(rubric: Any, n: int) -> str:
    pearson = get(rubric, "pearson")
    if estimate(pearson) is None:
        return ""
    return f"Pearson r = {estimate_text(pearson)} over {n} completions."
