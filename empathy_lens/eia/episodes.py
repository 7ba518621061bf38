"""One game played to its end: an :class:`Episode`, and what many of them add up to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from .games import Game
from .policies import Policy
from .values import Judge, Score, Trajectory

__all__ = ["Episode", "play_episode", "summarise_scores"]

SCORES: tuple[Score, ...] = (0, 1, 2)


@dataclass(frozen=True)
class Episode:
    """What a player did in one game.

    ``illegal`` and ``unparsable`` count the decisions that were replaced by waiting. ``flags``
    warn an analysis: ``half_replaced`` where that was at least half of them, and
    ``no_valid_action`` where it was all, so that the score says nothing about the player.
    """

    trajectory: Trajectory
    score: Score
    policy: str = ""

    @property
    def game_id(self) -> str:
        return self.trajectory.game_id

    @property
    def seed(self) -> int:
        return self.trajectory.seed

    @property
    def action_ids(self) -> tuple[str, ...]:
        return tuple(action.id for action in self.trajectory.actions)

    @property
    def illegal(self) -> int:
        return sum(step.fault == "illegal" for step in self.trajectory.steps)

    @property
    def unparsable(self) -> int:
        return sum(step.fault == "unparsable" for step in self.trajectory.steps)

    @property
    def flags(self) -> tuple[str, ...]:
        n_steps, replaced = len(self.trajectory.steps), self.illegal + self.unparsable
        half = ("half_replaced",) if 2 * replaced >= n_steps else ()
        return (*half, "no_valid_action") if replaced == n_steps else half

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; counts and flags are written out for readers of the file."""
        return {
            **self.trajectory.to_dict(),
            "policy": self.policy,
            "score": self.score,
            "illegal": self.illegal,
            "unparsable": self.unparsable,
            "flags": list(self.flags),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Episode:
        """The inverse of ``to_dict``. Raises InputError where a field is missing or wrong."""
        trajectory = Trajectory.from_dict(data)
        if data.get("score") not in SCORES:
            raise InputError(f"episode: expected a score in {SCORES}, got {data.get('score')!r}")
        return cls(trajectory, data["score"], data.get("policy", ""))


def play_episode(
    game: Game[Any], policy: Policy, seed: int, *, name: str = "", judge: Judge | None = None
) -> Episode:
    """Plays the variant of ``seed`` to its end; ``name`` is kept as the episode's policy."""
    observation = game.reset(seed)
    while not observation.done:
        observation = game.step(policy(observation))
    return Episode(game.trajectory, game.score(game.trajectory, judge), name)


def summarise_scores(episodes: Iterable[Episode]) -> dict[str, Any]:
    """Number of episodes, mean score and how often each score was reached."""
    counts = Counter(episode.score for episode in episodes)
    n = counts.total()
    if not n:
        raise InputError("cannot summarise no episodes")
    return {
        "episodes": n,
        "mean_score": sum(score * k for score, k in counts.items()) / n,
        "counts": {str(score): counts[score] for score in SCORES},
    }
