"""The plain way to score actions, one full forward pass each: to check and to compare with.

The language-model head reads the action's tokens only, so that what is compared is reading the game
again and again, and not the head over a whole prompt (which at 262,144 tokens of vocabulary costs
more than the body, and half a gigabyte).
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

import torch

from ..errors import InputError
from ..logits import last_logits
from ..types import HookedModel
from .decisions import Play
from .registry import replay
from .table import phrase_tokens, prompt_tokens

__all__ = ["FullPasses", "time_full_passes"]


@dataclass(frozen=True)
class FullPasses:
    """Time per decision in seconds, and the largest difference of scores in nats per token."""

    seconds_per_decision: float
    max_abs_diff: float


def time_full_passes(model: HookedModel, play: Play, *, n: int, seed: int = 0) -> FullPasses:
    """Scores every action of ``n`` random decisions with a forward pass of its own.

    Raises InputError for a play whose actions were not scored.
    """
    scored = [d for d in play.decisions if d.scores]
    if not scored:
        raise InputError("expected a play with scored actions; these replies were generated")
    chosen = random.Random(f"full passes/{seed}").sample(scored, min(n, len(scored)))
    seconds, largest = 0.0, 0.0
    for decision in chosen:
        episode = play.episodes[decision.episode]
        observation = replay(episode.trajectory, decision.turn)
        prompt, _ = prompt_tokens(model, observation, play.preambles[decision.episode])
        started = time.perf_counter()
        found = []
        for action in observation.legal_actions:
            phrase = phrase_tokens(model, action)
            tokens = torch.tensor([[*prompt, *phrase[:-1]]])
            (logits,) = last_logits(model, tokens, torch.ones_like(tokens), keep=len(phrase))
            steps = logits.log_softmax(-1)[torch.arange(len(phrase)), list(phrase)]
            found.append(steps.mean().item())
        seconds += time.perf_counter() - started
        differences = [abs(a - b) for a, b in zip(found, decision.scores, strict=True)]
        largest = max(largest, *differences)
    return FullPasses(seconds / len(chosen), largest)
