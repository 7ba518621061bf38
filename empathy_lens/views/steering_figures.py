"""Figures of steering: what the strength does to the choice of action, and at what damage."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from .runs import estimate, get, numbers_of, plain, rows
from .text import number_text, plotly_text, signed_text
from .theme import COLOURS, GREY, POSITIVE, SYMBOLS, new_figure

__all__ = ["dose_response", "steering_damage"]

ALPHA = "alpha (mean class gaps)"


def dose_response(steering: Any) -> go.Figure | None:
    """Shift of the action's log-odds by alpha: each scenario, their mean, random directions."""
    examples = _with_numbers(steering, "alpha", "shift")
    if not examples:
        return None
    figure = new_figure(
        "Shift of the empathic action's log-odds by steering strength (nats)",
        ALPHA,
        "log-odds shift (nats)",
        height=440,
        finding=_slope_finding(steering),
        note="Above 0 the model leans more to the empathic action than unsteered. Thin: each "
        "scenario. Thick: their mean. Grey, if measured: random directions of equal norm.",
    )
    _add_random_band(figure, steering)
    by_scenario: dict[str, dict[float, list[float]]] = {}
    for row in examples:
        curve = by_scenario.setdefault(str(row.get("scenario_id")), {})
        curve.setdefault(float(row["alpha"]), []).append(float(row["shift"]))
    means = {
        scenario: {alpha: sum(shifts) / len(shifts) for alpha, shifts in sorted(curve.items())}
        for scenario, curve in by_scenario.items()
    }
    for i, (scenario, line) in enumerate(means.items()):
        figure.add_scatter(
            x=list(line),
            y=list(line.values()),
            mode="lines+markers",
            line={"color": COLOURS[(i + 1) % len(COLOURS)], "width": 1.5},
            marker={"symbol": SYMBOLS[(i + 1) % len(SYMBOLS)], "size": 7},
            name=plotly_text(scenario.replace("_", " "), 40),
            hovertemplate="alpha %{x}<br>shift %{y:.3f} nats<extra>%{fullData.name}</extra>",
        )
    shared = sorted(set.intersection(*(set(curve) for curve in means.values())))
    if len(means) > 1 and shared:
        figure.add_scatter(
            x=shared,
            y=[sum(curve[a] for curve in means.values()) / len(means) for a in shared],
            mode="lines+markers",
            line={"color": POSITIVE, "width": 4},
            marker={"size": 9},
            name="mean of scenarios",
        )
    figure.add_hline(y=0, line={"color": GREY, "dash": "dot", "width": 1})
    return figure


def _add_random_band(figure: go.Figure, steering: Any) -> None:
    """``random.by_alpha``: {alpha: {"low", "high"}} of the mean shift under random directions."""
    band = []
    for alpha, row in numbers_of(steering, "random", "by_alpha").items():
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
        fill="toself",
        fillcolor="rgba(127,127,127,0.2)",
        line={"width": 0},
        hoverinfo="skip",
        name=f"{number_text(get(steering, 'random', 'n'))} random directions",
    )


def steering_damage(steering: Any) -> go.Figure | None:
    """Effect against damage: log-odds shift and repetition of each completion."""
    examples = _with_numbers(steering, "alpha", "shift", "repetition")
    if not examples:
        return None
    figure = new_figure(
        "Effect against damage: log-odds shift and repetition of each completion",
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
    return f"One class gap moves the log-odds by {moved} nats on average{beside}."


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
