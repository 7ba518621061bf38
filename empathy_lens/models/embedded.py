"""Small real models that come from the package registry, for work without a hub, key or GPU.

The packages carry GGUF files, whole or in pieces. Such a file is checked against its SHA-256 and
dequantised once; the result is kept as safetensors in the user's cache folder
(``EMPATHY_LENS_CACHE`` moves it) and checked against its own at every load.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from ..errors import InputError, ModelError, did_you_mean
from ..files import atomic_path, locked, remove_leftovers, scratch_folder, sha256_file
from ..results import read_result, write_result
from ..types import Progress
from .dequantise import dequantise, dequantise_qwen2
from .fetching import fetch_pieces, piece_paths
from .zoo import EMBEDDED_MODELS, EmbeddedModel

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
SCHEMA = 1


@dataclass(frozen=True)
class Manifest:
    """``manifest.json`` of a prepared folder; ``files`` gives the SHA-256 of each by name."""

    schema: int
    gguf_sha256: str
    hub_id: str
    files: Mapping[str, str]


def cache_folder() -> Path:
    """Where dequantised models are kept: ``EMPATHY_LENS_CACHE`` or the platform's cache folder."""
    chosen = os.environ.get("EMPATHY_LENS_CACHE")
    return Path(chosen or platformdirs.user_cache_dir("empathy_lens")).expanduser()


def embedded_folder(name: str) -> Path:
    """The folder of a ready checkpoint (config, tokenizer, safetensors).

    Made on first use. Raises ModelError where the package is missing, and where the cached copy
    is damaged: the damaged copy is removed, so that the next call makes a new one.
    """
    spec = _spec(name)
    folder = cache_folder() / name
    remove_leftovers(cache_folder())
    if folder.exists() and _fault(folder, spec) is None:
        return folder
    chunks = None if folder.exists() else _installed_chunks(spec)
    with _alone(spec):
        # Another process may have made or removed it meanwhile.
        if not folder.exists():
            _install(spec, chunks or _installed_chunks(spec), _unseen)
            return folder
        if (fault := _fault(folder, spec)) is None:
            return folder
        _remove(folder)
        raise ModelError(
            f"the cached copy of {name} in {folder} is damaged ({fault}); "
            "it has been removed: run the same command again to make a new one"
        )


def embedded_state(name: str) -> tuple[str, str]:
    """How an embedded model stands, and what to run where something is to be done (else empty).

    Changes nothing, unlike :func:`embedded_folder`, and looks at the names of files only: what
    has changed in them is found as they are loaded.
    """
    spec = _spec(name)
    folder = cache_folder() / name
    if folder.exists():
        fault = _fault(folder, spec, contents=False)
        if fault is None:
            return f"ready in {folder}", ""
        return f"damaged in {folder} ({fault})", f"empathy-lens fetch {name}"
    if spec.fetched:
        here = sum(p.exists() for p in piece_paths(_pieces_folder(name), spec.n_pieces))
        partly = f"partly fetched ({here} of {spec.n_pieces} parts)"
        return partly if here else "not fetched", f"empathy-lens fetch {name}"
    if importlib.util.find_spec(spec.module) is None:
        return "its package is missing", f"pip install '{spec.package}'"
    return "its package is installed; prepared at first use", ""


def fetch_embedded(name: str, progress: Callable[[str], Progress] | None = None) -> Path:
    """Downloads the packages of ``embedded:NAME`` with pip (no dependencies) and prepares it.

    Parts of the file that are here, from a fetch that was stopped at any moment, are not
    downloaded again; they are removed once the model is ready. ``progress`` is called with the
    name of each step for what reports on it. Raises ModelError where a download fails, and where
    the file is another one than it should be: its parts are removed then.
    """
    spec = _spec(name)
    folder, pieces = cache_folder() / name, _pieces_folder(name)
    step = progress or _unseen
    if folder.exists() and not pieces.exists() and _fault(folder, spec) is None:
        return folder
    with _alone(spec):
        if not folder.exists() or _fault(folder, spec) is not None:
            _remove(folder)
            if spec.fetched:
                _check_reader()  # Before a download that could not be used.
                size = f"{spec.gguf_bytes / 1e9:.2g} GB"
                report = step(f"download {name} ({spec.n_pieces} parts, {size})")
                chunks = fetch_pieces(spec.packages, pieces, report)
            else:
                chunks = _installed_chunks(spec)
            _install(spec, chunks, step)
        _remove(pieces)
    return folder


def _check_reader() -> None:
    if importlib.util.find_spec("gguf") is None:
        raise ModelError(
            "to prepare an embedded model the package gguf is needed; run: pip install "
            "'gguf>=0.17,<1' (or install this project with its [demo] extra)"
        )


def _unseen(_step: str) -> Progress:
    """Progress that nobody looks at."""
    return lambda _done, _in_all: None


def _pieces_folder(name: str) -> Path:
    """Where the parts of a model that is being fetched are kept."""
    return cache_folder() / f"{name}.parts"


