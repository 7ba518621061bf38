"""Saving and loading directions and activations, with where they came from. Never pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from .errors import InputError
from .files import atomic_path
from .types import Activations, Direction, Provenance, Site

__all__ = [
    "load_activations",
    "load_directions",
    "load_tensors",
    "save_activations",
    "save_directions",
    "save_tensors",
    "save_vectors",
]


def save_directions(path: str | Path, directions: Mapping[int, Direction]) -> None:
    """Writes directions (by layer) as one safetensors file, everything else in its metadata."""
    if not directions:
        raise InputError("expected at least one direction, got none")
    tensors = {f"layer_{layer}": d.vector.float().contiguous() for layer, d in directions.items()}
    described = {
        f"layer_{layer}": {
            "site": asdict(d.site),
            "method": d.method,
            "raw_norm": d.raw_norm,
            "threshold": d.threshold,
            "provenance": d.provenance.to_dict(),
        }
        for layer, d in directions.items()
    }
    save_tensors(path, tensors, {"directions": described})


def load_directions(path: str | Path) -> dict[int, Direction]:
    """Directions by layer, equal to those saved. Raises InputError for another kind of file."""
    tensors, metadata = load_tensors(path, "directions")
    out = {}
    for name, entry in metadata["directions"].items():
        direction = Direction(
            vector=tensors[name],
            site=Site(**entry["site"]),
            method=entry["method"],
            raw_norm=entry["raw_norm"],
            threshold=entry["threshold"],
            provenance=Provenance(**entry["provenance"]),
        )
        out[direction.site.layer] = direction
    return out


def save_vectors(folder: str | Path, directions: Mapping[int, Direction]) -> list[Path]:
    """One ``empathy_direction_layer_{L}.npy`` a layer: unit norm, float32, no metadata."""
    paths = []
    for layer, direction in directions.items():
        path = Path(folder) / f"empathy_direction_layer_{layer}.npy"
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.save(file, direction.vector.float().numpy(), allow_pickle=False)
        paths.append(path)
    return paths


def save_activations(path: str | Path, activations: Activations) -> None:
    """Writes activations as safetensors, with labels, ids and provenance in its metadata."""
    a = activations
    described = {
        "sites": [asdict(s) for s in a.sites],
        "pair_ids": a.pair_ids,
        "scenario_ids": a.scenario_ids,
        "groups": a.groups,
        "n_tokens": a.n_tokens,
        "pooling": a.pooling,
        "provenance": a.provenance.to_dict(),
    }
    tensors = {"values": a.values.contiguous(), "labels": a.labels.contiguous()}
    save_tensors(path, tensors, {"activations": described})


def load_activations(path: str | Path) -> Activations:
    """Activations equal to those saved. Raises InputError for another kind of file."""
    tensors, metadata = load_tensors(path, "activations")
    entry = metadata["activations"]
    return Activations(
        values=tensors["values"],
        sites=tuple(Site(**s) for s in entry["sites"]),
        labels=tensors["labels"],
        pair_ids=tuple(entry["pair_ids"]),
        scenario_ids=tuple(entry["scenario_ids"]),
        groups=tuple(entry["groups"]),
        n_tokens=tuple(entry["n_tokens"]),
        pooling=entry["pooling"],
        provenance=Provenance(**entry["provenance"]),
    )


def save_tensors(
    path: str | Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]
) -> None:
    """Writes named tensors as one safetensors file, and JSON values in its metadata."""
    with atomic_path(Path(path)) as temporary:
        save_file(dict(tensors), temporary, {k: json.dumps(v) for k, v in metadata.items()})


def load_tensors(path: str | Path, kind: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """What ``save_tensors`` wrote. Raises InputError unless the metadata speaks of ``kind``."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = {k: json.loads(v) for k, v in (file.metadata() or {}).items()}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error})") from None
    if kind not in metadata:
        raise InputError(f"{path}: expected {kind} saved by empathy_lens, its metadata has none")
    return tensors, metadata
