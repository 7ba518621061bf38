"""The five games by scenario id."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ..errors import InputError
from .food_delivery import FoodDelivery
from .games import Game, Rules
from .the_duel import TheDuel
from .the_listener import TheListener
from .the_maze import TheMaze
from .the_protector import TheProtector
from .values import Observation, Trajectory

__all__ = ["GAMES", "new_game", "replay"]

_RULES: tuple[Rules[Any], ...] = (
    FoodDelivery(),
    TheListener(),
    TheMaze(),
    TheProtector(),
    TheDuel(),
)
GAMES: Mapping[str, Rules[Any]] = MappingProxyType({rules.id: rules for rules in _RULES})


def new_game(game_id: str) -> Game[Any]:
    """A table to play the game at. Raises InputError for an unknown id."""
    if game_id not in GAMES:
        close = difflib.get_close_matches(game_id, GAMES, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"expected a game in {', '.join(GAMES)}, got {game_id!r}{hint}")
    return Game(GAMES[game_id])


def replay(trajectory: Trajectory, n_steps: int | None = None) -> Observation:
    """What the player saw after the first ``n_steps`` decisions (default: at the end)."""
    game = new_game(trajectory.game_id)
    observation = game.reset(trajectory.seed)
    for step in trajectory.steps[:n_steps]:
        # A reply that named no action is told in the history, so it is played as it came.
        observation = game.step(step.reply if step.fault else step.action)
    return observation
