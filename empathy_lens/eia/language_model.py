"""A language model at the table: it reads the game, and its own probabilities choose the action."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Literal

import torch
from torch import Tensor

from ..errors import InputError
from ..models import model_card
from ..types import HookedModel, Progress
from .decisions import Choice, Decision, Play
from .episodes import Episode
from .policies import Policy
from .table import Row, Table
from .values import Action, Observation

__all__ = ["language_model_policy", "play_games"]


def play_games(
    model: HookedModel,
    episodes: Sequence[tuple[str, int]],
    *,
    preambles: Sequence[str] | None = None,
    choice: Choice | None = None,
    layers: Sequence[int] | Literal["all"] = "all",
    hooks: Sequence[tuple[str, Any]] = (),
    seed: int = 0,
    batch_size: int = 10,
    name: str = "",
    progress: Progress | None = None,
) -> Play:
    """Plays each (game, seed), with an instruction before the rules where ``preambles`` has one.

    ``hooks`` act on everything that is read (steering). Draws depend on ``seed`` and the episode
    alone, so that results are the same whatever ``batch_size`` (up to rounding of the scores).
    Raises InputError for an unknown game, or a game that outgrows the model's context.
    """
    choice = choice or Choice()
    starts = list(preambles) if preambles is not None else [""] * len(episodes)
    if not episodes or len(starts) != len(episodes):
        raise InputError(
            f"expected episodes and a preamble for each, got {len(episodes)} and {len(starts)}"
        )
    n_layers = int(model.cfg.n_layers)
    chosen = tuple(range(n_layers)) if layers == "all" else tuple(layers)
    played: list[Episode] = []
    decisions: list[Decision] = []
    residuals: list[Tensor] = []
    n_tokens = 0
    with ExitStack() as stack:
        if hooks:
            stack.enter_context(model.hooks(fwd_hooks=list(hooks)))
        for first in range(0, len(episodes), batch_size):
            part = slice(first, first + batch_size)
            table = Table(model, choice, chosen, starts[part], name)
            table.play(episodes[part], first, seed)
            played += table.finished()
            decisions += table.decisions
            residuals += table.residuals
            n_tokens += table.n_tokens
            if progress is not None:
                progress(min(first + batch_size, len(episodes)), len(episodes))
    order = sorted(range(len(decisions)), key=lambda i: (decisions[i].episode, decisions[i].turn))
    return Play(
        episodes=tuple(played),
        preambles=tuple(starts),
        decisions=tuple(decisions[i] for i in order),
        resid_post=torch.stack([residuals[i] for i in order])
        if chosen
        else torch.zeros(len(order), 0, int(model.cfg.d_model)),
        layers=chosen,
        provenance=model_card(model).provenance,
        n_tokens=n_tokens,
    )


def language_model_policy(
    model: HookedModel, *, preamble: str = "", choice: Choice | None = None, seed: int = 0
) -> Policy:
    """A player for one episode of one game, for ``play_episode``."""
    table = Table(model, choice or Choice(), (), [preamble], "")

    def policy(observation: Observation) -> Action | str:
        if not table.rows:
            table.rows = [Row(0, observation.game_id, observation.seed, preamble, seed)]
        table.rows[0].observation = observation
        return table.decide()[0]

    return policy
