"""The five Empathy-in-Action games as text environments, scored from actions alone.

In: a seed and a player, scripted or a language model (with whatever hooks steer it). Out: episodes
with the rubric's score, a model's decisions with its ``resid_post`` before each of them, and from
these what projections predict and what steering changes.

>>> play_episode(new_game("the_duel"), scripted_policy("empathic", "the_duel"), seed=0).score
2
>>> play = play_games(model, [("the_duel", seed) for seed in range(10)])
>>> play.resid_post.shape  # decision, layer, d_model
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from .actions import WAIT, Action, parse_action, say
from .episodes import (
    GAMES,
    SCRIPTED,
    Episode,
    Policy,
    ScoreSummary,
    new_game,
    play_episode,
    random_policy,
    replay,
    scripted_policy,
    summarise_scores,
)
from .game import Game, GameState, Observation, Rules, Score, Step, Trajectory
from .messages import Judge, is_defending, is_supportive, names_wrong_door

if TYPE_CHECKING:
    from .behaviour import OnPolicy, assignments, on_policy_result
    from .language_model import language_model_policy, play_games
    from .play import Choice, Decision, Play
    from .steered_play import SteeredPlay, conditions, play_condition, steered_play_result

__all__ = [
    "GAMES",
    "SCRIPTED",
    "WAIT",
    "Action",
    "Choice",
    "Decision",
    "Episode",
    "Game",
    "GameState",
    "Judge",
    "Observation",
    "OnPolicy",
    "Play",
    "Policy",
    "Rules",
    "Score",
    "ScoreSummary",
    "SteeredPlay",
    "Step",
    "Trajectory",
    "assignments",
    "conditions",
    "is_defending",
    "is_supportive",
    "language_model_policy",
    "names_wrong_door",
    "new_game",
    "on_policy_result",
    "parse_action",
    "play_condition",
    "play_episode",
    "play_games",
    "random_policy",
    "replay",
    "say",
    "scripted_policy",
    "steered_play_result",
    "summarise_scores",
]

_LATER = {
    "behaviour": ("OnPolicy", "assignments", "on_policy_result"),
    "language_model": ("language_model_policy", "play_games"),
    "play": ("Choice", "Decision", "Play"),
    "steered_play": ("SteeredPlay", "conditions", "play_condition", "steered_play_result"),
}
"""What needs torch, imported when it is asked for: the rules and scripted players need none."""


def __getattr__(name: str) -> object:
    for module, names in _LATER.items():
        if name in names:
            value: object = getattr(import_module(f".{module}", __name__), name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
