"""The games that a model played itself, as it would and steered: figures and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import plotly.graph_objects as go

from ..games.behaviour import OnPolicy
from ..games.on_policy import Prediction
from ..games.steered_play import Measure, Scores, SteeredPlay
from ..types import Estimate
from .tables import Table, table
from .text import estimate_text, number_text, p_text, shortened, words
from .theme import COLOURS, GREY, NEGATIVE, POSITIVE, Dot, dots, faint, interval, new_figure

__all__ = ["play_figures", "play_tables", "steered_figures", "steered_tables"]


def play_figures(played: OnPolicy) -> dict[str, go.Figure | None]:
    """What the projection before an act foretells, by name of the figure."""
    return {
        "on_policy_leaning": on_policy_leaning(played),
        "on_policy_actions": on_policy_actions(played),
        "on_policy_prediction": on_policy_prediction(played),
    }


def on_policy_prediction(played: OnPolicy) -> go.Figure | None:
    """Rank correlation of the projection before the act with the score of the model's own play."""
    whole = {"all episodes": played.spearman, "given scenario and turn": played.partial}
    rows = _dots(played, whole, lambda part: part.spearman)
    if not rows:
        return None
    return dots(
        "Rank correlation of the projection before the act with the episode's score",
        "Spearman ρ (−1 to 1, 0 = none)",
        rows,
        finding=f"In the model's own play, ρ = {estimate_text(played.spearman)} over "
        f"{number_text(played.n_episodes)} episodes."
        if played.spearman
        else "",
        note="Circles: all episodes. Squares: within one scenario. Diamonds: within one "
        "disposition, where the instruction cannot explain it.",
        chance=0.0,
        span=(-1.0, 1.0),
    )


def on_policy_actions(played: OnPolicy) -> go.Figure | None:
    """How well the projection before an act tells helping from other acts (AUROC)."""
    every = played.every_choice
    whole = {
        "first choice after the plea": played.first_choice.auroc,
        "every choice after the plea": every.auroc,
    }
    rows = _dots(played, whole, lambda part: part.every_choice.auroc)
    if not rows:
        return None
    return dots(
        "AUROC of the projection before an act, helping against other acts",
        "AUROC (0 to 1, 0.5 = chance)",
        rows,
        finding=f"Before acts of the model's own, AUROC = {estimate_text(every.auroc)} over "
        f"{number_text(every.n)} decisions."
        if every.auroc
        else "",
        note="Circles: all episodes. Squares: within one scenario. Diamonds: within one "
        "disposition. The layer was chosen on other episodes.",
        chance=0.5,
        span=(0.0, 1.0),
    )


def on_policy_leaning(played: OnPolicy) -> go.Figure | None:
    """Rank correlation of the projection before each choice with the log-odds of helping.

    Given game and turn; beside it, over all episodes, the same with the act and with the score.
    """
    every = played.every_choice
    whole = {
        "log-odds of helping": every.leaning_partial,
        "helping or not": every.act_partial,
        "episode's score": played.partial,
    }
    rows = _dots(played, whole, lambda part: part.every_choice.leaning_partial)
    if not rows:
        return None
    return dots(
        "Partial rank correlation of the projection before a choice, given game and turn",
        "partial Spearman ρ (−1 to 1, 0 = none)",
        rows,
        finding=f"With the log-odds of helping, ρ = {estimate_text(every.leaning_partial)} over "
        f"{number_text(every.n)} decisions (that it is above 0: "
        f"{shortened(played.verdicts['leaning'].all, 20)})."
        if every.leaning_partial
        else "",
        note="Circles: all episodes. Squares: log-odds of helping within one scenario. Diamonds: "
        "within one disposition, where the instruction cannot explain it. The layer was chosen on "
        "other episodes.",
        chance=0.0,
        span=(-1.0, 1.0),
    )


def _dots(
    played: OnPolicy,
    whole: Mapping[str, Estimate | None],
    within: Callable[[Prediction], Estimate | None],
) -> list[Dot]:
    """What is there of the pooled estimates, and of the same within scenarios and dispositions."""
    found = [(name, e, POSITIVE) for name, e in whole.items()]
    for parts, colour in ((played.per_scenario, COLOURS[2]), (played.per_disposition, NEGATIVE)):
        found += [(words(name), within(part), colour) for name, part in parts.items()]
    return [Dot.of(name, e, colour) for name, e, colour in found if e is not None]


