"""What a language model decided and read in its games, as values and as a file.

Long play can be resumed from such files, and plays of one model can be joined.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ..directions.store import load_tensors, save_tensors, sealed, unsealed
from ..errors import InputError
from ..results import RunIdentity, from_plain
from ..types import Provenance
from .episodes import Chance, Count, Episode, GameId, known_game, replay


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

    episode: Count
    game_id: GameId
    seed: int
    turn: Count
    plea_heard: bool
    legal: tuple[str, ...]
    scores: tuple[float, ...]
    probabilities: tuple[Chance, ...]
    action: str
    n_prompt_tokens: Count

    def probability_of(self, action_ids: frozenset[str]) -> float:
        """Probability of doing any of these actions."""
        chances = zip(self.legal, self.probabilities, strict=True)
        return sum((p for a, p in chances if a in action_ids), start=0.0)


@dataclass(frozen=True, eq=False)
class PlayRecord:
    """Episodes that a language model played, and its decisions; ``n_tokens`` counts what it read.

    It is the metadata of a play's file, whose tensor is the residual stream.
    """

    episodes: tuple[Episode, ...]
    preambles: tuple[str, ...]
    decisions: tuple[Decision, ...]
    layers: tuple[int, ...]
    provenance: Provenance
    n_tokens: Count


@dataclass(frozen=True, eq=False)
class Play(PlayRecord):
    """What a language model played, and its residual stream before each act.

    ``resid_post`` is read at the last token of the prompt, before the action's tokens, in the order
    of ``decisions``.
    """

    resid_post: Float[Tensor, "decision layer d_model"]

    def transcript(self, game_id: str) -> tuple[Episode, str]:
        """The first episode of a game and all that its player read, instruction included."""
        index = next(i for i, e in enumerate(self.episodes) if e.game_id == game_id)
        opening = f"{self.preambles[index]}\n\n" if self.preambles[index] else ""
        return self.episodes[index], opening + replay(self.episodes[index]).history


def save_play(path: Path, play: Play, run: RunIdentity | None = None) -> None:
    """Writes the residual stream as safetensors, with episodes and decisions in its metadata.

    ``run`` is the run that played, if one did.
    """
    record = PlayRecord(**{f.name: getattr(play, f.name) for f in fields(PlayRecord)})
    tensors = {"resid_post": play.resid_post.contiguous()}
    save_tensors(path, tensors, {"play": sealed(record, tensors)}, run)


def load_play(path: Path) -> Play:
    """A play equal to the one saved.

    Raises InputError for another kind of file, one whose content is not what was saved, and one of
    a game that there is not.
    """
    tensors, metadata = load_tensors(path, "play")
    if "resid_post" not in tensors:
        raise InputError(f"{path}: expected the tensor resid_post, got {sorted(tensors)}")
    entry, resid_post = unsealed(metadata["play"], tensors, str(path)), tensors["resid_post"]
    record = from_plain(entry, PlayRecord, str(path))
    try:
        _check_record(record)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if not resid_post.is_floating_point() or not torch.isfinite(resid_post).all():
        raise InputError(f"{path}: resid_post: expected finite numbers, got others")
    if resid_post.shape[:2] != (len(record.decisions), len(record.layers)) or resid_post.ndim != 3:
        raise InputError(
            f"{path}: expected resid_post of {len(record.decisions)} decisions x "
            f"{len(record.layers)} layers x d_model, got {tuple(resid_post.shape)}"
        )
    return Play(**vars(record), resid_post=resid_post)


def _check_record(record: PlayRecord) -> None:
    """Raises InputError where a record's parts do not belong together, naming the part."""
    episodes = record.episodes
    if len(record.preambles) != len(episodes):
        raise InputError(
            f"preambles: expected one for each of {len(episodes)} episodes, got "
            f"{len(record.preambles)}"
        )
    for episode in episodes:
        known_game(episode.game_id)
    for i, d in enumerate(record.decisions):
        if d.episode >= len(episodes):
            raise InputError(
                f"decisions.{i}.episode: expected one of {len(episodes)} episodes, got {d.episode}"
            )
        played = episodes[d.episode]
        if (d.game_id, d.seed) != (played.game_id, played.seed):
            raise InputError(
                f"decisions.{i}: expected a decision of {played.game_id}, seed {played.seed}, got "
                f"{d.game_id}, seed {d.seed}"
            )
        if not len(d.scores) == len(d.probabilities) or len(d.scores) not in (0, len(d.legal)):
            raise InputError(
                f"decisions.{i}: expected a score and a probability for each of {len(d.legal)} "
                f"legal actions, or none, got {len(d.scores)} and {len(d.probabilities)}"
            )


def join_plays(plays: Sequence[Play]) -> Play:
    """Plays of one model as one, their episodes in the order given.

    Raises InputError where none is given, or two are of different models or layers.
    """
    if not plays:
        raise InputError("expected at least one play, got none")
    first = plays[0]
    if any(p.layers != first.layers or p.provenance != first.provenance for p in plays):
        raise InputError("plays to be joined are of different models or layers; play them again")
    before = itertools.accumulate((len(play.episodes) for play in plays), initial=0)
    return Play(
        episodes=tuple(e for play in plays for e in play.episodes),
        preambles=tuple(p for play in plays for p in play.preambles),
        decisions=tuple(
            replace(d, episode=d.episode + n)
            for play, n in zip(plays, before, strict=False)
            for d in play.decisions
        ),
        resid_post=torch.cat([play.resid_post for play in plays]),
        layers=first.layers,
        provenance=first.provenance,
        n_tokens=sum(play.n_tokens for play in plays),
    )
