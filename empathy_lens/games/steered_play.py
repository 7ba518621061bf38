"""The same episodes under steering: does the score follow alpha, and further than by chance?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from .. import stats
from ..directions import random_directions
from ..errors import DegenerateDataError, InputError
from ..steering import SteeringMethod, add_direction, check_direction
from ..types import Direction, Estimate, HookedModel, Progress
from .behaviour import DISPOSITIONS
from .episodes import GAMES, Chance, GameId, MeanScore
from .language_model import play_games
from .play import Choice, Play

ALPHAS = (-4.0, -2.0, 0.0, 2.0, 4.0)
Measure = Literal["score", "help"]
MEASURES: Mapping[Measure, float] = {"score": 2.0, "help": 1.0}
"""What is measured of an episode, and the highest that each can be."""
INSTRUCTION = DISPOSITIONS["kind"][0]


@dataclass(frozen=True)
class Condition:
    """How episodes are played: steered by the direction, by a random one, or instructed to be kind.

    ``draw`` tells random directions apart.
    """

    kind: Literal["direction", "random", "instruction"]
    alpha: float = 0.0
    draw: int = 0

    def __str__(self) -> str:
        return f"{self.kind}-{self.draw}-{self.alpha:g}"


EpisodeScore = Annotated[float, Field(ge=0, le=2, multiple_of=1)]


@dataclass(frozen=True)
class Outcome:
    """Each episode's score (0 to 2) and mean probability of helping after the plea."""

    score: tuple[EpisodeScore, ...]
    help: tuple[Chance, ...]

    def __post_init__(self) -> None:
        if len(self.score) != len(self.help):
            raise InputError(
                f"expected a score and a help of each episode, got {len(self.score)} and "
                f"{len(self.help)}"
            )

    def of(self, measure: Measure) -> tuple[float, ...]:
        """One value an episode."""
        return self.score if measure == "score" else self.help


@dataclass(frozen=True)
class Scores:
    """Mean score and mean probability of helping of some episodes, and the score by game."""

    score: Estimate | None
    help: Estimate | None
    per_scenario: Mapping[GameId, MeanScore]


@dataclass(frozen=True)
class InstructedScores(Scores):
    """The same under the instruction ``text``, unsteered."""

    text: str


@dataclass(frozen=True)
class RandomNull:
    """Change per unit of alpha of the direction and of random ones; ``p`` is two-sided."""

    direction: float
    random: tuple[float, ...]
    p: Chance


@dataclass(frozen=True)
class SteeredPlay:
    """``steered_play.json``; keys of ``slope`` and the like are those of ``MEASURES``.

    ``slope`` is the change for each unit of alpha (least squares over all alphas); ``null`` sets
    the change between the ends beside random directions, on the control episodes; ``random`` holds
    those directions' means at the ends. Alphas are keys as ``str(alpha)``.
    """

    layer: int
    raw_norm: float
    n_episodes: int
    n_control_episodes: int
    n_random: int
    alphas: tuple[float, ...]
    by_alpha: Mapping[str, Scores]
    slope: Mapping[Measure, Estimate | None]
    null: Mapping[Measure, RandomNull] | None
    random: Mapping[str, tuple[Mapping[Measure, MeanScore], ...]]
    unsteered_controls: Mapping[Measure, MeanScore]
    instruction: InstructedScores

    def __post_init__(self) -> None:
        known = [str(alpha) for alpha in self.alphas]
        for name, keys in (("by_alpha", self.by_alpha), ("random", self.random)):
            if odd := sorted(set(keys) - set(known)):
                raise ValueError(f"{name}: expected keys among the alphas {known}, got {odd}")


def conditions(alphas: Sequence[float] = ALPHAS, n_random: int = 20) -> tuple[Condition, ...]:
    """Every alpha, random directions at the ends of them, and the plain instruction.

    Raises InputError unless 0 and another finite alpha are given.
    """
    if 0.0 not in alphas or len(set(alphas)) < 2 or not np.isfinite(alphas).all():
        raise InputError(f"alphas: expected 0 and at least one other, got {list(alphas)}")
    return (
        *(Condition("direction", float(a)) for a in sorted(set(alphas))),
        Condition("instruction"),
        *(Condition("random", a, i) for i in range(n_random) for a in _ends(alphas) if a),
    )


