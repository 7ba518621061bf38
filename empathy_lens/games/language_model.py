"""A language model as a player: it reads the game, and its own probabilities choose the action."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

import torch

from ..engine.logits import last_logits
from ..errors import InputError
from ..models import current_provenance
from ..steering import steered
from ..steering.hooks import FwdHook
from ..types import HookedModel, Progress
from .actions import Action
from .episodes import Policy, new_game, replay
from .game import Observation
from .play import Choice, Play
from .rollouts import Rollout, Rollouts, phrase_tokens, prompt_tokens


def play_games(
    model: HookedModel,
    episodes: Sequence[tuple[str, int]],
    *,
    preambles: Sequence[str] | None = None,
    choice: Choice | None = None,
    layers: Sequence[int] | Literal["all"] = "all",
    hooks: Sequence[FwdHook] = (),
    seed: int = 0,
    batch_size: int = 10,
    name: str = "",
    progress: Progress | None = None,
) -> Play:
    """Plays each (game, seed), with an instruction before the rules where ``preambles`` has one.

    ``hooks`` act on everything that is read (steering); a game has no one prompt, so that positions
    named after it are refused. Draws depend on ``seed`` and the episode alone, so that results are
    the same whatever ``batch_size`` (up to rounding of the scores). Raises InputError for an
    unknown game, a game that outgrows the model's context, or a direction of another model.
    """
    choice = choice or Choice()
    starts = list(preambles) if preambles is not None else [""] * len(episodes)
    if not episodes or len(starts) != len(episodes):
        raise InputError(
            f"expected episodes and a preamble for each, got {len(episodes)} and {len(starts)}"
        )
    n_layers = int(model.cfg.n_layers)
    chosen = tuple(range(n_layers)) if layers == "all" else tuple(layers)
    rollouts = Rollouts(model, choice, chosen, starts, name)
    with ExitStack() as stack:
        if hooks:
            stack.enter_context(steered(model, hooks))
        for first in range(0, len(episodes), batch_size):
            rollouts.play(episodes[first : first + batch_size], first, seed)
            if progress is not None:
                progress(min(first + batch_size, len(episodes)), len(episodes))
    decisions = rollouts.decisions
    order = sorted(range(len(decisions)), key=lambda i: (decisions[i].episode, decisions[i].turn))
    return Play(
        episodes=tuple(rollouts.finished()),
        preambles=tuple(starts),
        decisions=tuple(decisions[i] for i in order),
        resid_post=torch.stack([rollouts.residuals[i] for i in order])
        if chosen
        else torch.zeros(len(order), 0, int(model.cfg.d_model)),
        layers=chosen,
        provenance=current_provenance(model),
        n_tokens=rollouts.n_tokens,
    )


def language_model_policy(
    model: HookedModel, *, preamble: str = "", choice: Choice | None = None, seed: int = 0
) -> Policy:
    """A player for one episode of one game, for ``play_episode``."""
    rollouts = Rollouts(model, choice or Choice(), (), [preamble], "")

    def policy(observation: Observation) -> Action | str:
        if not rollouts.rows:
            game = new_game(observation.game_id)
            rollouts.rows = [Rollout(0, game, observation, preamble, seed)]
        rollouts.rows[0].seen = observation
        return rollouts.decide()[0]

    return policy


@dataclass(frozen=True)
class FullPasses:
    """Time per decision in seconds, and the largest difference of scores in nats per token."""

    seconds_per_decision: float
    max_abs_diff: float


def time_full_passes(model: HookedModel, play: Play, *, n: int, seed: int = 0) -> FullPasses:
    """Scores every action of ``n`` random decisions with a forward pass of its own.

    The plain way, to check and to compare with. The language-model head reads the action's tokens
    only, so that what is compared is reading the game again and again, and not the head over a
    whole prompt (which at 262,144 tokens of vocabulary costs more than the body, and half a
    gigabyte).

    Raises InputError for a play whose actions were not scored.
    """
    scored = [d for d in play.decisions if d.scores]
    if not scored:
        raise InputError("expected a play with scored actions; these replies were generated")
    chosen = random.Random(f"full passes/{seed}").sample(scored, min(n, len(scored)))
    seconds, largest = 0.0, 0.0
    for decision in chosen:
        observation = replay(play.episodes[decision.episode], decision.turn)
        prompt, _ = prompt_tokens(model, observation, play.preambles[decision.episode])
        started = time.perf_counter()
        scores = []
        for action in observation.legal_actions:
            phrase = phrase_tokens(model, action)
            tokens = torch.tensor([[*prompt, *phrase[:-1]]])
            (logits,) = last_logits(model, tokens, torch.ones_like(tokens), keep=len(phrase))
            steps = logits.log_softmax(-1)[torch.arange(len(phrase)), list(phrase)]
            scores.append(steps.mean().item())
        seconds += time.perf_counter() - started
        differences = [abs(a - b) for a, b in zip(scores, decision.scores, strict=True)]
        largest = max(largest, *differences)
    return FullPasses(seconds / len(chosen), largest)
