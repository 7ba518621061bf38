"""What a sweep measured: as a value, as a file from which a long one is resumed, and joined."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Float

from ..errors import InputError
from ..results import RunIdentity, read_result, write_result
from ..types import Completion, Direction, SteeringPrompt
from .controls import Coherence, Damage
from .hooks import SteeringMethod, add_direction, method_name

T = TypeVar("T")


@dataclass(frozen=True)
class SteeredText:
    """A text that was written under steering, and how it reads.

    ``judged`` is the judge's score, 0 (negative pole) to 1 (positive pole), None without a judge.
    """

    prompt_index: int
    completion: Completion
    coherence: Coherence
    judged: float | None

    @property
    def setting(self) -> tuple[int, float]:
        """The layer and strength that it was written under."""
        return self.completion.layer, self.completion.alpha


@dataclass(frozen=True, eq=False)
class Controls:
    """Shifts of the log-odds by directions without meaning, on the prompts for reporting."""

    random: Float[np.ndarray, "control push reporting_prompt"]
    shuffled: Float[np.ndarray, "shuffled push reporting_prompt"]


@dataclass(frozen=True, eq=False)
class SteeringSweep:
    """What was measured, before any statistics.

    ``log_odds`` (nats per token) are absolute; ``controls`` and ``instruction`` are shifts against
    no steering. Controls are measured on the prompts ``reporting`` alone, at ``pushes``, strengths
    other than 0, in rising order, and at the layers that have any. The prompts ``choosing`` are
    the others.
    """

    directions: Mapping[int, Direction]
    alphas: tuple[float, ...]
    pushes: tuple[float, ...]
    prompts: tuple[SteeringPrompt, ...]
    choosing: tuple[int, ...]
    reporting: tuple[int, ...]
    log_odds: Float[np.ndarray, "layer alpha prompt"]
    controls: Mapping[int, Controls]
    instruction: Float[np.ndarray, "prompt"]
    damage: Damage
    texts: tuple[SteeredText, ...]
    seed: int
    method: SteeringMethod = add_direction

    @property
    def layers(self) -> tuple[int, ...]:
        return tuple(self.directions)

    @property
    def zero(self) -> int:
        return self.alphas.index(0.0)

    @property
    def shifts(self) -> Float[np.ndarray, "layer alpha prompt"]:
        """Shift of the log-odds against no steering, nats per token."""
        return self.log_odds - self.log_odds[:, self.zero : self.zero + 1]

    @property
    def unsteered_perplexity(self) -> float:
        """Median perplexity of the texts at alpha 0: what the model's own texts are like."""
        own = [t.coherence.perplexity for t in self.texts if t.completion.alpha == 0]
        known = [perplexity for perplexity in own if perplexity is not None]
        return float(np.median(known)) if known else float("inf")

    def coherent(self, text: SteeredText) -> bool:
        """Whether a text is as good as those at alpha 0 (:meth:`.Coherence.coherent`)."""
        return text.coherence.coherent(self.unsteered_perplexity)

    def shifts_at(self, layer: int, alpha: float) -> Float[np.ndarray, "prompt"]:
        """The shifts of one setting. Raises InputError for one that was not swept."""
        return self.shifts[self.layer_index(layer), self.alpha_index(alpha)]

    def controls_at(self, layer: int) -> Controls:
        """The controls of a layer, empty where it has none."""
        none = np.empty((0, len(self.pushes), len(self.reporting)))
        return self.controls.get(layer, Controls(none, none))

    def layer_index(self, layer: int) -> int:
        """Where a layer stands. Raises InputError for one that was not swept."""
        return _place("layer", layer, self.layers)

    def alpha_index(self, alpha: float) -> int:
        """Where a strength stands. Raises InputError for one that was not swept."""
        return _place("alpha", alpha, self.alphas)


def _place(kind: str, value: T, swept: tuple[T, ...]) -> int:
    if value not in swept:
        raise InputError(f"{kind} {value} was not swept; swept {kind}s: {list(swept)}")
    return swept.index(value)


