"""Activations and directions, and the site and provenance that tell which of them go together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, TypeVar

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from ..errors import InputError
from .texts import Concept

T = TypeVar("T")
EDITED = "edited"
"""How the hash of weights begins that were edited in place after they had been loaded."""
Pooling = Literal["mean", "last"]
NEWER = Field(exclude_if=lambda value: not value)
"""What older files lack: left out while it is empty, so that they keep their bytes."""


@dataclass(frozen=True, order=True)
class Site:
    """A place in the residual stream: the output of block ``layer``."""

    layer: int
    name: str = "resid_post"

    def __post_init__(self) -> None:
        if self.layer < 0:
            raise InputError(f"layer: expected 0 or more, got {self.layer}")

    @property
    def hook_name(self) -> str:
        return f"blocks.{self.layer}.hook_{self.name}"


@dataclass(frozen=True)
class Provenance:
    """Where activations or a direction came from, enough to refuse a wrong combination.

    ``weight_basis`` names the basis in which the residual stream is written ("hub" where
    the weights are unprocessed, so that ``resid_post`` equals the hub model's block output).
    ``weights_hash`` fingerprints the weights themselves, not their file; ``rounded_hash`` does so
    for their values rounded to bfloat16, and is that of a bfloat16 copy too (empty in files older
    than it). ``precision`` names what was computed in where that is less than ``dtype``, else it is
    empty. ``trust_remote_code`` says that code which came with the model was allowed to run.
    ``prompt_format`` says how texts became tokens (``chat, no bos``), and ``bos_rule`` who decided
    on the BOS: ``tokenizer`` (its makers) or ``always`` (empty in files older than the choice).
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
    trust_remote_code: Annotated[bool, NEWER] = False
    rounded_hash: Annotated[str, NEWER] = ""
    bos_rule: Annotated[str, NEWER] = ""

    def __repr__(self) -> str:
        return (
            f"Provenance({self.model_name}, {self.dtype}, {self.backend}, {self.weight_basis} "
            f"weights {self.weights_hash[:8]})"
        )

    def same_basis(self, other: Provenance) -> bool:
        """Whether vectors from the two live in one space: nothing :meth:`differs_in`."""
        return not self.differs_in(other)

    def differs_in(self, other: Provenance) -> tuple[str, ...]:
        """What keeps vectors of the two apart, in words; nothing where they live in one space.

        Weights, weight processing and, where both name one, revision. Dtype and backend may
        differ, and the name of a model whose weights are the same. Between float16 and another
        dtype weights round to different values, so that only the name tells models apart there.
        """
        found = []
        if self.weight_basis != other.weight_basis:
            found.append(f"weight processing: {self.weight_basis}, not {other.weight_basis}")
        if self.revision and other.revision and self.revision != other.revision:
            found.append(f"revision: {self.revision}, not {other.revision}")
        if self._same_weights(other):
            return tuple(found)
        edited = any(p.weights_hash.startswith(EDITED) for p in (self, other))
        why = " (edited in place after they were loaded)" if edited else ""
        if self.model_name != other.model_name:
            found.append(f"model: {self.model_name}, not {other.model_name}")
        found.append(f"weights: {self.weights_hash[:15]}, not {other.weights_hash[:15]}{why}")
        return tuple(found)

    def _same_weights(self, other: Provenance) -> bool:
        if self.weights_hash == other.weights_hash:
            return True
        rounded = self.rounded_hash, other.rounded_hash
        if self.dtype == other.dtype or not all(rounded):
            return False
        half = "float16" in (self.dtype, other.dtype)
        return rounded[0] == rounded[1] or (half and self.model_name == other.model_name)

    def same_tokens(self, other: Provenance) -> bool:
        """Whether both had texts become the same tokens, as far as both say so."""
        said = [p.prompt_format.split(", ") for p in (self, other) if p.prompt_format]
        return all(len(set(parts)) == 1 for parts in zip(*said, strict=False))

    def with_data(self, data_hash: str) -> Provenance:
        """The same provenance for activations or a direction made from the given data."""
        return replace(self, data_hash=data_hash)


@dataclass(frozen=True, eq=False)
class Activations:
    """Pooled ``resid_post`` of labelled texts.

    ``values`` is float32, in activation units. ``labels`` is True for the positive side.
    ``groups`` and ``scenario_ids`` tell splits and bootstraps what belongs together;
    ``n_tokens`` is the number of tokens that were pooled. ``paired`` is False for texts of two
    lists that do not belong together; what needs pairs refuses them.
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
    concept: Concept = field(default=Concept())
    paired: bool = True

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

    @property
    def strata(self) -> tuple[str, ...]:
        """What folds and resamples keep in proportion: scenarios; unpaired, the classes as well."""
        if self.paired:
            return self.scenario_ids
        labelled = zip(self.scenario_ids, self.labels.tolist(), strict=True)
        return tuple(f"{scenario}/{positive}" for scenario, positive in labelled)

    def __repr__(self) -> str:
        n_items, n_layers, d_model = self.values.shape
        kind = f"{n_items // 2} pairs" if self.paired else f"{n_items} unpaired texts"
        return (
            f"Activations({n_items} items ({kind}) x {n_layers} layers x d_model {d_model}, "
            f"layers {_spans(self.layers)}, {self.pooling} pooling, {self.concept.name}, "
            f"{self.provenance.model_name})"
        )

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

        def pick(values: tuple[T, ...]) -> tuple[T, ...]:
            return tuple(values[i] for i in kept)

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
    concept: Concept = field(default=Concept())

    def __post_init__(self) -> None:
        norm = self.vector.float().norm().item()
        if not math.isfinite(norm) or abs(norm - 1.0) > 1e-3:
            raise InputError(f"Direction.vector must have unit norm, got norm {norm:.6g}")
        if not (math.isfinite(self.raw_norm) and math.isfinite(self.threshold)):
            raise InputError(
                f"Direction needs finite raw_norm and threshold, "
                f"got {self.raw_norm}, {self.threshold}"
            )
        if self.raw_norm < 0:
            raise InputError(
                f"Direction.raw_norm must be 0 or more, got {self.raw_norm}: with a negative one "
                "steering would run backwards; turn the vector around instead"
            )

    def __repr__(self) -> str:
        c = self.concept
        return (
            f"Direction({c.name}: {c.positive} - {c.negative}, {self.site.hook_name}, "
            f"{self.method}, raw_norm {self.raw_norm:.4g}, threshold {self.threshold:.4g}, "
            f"{self.provenance.model_name})"
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
        """The opposite pole: projections and threshold change sign, the poles change places."""
        c = self.concept
        turned = replace(c, positive=c.negative, negative=c.positive)
        return replace(self, vector=-self.vector, threshold=-self.threshold, concept=turned)


def as_unit(vector: Float[Tensor, "d_model"]) -> Float[Tensor, "d_model"]:
    """The vector in float32 at norm 1. Raises InputError for a zero or non-finite vector."""
    v = vector.detach().to(torch.float32)
    largest = v.abs().max()
    if not torch.isfinite(largest) or largest == 0:
        raise InputError(f"cannot normalise a vector whose largest entry is {largest.item()}")
    # Squares of very large or small entries leave float32's range: scale first.
    v = v / largest
    return v / v.norm()


def _spans(numbers: Sequence[int]) -> str:
    """Numbers in short: ``0-17``, ``8, 12, 16``."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)
