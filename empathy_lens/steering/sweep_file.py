"""A sweep as a file, and sweeps of single layers as one: so that a long sweep can be resumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..results import read_result, write_result
from ..types import Direction, SteeringPrompt
from .damage import Damage
from .sweep import Controls, SteeredText, SteeringSweep

__all__ = ["join_sweeps", "load_sweep", "save_sweep"]


@dataclass(frozen=True)
class StoredArray:
    """Shape and numbers apart: a list cannot say how wide an array without rows is."""

    shape: tuple[int, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if min(self.shape, default=0) < 0 or int(np.prod(self.shape)) != len(self.values):
            raise ValueError(f"{len(self.values)} numbers do not fill the shape {self.shape}")

    @classmethod
    def of(cls, values: np.ndarray) -> StoredArray:
        return cls(values.shape, tuple(values.astype(float).ravel().tolist()))

    def array(self) -> np.ndarray:
        return np.array(self.values, dtype=np.float64).reshape(self.shape)


@dataclass(frozen=True)
class StoredControls:
    random: StoredArray
    shuffled: StoredArray


@dataclass(frozen=True)
class StoredSweep:
    """A sweep's measurements; its directions and prompts are kept elsewhere."""

    layers: tuple[int, ...]
    alphas: tuple[float, ...]
    pushes: tuple[float, ...]
    choosing: tuple[int, ...]
    reporting: tuple[int, ...]
    seed: int
    log_odds: StoredArray
    instruction: StoredArray
    controls: Mapping[int, StoredControls]
    losses: Mapping[int, StoredArray]
    correct: Mapping[int, tuple[tuple[bool, ...], ...]]
    texts: tuple[SteeredText, ...]


def save_sweep(path: Path, sweep: SteeringSweep) -> None:
    """Writes everything that was measured as JSON; directions and prompts are kept elsewhere."""
    stored = StoredSweep(
        layers=sweep.layers,
        alphas=sweep.alphas,
        pushes=sweep.pushes,
        choosing=sweep.choosing,
        reporting=sweep.reporting,
        seed=sweep.seed,
        log_odds=StoredArray.of(sweep.log_odds),
        instruction=StoredArray.of(sweep.instruction),
        controls={
            k: StoredControls(StoredArray.of(c.random), StoredArray.of(c.shuffled))
            for k, c in sweep.controls.items()
        },
        losses={k: StoredArray.of(v) for k, v in sweep.damage.losses.items()},
        correct={k: tuple(map(tuple, v.tolist())) for k, v in sweep.damage.correct.items()},
        texts=sweep.texts,
    )
    write_result(path, stored)


def load_sweep(
    path: Path, directions: Mapping[int, Direction], prompts: Sequence[SteeringPrompt]
) -> SteeringSweep:
    """A sweep equal to the one saved, given its directions and prompts.

    Raises InputError for another kind of file, or a layer without its direction.
    """
    try:
        stored = read_result(path, StoredSweep)
    except InputError as error:
        raise InputError(f"{path}: not a sweep of these layers; run it again\n{error}") from None
    absent = sorted(set(stored.layers) - set(directions))
    if absent:
        raise InputError(f"{path}: not a sweep of these layers; no direction for {absent}")
    return SteeringSweep(
        directions={layer: directions[layer] for layer in stored.layers},
        alphas=stored.alphas,
        pushes=stored.pushes,
        prompts=tuple(prompts),
        choosing=stored.choosing,
        reporting=stored.reporting,
        log_odds=stored.log_odds.array(),
        instruction=stored.instruction.array(),
        controls={
            k: Controls(c.random.array(), c.shuffled.array()) for k, c in stored.controls.items()
        },
        damage=Damage(
            losses={k: v.array() for k, v in stored.losses.items()},
            correct={k: np.array(v, dtype=bool) for k, v in stored.correct.items()},
        ),
        texts=stored.texts,
        seed=stored.seed,
    )


def join_sweeps(sweeps: Sequence[SteeringSweep]) -> SteeringSweep:
    """Sweeps of different layers, alike in all else, as one over all their layers.

    Raises InputError where two hold the same layer or differ in strengths, prompts or seed.
    """
    if not sweeps:
        raise InputError("expected at least one sweep, got none")
    first, layers = sweeps[0], [layer for s in sweeps for layer in s.layers]
    for name in ("alphas", "pushes", "prompts", "choosing", "reporting", "seed"):
        if any(getattr(s, name) != getattr(first, name) for s in sweeps):
            raise InputError(f"sweeps to be joined differ in {name}")
    if layers != sorted(set(layers)):
        raise InputError(f"expected sweeps of different layers in rising order, got {layers}")
    return replace(
        first,
        directions={k: d for s in sweeps for k, d in s.directions.items()},
        log_odds=np.concatenate([s.log_odds for s in sweeps]),
        controls={k: c for s in sweeps for k, c in s.controls.items()},
        damage=Damage(
            losses={k: v for s in sweeps for k, v in s.damage.losses.items()},
            correct={k: v for s in sweeps for k, v in s.damage.correct.items()},
        ),
        texts=tuple(text for s in sweeps for text in s.texts),
    )
