"""How a language model chooses, and what is kept of its decisions. All frozen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from ..errors import InputError
from ..types import Provenance
from .episodes import Episode
from .registry import replay

__all__ = ["Choice", "Decision", "Play"]


@dataclass(frozen=True)
class Choice:
    """How a language model turns what it reads into an action.

    ``score`` draws among the legal actions with probabilities proportional to
    ``exp(score / temperature)``, where an action's score is its mean log-probability per token
    (nats; longer phrases are not punished). ``calibrated`` subtracts the score of the same words
    after the bare cue, so that phrases which are likely anywhere gain nothing (contextual
    calibration, Zhao et al. 2021, arXiv 2102.09690; PMI, Holtzman et al. 2021, arXiv 2104.08315).
    ``generate`` writes a line, which is parsed. Temperature 0 takes the best.
    """

    how: Literal["score", "generate"] = "score"
    temperature: float = 1.0
    calibrated: bool = False

    def __post_init__(self) -> None:
        if self.how not in ("score", "generate"):
            raise InputError(f"expected how to be score or generate, got {self.how!r}")
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise InputError(f"expected a temperature of 0 or more, got {self.temperature}")


@dataclass(frozen=True)
class Decision:
    """One decision: what could be done, how likely each was, and what was done.

    ``scores`` (nats per token) and ``probabilities`` stand in the order of ``legal``; both are
    empty where the reply was generated. ``episode`` counts episodes of the play.
    """

    episode: int
    game_id: str
    seed: int
    turn: int
    plea_heard: bool
    legal: tuple[str, ...]
    scores: tuple[float, ...]
    probabilities: tuple[float, ...]
    action: str
    n_prompt_tokens: int

    def probability_of(self, action_ids: frozenset[str]) -> float:
        """Probability of doing any of these actions."""
        chances = zip(self.legal, self.probabilities, strict=True)
        return sum((p for a, p in chances if a in action_ids), start=0.0)


@dataclass(frozen=True, eq=False)
class Play:
    """Episodes that a language model played, and its residual stream before each act.

    ``resid_post`` is read at the last token of the prompt, before the action's tokens, in the order
    of ``decisions``; ``n_tokens`` counts the tokens that were read.
    """

    episodes: tuple[Episode, ...]
    preambles: tuple[str, ...]
    decisions: tuple[Decision, ...]
    resid_post: Float[Tensor, "decision layer d_model"]
    layers: tuple[int, ...]
    provenance: Provenance
    n_tokens: int

    def transcript(self, game_id: str) -> tuple[Episode, str]:
        """The first episode of a game and all that its player read, instruction included."""
        index = next(i for i, e in enumerate(self.episodes) if e.game_id == game_id)
        episode = self.episodes[index]
        opening = f"{self.preambles[index]}\n\n" if self.preambles[index] else ""
        return episode, opening + replay(episode.trajectory).history
