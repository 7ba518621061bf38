"""Writing files so that a kill at any moment leaves the old file or the new one."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import InputError

LOCK = ".lock"
STEM_BYTES = 100
SUFFIX = ".part"


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A new hidden folder in ``parent``, gone with all that is in it when the block ends.

    It is locked for as long as its process lives, so that :func:`remove_leftovers` tells what a
    kill left behind from what is being written. The first one of a process in ``parent`` clears
    away what is left there.
    """
    parent.mkdir(parents=True, exist_ok=True)
    _clear_once(parent)
    folder, descriptor = _locked_folder(parent)
    try:
        yield folder
    finally:
        with suppress(OSError):
            _remove_locked(folder, descriptor)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a path in a :func:`scratch_folder` beside ``path``; on success its file replaces it.

    The file is fsynced before. On any exception, Ctrl-C included, ``path`` is untouched.
    """
    with scratch_folder(path.parent) as folder:
        temporary = folder / path.name
        temporary.touch()
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        # Some writers make private files; results are meant to be shared like any other file.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)


def remove_leftovers(folder: Path) -> None:
    """Removes what killed processes left half-written in ``folder`` and in its folders.

    What a living process is writing stays, on whatever machine that shares the disk: its lock is
    held. So does what cannot be locked or removed.
    """
    name = f".????????{SUFFIX}"
    for left in (*folder.glob(name), *folder.glob(f"*/{name}")):
        try:
            descriptor = os.open(left / LOCK, os.O_RDWR)
        except FileNotFoundError:
            # Made but not locked yet. Its process, where it lives, makes another.
            with suppress(OSError):
                left.rmdir()
            continue
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            continue
        with suppress(OSError):
            _remove_locked(left, descriptor)


@cache
def _clear_once(folder: Path) -> None:
    remove_leftovers(folder)


def _locked_folder(parent: Path) -> tuple[Path, int]:
    """A new folder, and the descriptor that holds its lock until it is closed."""
    while True:
        try:
            folder = Path(tempfile.mkdtemp(prefix=".", suffix=SUFFIX, dir=parent))
        except OSError as error:  # It names a file that the user has never heard of.
            raise OSError(error.errno, error.strerror, str(parent)) from None
        try:
            descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        except FileNotFoundError:
            continue
        with suppress(OSError):  # On a disk without locks nothing is taken for a leftover either.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return folder, descriptor
        os.close(descriptor)


def _remove_locked(folder: Path, descriptor: int) -> None:
    """Removes a folder whose lock is held, and lets the lock go.

    The lock goes last, so that a kill in between leaves what can still be told and removed.
    """
    try:
        for entry in folder.iterdir():
            if entry.name == LOCK:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    finally:
        os.close(descriptor)
    (folder / LOCK).unlink(missing_ok=True)
    folder.rmdir()


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, data: Any) -> None:
    """Writes JSON atomically, indented; NaN and infinity are refused (they are not JSON)."""
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def check_writable(folder: Path) -> None:
    """Raises InputError unless files can be made in ``folder`` (created where it is missing)."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        in_the_way = isinstance(error, FileExistsError | NotADirectoryError)
        why = "a file is in the way" if in_the_way else error.strerror or error
        raise InputError(
            f"cannot write to {folder} ({why}); choose another folder with --out"
        ) from None


def file_stem(name: str) -> str:
    """A name as part of a file's name: letters, digits, dots and dashes, at most 100 bytes."""
    stem = re.sub(r"[^\w.-]+", "-", name).strip(".-") or "unnamed"
    if len(stem.encode()) <= STEM_BYTES:
        return stem
    told_apart = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{stem.encode()[: STEM_BYTES - 9].decode(errors='ignore')}-{told_apart}"
