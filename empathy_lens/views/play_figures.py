"""Figures of the games that a model played itself: acts foreseen, and scores under steering."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from .runs import estimate, get, numbers_of, plain
from .text import estimate_text, number_text, p_text, shortened
from .theme import COLOURS, GREY, NEGATIVE, POSITIVE, dots, faint, interval, new_figure

__all__ = [
    "on_policy_actions",
    "on_policy_leaning",
    "on_policy_prediction",
    "steered_play_help",
    "steered_play_scores",
]


def on_policy_prediction(eia: Any) -> go.Figure | None:
    """Rank correlation of the projection before the act with the score of the model's own play.

    Reads ``on_policy``: ``{"n_episodes", "spearman": Estimate, "partial": Estimate (given scenario
    and turn), "per_scenario": {id: {"spearman": Estimate}}, "per_disposition": {name: {"spearman":
    Estimate}}}``; whatever of it is there is drawn.
    """
    played = get(eia, "on_policy")
    pooled = get(played, "spearman")
    whole = {"all episodes": pooled, "given scenario and turn": get(played, "partial")}
    drawn = _parts(played, whole, "spearman")
    if not drawn:
        return None
    n = get(played, "n_episodes")
    over = f" over {number_text(n)} episodes" if plain(n) else ""
    return dots(
        "Rank correlation of the projection before the act with the episode's score",
        "Spearman ρ (−1 to 1, 0 = none)",
        drawn,
        finding=f"In the model's own play, ρ = {estimate_text(pooled)}{over}."
        if estimate(pooled)
        else "",
        note="Circles: all episodes. Squares: within one scenario. Diamonds: within one "
        "disposition, where the instruction cannot explain it.",
        chance=0.0,
        span=(-1.0, 1.0),
    )


def on_policy_actions(eia: Any) -> go.Figure | None:
    """How well the projection before an act tells helping from other acts (AUROC)."""
    played = get(eia, "on_policy")
    every = get(played, "every_choice", "auroc")
    whole = {
        "first choice after the plea": get(played, "first_choice", "auroc"),
        "every choice after the plea": every,
    }
    drawn = _parts(played, whole, "every_choice", "auroc")
    if not drawn:
        return None
    n = get(played, "every_choice", "n")
    over = f" over {number_text(n)} decisions" if plain(n) else ""
    return dots(
        "AUROC of the projection before an act, helping against other acts",
        "AUROC (0 to 1, 0.5 = chance)",
        drawn,
        finding=f"Before acts of the model's own, AUROC = {estimate_text(every)}{over}."
        if estimate(every)
        else "",
        note="Circles: all episodes. Squares: within one scenario. Diamonds: within one "
        "disposition. The layer was chosen on other episodes.",
        chance=0.5,
        span=(0.0, 1.0),
    )


def on_policy_leaning(eia: Any) -> go.Figure | None:
    """Rank correlation of the projection before each choice with the log-odds of helping.

    Given game and turn; beside it, over all episodes, the same with the act and with the score.
    """
    played = get(eia, "on_policy")
    path = ("every_choice", "leaning_partial")
    pooled = get(played, *path)
    whole = {
        "log-odds of helping": pooled,
        "helping or not": get(played, "every_choice", "act_partial"),
        "episode's score": get(played, "partial"),
    }
    drawn = _parts(played, whole, *path)
    if not drawn:
        return None
    n, ruling = get(played, "every_choice", "n"), get(played, "verdicts", "leaning", "all")
    over = f" over {number_text(n)} decisions" if plain(n) else ""
    ruled = f" (that it is above 0: {shortened(ruling, 20)})" if isinstance(ruling, str) else ""
    return dots(
        "Partial rank correlation of the projection before a choice, given game and turn",
        "partial Spearman ρ (−1 to 1, 0 = none)",
        drawn,
        finding=f"With the log-odds of helping, ρ = {estimate_text(pooled)}{over}{ruled}."
        if estimate(pooled)
        else "",
        note="Circles: all episodes. Squares: log-odds of helping within one scenario. Diamonds: "
        "within one disposition, where the instruction cannot explain it. The layer was chosen on "
        "other episodes.",
        chance=0.0,
        span=(-1.0, 1.0),
    )


def steered_play_scores(played: Any) -> go.Figure | None:
    """Mean EIA score of the same episodes under each alpha, beside random directions."""
    return _steered(played, "score", "EIA score of steered play (0 to 2)", "mean EIA score", 2.0)


def steered_play_help(played: Any) -> go.Figure | None:
    """Probability of helping in the same episodes under each alpha, beside random directions."""
    return _steered(
        played, "help", "Probability of helping in steered play", "mean over choices", 1.0
    )


def _steered(played: Any, name: str, title: str, y: str, highest: float) -> go.Figure | None:
    points = sorted(
        (float(alpha), point)
        for alpha, row in numbers_of(played, "by_alpha").items()
        if _number(alpha) and (point := estimate(get(row, name))) is not None
    )
    if not points:
        return None
    figure = new_figure(
        title,
        "alpha (class gaps added at every position)",
        y,
        height=420,
        finding=_steered_finding(played, name),
        note="Line: the direction, with intervals over episodes. Grey: random directions of equal "
        "norm, by how far they move their own episodes; the band holds 90% of them. Dashed: a "
        "plain instruction to be kind, unsteered.",
    )
    unsteered = dict(points).get(0.0)
    if unsteered is not None:
        _add_random(figure, played, name, unsteered[0])
    figure.add_scatter(
        x=[alpha for alpha, _ in points],
        y=[point[0] for _, point in points],
        error_y=interval([point for _, point in points]),
        mode="lines+markers",
        marker={"color": POSITIVE, "size": 9},
        line={"color": POSITIVE, "width": 2},
        name="direction",
    )
    told = estimate(get(played, "instruction", name))
    if told is not None:
        figure.add_hline(y=told[0], line={"color": NEGATIVE, "dash": "dash", "width": 1})
    figure.update_yaxes(range=[-0.025 * highest, 1.025 * highest])
    return figure


def _steered_finding(played: Any, name: str) -> str:
    slope, n = get(played, "slope", name), get(played, "n_episodes")
    if not estimate(slope):
        return ""
    over = f" over {number_text(n)} episodes" if plain(n) else ""
    said = f"It changes by {estimate_text(slope)} for each unit of alpha{over}"
    p, n_random = get(played, "null", name, "p"), get(played, "n_random")
    if plain(p) and plain(n_random):
        said += f"; against {number_text(n_random)} random directions, {p_text(p)}"
    return f"{said}."


def _add_random(figure: go.Figure, played: Any, name: str, unsteered: float) -> None:
    """Random directions' changes, drawn from where the direction's own line starts."""
    start = get(played, "unsteered_controls", name)
    offset = unsteered - start if plain(start) else 0.0
    at: dict[float, list[float]] = {0.0: [unsteered]}
    for alpha, drawn in numbers_of(played, "random").items():
        if _number(alpha):
            found = [get(row, name) for row in drawn] if isinstance(drawn, list) else []
            at[float(alpha)] = [value + offset for value in found if plain(value)]
    ends = sorted(alpha for alpha, values in at.items() if values)
    if len(ends) < 2:
        return
    low, high = ([float(np.quantile(at[a], q)) for a in ends] for q in (0.05, 0.95))
    figure.add_scatter(
        x=[*ends, *reversed(ends)],
        y=[*low, *reversed(high)],
        mode="lines",
        line={"width": 0},
        fill="toself",
        fillcolor=faint(GREY),
        hoverinfo="skip",
        name="90% of random directions",
    )
    marks = [(alpha, value) for alpha in ends if alpha for value in at[alpha]]
    figure.add_scatter(
        x=[alpha for alpha, _ in marks],
        y=[value for _, value in marks],
        mode="markers",
        marker={"color": GREY, "symbol": "x", "size": 8},
        name="random directions",
    )


def _parts(
    played: Any, whole: dict[str, Any], *path: str
) -> list[tuple[str, tuple[float, float, float], str]]:
    """What is there of the pooled estimates, and of the same within scenarios and dispositions."""
    found = [(name, data, POSITIVE) for name, data in whole.items()]
    for part, colour in (("per_scenario", COLOURS[2]), ("per_disposition", NEGATIVE)):
        for name, row in numbers_of(played, part).items():
            found.append((name.replace("_", " "), get(row, *path), colour))
    return [(name, point, c) for name, e, c in found if (point := estimate(e)) is not None]


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
