"""A play as a file, and plays as one: so that long play can be resumed, and read again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from ..artifacts import load_tensors, save_tensors
from ..errors import InputError
from ..types import Provenance
from .decisions import Decision, Play
from .episodes import Episode

__all__ = ["join_plays", "load_play", "save_play"]


def save_play(path: Path, play: Play) -> None:
    """Writes the residual stream as safetensors, with episodes and decisions in its metadata."""
    described = {
        "episodes": [episode.to_dict() for episode in play.episodes],
        "preambles": play.preambles,
        "decisions": [asdict(decision) for decision in play.decisions],
        "layers": play.layers,
        "provenance": play.provenance.to_dict(),
        "n_tokens": play.n_tokens,
    }
    save_tensors(path, {"resid_post": play.resid_post.contiguous()}, {"play": described})


def load_play(path: Path) -> Play:
    """A play equal to the one saved. Raises InputError for another kind of file."""
    tensors, metadata = load_tensors(path, "play")
    try:
        entry = metadata["play"]
        return Play(
            episodes=tuple(Episode.from_dict(e) for e in entry["episodes"]),
            preambles=tuple(entry["preambles"]),
            decisions=tuple(_decision(d) for d in entry["decisions"]),
            resid_post=tensors["resid_post"],
            layers=tuple(entry["layers"]),
            provenance=Provenance(**entry["provenance"]),
            n_tokens=entry["n_tokens"],
        )
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: not a play of this version ({error!r}); play it again") from None


def _decision(entry: dict[str, Any]) -> Decision:
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
    return Decision(**fields)


def join_plays(plays: Sequence[Play]) -> Play:
    """Plays of one model as one, their episodes in the order given.

    Raises InputError where none is given, or two are of different models or layers.
    """
    if not plays:
        raise InputError("expected at least one play, got none")
    first = plays[0]
    if any(p.layers != first.layers or p.provenance != first.provenance for p in plays):
        raise InputError("plays to be joined are of different models or layers; play them again")
    decisions: list[Decision] = []
    n_before = 0
    for play in plays:
        decisions += [replace(d, episode=d.episode + n_before) for d in play.decisions]
        n_before += len(play.episodes)
    return Play(
        episodes=tuple(e for play in plays for e in play.episodes),
        preambles=tuple(p for play in plays for p in play.preambles),
        decisions=tuple(decisions),
        resid_post=torch.cat([play.resid_post for play in plays]),
        layers=first.layers,
        provenance=first.provenance,
        n_tokens=sum(play.n_tokens for play in plays),
    )
