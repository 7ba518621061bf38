"""The values that flow through the library: text, activations, directions, evidence.

Everything here is frozen and free of model code. Axis names used in the shapes:

``item``     one text (one side of a pair, or one completion)
``layer``    an extracted layer, in the order of ``sites``
``d_model``  the width of the residual stream
``batch``, ``pos``, ``d_vocab``  as in TransformerLens
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .errors import InputError

__all__ = [
    "Activations",
    "Completion",
    "ContrastivePair",
    "Direction",
    "Estimate",
    "HookedModel",
    "PlainQuestion",
    "Pooling",
    "Progress",
    "Provenance",
    "RubricCompletion",
    "Scenario",
    "Site",
    "SteeringPrompt",
    "as_unit",
]

Pooling = Literal["mean", "last"]
Progress = Callable[[int, int], None]
"""Called with (done, in all) as long work goes on."""


@runtime_checkable
class HookedModel(Protocol):
    """What the library needs of a model: a HookedTransformer, a TransformerBridge, or a match."""

    @property
    def cfg(self) -> Any: ...

    @property
    def tokenizer(self) -> Any: ...

    def run_with_cache(self, *args: Any, **kwargs: Any) -> Any: ...

    def hooks(self, *args: Any, **kwargs: Any) -> Any: ...

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


@dataclass(frozen=True)
class Scenario:
    """An Empathy-in-Action scenario and its rubric (score 0, 1, 2 → what earns it)."""

    id: str
    title: str
    description: str
    objective: str
    empathy_pressure: str
    rubric: Mapping[str, str]


@dataclass(frozen=True)
class ContrastivePair:
    """Two completions of one situation that differ in what is done.

    ``positive`` shows more of the concept than ``negative``. ``prompt`` is context that is
    read but never pooled; it is empty where the texts stand alone. ``situation`` groups
    texts that must not be parted by a split; it defaults to ``pair_id``. ``extra`` keeps
    every field of the source line that the library does not know.
    """

    pair_id: str
    scenario_id: str
    positive: str
    negative: str
    prompt: str = ""
    situation: str = ""
    format: str = ""
    split: str = ""
    source_model: str = ""
    tags: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def group(self) -> str:
        """What a split, a fold or a bootstrap must keep together."""
        return f"{self.scenario_id}/{self.situation or self.pair_id}"


@dataclass(frozen=True)
class RubricCompletion:
    """A text that a person or model wrote to earn a given rubric score (0, 1 or 2)."""

    completion_id: str
    scenario_id: str
    score: int
    text: str
    prompt: str = ""
    situation: str = ""
    format: str = ""
    source_model: str = ""

    @property
    def group(self) -> str:
        return f"{self.scenario_id}/{self.situation or self.completion_id}"


@dataclass(frozen=True)
class SteeringPrompt:
    """A situation with actions that meet the need and actions that serve the task."""

    scenario_id: str
    prompt: str
    empathic_actions: tuple[str, ...]
    task_actions: tuple[str, ...]


@dataclass(frozen=True)
class PlainQuestion:
    """An easy question: ``answer`` is the index of the right choice."""

    question_id: str
    question: str
    choices: tuple[str, ...]
    answer: int


@dataclass(frozen=True, order=True)
class Site:
    """A place in the residual stream: the output of block ``layer``."""

    layer: int
    name: str = "resid_post"

    @property
    def hook_name(self) -> str:
        return f"blocks.{self.layer}.hook_{self.name}"


@dataclass(frozen=True)
class Provenance:
    """Where activations or a direction came from, enough to refuse a wrong combination.

    ``weight_basis`` names the basis in which the residual stream is written ("hub" where
    the weights are unprocessed, so that ``resid_post`` equals the hub model's block output).
    ``weights_hash`` fingerprints the weights themselves, not their file. ``precision`` names what
    was computed in where that is less than ``dtype``, else it is empty.
    """

    model_name: str
    weights_hash: str
    dtype: str
    backend: str
    transformer_lens: str
    weight_basis: str = "hub"
    revision: str = ""
    prompt_format: str = ""
    data_hash: str = ""
    precision: str = ""

    def same_basis(self, other: Provenance) -> bool:
        """Whether vectors from the two live in one space (dtype and backend may differ)."""
        return (self.weights_hash, self.weight_basis) == (other.weights_hash, other.weight_basis)

    def with_data(self, data_hash: str) -> Provenance:
        """The same provenance for activations or a direction made from the given data."""
        return replace(self, data_hash=data_hash)

    def to_dict(self) -> dict[str, str]:
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True, eq=False)
class Activations:
    """Pooled ``resid_post`` of labelled texts.

    ``values`` is float32, in activation units. ``labels`` is True for the positive side.
    ``groups`` and ``scenario_ids`` tell splits and bootstraps what belongs together;
    ``n_tokens`` is the number of tokens that were pooled.
    """

    values: Float[Tensor, "item layer d_model"]
    sites: tuple[Site, ...]
    labels: Bool[Tensor, "item"]
    pair_ids: tuple[str, ...]
    scenario_ids: tuple[str, ...]
    groups: tuple[str, ...]
    n_tokens: tuple[int, ...]
    pooling: Pooling
    provenance: Provenance

    def __post_init__(self) -> None:
        n_items, n_layers, _ = self.values.shape
        lengths = {
            "labels": len(self.labels),
            "pair_ids": len(self.pair_ids),
            "scenario_ids": len(self.scenario_ids),
            "groups": len(self.groups),
            "n_tokens": len(self.n_tokens),
        }
        wrong = {name: n for name, n in lengths.items() if n != n_items}
        if wrong:
            raise InputError(f"Activations: values hold {n_items} items, but {wrong}")
        if len(self.sites) != n_layers:
            raise InputError(
                f"Activations: values hold {n_layers} layers, but {len(self.sites)} sites"
            )

    @property
    def layers(self) -> tuple[int, ...]:
        return tuple(site.layer for site in self.sites)

    def at(self, layer: int) -> Float[Tensor, "item d_model"]:
        """The values at one layer. Raises InputError for a layer that was not extracted."""
        if layer not in self.layers:
            raise InputError(
                f"layer {layer} was not extracted; extracted layers: {list(self.layers)}"
            )
        return self.values[:, self.layers.index(layer)]

    def select(self, items: Bool[Tensor, "item"]) -> Activations:
        """The items where the mask is True, in order."""
        kept = [i for i, keep in enumerate(items.tolist()) if keep]

        def pick(names: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(names[i] for i in kept)

        return replace(
            self,
            values=self.values[items],
            labels=self.labels[items],
            pair_ids=pick(self.pair_ids),
            scenario_ids=pick(self.scenario_ids),
            groups=pick(self.groups),
            n_tokens=pick(self.n_tokens),
        )


@dataclass(frozen=True, eq=False)
class Direction:
    """A concept as a unit vector in the residual stream at one site.

    ``raw_norm`` is the norm of the class-mean gap along the direction before normalising,
    in activation units: steering with ``alpha`` adds ``alpha * raw_norm * vector``.
    ``threshold`` is in projection units; a projection above it is read as positive.
    """

    vector: Float[Tensor, "d_model"]
    site: Site
    method: str
    raw_norm: float
    threshold: float
    provenance: Provenance

    def __post_init__(self) -> None:
        norm = self.vector.float().norm().item()
        if not math.isfinite(norm) or abs(norm - 1.0) > 1e-3:
            raise InputError(f"Direction.vector must have unit norm, got norm {norm:.6g}")
        if not (math.isfinite(self.raw_norm) and math.isfinite(self.threshold)):
            raise InputError(
                f"Direction needs finite raw_norm and threshold, "
                f"got {self.raw_norm}, {self.threshold}"
            )

    def project(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch"]:
        """Signed projection in activation units, float32; positive = more of the concept."""
        if x.shape[-1] != self.vector.shape[0]:
            raise InputError(
                f"direction has d_model {self.vector.shape[0]}, activations have {x.shape[-1]}: "
                "they come from different models"
            )
        return x.float() @ self.vector.float().to(x.device)

    def __neg__(self) -> Direction:
        """The opposite pole: projections and threshold change sign."""
        return replace(self, vector=-self.vector, threshold=-self.threshold)


@dataclass(frozen=True)
class Estimate:
    """A figure with its uncertainty. Every number that the library reports is one.

    ``n`` counts items, ``n_groups`` the independent groups that were resampled, and
    ``method`` names how the interval was made. ``p`` is a two-sided p-value where a null
    was tested, else None.
    """

    value: float
    low: float
    high: float
    confidence: float
    n: int
    n_groups: int
    method: str
    seed: int | None = None
    p: float | None = None

    def __post_init__(self) -> None:
        if not all(math.isfinite(x) for x in (self.value, self.low, self.high)):
            raise InputError(f"Estimate must be finite, got {self.value} [{self.low}, {self.high}]")

    def __str__(self) -> str:
        p = "" if self.p is None else f", p = {self.p:.3g}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]{p}"

    def to_dict(self) -> dict[str, Any]:
        out = {f.name: getattr(self, f.name) for f in fields(self)}
        if self.p is None:
            del out["p"]
        return out

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Estimate:
        return cls(**{f.name: data[f.name] for f in fields(cls) if f.name in data})


@dataclass(frozen=True)
class Completion:
    """A text that a model wrote, with what is needed to write it again."""

    prompt: str
    text: str
    scenario_id: str
    alpha: float
    layer: int
    seed: int
    n_new_tokens: int
    finished: bool


def as_unit(vector: Float[Tensor, "d_model"]) -> Float[Tensor, "d_model"]:
    """The vector in float32 at norm 1. Raises InputError for a zero or non-finite vector."""
    v = vector.detach().to(torch.float32)
    largest = v.abs().max()
    if not torch.isfinite(largest) or largest == 0:
        raise InputError(f"cannot normalise a vector whose largest entry is {largest.item()}")
    # Squares of very large or small entries leave float32's range: scale first.
    v = v / largest
    return v / v.norm()