def play_tables(played: OnPolicy) -> list[Table | None]:
    """What the projection foretells in all episodes and in parts of them, and the scores."""
    return [
        table(
            "own_play",
            "The model's own play: rank correlation of the projection before a choice with what "
            "follows, given game and turn; that it is above 0 with the log-odds of helping",
            (
                "episodes",
                "n",
                "choices",
                "log-odds of helping",
                "above 0",
                "helping or not",
                "helping or not (AUROC)",
                "score, first choice",
            ),
            (
                (
                    words(name),
                    part.n_episodes,
                    part.every_choice.n,
                    part.every_choice.leaning_partial,
                    ruling,
                    part.every_choice.act_partial,
                    part.every_choice.auroc,
                    part.partial,
                )
                for name, part, ruling in _ruled(played)
            ),
        ),
        table(
            "played_scores",
            "The model's own play: scores",
            ("episodes", "n", "mean score"),
            (
                (words(name), part.episodes, part.mean_score)
                for parts in (played.played.per_scenario, played.played.per_disposition)
                for name, part in parts.items()
            ),
        ),
    ]


def _ruled(played: OnPolicy) -> Iterator[tuple[str, OnPolicy | Prediction, str | None]]:
    rulings = played.verdicts["leaning"]
    yield "all", played, rulings.all
    for name, part in played.per_scenario.items():
        yield name, part, rulings.per_scenario.get(name)
    for name, part in played.per_disposition.items():
        yield name, part, rulings.per_disposition.get(name)


def steered_figures(played: SteeredPlay) -> dict[str, go.Figure | None]:
    """Score and probability of helping under each alpha, beside random directions."""
    return {
        "steered_play": _steered(
            played, "score", "EIA score of steered play (0 to 2)", "mean EIA score", 2.0
        ),
        "steered_play_help": _steered(
            played, "help", "Probability of helping in steered play", "mean over choices", 1.0
        ),
    }


def _steered(
    played: SteeredPlay, measure: Measure, title: str, y: str, highest: float
) -> go.Figure | None:
    points = [
        (float(alpha), point)
        for alpha in sorted(played.by_alpha, key=float)
        if (point := _mean(played.by_alpha[alpha], measure)) is not None
    ]
    if not points:
        return None
    figure = new_figure(
        title,
        "alpha (class gaps added at every position)",
        y,
        height=420,
        finding=_steered_finding(played, measure),
        note="Line: the direction, with intervals over episodes. Grey: random directions of equal "
        "norm, by how far they move their own episodes; the band holds 90% of them. Dashed: a "
        "plain instruction, unsteered.",
    )
    unsteered = dict(points).get(0.0)
    if unsteered is not None:
        _add_random(figure, played, measure, unsteered.value)
    figure.add_scatter(
        x=[alpha for alpha, _ in points],
        y=[point.value for _, point in points],
        error_y=interval([point for _, point in points]),
        mode="lines+markers",
        marker={"color": POSITIVE, "size": 9},
        line={"color": POSITIVE, "width": 2},
        name="direction",
    )
    instructed = _mean(played.instruction, measure)
    if instructed is not None:
        line = {"color": NEGATIVE, "dash": "dash", "width": 1}
        figure.add_hline(y=instructed.value, line=line)
    figure.update_yaxes(range=[-0.025 * highest, 1.025 * highest])
    return figure


def _mean(scores: Scores, measure: Measure) -> Estimate | None:
    return scores.score if measure == "score" else scores.help


def _steered_finding(played: SteeredPlay, measure: Measure) -> str:
    slope = played.slope[measure]
    if slope is None:
        return ""
    over = f"over {number_text(played.n_episodes)} episodes"
    said = f"It changes by {estimate_text(slope)} for each unit of alpha {over}"
    if played.null:
        p = p_text(played.null[measure].p)
        said += f"; against {number_text(played.n_random)} random directions, {p}"
    return f"{said}."


def _add_random(figure: go.Figure, played: SteeredPlay, measure: Measure, unsteered: float) -> None:
    """Random directions' changes, drawn from where the direction's own line starts."""
    offset = unsteered - played.unsteered_controls[measure]
    at = {0.0: [unsteered]}
    for alpha, drawn in played.random.items():
        at[float(alpha)] = [outcome[measure] + offset for outcome in drawn]
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


def steered_tables(played: SteeredPlay) -> list[Table | None]:
    """The same episodes under each alpha, and the change for each unit of it."""
    rows = {**played.by_alpha, "under a plain instruction": played.instruction}
    null = played.null
    return [
        table(
            "steered_play",
            "The same episodes under steering",
            ("alpha", "mean score", "probability of helping"),
            ((name, outcome.score, outcome.help) for name, outcome in rows.items()),
        ),
        table(
            "steered_play_slopes",
            "Change for each unit of alpha, beside random directions of equal norm",
            ("of", "slope", "p against random directions"),
            (
                (measure, slope, null[measure].p if null else None)
                for measure, slope in played.slope.items()
            ),
        ),
    ]