@dataclass(frozen=True)
class StoredArray:
    """Shape and numbers apart: a list cannot say how wide an array without rows is."""

    shape: tuple[int, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if min(self.shape, default=0) < 0 or math.prod(self.shape) != len(self.values):
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
    """A sweep's measurements; its directions and prompts are kept elsewhere.

    ``method`` is what :func:`~.hooks.method_name` calls it; files older than it were all added.
    """

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
    method: str = method_name(add_direction)

    def __post_init__(self) -> None:
        layers, alphas = len(self.layers), len(self.alphas)
        shapes = {"log_odds": (self.log_odds.shape, (layers, alphas, *self.instruction.shape))}
        for layer, c in self.controls.items():
            for kind, array in (("random", c.random), ("shuffled", c.shuffled)):
                wanted = (*array.shape[:1], len(self.pushes), len(self.reporting))
                shapes[f"controls.{layer}.{kind}"] = (array.shape, wanted)
        texts = next(iter(self.losses.values())).shape[1:] if self.losses else ()
        for layer, losses in self.losses.items():
            shapes[f"losses.{layer}"] = (losses.shape, (alphas, *texts))
        for name, (came, wanted) in shapes.items():
            if came != wanted:
                raise InputError(f"{name}: expected the shape {wanted}, got {came}")
        for layer, rows in self.correct.items():
            if len(rows) != alphas or len(set(map(len, rows))) > 1:
                raise InputError(f"correct.{layer}: expected {alphas} rows of one length")
        n_prompts = math.prod(self.instruction.shape)
        told_apart: dict[str, Sequence[float]] = {
            "layers": self.layers,
            "alphas": self.alphas,
            "pushes": self.pushes,
            "choosing": self.choosing,
            "reporting": self.reporting,
        }
        for name, values in told_apart.items():
            if len(set(values)) < len(values):
                raise InputError(f"{name}: expected each value once, got {list(values)}")
        among: tuple[tuple[str, Iterable[float], Container[float]], ...] = (
            ("alphas (0 must be one)", (0.0,), self.alphas),
            ("pushes", self.pushes, self.alphas),
            ("choosing", self.choosing, range(n_prompts)),
            ("reporting", self.reporting, range(n_prompts)),
            ("controls", self.controls, self.layers),
            ("losses", self.layers, self.losses),
            ("correct", self.layers, self.correct),
            ("texts: layer", [t.setting[0] for t in self.texts], self.layers),
            ("texts: alpha", [t.setting[1] for t in self.texts], self.alphas),
            ("texts: prompt_index", [t.prompt_index for t in self.texts], range(n_prompts)),
        )
        for name, some, known in among:
            if strangers := [value for value in some if value not in known]:
                raise InputError(f"{name}: expected only what the sweep has, got {strangers[:3]}")


def save_sweep(path: Path, sweep: SteeringSweep, run: RunIdentity | None = None) -> None:
    """Writes everything that was measured as JSON; directions and prompts are kept elsewhere.

    ``run`` is the run that measured it, if one did.
    """
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
        method=method_name(sweep.method),
    )
    write_result(path, stored, run)


def load_sweep(
    path: Path,
    directions: Mapping[int, Direction],
    prompts: Sequence[SteeringPrompt],
    *,
    method: SteeringMethod = add_direction,
) -> SteeringSweep:
    """A sweep equal to the one saved, given its directions, prompts and method.

    Raises InputError for another kind of file, another method, or a layer without its direction.
    """
    try:
        stored = read_result(path, StoredSweep)
    except InputError as error:
        raise InputError(f"{path}: not a sweep of these layers; run it again\n{error}") from None
    absent = sorted(set(stored.layers) - set(directions))
    if absent:
        raise InputError(f"{path}: not a sweep of these layers; no direction for {absent}")
    if stored.method != method_name(method):
        raise InputError(
            f"{path}: measured with the method {stored.method}, not with {method_name(method)}; "
            "give the method that it was measured with, or run it again"
        )
    wrong = stored.instruction.shape != (len(prompts),) or any(
        text.completion.prompt != prompts[text.prompt_index].prompt for text in stored.texts
    )
    if wrong:
        raise InputError(
            f"{path}: not a sweep of these {len(prompts)} prompts; give those that it was measured "
            "on, or run it again"
        )
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
        method=method,
    )


def join_sweeps(sweeps: Sequence[SteeringSweep]) -> SteeringSweep:
    """Sweeps of different layers, alike in all else, as one over all their layers.

    Raises InputError where two hold the same layer or differ in strengths, prompts, seed or method.
    """
    if not sweeps:
        raise InputError("expected at least one sweep, got none")
    first, layers = sweeps[0], [layer for s in sweeps for layer in s.layers]
    for name in ("alphas", "pushes", "prompts", "choosing", "reporting", "seed", "method"):
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
