"""Activations of any number of texts, in constant memory, that survive a kill at any moment.

A store is a folder: ``index.json`` and one shard for each window of texts. Within a window texts
are sorted by length and read batch by batch; each batch is a file in ``parts`` until the window's
shard is whole. Windows, batches and so all rounding depend on the texts and the settings alone:
a store that was interrupted and gone on with has the bytes of one that was not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import InputError
from ..files import read_json, write_json
from ..runs import input_hash
from ..tokens import encode
from ..types import HookedModel, Pooling, Provenance, Site
from .engine import BATCH_TOKENS, Settings, pooled_batches, resolve_layers
from .precision import check_precision, computed_provenance
from .shards import check_unhooked, read_shard, write_shard

__all__ = ["ActivationStore", "open_store", "stream_activations"]

Text = tuple[str, str]
WINDOW = 512
FORMAT = 1


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
            yield read_shard(self.folder / name)[0]["values"]

    def at(self, layer: int) -> Float[Tensor, "item d_model"]:
        """All texts at one layer. Raises InputError for a layer that was not extracted."""
        layers = [site.layer for site in self.sites]
        if layer not in layers:
            raise InputError(f"layer {layer} was not extracted; extracted layers: {layers}")
        # Cloned: a view would keep every layer of every shard.
        return torch.cat([values[:, layers.index(layer)].clone() for values in self])

    def n_tokens(self) -> Int[Tensor, "item"]:
        """How many tokens were pooled in each text."""
        return torch.cat([read_shard(self.folder / n)[0]["n_tokens"] for n in self.shards])


def open_store(folder: str | Path) -> ActivationStore:
    """A store to read from. Raises InputError where the folder is none or lacks a shard."""
    folder = Path(folder)
    index = read_json(folder / "index.json")
    _check_format(folder, index)
    missing = [s["file"] for s in index["shards"] if not (folder / s["file"]).is_file()]
    if missing:
        raise InputError(
            f"{folder}: the store lacks {', '.join(missing[:3])} which its index lists; run the "
            "extraction again with the same texts to make it anew"
        )
    made = index["made_with"]
    return ActivationStore(
        folder=folder,
        sites=tuple(Site(layer) for layer in made["layers"]),
        pooling=made["pooling"],
        provenance=Provenance(**made["provenance"]),
        shards=tuple(s["file"] for s in index["shards"]),
        n_texts=sum(s["n_texts"] for s in index["shards"]),
        complete=index["complete"],
    )


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
    uninterrupted run on the same machine with as many threads. One process at a time may write.

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
        file in it is damaged or cannot be written; the model has hooks on it.
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
    index = _begun(folder, _made_with(model, settings, window))
    done, number, source = 0, 0, iter(texts)
    while some := list(islice(source, window)):
        fingerprint = input_hash(some)
        known = index["shards"][number] if number < len(index["shards"]) else None
        if known is not None and known["texts"] != fingerprint:
            raise InputError(
                f"{folder}: texts {done} to {done + len(some) - 1} are not those that "
                f"{known['file']} was made of; give the same texts in the same order, or choose "
                "another folder"
            )
        name = f"shard-{number:05d}.safetensors"
        if known is None or not (folder / name).is_file():
            _read_window(model, some, settings, folder, number, done)
            if known is None:
                shard = {"file": name, "n_texts": len(some), "texts": fingerprint}
                index["shards"].append(shard)
                index["complete"] = False
                write_json(folder / "index.json", index)
        _remove_parts(folder, number)
        done, number = done + len(some), number + 1
        if progress is not None:
            progress(done)
    if number < len(index["shards"]):
        raise InputError(
            f"{folder}: the store was made of more texts than the {done} given; give all of them, "
            "or choose another folder"
        )
    index["complete"] = True
    write_json(folder / "index.json", index)
    if (folder / "parts").is_dir():
        (folder / "parts").rmdir()
    return open_store(folder)


def _made_with(model: HookedModel, settings: Settings, window: int) -> dict[str, Any]:
    return {
        "provenance": computed_provenance(model, settings.precision).to_dict(),
        "layers": list(settings.layers),
        "pooling": settings.poolings[0],
        "batch_tokens": settings.batch_tokens,
        "window": window,
    }


def _begun(folder: Path, made_with: dict[str, Any]) -> dict[str, Any]:
    """The folder's index, new or of an earlier run. Raises InputError where that differs."""
    # What a kill left half-written is of no use to anyone.
    for left in (*folder.glob(".*.part"), *folder.glob("parts/.*.part")):
        left.unlink()
    path = folder / "index.json"
    if not path.is_file():
        index = {"format": FORMAT, "made_with": made_with, "shards": [], "complete": False}
        write_json(path, index)
        return index
    index = read_json(path)
    _check_format(folder, index)
    for where, old, new in (
        ("", index["made_with"], made_with),
        ("model: ", index["made_with"]["provenance"], made_with["provenance"]),
    ):
        differs = [k for k in new if k != "provenance" and old.get(k) != new[k]]
        if differs:
            key = differs[0]
            raise InputError(
                f"{folder} holds a store made with another {where}{key} ({old.get(key)!r}, now "
                f"{new[key]!r}); use what it was made with, or choose another folder"
            )
    return dict(index)


def _check_format(folder: Path, index: Any) -> None:
    keys = {"format", "made_with", "shards", "complete"}
    if not isinstance(index, dict) or not keys <= index.keys() or index["format"] != FORMAT:
        raise InputError(f"{folder}/index.json: expected the index of an activation store")


def _read_window(
    model: HookedModel,
    texts: Sequence[Text],
    settings: Settings,
    folder: Path,
    number: int,
    first: int,
) -> None:
    """Computes what no part holds yet and joins the parts to the window's shard."""
    encoded = [encode(model, text, prompt) for prompt, text in texts]
    pooling = settings.poolings[0]
    values = torch.empty((len(encoded), len(settings.layers), int(model.cfg.d_model)))
    finished = 0
    while (path := _part(folder, number, finished)).is_file():
        part, _ = read_shard(path)
        values[part["rows"]] = part["values"]
        finished += 1
    called = range(first, first + len(texts))
    passes = pooled_batches(model, encoded, settings, skip=finished, called=called)
    for k, (rows, pooled) in enumerate(passes, start=finished):
        at = torch.tensor(rows)
        write_shard(_part(folder, number, k), {"rows": at, "values": pooled[pooling]}, {})
        values[at] = pooled[pooling]
    write_shard(
        folder / f"shard-{number:05d}.safetensors",
        {"values": values, "n_tokens": torch.tensor([e.n_completion for e in encoded])},
        {"sites": [asdict(Site(layer)) for layer in settings.layers], "pooling": pooling},
    )


def _part(folder: Path, number: int, k: int) -> Path:
    return folder / "parts" / f"{number:05d}-{k:05d}.safetensors"


def _remove_parts(folder: Path, number: int) -> None:
    for path in (folder / "parts").glob(f"{number:05d}-*.safetensors"):
        path.unlink()
