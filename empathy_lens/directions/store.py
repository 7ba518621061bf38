"""Saving and loading directions and activations, with where they came from. Never pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..data import EMPATHY
from ..errors import InputError
from ..files import atomic_path, file_stem
from ..results import from_plain, to_plain
from ..types import Activations, Concept, Direction, Pooling, Provenance, Site


@dataclass(frozen=True)
class StoredDirection:
    """A :class:`Direction` in a file's metadata; files older than concepts are about empathy."""

    site: Site
    method: str
    raw_norm: float
    threshold: float
    provenance: Provenance
    concept: Concept = field(default=EMPATHY)


@dataclass(frozen=True)
class StoredActivations:
    """:class:`Activations` in a file's metadata, all but the two tensors."""

    sites: tuple[Site, ...]
    pair_ids: tuple[str, ...]
    scenario_ids: tuple[str, ...]
    groups: tuple[str, ...]
    n_tokens: tuple[int, ...]
    pooling: Pooling
    provenance: Provenance
    concept: Concept = field(default=EMPATHY)
    paired: bool = True


def save_directions(path: str | Path, directions: Mapping[int, Direction]) -> None:
    """Writes directions (by layer) as one safetensors file, everything else in its metadata."""
    if not directions:
        raise InputError("expected at least one direction, got none")
    described = {
        f"layer_{layer}": to_plain(
            StoredDirection(d.site, d.method, d.raw_norm, d.threshold, d.provenance, d.concept)
        )
        for layer, d in directions.items()
    }
    tensors = {f"layer_{layer}": d.vector.float().contiguous() for layer, d in directions.items()}
    save_tensors(path, tensors, {"directions": described})


def load_directions(path: str | Path) -> dict[int, Direction]:
    """Directions by layer, equal to those saved. Raises InputError for another kind of file."""
    tensors, metadata = load_tensors(path, "directions")
    described = metadata["directions"]
    if not isinstance(described, dict) or described.keys() != tensors.keys():
        raise InputError(f"{path}: expected one tensor a direction, got {sorted(tensors)}")
    directions = {}
    for name, entry in described.items():
        d = from_plain(entry, StoredDirection, f"{path}: {name}")
        if tensors[name].ndim != 1:
            raise InputError(f"{path}: {name}: expected a vector, got {tuple(tensors[name].shape)}")
        directions[d.site.layer] = Direction(
            tensors[name], d.site, d.method, d.raw_norm, d.threshold, d.provenance, d.concept
        )
    return directions


def save_vectors(folder: str | Path, directions: Mapping[int, Direction]) -> list[Path]:
    """One ``<concept>_direction_layer_{L}.npy`` a layer: unit norm, float32, no metadata."""
    paths = []
    for layer, direction in directions.items():
        path = Path(folder) / f"{file_stem(direction.concept.name)}_direction_layer_{layer}.npy"
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.save(file, direction.vector.float().numpy(), allow_pickle=False)
        paths.append(path)
    return paths


def save_activations(path: str | Path, activations: Activations) -> None:
    """Writes activations as safetensors, with labels, ids and provenance in its metadata."""
    a = activations
    described = StoredActivations(
        sites=a.sites,
        pair_ids=a.pair_ids,
        scenario_ids=a.scenario_ids,
        groups=a.groups,
        n_tokens=a.n_tokens,
        pooling=a.pooling,
        provenance=a.provenance,
        concept=a.concept,
        paired=a.paired,
    )
    tensors = {"values": a.values.contiguous(), "labels": a.labels.contiguous()}
    save_tensors(path, tensors, {"activations": to_plain(described)})


def load_activations(path: str | Path) -> Activations:
    """Activations equal to those saved. Raises InputError for another kind of file."""
    tensors, metadata = load_tensors(path, "activations")
    if tensors.keys() != {"values", "labels"}:
        raise InputError(f"{path}: expected the tensors values and labels, got {sorted(tensors)}")
    values, labels = tensors["values"], tensors["labels"]
    if values.ndim != 3 or labels.ndim != 1 or labels.dtype != torch.bool:
        raise InputError(
            f"{path}: expected values of item x layer x d_model and one true or false label an "
            f"item, got shapes {tuple(values.shape)} and {tuple(labels.shape)}, {labels.dtype}"
        )
    a = from_plain(metadata["activations"], StoredActivations, str(path))
    return Activations(
        values=values,
        sites=a.sites,
        labels=labels,
        pair_ids=a.pair_ids,
        scenario_ids=a.scenario_ids,
        groups=a.groups,
        n_tokens=a.n_tokens,
        pooling=a.pooling,
        provenance=a.provenance,
        concept=a.concept,
        paired=a.paired,
    )


def save_tensors(
    path: str | Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, object]
) -> None:
    """Writes named tensors as one safetensors file, and JSON values in its metadata."""
    with atomic_path(Path(path)) as temporary:
        save_file(dict(tensors), temporary, {k: json.dumps(v) for k, v in metadata.items()})


def load_tensors(path: str | Path, kind: str) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    """What ``save_tensors`` wrote. Raises InputError unless the metadata has an entry ``kind``."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = {k: json.loads(v) for k, v in (file.metadata() or {}).items()}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, RecursionError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error})") from None
    if kind not in metadata:
        raise InputError(f"{path}: expected {kind} saved by empathy_lens, its metadata has none")
    return tensors, metadata
