"""Pooled activations on disk: checked files, and a cache of them that many runs may share.

A shard is written whole or not at all, and never believed unread. A cache is a folder of shards,
one for each pass that was computed. Nothing in it is ever changed, so several processes may share
it, and deleting any of it is safe. One at a time computes what is missing; the next waits, says so,
and computes what is missing then.
"""

from __future__ import annotations

import errno
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..directions.store import content_hash
from ..engine import EncodedText, Settings, computed_provenance, pooled_batches
from ..errors import InputError
from ..files import atomic_path, input_hash, locked, parse_json
from ..results import from_plain, to_plain
from ..types import HookedModel, Pooling, Progress

T = TypeVar("T")
log = logging.getLogger(__name__)

KIND = "empathy_lens_shard"
LOCK = ".lock"
SEAL = "note_sha256"
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

    ``note`` is a dataclass of plain values, which :func:`describe_shard` reads again. It has a
    checksum of its own, so that it can be believed without reading the tensors.
    Raises InputError where the disk is full or the folder cannot be written to.
    """
    contents = {name: tensor.contiguous() for name, tensor in tensors.items()}
    described = {} if note is None else to_plain(note)
    described["sha256"] = content_hash(contents)
    described[SEAL] = content_hash({}, described)
    # One entry: safetensors writes several in no fixed order.
    metadata = {KIND: json.dumps(described, sort_keys=True)}
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


def describe_shard(path: Path, kind: type[T]) -> tuple[T, dict[str, tuple[int, ...]]]:
    """The note of a shard and the shapes of its tensors, which are not read. Raises InputError."""
    with _opened(path) as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        described = _described(path, file.metadata())
    note = {name: value for name, value in described.items() if name != "sha256"}
    return from_plain(note, kind, str(path)), shapes


def read_shard(path: Path, *names: str) -> dict[str, Tensor]:
    """A shard's tensors. Raises InputError where it is missing or damaged, or lacks one named."""
    with _opened(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        described = _described(path, file.metadata())
    if described.get("sha256") != content_hash(tensors):
        raise InputError(f"{path} is damaged (its checksum differs); {REMEDY}")
    if missing := sorted(set(names) - tensors.keys()):
        raise InputError(f"{path} is damaged (it has no {', '.join(missing)}); {REMEDY}")
    return tensors


@contextmanager
def _opened(path: Path) -> Iterator[safe_open]:
    if not path.is_file():
        raise InputError(f"{path}: no such shard; run the extraction again to make it")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged or no shard ({error}); {REMEDY}") from None


def _described(path: Path, metadata: Mapping[str, str] | None) -> dict[str, object]:
    """What a shard says of itself, checked against its seal; shards older than seals have none."""
    try:
        described = parse_json((metadata or {})[KIND])
    except (KeyError, ValueError) as error:
        raise InputError(f"{path} is damaged or no shard ({error}); {REMEDY}") from None
    if not isinstance(described, dict):
        raise InputError(f"{path} is damaged or no shard; {REMEDY}")
    sealed = SEAL in described
    seal = described.pop(SEAL, None)
    if sealed and seal != content_hash({}, described):
        raise InputError(f"{path} is damaged (the checksum of its note differs); {REMEDY}")
    return described


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
    known, missing = _known(folders, keys, settings.layers)
    shape = (len(encoded), len(settings.layers), model.cfg.d_model)
    out = {pooling: torch.empty(shape) for pooling in settings.poolings}
    with locked(folder / LOCK, _wait) if missing else nullcontext():
        if missing:  # perhaps less than before, where another process was waited for
            known, missing = _known(folders, keys, settings.layers)
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
            stored = read_shard(path, "values")["values"]
            for i, kept in items_and_rows:
                values[i] = stored[kept.row, [kept.layers.index(x) for x in settings.layers]]
    return out


def _wait(holder: str) -> None:
    log.warning("the cache is being added to (%s): waiting for that", holder)


def _known(
    folders: Mapping[Pooling, Path], keys: Sequence[str], layers: Sequence[int]
) -> tuple[dict[Pooling, dict[str, CachedRow]], list[int]]:
    """What the folders hold, and which of the keys not all of them do."""
    known = {pooling: _cached_rows(folder, layers) for pooling, folder in folders.items()}
    missing = [i for i, key in enumerate(keys) if not all(key in rows for rows in known.values())]
    return known, missing


def _model_key(model: HookedModel, settings: Settings, pooling: Pooling) -> str:
    p = computed_provenance(model, settings.precision)
    parts = [p.weights_hash, p.weight_basis, p.dtype, p.precision, pooling]
    return f"{pooling}-{input_hash(parts)[:24]}"


def _cached_rows(folder: Path, layers: Sequence[int]) -> dict[str, CachedRow]:
    """Where each text's activations lie, by its hash, among shards that hold all the layers."""
    rows: dict[str, CachedRow] = {}
    for path in sorted(folder.glob("*.safetensors")):
        note, shapes = describe_shard(path, CachedTexts)
        held, said = shapes.get("values", ()), (len(note.texts), len(note.layers))
        if held[:2] != said:
            raise InputError(
                f"{path} is damaged (it lists {said[0]} texts and {said[1]} layers, its values are "
                f"of shape {held}); {REMEDY}"
            )
        if set(layers) <= set(note.layers):
            rows |= {key: CachedRow(path, row, note.layers) for row, key in enumerate(note.texts)}
    return rows
