"""Where a model's files are, and its safetensors read piece by piece into dtype and device.

transformers maps the files into memory. That costs nothing while the values stay as they are on
the CPU; but where they are cast or moved, the mapped file stays resident beside the new tensors,
two or three times the weights at once. So such tensors are read in pieces instead.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from types import EllipsisType
from typing import Protocol, runtime_checkable

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import InputError, ModelError
from ..files import read_json
from .embedded import embedded_folder
from .zoo import EMBEDDED_MODELS

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
INDEX, SINGLE_FILE = "model.safetensors.index.json", "model.safetensors"
# Above 32 MB, the C library gives memory back to the system as soon as it is free.
PIECE_BYTES = 1 << 26
# transformers loads with several threads; one piece in memory at a time is enough.
ONE_PIECE = threading.Lock()
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}


@dataclass(frozen=True)
class ModelSource:
    """Where a checkpoint is read from (a folder, or an id on the hub), and its name there.

    ``revision`` is a branch, tag or commit of the hub; None means its default branch.
    ``trust_remote_code`` lets code run that comes with the model.
    """

    path: str
    hub_id: str
    local: bool
    revision: str | None = None
    trust_remote_code: bool = False

    @property
    def options(self) -> dict[str, object]:
        """Options of transformers' readers, so that they read from here and nowhere else."""
        return {"local_files_only": self.local} | (
            {} if self.revision is None else {"revision": self.revision}
        )

    @property
    def auto_options(self) -> dict[str, object]:
        """The same for its Auto classes, which ask on standard input unless they are told."""
        return {**self.options, "trust_remote_code": self.trust_remote_code}


def embedded_key(name: str) -> str | None:
    """The embedded model that ``embedded`` or ``embedded:NAME`` means; None for other names."""
    if name != "embedded" and not name.startswith("embedded:"):
        return None
    return name.partition(":")[2] or "gemma3-270m"


def locate_model(
    name: str, revision: str | None = None, *, trust_remote_code: bool = False
) -> ModelSource:
    """The source that a user's ``--model`` means. An embedded model is prepared on first use.

    Raises ModelError for a folder that is absent or lacks its config or tokenizer, and for a
    revision of what is not on the hub.
    """
    key = embedded_key(name)
    if revision is not None and (key is not None or Path(name).expanduser().exists()):
        raise ModelError(f"--revision {revision}: expected a hub model, {name} has no revisions")
    if key is not None:
        folder = embedded_folder(key)
        return ModelSource(str(folder), EMBEDDED_MODELS[key].hub_id, True, revision)
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ModelError(f"{folder}: expected a model folder, it has no config.json")
        if not any((folder / file).is_file() for file in TOKENIZER_FILES):
            # transformers would make up an empty tokenizer for the architecture and go on.
            raise ModelError(
                f"{folder}: expected a model folder, it has no tokenizer "
                f"(none of {', '.join(TOKENIZER_FILES)})"
            )
        return ModelSource(str(folder), folder.name, True, revision, trust_remote_code)
    if folder.is_file():
        raise ModelError(f"{folder}: expected a model folder or a hub id, it is a file")
    if name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise ModelError(f"{name}: no such folder, and not a hub id (owner/name)")
    return ModelSource(name, name, False, revision, trust_remote_code)


@runtime_checkable
class FileSlice(Protocol):
    """A tensor in a file as safetensors opens it: indexing reads."""

    def get_shape(self) -> list[int]: ...

    def get_dtype(self) -> str: ...

    def __getitem__(self, at: slice | EllipsisType) -> Tensor: ...


