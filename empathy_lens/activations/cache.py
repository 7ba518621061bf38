"""Activations already computed for the same model, precision, pooling and tokens.

A cache is a folder of shards, one for each pass that was computed. Nothing in it is ever changed,
so several processes may share it, and deleting any of it is safe.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from ..runs import input_hash
from ..tokens import EncodedText
from ..types import HookedModel, Pooling, Progress
from .engine import Settings, pooled_batches
from .precision import computed_provenance
from .shards import check_unhooked, describe_shard, read_shard, write_shard

__all__ = ["read_cached"]

Place = tuple[Path, int]


def read_cached(
    model: HookedModel,
    encoded: Sequence[EncodedText],
    settings: Settings,
    folder: Path,
    progress: Progress | None = None,
) -> dict[Pooling, Float[Tensor, "item layer d_model"]]:
    """Like :func:`read_texts`, from the folder where it can be; the rest is computed and added.

    What was computed in other batches differs from what would be computed now by rounding.
    Raises InputError for a damaged shard, one that cannot be written, or a model with hooks on.
    """
    check_unhooked(model)
    keys = [input_hash([text.start, *text.ids]) for text in encoded]
    folders = {p: folder / _model_key(model, settings, p) for p in settings.poolings}
    known = {p: _places(folders[p], settings.layers) for p in settings.poolings}
    missing = [i for i, key in enumerate(keys) if not all(key in known[p] for p in known)]
    shape = (len(encoded), len(settings.layers), int(model.cfg.d_model))
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
            described = {"layers": settings.layers, "texts": names}
            path = folders[pooling] / f"{input_hash(described)[:32]}.safetensors"
            write_shard(path, {"values": values}, described)
        done += len(items)
        if progress is not None:
            progress(done, len(encoded))
    computed = set(missing)
    for pooling, values in out.items():
        wanted: dict[Path, list[tuple[int, int]]] = {}
        for i, key in enumerate(keys):
            if i not in computed:
                path, row = known[pooling][key]
                wanted.setdefault(path, []).append((i, row))
        for path, places in wanted.items():
            tensors, described = read_shard(path)
            at = [described["layers"].index(layer) for layer in settings.layers]
            for i, row in places:
                values[i] = tensors["values"][row, at]
    return out


def _model_key(model: HookedModel, settings: Settings, pooling: Pooling) -> str:
    p = computed_provenance(model, settings.precision)
    parts = [p.weights_hash, p.weight_basis, p.dtype, p.precision, pooling]
    return f"{pooling}-{input_hash(parts)[:24]}"


def _places(folder: Path, layers: Sequence[int]) -> dict[str, Place]:
    """Where each text's activations lie, among shards that hold all the layers."""
    found: dict[str, Place] = {}
    for path in sorted(folder.glob("*.safetensors")):
        described = describe_shard(path)
        if set(layers) <= set(described["layers"]):
            found.update((key, (path, row)) for row, key in enumerate(described["texts"]))
    return found
