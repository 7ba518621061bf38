"""Reading JSON and JSON lines with faults that name file, line and field, all of them at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TypeGuard, TypeVar

from ..errors import InputError, did_you_mean
from ..files import parse_json, read_bytes, read_json

SHOWN_FAULTS = 20

Record = Mapping[str, object]
"""A JSON object as it was read: nothing of it is checked yet."""

T = TypeVar("T")


def load_jsonl(
    path: Path, parse: Callable[[Record], T], identity: Callable[[T], str]
) -> tuple[T, ...]:
    """The items of a JSONL file, one a line, each parsed by ``parse``.

    Raises InputError that lists every bad line with its field, and every id that is used twice.
    """
    items: list[T] = []
    faults: list[str] = []
    seen: dict[str, int] = {}
    # Split on "\n" alone: str.splitlines would also break at U+2028 inside a JSON string.
    for number, line in enumerate(read_bytes(path).split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            item = parse(_record(line.decode("utf-8-sig" if number == 1 else "utf-8")))
        except UnicodeDecodeError as error:
            faults.append(f"{path}:{number}: expected UTF-8, byte {error.start} is not")
        except json.JSONDecodeError as error:
            faults.append(f"{path}:{number}: not valid JSON ({error.msg} at column {error.colno})")
        except InputError as error:
            faults.append(f"{path}:{number}: {error}")
        except ValueError as error:
            faults.append(f"{path}:{number}: not valid JSON ({error})")
        else:
            first = seen.setdefault(identity(item), number)
            if first != number:
                faults.append(
                    f"{path}:{number}: id {identity(item)!r} was already used on line {first}"
                )
            items.append(item)
    if faults:
        more = f"\n… and {len(faults) - SHOWN_FAULTS} more" if len(faults) > SHOWN_FAULTS else ""
        raise InputError("\n".join(faults[:SHOWN_FAULTS]) + more)
    if not items:
        raise InputError(f"{path}: expected one JSON object a line, the file is empty")
    return tuple(items)


def load_json_list(path: Path, what: str) -> list[object]:
    """The entries of a JSON file that must hold a list of some. Raises InputError."""
    entries = read_json(path)
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path}: expected a JSON list of {what}, got {type(entries).__name__}")
    return entries


def text_of(record: Record, name: str, *, required: bool = True) -> str:
    """The text in a field, "" where it need not be there and is not. Raises InputError."""
    value = record.get(name)
    if value is None and not required:
        return ""
    if not isinstance(value, str):
        came = "nothing" if name not in record else type(value).__name__
        raise InputError(f"{name}: expected text, got {came}")
    if required and not value.strip():
        raise InputError(f"{name}: expected text, it is empty")
    return value


def are_texts(value: object) -> TypeGuard[list[str]]:
    """Whether a value is a list of non-empty texts, which may have none."""
    return isinstance(value, list) and all(isinstance(t, str) and t.strip() for t in value)


def scenario_id_of(record: Record, known: Collection[str] | None) -> str:
    """The record's ``scenario_id``, one of those known where they are given. Raises InputError."""
    value = text_of(record, "scenario_id")
    if known is not None and value not in known:
        hint = did_you_mean(value, known)
        raise InputError(f"expected scenario_id in {{{', '.join(known)}}}, got {value!r}{hint}")
    return value


def _record(line: str) -> Record:
    record = parse_json(line)
    if not isinstance(record, dict):
        raise InputError(f"expected a JSON object, got {type(record).__name__}")
    return record
