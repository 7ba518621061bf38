"""A store of activations as it is read: its index, and its shards one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import InputError
from ..files import read_json
from ..results import from_plain
from ..types import Pooling, Provenance, Site
from .shards import describe_shard, read_shard

INDEX = "index.json"
REMEDY = "run the extraction again with the same texts, in a new folder if this comes again"


@dataclass(frozen=True)
class MadeWith:
    """What every shard of a store was computed with."""

    provenance: Provenance
    layers: tuple[int, ...]
    pooling: Pooling
    batch_tokens: int
    window: int


@dataclass(frozen=True)
class Shard:
    """A file of the store; ``texts`` is the hash of the texts it was made of."""

    file: str
    n_texts: int
    texts: str


@dataclass(frozen=True)
class StoreIndex:
    """``index.json`` of a store."""

    format: Literal[1]
    made_with: MadeWith
    shards: tuple[Shard, ...]
    complete: bool


@dataclass(frozen=True)
class StreamNote:
    """What a shard of a store says of itself."""

    sites: tuple[Site, ...]
    pooling: Pooling


@dataclass(frozen=True)
class ActivationStore:
    """Pooled ``resid_post`` of texts in their order, read shard by shard from a folder."""

    folder: Path
    sites: tuple[Site, ...]
    pooling: Pooling
    provenance: Provenance
    shards: tuple[str, ...]
    n_texts: int
    complete: bool

    def __len__(self) -> int:
        return self.n_texts

    def __iter__(self) -> Iterator[Float[Tensor, "item layer d_model"]]:
        """The shards' values, in float32. Raises InputError for a shard that is damaged."""
        for name in self.shards:
            yield read_shard(self.folder / name, "values")["values"]

    def at(self, layer: int) -> Float[Tensor, "item d_model"]:
        """All texts at one layer. Raises InputError for a layer that was not extracted."""
        layers = [site.layer for site in self.sites]
        if layer not in layers:
            raise InputError(f"layer {layer} was not extracted; extracted layers: {layers}")
        # Cloned: a view would keep every layer of every shard.
        return torch.cat([values[:, layers.index(layer)].clone() for values in self])

    def n_tokens(self) -> Int[Tensor, "item"]:
        """How many tokens were pooled in each text."""
        shards = [read_shard(self.folder / name, "n_tokens") for name in self.shards]
        return torch.cat([shard["n_tokens"] for shard in shards])


def open_store(folder: str | Path) -> ActivationStore:
    """A store to read from.

    Raises InputError where the folder is none, or its index and its shards do not agree.
    """
    folder = Path(folder)
    index = read_index(folder)
    listed = [shard.file for shard in index.shards]
    ours = [shard_file(number) for number in range(len(listed))]
    missing = [name for name in ours if not (folder / name).is_file()]
    if listed == ours and missing:
        raise InputError(
            f"{folder}: the store lacks {', '.join(missing[:3])} which its index lists; run the "
            "extraction again with the same texts to make it anew"
        )
    held = sorted(path.name for path in folder.glob("shard-*.safetensors"))
    if listed != ours or (index.complete and listed != held):
        raise InputError(
            f"{folder / INDEX} is damaged: it lists {_some(listed)} where the folder holds "
            f"{_some(held)}; {REMEDY}"
        )
    for shard in index.shards:
        _check_shard(folder / shard.file, shard, index.made_with)
    return ActivationStore(
        folder=folder,
        sites=tuple(Site(layer) for layer in index.made_with.layers),
        pooling=index.made_with.pooling,
        provenance=index.made_with.provenance,
        shards=tuple(shard.file for shard in index.shards),
        n_texts=sum(shard.n_texts for shard in index.shards),
        complete=index.complete,
    )


def read_index(folder: Path) -> StoreIndex:
    """The index of a store's folder. Raises InputError where it is missing or damaged."""
    path = folder / INDEX
    data = read_json(path)
    try:
        return from_plain(data, StoreIndex, str(path))
    except InputError as error:
        raise InputError(f"{path}: expected the index of an activation store; {error}") from None


def shard_file(number: int) -> str:
    """The name of a store's shard, counted from 0."""
    return f"shard-{number:05d}.safetensors"


def _some(names: Sequence[str]) -> str:
    ends = f" ({names[0][:40]} to {names[-1][:40]})" if names else ""
    return f"{len(names)} shards{ends}"


def _check_shard(path: Path, shard: Shard, made_with: MadeWith) -> None:
    """Raises InputError unless a shard holds as many texts and the layers that the index says."""
    note, shapes = describe_shard(path, StreamNote)
    layers = tuple(site.layer for site in note.sites)
    said = (shard.n_texts, made_with.layers, made_with.pooling)
    values, n_tokens = shapes.get("values", ()), shapes.get("n_tokens", ())
    if said != (*n_tokens, layers, note.pooling) or values[:2] != (shard.n_texts, len(layers)):
        raise InputError(
            f"{path}: expected {shard.n_texts} texts at layers {list(made_with.layers)}, "
            f"{made_with.pooling} pooling, as {INDEX} says, got values of shape {values} at layers "
            f"{list(layers)}, {note.pooling}; {REMEDY}"
        )
