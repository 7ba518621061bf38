"""The same episodes under steering: does the score follow alpha, and further than by chance?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from .. import stats
from ..activations import Progress
from ..directions import random_directions
from ..errors import DegenerateDataError, InputError
from ..steering import add_direction, check_direction
from ..types import Direction, Estimate, HookedModel
from .decisions import Choice, Play
from .dispositions import DISPOSITIONS, HELPING_ACTIONS
from .language_model import play_games

__all__ = ["ALPHAS", "steered_play"]

ALPHAS = (-4.0, -2.0, 0.0, 2.0, 4.0)


def steered_play(
    model: HookedModel,
    direction: Direction,
    episodes: Sequence[tuple[str, int]],
    *,
    alphas: Sequence[float] = ALPHAS,
    n_random: int = 5,
    choice: Choice | None = None,
    seed: int = 0,
    n_resamples: int = 10_000,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Scores (0 to 2) and probability of helping under each alpha, beside controls.

    Controls play the same episodes: ``n_random`` random directions of equal norm at the largest
    and the smallest alpha, and a plain instruction to be kind without steering. ``slope`` is the
    change of an episode's score for each unit of alpha (least squares), resampled over episodes;
    positive = the direction makes the model act kinder. Raises InputError unless 0 and another
    alpha are given.
    """
    if 0.0 not in alphas or len(set(alphas)) < 2:
        raise InputError(f"alphas: expected 0 and at least one other, got {list(alphas)}")
    check_direction(model, direction)
    vectors = random_directions(n_random, len(direction.vector), seed=seed)
    randoms = [replace(direction, vector=v, method="random") for v in vectors]
    ends = sorted({min(alphas), max(alphas)} - {0.0})
    todo: list[tuple[str, Direction, float]] = [("direction", direction, a) for a in alphas]
    todo += [("random", r, a) for r in randoms for a in ends]
    todo += [("instruction", direction, 0.0)]
    plays: dict[str, list[tuple[float, Play]]] = {}
    for number, (kind, each, alpha) in enumerate(todo):
        preamble = DISPOSITIONS["kind"][0] if kind == "instruction" else ""
        play = play_games(
            model,
            episodes,
            preambles=[preamble] * len(episodes),
            choice=choice,
            layers=(),
            hooks=[add_direction(each, alpha)] if alpha else (),
            seed=seed,
        )
        plays.setdefault(kind, []).append((alpha, play))
        if progress is not None:
            progress(number + 1, len(todo))
    groups = [str(i) for i in range(len(episodes))]
    options: dict[str, Any] = {"seed": seed, "n_resamples": n_resamples}

    def mean(values: Float[np.ndarray, "episode"], high: float) -> dict[str, Any] | None:
        return _shown(lambda: stats.mean_estimate(values, groups, bounds=(0.0, high), **options))

    def summary(play: Play) -> dict[str, Any]:
        games = np.array([game_id for game_id, _ in episodes])
        return {
            "score": mean(_scores(play), 2.0),
            "help": mean(_help(play), 1.0),
            "per_scenario": {
                g: float(_scores(play)[games == g].mean()) for g in sorted(set(games))
            },
        }

    ours = np.stack([_scores(play) for _, play in plays["direction"]], axis=1)
    x = np.array(alphas) - np.mean(alphas)
    per_episode = (ours * x).sum(axis=1) / (x**2).sum()
    slope = _shown(lambda: stats.mean_estimate(per_episode, groups, **options))
    return {
        "layer": direction.site.layer,
        "raw_norm": direction.raw_norm,
        "n_episodes": len(episodes),
        "alphas": [float(a) for a in alphas],
        "by_alpha": {str(float(a)): summary(play) for a, play in plays["direction"]},
        "slope": slope,
        "random": {
            str(a): [
                {"score": float(_scores(play).mean()), "help": float(_help(play).mean())}
                for alpha, play in plays.get("random", [])
                if alpha == a
            ]
            for a in ends
        },
        "instruction": summary(plays["instruction"][0][1]) | {"text": DISPOSITIONS["kind"][0]},
    }


def _scores(play: Play) -> Float[np.ndarray, "episode"]:
    return np.array([episode.score for episode in play.episodes], dtype=np.float64)


def _help(play: Play) -> Float[np.ndarray, "episode"]:
    """Mean probability of helping over each episode's decisions after the plea."""
    chances: list[list[float]] = [[] for _ in play.episodes]
    for d in play.decisions:
        if d.plea_heard:
            chances[d.episode].append(d.probability_of(HELPING_ACTIONS[d.game_id]))
    return np.array([np.mean(c) if c else 0.0 for c in chances])


def _shown(measure: Callable[[], Estimate]) -> dict[str, Any] | None:
    try:
        return measure().to_dict()
    except DegenerateDataError:
        return None
