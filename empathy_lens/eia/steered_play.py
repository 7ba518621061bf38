"""The same episodes under steering: does the score follow alpha, and further than by chance?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from .. import stats
from ..directions import random_directions
from ..errors import DegenerateDataError, InputError
from ..steering import add_direction, check_direction
from ..types import Direction, HookedModel, Progress
from .decisions import Choice, Play
from .dispositions import DISPOSITIONS, HELPING_ACTIONS
from .language_model import play_games

__all__ = [
    "ALPHAS",
    "Condition",
    "Outcome",
    "conditions",
    "play_condition",
    "steered_play_result",
]

ALPHAS = (-4.0, -2.0, 0.0, 2.0, 4.0)
HIGHEST = {"score": 2.0, "help": 1.0}
INSTRUCTION = DISPOSITIONS["kind"][0]


@dataclass(frozen=True)
class Condition:
    """How episodes are played: steered by the direction, by a random one, or told to be kind.

    ``draw`` tells random directions apart.
    """

    kind: Literal["direction", "random", "instruction"]
    alpha: float = 0.0
    draw: int = 0

    def __str__(self) -> str:
        return f"{self.kind}-{self.draw}-{self.alpha:g}"


@dataclass(frozen=True)
class Outcome:
    """Each episode's score (0 to 2) and mean probability of helping after the plea."""

    score: tuple[float, ...]
    help: tuple[float, ...]


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
    choice: Choice | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Outcome:
    """Plays (game, seed) episodes under one condition.

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
        hooks=[add_direction(direction, condition.alpha)] if condition.alpha else (),
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
) -> dict[str, Any]:
    """The content of ``steered_play.json``.

    Random directions played ``controls``, some of the ``episodes``; all else played all. ``slope``
    is the change of the score, and of the probability of helping, for each unit of alpha (least
    squares), resampled over episodes; positive = the direction makes the model act kinder.
    ``null`` sets the direction's change between the ends, on the control episodes, beside each
    random direction's; ``p`` is two-sided. Raises InputError where a control is no episode or an
    outcome is missing.
    """
    if missing := set(controls) - set(episodes):
        raise InputError(f"controls: {sorted(missing)} are not among the episodes")
    steered = {c.alpha: o for c, o in outcomes.items() if c.kind == "direction"}
    told = outcomes.get(Condition("instruction"))
    if told is None or 0.0 not in steered or len(steered) < 2:
        raise InputError("expected outcomes of the instruction, of alpha 0 and of another alpha")
    alphas = sorted(steered)
    draws = sorted({c.draw for c in outcomes if c.kind == "random"})
    same = [list(episodes).index(episode) for episode in controls]
    groups = [str(i) for i in range(len(episodes))]
    options: dict[str, Any] = {"seed": seed, "n_resamples": n_resamples}

    def mean(values: Float[np.ndarray, "episode"], **bounds: Any) -> dict[str, Any] | None:
        try:
            return stats.mean_estimate(values, groups, **bounds, **options).to_dict()
        except DegenerateDataError:
            return None

    def summary(outcome: Outcome) -> dict[str, Any]:
        games = np.array([game_id for game_id, _ in episodes])
        score = np.array(outcome.score)
        return {
            name: mean(np.array(getattr(outcome, name)), bounds=(0.0, high))
            for name, high in HIGHEST.items()
        } | {"per_scenario": {g: float(score[games == g].mean()) for g in dict.fromkeys(games)}}

    def slope(name: str) -> dict[str, Any] | None:
        ours = np.array([getattr(steered[a], name) for a in alphas])
        x = np.array(alphas) - np.mean(alphas)
        return mean(x @ ours / (x @ x))

    def control(draw: int, alpha: float) -> Outcome:
        if alpha:
            return outcomes[Condition("random", alpha, draw)]
        unsteered = steered[0.0]
        return Outcome(*(tuple(v[i] for i in same) for v in (unsteered.score, unsteered.help)))

    def null(name: str) -> dict[str, Any]:
        low, high = _ends(alphas)

        def change(at_low: Sequence[float], at_high: Sequence[float]) -> float:
            return float((np.mean(at_high) - np.mean(at_low)) / (high - low))

        ours = change(*([getattr(steered[a], name)[i] for i in same] for a in (low, high)))
        theirs = [change(*(getattr(control(d, a), name) for a in (low, high))) for d in draws]
        # Sums of equal changes differ in their last bits; a tie counts as reaching.
        reach = sum(abs(t) >= abs(ours) - 1e-12 for t in theirs)
        return {"direction": ours, "random": theirs, "p": (1 + reach) / (1 + len(theirs))}

    return {
        "layer": direction.site.layer,
        "raw_norm": direction.raw_norm,
        "n_episodes": len(episodes),
        "n_control_episodes": len(controls),
        "n_random": len(draws),
        "alphas": alphas,
        "by_alpha": {str(a): summary(o) for a, o in sorted(steered.items())},
        "slope": {name: slope(name) for name in HIGHEST},
        "null": {name: null(name) for name in HIGHEST} if draws and controls else None,
        "random": {
            str(a): [
                {name: float(np.mean(getattr(control(d, a), name))) for name in HIGHEST}
                for d in draws
            ]
            for a in _ends(alphas)
            if a
        },
        "unsteered_controls": {
            name: float(np.mean([getattr(steered[0.0], name)[i] for i in same] or [0.0]))
            for name in HIGHEST
        },
        "instruction": summary(told) | {"text": INSTRUCTION},
    }


def _ends(alphas: Sequence[float]) -> tuple[float, float]:
    return float(min(alphas)), float(max(alphas))


def _help(play: Play) -> list[float]:
    chances: list[list[float]] = [[] for _ in play.episodes]
    for d in play.decisions:
        if d.plea_heard:
            chances[d.episode].append(d.probability_of(HELPING_ACTIONS[d.game_id]))
    # No game ends before its plea.
    return [float(np.mean(c)) for c in chances]
