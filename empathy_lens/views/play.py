"""The games that a model played itself, as it would and steered: figures and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from ..games.behaviour import OnPolicy
from ..games.on_policy import Prediction
from ..games.steered_play import Measure, Scores, SteeredPlay
from ..types import Estimate
from .run_results import RunResults
from .tables import Table, table
from .text import Value, estimate_text, number_text, p_text, shortened, words
from .theme import (
    COLOURS,
    GREY,
    NEGATIVE,
    POSITIVE,
    Dot,
    add_band,
    dots,
    faint,
    interval,
    new_figure,
)

MEASURES: Mapping[Measure, tuple[str, str, float]] = {
    "score": ("EIA score of steered play (0 to 2)", "mean EIA score", 2.0),
    "help": ("Probability of helping in steered play", "mean over choices", 1.0),
}
"""Title, axis and highest value of each figure of steered play."""


def on_policy_prediction(run: RunResults) -> go.Figure | None:
    """Rank correlation of the projection before the act with the score of the model's own play."""
    if (played := run.on_policy) is None:
        return None
    whole = {"all episodes": played.spearman, f"given {_given(played)}": played.partial}
    return dots(
        "Rank correlation of the projection before the act with the episode's score",
        "Spearman ρ (−1 to 1, 0 = none)",
        _dots(played, whole, lambda part: part.spearman),
        finding=_over("In the model's own play, ρ", played.spearman, played.n_episodes, "episodes"),
        note="Circles: all episodes. Squares: within one scenario. Diamonds: within one "
        "disposition, where the instruction cannot explain it.",
        chance=0.0,
        span=(-1.0, 1.0),
    )


def on_policy_actions(run: RunResults) -> go.Figure | None:
    """How well the projection before an act tells helping from other acts (AUROC)."""
    if (played := run.on_policy) is None:
        return None
    every = played.every_choice
    whole = {
        "first choice after the plea": played.first_choice.auroc,
        "every choice after the plea": every.auroc,
    }
    return dots(
        "AUROC of the projection before an act, helping against other acts",
        "AUROC (0 to 1, 0.5 = chance)",
        _dots(played, whole, lambda part: part.every_choice.auroc),
        finding=_over("Before acts of the model's own, AUROC", every.auroc, every.n, "decisions"),
        note="Circles: all episodes. Squares: within one scenario. Diamonds: within one "
        "disposition. The layer was chosen on other episodes.",
        chance=0.5,
        span=(0.0, 1.0),
    )


def on_policy_partial(run: RunResults) -> go.Figure | None:
    """Partial rank correlation of the projection before each choice with helping or not.

    Beside it, over all episodes, the same with the log-odds of helping and with the score.
    """
    if (played := run.on_policy) is None:
        return None
    every = played.every_choice
    whole = {
        "helping or not": every.act_partial,
        "log-odds of helping": every.leaning_partial,
        "episode's score": played.partial,
    }
    what = f"decisions (that it is above 0: {shortened(played.verdicts['act'].all, 20)})"
    return dots(
        f"Partial rank correlation of the projection before a choice, given {_given(played)}",
        "partial Spearman ρ (−1 to 1, 0 = none)",
        _dots(played, whole, lambda part: part.every_choice.act_partial),
        finding=_over("With helping or not, ρ", every.act_partial, every.n, what),
        note="Circles: all episodes. Squares: helping or not within one scenario. Diamonds: "
        "within one disposition, where the instruction cannot explain it. The layer was chosen on "
        "other episodes.",
        chance=0.0,
        span=(-1.0, 1.0),
    )


def _given(played: OnPolicy) -> str:
    """What the partial correlations hold fixed."""
    return shortened(played.given or "game and turn", 60)


def _over(what: str, estimate: Estimate | None, n: int, counted: str) -> str:
    return (
        f"{what} = {estimate_text(estimate)} over {number_text(n)} {counted}." if estimate else ""
    )


