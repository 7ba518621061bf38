"""How a file is taken apart, damaged and put together again, and how what was read is judged."""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results" / "embedded"
RAW = {"@raw0": "NaN", "@raw1": "1e400", "@raw2": "9" * 5000, "@raw3": "[" * 5000 + "]" * 5000,
       "@raw4": '"\\ud800"', "@raw5": "-Infinity", "@raw6": '"' + "x" * 200_000 + '"',
       "@raw7": "9" * 400}  # fmt: skip
"""What JSON can spell and Python's writer would not; put in where a placeholder stands."""


@dataclass(frozen=True)
class Language:
    """How a file is taken apart into nested lists and dicts, and put together again."""

    parse: Callable[[bytes], Any]
    spell: Callable[[Any, bytes], bytes]


@dataclass(frozen=True)
class Reader:
    """A reader, a sound file for it, and how what it accepts is judged.

    ``whole``: whatever is accepted must be what the sound file held (it has a checksum).
    ``plain`` gives back the values that the file must hold where they were read; a reader of what
    people write passes names that it does not know by (``lenient``).
    """

    name: str
    file: Path
    read: Callable[[Path], Any]
    language: Language
    weight: float = 10
    whole: bool = False
    plain: Callable[[Any], Any] | None = None
    lenient: bool = False
    fitting: str = ""
    """What a message must name besides: the file's own name unless given."""


def json_text(value: Any) -> str:
    text = json.dumps(value)
    for placeholder, raw in RAW.items():
        text = text.replace(f'"{placeholder}"', raw)
    return text


def _lines(data: bytes) -> list[Any]:
    return [json.loads(line) for line in data.splitlines()]


def _spell_lines(document: list[Any], _: bytes) -> bytes:
    return "\n".join(map(json_text, document)).encode() + b"\n"


def _toml_value(value: Any) -> str:
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{json.dumps(k)} = {_toml_value(v)}" for k, v in value.items()) + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    # null and JSON's NaN are no TOML: then the file as a whole is refused.
    return json_text(value)


def _spell_toml(document: dict[str, Any], _: bytes) -> bytes:
    return "\n".join(f"{json.dumps(k)} = {_toml_value(v)}" for k, v in document.items()).encode()


def _parse_header(data: bytes) -> Any:
    """The header of a safetensors file, its metadata parsed where they are JSON."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    notes = header.get("__metadata__", {})
    parsed = {k: json.loads(v) if v[:1] == "{" else v for k, v in notes.items()}
    return header | {"__metadata__": parsed}


def _spell_header(document: Any, sound: bytes) -> bytes:
    notes = document.get("__metadata__")
    if isinstance(notes, dict):
        spelt = {k: v if isinstance(v, str) else json_text(v) for k, v in notes.items()}
        document["__metadata__"] = spelt
    header = json_text(document).encode()
    start = 8 + int.from_bytes(sound[:8], "little")
    return len(header).to_bytes(8, "little") + header + sound[start:]


JSON = Language(json.loads, lambda document, _: json_text(document).encode())
LINES = Language(_lines, _spell_lines)
TOML = Language(lambda data: tomllib.loads(data.decode()), _spell_toml)
TENSORS = Language(_parse_header, _spell_header)


def agrees(read: Any, written: Any, *, lenient: bool) -> bool:
    """Whether what was read is what stands in the file; a name may be missing from the file."""
    if isinstance(read, Mapping) and isinstance(written, dict):
        # A field that is null may be left out of what is written back.
        given = {key for key, value in written.items() if value is not None}
        strangers = given - {str(key) for key in read}
        values = {str(key): value for key, value in read.items()}
        return (lenient or not strangers) and all(
            agrees(values[key], value, lenient=lenient)
            for key, value in written.items()
            if key in values
        )
    if isinstance(read, (list, tuple)) and isinstance(written, list):
        return len(read) == len(written) and all(
            agrees(a, b, lenient=lenient) for a, b in zip(read, written, strict=True)
        )
    if isinstance(read, bool) or isinstance(written, bool):
        return read is written
    if isinstance(read, (int, float)) and isinstance(written, (int, float)):
        # A huge integer is read as the float beside it.
        return math.isfinite(written) and read == type(read)(written)
    if lenient and written in (None, ""):  # The same as missing.
        return True
    return type(read) is type(written) and bool(read == written)


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal all the way down, arrays bit by bit."""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if dataclasses.is_dataclass(a):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, Mapping):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)
