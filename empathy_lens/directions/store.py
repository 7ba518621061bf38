"""Saving and loading directions and activations, with where they came from. Never pickle.

What describes tensors carries a checksum of both (``sha256``), so that a file in which anything has
changed is refused. Files older than it are read as they are. What a run made names it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..data import EMPATHY
from ..errors import InputError
from ..files import atomic_path, file_stem, parse_json
from ..results import RunIdentity, Stamp, from_plain, stamped, take_stamp, to_plain
from ..types import Activations, Concept, Direction, Pooling, Provenance, Site

SEAL = "sha256"


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


def save_directions(
    path: str | Path, directions: Mapping[int, Direction], run: RunIdentity | None = None
) -> None:
    """Writes directions (by layer) as one safetensors file, everything else in its metadata.

    ``run`` is the run that made them, if one did.
    """
    if not directions:
        raise InputError("expected at least one direction, got none")
    tensors = {f"layer_{layer}": d.vector.float().contiguous() for layer, d in directions.items()}
    described = {
        f"layer_{layer}": sealed(
            StoredDirection(d.site, d.method, d.raw_norm, d.threshold, d.provenance, d.concept),
            {"vector": tensors[f"layer_{layer}"]},
        )
        for layer, d in directions.items()
    }
    save_tensors(path, tensors, {"directions": described}, run)


def load_directions(path: str | Path) -> dict[int, Direction]:
    """Directions by layer, equal to those saved.

    Raises InputError for another kind of file, and one whose content is not what was saved.
    """
    tensors, metadata = load_tensors(path, "directions")
    described = metadata["directions"]
    if not isinstance(described, dict) or described.keys() != tensors.keys():
        raise InputError(f"{path}: expected one tensor a direction, got {sorted(tensors)}")
    directions = {}
    for name, entry in described.items():
        where, vector = f"{path}: {name}", tensors[name]
        d = from_plain(unsealed(entry, {"vector": vector}, where), StoredDirection, where)
        if vector.ndim != 1 or not vector.is_floating_point():
            raise InputError(
                f"{where}: expected a vector of numbers, got {tuple(vector.shape)}, {vector.dtype}"
            )
        if name != f"layer_{d.site.layer}":
            raise InputError(f"{where}: expected the site of that layer, got {d.site}")
        try:
            directions[d.site.layer] = Direction(
                vector, d.site, d.method, d.raw_norm, d.threshold, d.provenance, d.concept
            )
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    return directions


def run_of(path: str | Path) -> RunIdentity | None:
    """The run that made a file of tensors, None where the file does not say."""
    return _read_tensors(Path(path))[2].run


def save_vectors(folder: str | Path, directions: Mapping[int, Direction]) -> list[Path]:
    """One ``<concept>_direction_layer_{L}.npy`` a layer: unit norm, float32, no metadata."""
    paths = []
    for layer, direction in directions.items():
        path = Path(folder) / f"{file_stem(direction.concept.name)}_direction_layer_{layer}.npy"
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.save(file, direction.vector.float().numpy(), allow_pickle=False)
        paths.append(path)
    return paths


def save_activations(
    path: str | Path, activations: Activations, run: RunIdentity | None = None
) -> None:
    """Writes activations as safetensors, with labels, ids and provenance in its metadata.

    ``run`` is the run that made them, if one did.
    """
    a = activations
    described = StoredActivations(**{f.name: getattr(a, f.name) for f in fields(StoredActivations)})
    tensors = {"values": a.values.contiguous(), "labels": a.labels.contiguous()}
    save_tensors(path, tensors, {"activations": sealed(described, tensors)}, run)


def load_activations(path: str | Path) -> Activations:
    """Activations equal to those saved.

    Raises InputError for another kind of file, and one whose content is not what was saved.
    """
    tensors, metadata = load_tensors(path, "activations")
    if tensors.keys() != {"values", "labels"}:
        raise InputError(f"{path}: expected the tensors values and labels, got {sorted(tensors)}")
    values, labels = tensors["values"], tensors["labels"]
    if values.ndim != 3 or labels.ndim != 1 or labels.dtype != torch.bool:
        raise InputError(
            f"{path}: expected values of item x layer x d_model and one true or false label an "
            f"item, got shapes {tuple(values.shape)} and {tuple(labels.shape)}, {labels.dtype}"
        )
    entry = unsealed(metadata["activations"], tensors, str(path))
    a = from_plain(entry, StoredActivations, str(path))
    if not values.is_floating_point() or not torch.isfinite(values).all():
        raise InputError(f"{path}: values: expected finite numbers, {values.dtype} has others")
    try:
        return Activations(values=values, labels=labels, **vars(a))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def content_hash(tensors: Mapping[str, torch.Tensor], described: object = None) -> str:
    """A SHA-256 over tensors (names, types, shapes, values), and JSON values that describe them."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(
            tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        )
    if described is not None:
        digest.update(json.dumps(described, sort_keys=True).encode())
    return digest.hexdigest()


def sealed(described: object, tensors: Mapping[str, torch.Tensor]) -> dict[str, object]:
    """A result as JSON values, with the checksum of it and of the tensors that it describes."""
    plain = to_plain(described)
    return {**plain, SEAL: content_hash(tensors, plain)}


def unsealed(entry: object, tensors: Mapping[str, torch.Tensor], name: str) -> object:
    """What :func:`sealed` was given, or an entry that is older than checksums.

    Raises InputError that names the file where the checksum is not that of the content.
    """
    if not isinstance(entry, dict) or SEAL not in entry:
        return entry
    plain = {key: value for key, value in entry.items() if key != SEAL}
    if entry[SEAL] != content_hash(tensors, plain):
        raise InputError(
            f"{name}: the content is not what was saved (its {SEAL} differs); the file is damaged "
            "or was changed by hand: make it again, or get a new copy"
        )
    return plain


def save_tensors(
    path: str | Path,
    tensors: Mapping[str, torch.Tensor],
    metadata: Mapping[str, Mapping[str, object]],
    run: RunIdentity | None = None,
) -> None:
    """Writes named tensors as one safetensors file, JSON objects and the run in its metadata.

    The run stands in each entry: safetensors writes several entries in no fixed order.
    """
    metadata = {name: stamped(entry, run) for name, entry in metadata.items()}
    with atomic_path(Path(path)) as temporary:
        save_file(dict(tensors), temporary, {k: json.dumps(v) for k, v in metadata.items()})


def load_tensors(path: str | Path, kind: str) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    """What ``save_tensors`` wrote, without the run.

    Raises InputError unless the metadata has an entry ``kind``, and for a newer schema.
    """
    tensors, metadata, _ = _read_tensors(Path(path))
    if kind not in metadata:
        raise InputError(f"{path}: expected {kind} saved by empathy_lens, its metadata has none")
    return tensors, metadata


def _read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, object], Stamp]:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = {k: parse_json(v) for k, v in (file.metadata() or {}).items()}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error})") from None
    stamps = [take_stamp(v, str(path)) for v in metadata.values() if isinstance(v, dict)]
    return tensors, metadata, next(iter(stamps), Stamp())