class StoredTensor:
    """A tensor that is still in its file.

    It stands in for a tensor in the loader of transformers, which takes ``stored[...]`` and then
    ``.to(device, dtype)``: only the latter reads.
    """

    def __init__(self, mapped: FileSlice, read: FileSlice) -> None:
        self.shape: tuple[int, ...] = tuple(mapped.get_shape())
        self.kind: str = mapped.get_dtype()
        self._mapped, self._read = mapped, read

    @property
    def is_float(self) -> bool:
        return self.kind in DTYPES

    def __getitem__(self, everything: object) -> StoredTensor:
        return self

    def to(
        self, device: torch.device | str | int | None = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        """The values on the device, cast as ``Tensor.to`` casts.

        Needs memory for the result and for one piece of 64 MB; for the result alone, and only
        when its values are used, where they stay on the CPU as they are stored.
        """
        target = torch.device("cpu" if device is None else device)
        stored = DTYPES.get(self.kind)
        if target.type == "cpu" and dtype in (None, stored):
            return self._mapped[...]
        if stored is None or not self.shape:
            return self._read[...].to(device=target, dtype=dtype)
        dtype = dtype or stored
        values = torch.empty(self.shape, dtype=dtype, device=target)
        row_bytes = max(1, math.prod(self.shape[1:]) * stored.itemsize)
        step = max(1, PIECE_BYTES // row_bytes)
        for start in range(0, self.shape[0], step):
            stop = min(start + step, self.shape[0])
            with ONE_PIECE:
                piece = self._read[start:stop]
                # Cast before a move: the device need not hold the wider values as well.
                values[start:stop] = piece if target.type == "cpu" else piece.to(dtype)
                del piece
        return values


@dataclass(frozen=True)
class Checkpoint:
    """The safetensors files of a model, and the index that says which tensor is in which."""

    files: tuple[Path, ...]
    index: Path | None = None

    @property
    def n_bytes(self) -> int:
        return sum(file.stat().st_size for file in self.files)


def find_checkpoint(source: ModelSource) -> Checkpoint | None:
    """A model's weight files, downloaded where they are not here yet.

    None where the model has no safetensors (an older format). Raises ModelError naming the
    shards that a local folder's index promises and the folder lacks.
    """
    from transformers.utils.hub import cached_file, cached_files

    optional = {"_raise_exceptions_for_missing_entries": False, **source.options}
    single = cached_file(source.path, SINGLE_FILE, **optional)
    if single is not None:
        return Checkpoint((Path(single),))
    cached_index = cached_file(source.path, INDEX, **optional)
    if cached_index is None:
        return None
    index = Path(cached_index)
    shards = sorted(set(_weight_map(index).values()))
    if source.local:
        missing = [shard for shard in shards if not (index.parent / shard).is_file()]
        if missing:
            raise ModelError(
                f"{source.path}: {len(missing)} of {len(shards)} weight files are missing "
                f"({some_names(missing)}); get a complete copy"
            )
    files = cached_files(source.path, shards, **source.options)
    return Checkpoint(tuple(Path(file) for file in files), index)


def is_downloaded(source: ModelSource) -> bool:
    """Whether all weight files are on this machine."""
    try:
        return find_checkpoint(replace(source, local=True)) is not None
    except (ModelError, OSError):
        return False


def open_checkpoint(checkpoint: Checkpoint) -> dict[str, StoredTensor]:
    """All tensors by name. Headers are read and checked, values are not.

    Raises ModelError naming a file that is cut short or damaged, and tensors that the index
    places in a file which does not hold them.
    """
    tensors: dict[str, StoredTensor] = {}
    holder: dict[str, str] = {}
    for file in checkpoint.files:
        try:
            mapped = safe_open(file, framework="pt", backend="mmap")
            read = safe_open(file, framework="pt", backend="pread")
        except (SafetensorError, OSError) as error:
            raise ModelError(
                f"{file}: the weight file is damaged or cut short ({error}); get a new copy of it"
            ) from None
        for name in mapped.keys():  # noqa: SIM118 - not a dict: it cannot be iterated over
            tensors[name] = StoredTensor(mapped.get_slice(name), read.get_slice(name))
            holder[name] = file.name
    if checkpoint.index is not None:
        placed = _weight_map(checkpoint.index)
        absent = [f"{name} in {file}" for name, file in placed.items() if holder.get(name) != file]
        if absent:
            raise ModelError(
                f"{checkpoint.index}: {len(absent)} tensors are not where it says "
                f"({some_names(absent)}); get a complete copy"
            )
    return tensors


def _weight_map(index: Path) -> dict[str, str]:
    try:
        return {str(k): str(v) for k, v in read_json(index)["weight_map"].items()}
    except (InputError, KeyError, TypeError, AttributeError) as error:
        reason = str(error) if isinstance(error, InputError) else f"{index}: no weight_map in it"
        raise ModelError(f"{reason}; get a new copy of the index") from None


def some_names(names: Iterable[str], limit: int = 3) -> str:
    """The first few of the names, and how many more there are."""
    listed = sorted(names)
    more = len(listed) - limit
    return ", ".join(listed[:limit]) + (f" and {more} more" if more > 0 else "")
