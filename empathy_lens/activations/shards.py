"""Pooled activations on disk: checked files, and a cache of them that many runs may share.

A shard is written whole or not at all, and never believed unread. A cache is a folder of shards,
one for each pass that was computed. Nothing in it is ever changed, so several processes may share
it, and deleting any of it is safe.
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..engine import EncodedText, Settings, computed_provenance, pooled_batches
from ..errors import InputError
from ..files import atomic_path, input_hash
from ..results import from_plain, to_plain
from ..types import HookedModel, Pooling, Progress

T = TypeVar("T")

KIND = "empathy_lens_shard"
REMEDY = "delete it and run the extraction again: only what is missing is computed"


@dataclass(frozen=True)
class CachedTexts:
    """What a shard of a cache says of itself: its layers, and the hash of each row's text."""

    layers: tuple[int, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True)
class CachedRow:
    """Where one text's activations lie: a row of a shard, whose layers are these."""

    shard: Path
    row: int
    layers: tuple[int, ...]


def write_shard(path: Path, tensors: Mapping[str, Tensor], note: object | None = None) -> None:
    """Writes tensors with their checksum and a note; the same content gives the same bytes.

    ``note`` is a dataclass of plain values, which :func:`describe_shard` reads again.
    Raises InputError where the disk is full or the folder cannot be written to.
    """
    contents = {name: tensor.contiguous() for name, tensor in tensors.items()}
    # One entry: safetensors writes several in no fixed order.
    described = {} if note is None else to_plain(note)
    metadata = {KIND: json.dumps({**described, "sha256": _digest(contents)}, sort_keys=True)}
    try:
        with atomic_path(path) as temporary:
            save_file(contents, temporary, metadata)
    except (OSError, SafetensorError) as error:
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
        why = "the disk is full" if full else str(error)
        raise InputError(
            f"{path} cannot be written: {why}; make room (or choose another folder) and run again: "
            "what is finished is kept"
        ) from None


def describe_shard(path: Path, kind: type[T]) -> T:
    """The note of a shard, whose tensors are not read. Raises InputError."""
    return from_plain(_open(path, tensors=False)[1], kind, str(path))


def read_shard(path: Path) -> dict[str, Tensor]:
    """A shard's tensors. Raises InputError where it is missing or damaged."""
    tensors, described = _open(path, tensors=True)
    if described.get("sha256") != _digest(tensors):
        raise InputError(f"{path} is damaged (its checksum differs); {REMEDY}")
    return tensors


def _open(path: Path, *, tensors: bool) -> tuple[dict[str, Tensor], dict[str, object]]:
    if not path.is_file():
        raise InputError(f"{path}: no such shard; run the extraction again to make it")
    try:
        with safe_open(path, framework="pt") as file:
            described = json.loads((file.metadata() or {})[KIND])
            names = file.keys() if tensors else ()
            return {name: file.get_tensor(name) for name in names}, described
    except (SafetensorError, KeyError, ValueError, RecursionError, OSError) as error:
        raise InputError(f"{path} is damaged or no shard ({error}); {REMEDY}") from None


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def check_unhooked(model: HookedModel) -> None:
    """Raises InputError where hooks are on the model: what is kept must be the model's own."""
    points: Mapping[str, object] = getattr(model, "hook_dict", {})
    hooked = sorted(name for name, p in points.items() if getattr(p, "fwd_hooks", None))
    if hooked:
        raise InputError(
            f"the model carries hooks ({', '.join(hooked[:3])}), and activations that are kept "
            "must be its own: remove them with model.reset_hooks(), or extract without a folder"
        )


def read_cached(
    model: HookedModel,
    encoded: Sequence[EncodedText],
    settings: Settings,
    folder: Path,
    progress: Progress | None = None,
) -> dict[Pooling, Float[Tensor, "item layer d_model"]]:
    """Pooled activations from the folder where it has them; the rest is computed and added to it.

    What was computed in other batches differs from what would be computed now by rounding.
    Raises InputError for a damaged shard, one that cannot be written, or a model with hooks on.
    """
    check_unhooked(model)
    keys = [input_hash([text.start, *text.ids]) for text in encoded]
    folders = {p: folder / _model_key(model, settings, p) for p in settings.poolings}
    known = {p: _cached_rows(folders[p], settings.layers) for p in settings.poolings}
    missing = [i for i, key in enumerate(keys) if not all(key in known[p] for p in known)]
    shape = (len(encoded), len(settings.layers), model.cfg.d_model)
    out = {pooling: torch.empty(shape) for pooling in settings.poolings}
    done = len(encoded) - len(missing)
    if progress is not None and done:
        progress(done, len(encoded))
    texts = [encoded[i] for i in missing]
    for rows, pooled in pooled_batches(model, texts, settings, called=missing):
        items = [missing[row] for row in rows]
        names = [keys[i] for i in items]
        for pooling, values in pooled.items():
            out[pooling][items] = values
            note = CachedTexts(settings.layers, tuple(names))
            path = folders[pooling] / f"{input_hash(to_plain(note))[:32]}.safetensors"
            write_shard(path, {"values": values}, note)
        done += len(items)
        if progress is not None:
            progress(done, len(encoded))
    computed = set(missing)
    for pooling, values in out.items():
        by_shard: dict[Path, list[tuple[int, CachedRow]]] = {}
        for i, key in enumerate(keys):
            if i not in computed:
                kept = known[pooling][key]
                by_shard.setdefault(kept.shard, []).append((i, kept))
        for path, items_and_rows in by_shard.items():
            stored = read_shard(path)["values"]
            for i, kept in items_and_rows:
                values[i] = stored[kept.row, [kept.layers.index(x) for x in settings.layers]]
    return out


def _model_key(model: HookedModel, settings: Settings, pooling: Pooling) -> str:
    p = computed_provenance(model, settings.precision)
    parts = [p.weights_hash, p.weight_basis, p.dtype, p.precision, pooling]
    return f"{pooling}-{input_hash(parts)[:24]}"


def _cached_rows(folder: Path, layers: Sequence[int]) -> dict[str, CachedRow]:
    """Where each text's activations lie, by its hash, among shards that hold all the layers."""
    rows: dict[str, CachedRow] = {}
    for path in sorted(folder.glob("*.safetensors")):
        note = describe_shard(path, CachedTexts)
        if set(layers) <= set(note.layers):
            rows |= {key: CachedRow(path, row, note.layers) for row, key in enumerate(note.texts)}
    return rows
