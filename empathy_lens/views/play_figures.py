"""Figures of the games that a model played itself: acts foreseen, and scores under steering."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from .runs import estimate, get, numbers_of, plain
from .text import estimate_text, number_text
from .theme import COLOURS, GREY, NEGATIVE, POSITIVE, dots, interval, new_figure

__all__ = ["on_policy_actions", "on_policy_prediction", "steered_play_scores"]


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


def steered_play_scores(played: Any) -> go.Figure | None:
    """Mean EIA score of the same episodes under each alpha, beside random directions."""
    points = sorted(
        (float(alpha), point)
        for alpha, row in numbers_of(played, "by_alpha").items()
        if _number(alpha) and (point := estimate(get(row, "score"))) is not None
    )
    if not points:
        return None
    slope, n = get(played, "slope"), get(played, "n_episodes")
    over = f" over {number_text(n)} episodes" if plain(n) else ""
    figure = new_figure(
        "EIA score of steered play (0 to 2)",
        "alpha (class gaps added at every position)",
        "mean EIA score",
        height=420,
        finding=f"The score changes by {estimate_text(slope)} for each unit of alpha{over}."
        if estimate(slope)
        else "",
        note="Line: the direction, with intervals over episodes. Grey: random directions of equal "
        "norm. Dashed: a plain instruction to be kind, unsteered.",
    )
    figure.add_scatter(
        x=[alpha for alpha, _ in points],
        y=[point[0] for _, point in points],
        error_y=interval([point for _, point in points]),
        mode="lines+markers",
        marker={"color": POSITIVE, "size": 9},
        line={"color": POSITIVE, "width": 2},
        name="direction",
    )
    random = [
        (float(alpha), get(row, "score"))
        for alpha, rows in numbers_of(played, "random").items()
        if _number(alpha) and isinstance(rows, list)
        for row in rows
        if plain(get(row, "score"))
    ]
    if random:
        figure.add_scatter(
            x=[alpha for alpha, _ in random],
            y=[score for _, score in random],
            mode="markers",
            marker={"color": GREY, "symbol": "x", "size": 8},
            name="random directions",
        )
    told = estimate(get(played, "instruction", "score"))
    if told is not None:
        figure.add_hline(y=told[0], line={"color": NEGATIVE, "dash": "dash", "width": 1})
    figure.update_yaxes(range=[-0.05, 2.05])
    return figure


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