def play_condition(
    model: HookedModel,
    direction: Direction,
    condition: Condition,
    episodes: Sequence[tuple[str, int]],
    *,
    method: SteeringMethod = add_direction,
    choice: Choice | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Outcome:
    """Plays (game, seed) episodes under one condition.

    ``method`` makes the hook that steers along a direction at an alpha; alpha 0 is unsteered.

    A random direction has the raw norm of ``direction``, so that alpha moves activations as far.
    Draws of actions are those of every other condition: where steering does nothing, nothing
    changes. Raises InputError where the direction is not of this model.
    """
    check_direction(model, direction)
    if condition.kind == "random":
        (vector,) = random_directions(1, len(direction.vector), seed=seed + condition.draw)
        direction = replace(direction, vector=vector, method="random")
    preamble = INSTRUCTION if condition.kind == "instruction" else ""
    play = play_games(
        model,
        episodes,
        preambles=[preamble] * len(episodes),
        choice=choice,
        layers=(),
        hooks=[method(direction, condition.alpha)] if condition.alpha else (),
        seed=seed,
        progress=progress,
    )
    return Outcome(tuple(float(e.score) for e in play.episodes), tuple(_help(play)))


def steered_play_result(
    direction: Direction,
    episodes: Sequence[tuple[str, int]],
    controls: Sequence[tuple[str, int]],
    outcomes: Mapping[Condition, Outcome],
    *,
    seed: int = 0,
    n_resamples: int = 10_000,
) -> SteeredPlay:
    """What steering changed.

    Random directions played ``controls``, some of the ``episodes``; all else played all. Intervals
    are resampled over episodes; a positive slope = the direction makes the model help more. Raises
    InputError where a control is no episode or an outcome is missing.
    """
    if missing := set(controls) - set(episodes):
        raise InputError(f"controls: {sorted(missing)} are not among the episodes")
    steered = {c.alpha: o for c, o in outcomes.items() if c.kind == "direction"}
    instructed = outcomes.get(Condition("instruction"))
    if instructed is None or 0.0 not in steered or len(steered) < 2:
        raise InputError("expected outcomes of the instruction, of alpha 0 and of another alpha")
    alphas = sorted(steered)
    low, high = _ends(alphas)
    draws = sorted({c.draw for c in outcomes if c.kind == "random"})
    same = [list(episodes).index(episode) for episode in controls]
    design = stats.Design(
        [str(i) for i in range(len(episodes))], seed=seed, n_resamples=n_resamples
    )
    games = np.array([game_id for game_id, _ in episodes])

    def mean(
        values: Float[np.ndarray, "episode"], bounds: tuple[float, float] | None = None
    ) -> Estimate | None:
        try:
            return stats.mean_estimate(values, design, bounds=bounds)
        except DegenerateDataError:
            return None

    def means(outcome: Outcome, measure: Measure) -> Estimate | None:
        return mean(np.array(outcome.of(measure)), (0.0, MEASURES[measure]))

    def per_scenario(outcome: Outcome) -> dict[str, float]:
        score = np.array(outcome.score)
        return {g: float(score[games == g].mean()) for g in dict.fromkeys(games.tolist())}

    def scores(outcome: Outcome) -> Scores:
        return Scores(means(outcome, "score"), means(outcome, "help"), per_scenario(outcome))

    def slope(measure: Measure) -> Estimate | None:
        values = np.array([steered[a].of(measure) for a in alphas])
        x = np.array(alphas) - np.mean(alphas)
        return mean(x @ values / (x @ x))

    def control(draw: int, alpha: float, measure: Measure) -> tuple[float, ...]:
        if alpha:
            return outcomes[Condition("random", alpha, draw)].of(measure)
        return tuple(steered[0.0].of(measure)[i] for i in same)

    def null(measure: Measure) -> RandomNull:
        def change(at_low: Sequence[float], at_high: Sequence[float]) -> float:
            return float((np.mean(at_high) - np.mean(at_low)) / (high - low))

        ours = change(*([steered[a].of(measure)[i] for i in same] for a in (low, high)))
        theirs = tuple(change(*(control(d, a, measure) for a in (low, high))) for d in draws)
        # Sums of equal changes differ in their last bits; a tie counts as reaching.
        reach = sum(abs(t) >= abs(ours) - 1e-12 for t in theirs)
        return RandomNull(ours, theirs, (1 + reach) / (1 + len(theirs)))

    def random_means(alpha: float) -> tuple[Mapping[Measure, float], ...]:
        return tuple({m: float(np.mean(control(d, alpha, m))) for m in MEASURES} for d in draws)

    return SteeredPlay(
        layer=direction.site.layer,
        raw_norm=direction.raw_norm,
        n_episodes=len(episodes),
        n_control_episodes=len(controls),
        n_random=len(draws),
        alphas=tuple(alphas),
        by_alpha={str(a): scores(steered[a]) for a in alphas},
        slope={m: slope(m) for m in MEASURES},
        null={m: null(m) for m in MEASURES} if draws and controls else None,
        random={str(a): random_means(a) for a in (low, high) if a},
        unsteered_controls={
            m: float(np.mean([steered[0.0].of(m)[i] for i in same] or [0.0])) for m in MEASURES
        },
        instruction=InstructedScores(**vars(scores(instructed)), text=INSTRUCTION),
    )


def _ends(alphas: Sequence[float]) -> tuple[float, float]:
    return float(min(alphas)), float(max(alphas))


def _help(play: Play) -> list[float]:
    chances: list[list[float]] = [[] for _ in play.episodes]
    for d in play.decisions:
        if d.plea_heard:
            chances[d.episode].append(d.probability_of(GAMES[d.game_id].helping))
    # No game ends before its plea.
    return [float(np.mean(c)) for c in chances]
