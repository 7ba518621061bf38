"""Reading files strictly, and hashes of what they hold."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from pathlib import Path
from typing import Any

from ..errors import InputError


def read_bytes(path: Path) -> bytes:
    """A file's bytes. Raises InputError where it is missing or cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def read_json(path: Path) -> Any:
    """Parses a JSON file strictly (:func:`parse_json`).

    Raises InputError naming the file, and the line and column or the field of a fault.
    """
    data = read_bytes(path)
    try:
        return parse_json(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected UTF-8 text, byte {error.start} is not") from None
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}:{error.lineno}:{error.colno}: not valid JSON ({error.msg})"
        ) from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error})") from None


def parse_json(text: str, *, largest: float = sys.float_info.max) -> Any:
    """The value of a JSON text, without what Python reads and JSON does not have or leaves open.

    Raises InputError that names the field, as in ``layers.3.auroc``, for a name given twice in one
    object, NaN, infinity, a number above ``largest`` in size and half a surrogate pair; another
    ValueError for bad syntax and endless nesting.
    """
    try:
        value = json.loads(text, object_pairs_hook=_named_once)
        _check_values(value, (), largest)
    except RecursionError:
        raise ValueError("JSON nested too deeply to read") from None
    return value


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(pairs)
    if len(named) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{_place((twice,))}the name is given twice")
    return named


def _check_values(value: Any, where: tuple[str | int, ...], largest: float) -> None:
    if isinstance(value, dict):
        for name, one in value.items():
            _check_values(name, (*where, name), largest)
            _check_values(one, (*where, name), largest)
    elif isinstance(value, list):
        for index, one in enumerate(value):
            _check_values(one, (*where, index), largest)
    elif isinstance(value, str):
        # JSON can spell one with an escape, but no tokenizer and no UTF-8 file takes it.
        if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
            raise InputError(
                f"{_place(where)}expected Unicode text, it holds half a surrogate pair"
            )
    elif isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{_place(where)}expected a finite number, got {value}")
    elif isinstance(value, int) and abs(value) > largest:
        bits = value.bit_length()
        raise InputError(f"{_place(where)}expected a smaller number, got one of {bits} bits")


def _place(where: tuple[str | int, ...]) -> str:
    # Written as Python would: a message must be printable, whatever stands in the file.
    names = [repr(str(name))[1:-1] for name in where]
    return "".join(f"{n if len(n) <= 80 else n[:77] + '...'}." for n in names)[:-1] + ": "


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def input_hash(inputs: Any) -> str:
    """A hash of JSON-like inputs; equal inputs give equal hashes."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True, default=str).encode()).hexdigest()
