"""Activations of any number of texts, in constant memory, that survive a kill at any moment.

A store is a folder: ``index.json`` and one shard for each window of texts. Within a window texts
are sorted by length and read batch by batch; each batch is a file in ``parts`` until the window's
shard is whole. Windows, batches and so all rounding depend on the texts and the settings alone:
a store that was interrupted and gone on with has the bytes of one that was not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import islice
from pathlib import Path
from typing import Literal

import torch

from ..engine import (
    BATCH_TOKENS,
    Settings,
    check_precision,
    computed_provenance,
    encode,
    pooled_batches,
    resolve_layers,
)
from ..errors import InputError
from ..files import input_hash, locked, remove_leftovers
from ..results import write_result
from ..types import HookedModel, Pooling, Site
from .shards import LOCK, check_unhooked, describe_shard, read_shard, write_shard
from .store import (
    INDEX,
    ActivationStore,
    MadeWith,
    Shard,
    StoreIndex,
    StreamNote,
    open_store,
    read_index,
    shard_file,
)

Text = tuple[str, str]
WINDOW = 512


@dataclass(frozen=True)
class PartNote:
    """What a part of a window says of itself: the hash of the window's texts."""

    texts: str


def stream_activations(
    model: HookedModel,
    texts: Iterable[Text],
    folder: str | Path,
    *,
    layers: Sequence[int] | Literal["all"] = "all",
    pooling: Pooling = "mean",
    batch_tokens: int = BATCH_TOKENS,
    window: int = WINDOW,
    precision: Literal["model", "bfloat16"] = "model",
    progress: Callable[[int], None] | None = None,
) -> ActivationStore:
    """Pooled activations of (prompt, completion) texts into a folder, or the rest of them.

    Run again with the same texts and settings after an interruption: what is finished is not
    computed again, at most the batch in flight is lost, and the result has the bytes of an
    uninterrupted run on the same machine with as many threads. One process at a time may write; a
    second one is refused.

    Parameters
    ----------
    texts
        Taken ``window`` at a time and never held together.
    window
        Texts in a shard, among which those of like length are batched and prompts are shared.
        Memory: ``window × layers × d_model`` float32 values beside the model.
    progress
        Called with the number of texts done, those of earlier runs included.

    Raises
    ------
    InputError
        The folder holds another model's store, one made with other settings or of other texts; a
        file in it is damaged or cannot be written; another process writes it; the model has hooks
        on it.
    NonFiniteError
        An activation is NaN or infinite; what was finished before stays.
    """
    check_precision(model, precision)
    if window < 1:
        raise InputError(f"window: expected at least 1 text, got {window}")
    check_unhooked(model)
    folder = Path(folder)
    settings = Settings(
        resolve_layers(model, layers), (pooling,), batch_tokens, precision=precision
    )
    provenance = computed_provenance(model, precision)

    def refuse(holder: str) -> None:
        raise InputError(
            f"{folder}: another process writes this store ({holder}); wait until it ends, or "
            "choose another folder"
        )

    with locked(folder / LOCK, refuse):
        index = _begun(folder, MadeWith(provenance, settings.layers, pooling, batch_tokens, window))
        done, number, source = 0, 0, iter(texts)
        while some := list(islice(source, window)):
            shard = Shard(shard_file(number), len(some), input_hash(some))
            known = index.shards[number] if number < len(index.shards) else None
            if known is not None and known.texts != shard.texts:
                raise InputError(
                    f"{folder}: texts {done} to {done + len(some) - 1} are not those that "
                    f"{known.file} was made of; give the same texts in the same order, or choose "
                    "another folder"
                )
            if known is None or not (folder / shard.file).is_file():
                _read_window(model, some, settings, folder, number, done, shard.texts)
                if known is None:
                    index = replace(index, shards=(*index.shards, shard), complete=False)
                    write_result(folder / INDEX, index)
            _remove_parts(folder, number)
            done, number = done + len(some), number + 1
            if progress is not None:
                progress(done)
        if number < len(index.shards):
            raise InputError(
                f"{folder}: the store was made of more texts than the {done} given; give all of "
                "them, or choose another folder"
            )
        write_result(folder / INDEX, replace(index, complete=True))
        if (folder / "parts").is_dir():
            (folder / "parts").rmdir()
        return open_store(folder)


def _begun(folder: Path, made_with: MadeWith) -> StoreIndex:
    """The folder's index, new or of an earlier run. Raises InputError where that differs."""
    remove_leftovers(folder)
    if not (folder / INDEX).is_file():
        index = StoreIndex(1, made_with, (), False)
        write_result(folder / INDEX, index)
        return index
    index = read_index(folder)
    before = index.made_with
    # The rule's name does not matter, and older stores have none: the tokens do.
    now_ruled = replace(made_with.provenance, bos_rule=before.provenance.bos_rule)
    for where, old, new in (
        ("", before, replace(made_with, provenance=before.provenance)),
        ("model: ", before.provenance, now_ruled),
    ):
        for field in fields(new):
            was, now = getattr(old, field.name), getattr(new, field.name)
            # It follows from the weights' own hash, and older stores lack it.
            if was != now and field.name != "rounded_hash":
                raise InputError(
                    f"{folder} holds a store made with another {where}{field.name} ({was!r}, now "
                    f"{now!r}); use what it was made with, or choose another folder"
                )
    return index


def _read_window(
    model: HookedModel,
    texts: Sequence[Text],
    settings: Settings,
    folder: Path,
    number: int,
    first: int,
    texts_hash: str,
) -> None:
    """Computes what no part holds yet and joins the parts to the window's shard."""
    encoded = [encode(model, text, prompt) for prompt, text in texts]
    pooling = settings.poolings[0]
    values = torch.empty((len(encoded), len(settings.layers), model.cfg.d_model))
    finished = 0
    while (path := _part(folder, number, finished)).is_file():
        if describe_shard(path, PartNote)[0].texts != texts_hash:
            raise InputError(
                f"{path} was made of other texts; give the same texts in the same order, or choose "
                "another folder"
            )
        part = read_shard(path, "rows", "values")
        values[part["rows"]] = part["values"]
        finished += 1
    called = range(first, first + len(texts))
    passes = pooled_batches(model, encoded, settings, skip=finished, called=called)
    for k, (rows, pooled) in enumerate(passes, start=finished):
        at = torch.tensor(rows)
        part = {"rows": at, "values": pooled[pooling]}
        write_shard(_part(folder, number, k), part, PartNote(texts_hash))
        values[at] = pooled[pooling]
    write_shard(
        folder / shard_file(number),
        {"values": values, "n_tokens": torch.tensor([e.n_completion for e in encoded])},
        StreamNote(tuple(Site(layer) for layer in settings.layers), pooling),
    )


def _part(folder: Path, number: int, k: int) -> Path:
    return folder / "parts" / f"{number:05d}-{k:05d}.safetensors"


def _remove_parts(folder: Path, number: int) -> None:
    for path in (folder / "parts").glob(f"{number:05d}-*.safetensors"):
        path.unlink()
