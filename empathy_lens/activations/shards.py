"""Checked files of pooled activations: written whole or not at all, never believed unread."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import InputError
from ..files import atomic_path
from ..types import HookedModel

__all__ = ["check_unhooked", "describe_shard", "read_shard", "write_shard"]

KIND = "empathy_lens_shard"


def write_shard(path: Path, tensors: Mapping[str, Tensor], described: Mapping[str, Any]) -> None:
    """Writes tensors with their checksum; the same content gives the same bytes.

    Raises InputError where the disk is full or the folder cannot be written to.
    """
    contents = {name: tensor.contiguous() for name, tensor in tensors.items()}
    # One entry: safetensors writes several in no fixed order.
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


def describe_shard(path: Path) -> dict[str, Any]:
    """What a shard says of itself; its tensors are not read. Raises InputError."""
    return _open(path, tensors=False)[1]


def read_shard(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A shard's tensors and description. Raises InputError where it is missing or damaged."""
    tensors, described = _open(path, tensors=True)
    if described.get("sha256") != _digest(tensors):
        raise InputError(f"{path} is damaged (its checksum differs); {_REMEDY}")
    return tensors, described


_REMEDY = "delete it and run the extraction again: only what is missing is computed"


def _open(path: Path, *, tensors: bool) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not path.is_file():
        raise InputError(f"{path}: no such shard; run the extraction again to make it")
    try:
        with safe_open(path, framework="pt") as file:
            described = json.loads((file.metadata() or {})[KIND])
            names = file.keys() if tensors else ()
            return {name: file.get_tensor(name) for name in names}, described
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise InputError(f"{path} is damaged or no shard ({error}); {_REMEDY}") from None


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def check_unhooked(model: HookedModel) -> None:
    """Raises InputError where hooks are on the model: what is kept must be the model's own."""
    points: Mapping[str, Any] = getattr(model, "hook_dict", {})
    hooked = sorted(name for name, point in points.items() if point.fwd_hooks)
    if hooked:
        raise InputError(
            f"the model carries hooks ({', '.join(hooked[:3])}), and activations that are kept "
            "must be its own: remove them with model.reset_hooks(), or extract without a folder"
        )
