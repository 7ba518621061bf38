"""The five Empathy-in-Action games as text environments, scored from actions alone.

>>> from empathy_lens.eia import new_game, play_episode, scripted_policy
>>> play_episode(new_game("the_duel"), scripted_policy("empathic", "the_duel"), seed=0).score
2
"""

from .episodes import Episode, play_episode, summarise_scores
from .games import Game, Rules
from .messages import is_defending, is_supportive, names_wrong_door
from .parsing import parse_action
from .policies import SCRIPTED, Policy, random_policy, scripted_policy
from .registry import GAMES, new_game
from .values import WAIT, Action, Judge, Observation, Score, Step, Trajectory, say

__all__ = [
    "GAMES",
    "SCRIPTED",
    "WAIT",
    "Action",
    "Episode",
    "Game",
    "Judge",
    "Observation",
    "Policy",
    "Rules",
    "Score",
    "Step",
    "Trajectory",
    "is_defending",
    "is_supportive",
    "names_wrong_door",
    "new_game",
    "parse_action",
    "play_episode",
    "random_policy",
    "say",
    "scripted_policy",
    "summarise_scores",
]