def _dots(
    played: OnPolicy,
    whole: Mapping[str, Estimate | None],
    within: Callable[[Prediction], Estimate | None],
) -> list[Dot]:
    """The pooled estimates, and the same within scenarios and dispositions, as far as measured."""
    rows = [(name, e, POSITIVE) for name, e in whole.items()]
    for parts, colour in ((played.per_scenario, COLOURS[2]), (played.per_disposition, NEGATIVE)):
        rows += [(words(name), within(part), colour) for name, part in parts.items()]
    return [Dot.of(name, e, colour) for name, e, colour in rows if e is not None]


def play_tables(run: RunResults) -> Iterator[Table]:
    """What the projection foretells in all episodes and in parts of them, and the scores."""
    if (played := run.on_policy) is None:
        return
    rulings = played.verdicts["act"]
    parts = {**played.per_scenario, **played.per_disposition}
    ruled = {**rulings.per_scenario, **rulings.per_disposition}
    yield table(
        "own_play",
        "The model's own play: rank correlation of the projection before a choice with what "
        f"follows, given {_given(played)}; that it is above 0 with helping or not",
        "episodes | n | choices | helping or not | above 0 | helping or not (AUROC) | "
        "log-odds of helping | score, first choice",
        (
            _prediction("all", played, rulings.all),
            *(_prediction(words(name), part, ruled.get(name)) for name, part in parts.items()),
        ),
    )
    yield table(
        "played_scores",
        "The model's own play: scores",
        "episodes | n | mean score",
        (
            (words(name), part.episodes, part.mean_score)
            for scored in (played.played.per_scenario, played.played.per_disposition)
            for name, part in scored.items()
        ),
    )


def _prediction(name: str, part: OnPolicy | Prediction, ruling: str | None) -> Sequence[Value]:
    every = part.every_choice
    beside = (every.auroc, every.leaning_partial, part.partial)
    return (name, part.n_episodes, every.n, every.act_partial, ruling, *beside)


def steered(run: RunResults, measure: Measure) -> go.Figure | None:
    """Score or probability of helping under each alpha, beside random directions."""
    if (played := run.steered_play) is None:
        return None
    points = [
        (float(alpha), point)
        for alpha in sorted(played.by_alpha, key=float)
        if (point := _mean(played.by_alpha[alpha], measure)) is not None
    ]
    if not points:
        return None
    title, y, highest = MEASURES[measure]
    figure = new_figure(
        title,
        "alpha (class gaps added at every position)",
        y,
        finding=_steered_finding(played, measure),
        note="Line: the direction, with intervals over episodes. Grey: random directions of equal "
        "norm, by how far they move their own episodes; the band holds 90% of them. Dashed: a "
        "plain instruction, unsteered.",
    )
    if unsteered := dict(points).get(0.0):
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
    if instructed := _mean(played.instruction, measure):
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
    add_band(figure, ends, low, high, "90% of random directions", faint(GREY))
    marks = [(alpha, value) for alpha in ends if alpha for value in at[alpha]]
    figure.add_scatter(
        x=[alpha for alpha, _ in marks],
        y=[value for _, value in marks],
        mode="markers",
        marker={"color": GREY, "symbol": "x", "size": 8},
        name="random directions",
    )


def steered_tables(run: RunResults) -> Iterator[Table]:
    """The same episodes under each alpha, and the change for each unit of it."""
    if (played := run.steered_play) is None:
        return
    rows = {**played.by_alpha, "under a plain instruction": played.instruction}
    yield table(
        "steered_play",
        "The same episodes under steering",
        "alpha | mean score | probability of helping",
        ((name, scores.score, scores.help) for name, scores in rows.items()),
    )
    p = {measure: null.p for measure, null in (played.null or {}).items()}
    yield table(
        "steered_play_slopes",
        "Change for each unit of alpha, beside random directions of equal norm",
        "of | slope | p against random directions",
        ((measure, slope, p.get(measure)) for measure, slope in played.slope.items()),
    )