@contextmanager
def _alone(spec: EmbeddedModel) -> Iterator[None]:
    """No other process prepares the model while the block runs; the second waits and says so."""

    def busy(holder: str) -> None:
        log.warning("%s is being prepared (%s): waiting for that", spec.name, holder)

    with locked(_writable_cache() / f".{spec.name}.lock", busy):
        yield


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _spec(name: str) -> EmbeddedModel:
    if name not in EMBEDDED_MODELS:
        known = ", ".join(f"embedded:{n}" for n in EMBEDDED_MODELS)
        hint = did_you_mean(name, EMBEDDED_MODELS)
        raise ModelError(f"no embedded model {name!r}; there are: {known}{hint}")
    return EMBEDDED_MODELS[name]


def _fault(folder: Path, spec: EmbeddedModel, *, contents: bool = True) -> str | None:
    """What is wrong with a prepared folder, or None; the hashes take a second for half a GB."""
    if not (folder / MANIFEST).is_file():
        return "its manifest is missing"
    try:
        manifest = read_result(folder / MANIFEST, Manifest)
    except InputError:
        return "its manifest cannot be read"
    if not manifest.files:
        return "its manifest names no files"
    if (manifest.schema, manifest.gguf_sha256) != (SCHEMA, spec.gguf_sha256):
        return "it was made from another file or by another version"
    for file_name, sha256 in manifest.files.items():
        path = folder / file_name
        if Path(file_name).name != file_name or len(file_name) > 200:
            return "its manifest names files that cannot be its own"
        if not path.is_file():
            return f"{file_name} is missing"
        if contents and sha256_file(path) != sha256:
            return f"{file_name} has changed"
    return None


def _installed_chunks(spec: EmbeddedModel) -> list[Path]:
    """The pieces of the GGUF file that the installed package carries, in order."""
    if spec.fetched:
        raise ModelError(
            f"model embedded:{spec.name} has not been fetched; run: empathy-lens fetch {spec.name}"
        )
    if importlib.util.find_spec(spec.module) is None:
        raise ModelError(
            f"model embedded needs the package {spec.package}; run: pip install '{spec.package}' "
            "(or install this project with its [demo] extra), or name another model with --model"
        )
    try:
        chunks = list(importlib.import_module(spec.module).chunk_paths())
    except (ImportError, AttributeError) as error:
        raise ModelError(_reinstall(spec, str(error))) from None
    missing = [chunk.name for chunk in chunks if not chunk.is_file()]
    if missing:
        raise ModelError(_reinstall(spec, f"it lacks {', '.join(missing)}"))
    return chunks


def _reinstall(spec: EmbeddedModel, fault: str) -> str:
    return (
        f"the package {spec.package} is damaged ({fault}); "
        f"reinstall it: pip install --force-reinstall '{spec.package}'"
    )


def _install(spec: EmbeddedModel, chunks: Iterable[Path], step: Callable[[str], Progress]) -> None:
    """Assembles, checks, dequantises and moves a finished folder into the cache in one rename."""
    root = _writable_cache()
    log.info("preparing %s in %s (once)", spec.name, root)
    with scratch_folder(root) as scratch:
        gguf = scratch / "model.gguf"
        with atomic_path(gguf) as temporary, temporary.open("wb") as out:
            for chunk in chunks:
                with chunk.open("rb") as part:
                    shutil.copyfileobj(part, out, 1 << 20)
        sha256 = sha256_file(gguf)
        if sha256 != spec.gguf_sha256:
            raise ModelError(_another_file(spec, sha256))
        ready = scratch / "ready"
        make = {"float32": dequantise, "float16": dequantise_qwen2}[spec.kept_as]
        make(gguf, ready, step(f"prepare {spec.name}"))
        files = {p.name: sha256_file(p) for p in sorted(ready.iterdir())}
        write_result(ready / MANIFEST, Manifest(SCHEMA, spec.gguf_sha256, spec.hub_id, files))
        try:
            ready.rename(root / spec.name)
        except OSError:
            # Another process finished first; its copy is as good as ours.
            if _fault(root / spec.name, spec) is not None:
                raise


def _another_file(spec: EmbeddedModel, sha256: str) -> str:
    """The message for a file with another SHA-256; parts that were fetched are removed."""
    fault = f"its SHA-256 is {sha256}, expected {spec.gguf_sha256}"
    if not spec.fetched:
        return _reinstall(spec, fault)
    _remove(_pieces_folder(spec.name))
    return (
        f"what was downloaded is not the file of embedded:{spec.name} ({fault}); it has been "
        f"removed. Run empathy-lens fetch {spec.name} again; where this comes back, the packages "
        f"({spec.packages[0]} and so on) hold another file now and cannot be used"
    )


def _writable_cache() -> Path:
    root = cache_folder()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            return root
    except OSError as error:
        raise ModelError(
            f"cannot keep a model in {root} ({error.strerror or error}); "
            "name another cache folder with EMPATHY_LENS_CACHE"
        ) from None
