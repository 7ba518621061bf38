"""Stored results: frozen dataclasses whose fields are the schema of their JSON file.

>>> write_result(folder / "cosines.json", cosines)
>>> read_result(folder / "cosines.json", Cosines) == cosines
True

A result type is a frozen dataclass of plain values, other results, tuples, mappings and
:data:`Array`. Its rooms: the type stands where the result is computed; whoever draws or resumes
reads it with the same type. ``null`` and a missing key are told apart by the field: one with a
default may be missing, :data:`Optionally` is left out of the file while it is None.

Beside the fields stand ``schema``, the version of the layout, and ``run``, which run wrote the file
(:class:`Stamp`). Files without either are older than both and stay readable.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    TypeAdapter,
    ValidationError,
)

from .errors import InputError
from .files import parse_json, read_bytes, write_json
from .types import Concept, Optionally, Provenance

__all__ = [
    "Array",
    "Criterion",
    "CriterionRuling",
    "DataSet",
    "Optionally",
    "RunConfig",
    "RunIdentity",
    "RunSummary",
    "Settings",
    "StageSummary",
    "Stamp",
    "from_json",
    "from_plain",
    "read_result",
    "read_settings",
    "read_stored",
    "stamped",
    "take_stamp",
    "to_plain",
    "write_result",
]

S = TypeVar("S", bound="Settings")
T = TypeVar("T")
SHOWN_FAULTS = 5
SCHEMA = 1
"""Version of the layout of stored results; it rises where an older reader would misread them."""
LARGEST_INTEGER = 2.0**64
STORED = ConfigDict(extra="forbid", allow_inf_nan=False)
"""How results are read: a name that is no field may be one misspelt, whose value would be lost."""


def _array(value: object) -> np.ndarray:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError("expected an array of numbers, all rows of one length") from None
    if not np.isfinite(array).all():
        raise ValueError("expected finite numbers")
    return array


Array = Annotated[np.ndarray, PlainValidator(_array), PlainSerializer(lambda a: a.tolist())]
"""A float64 array, nested lists in the file. Its axes belong in the field's docstring."""


@dataclass(frozen=True)
class RunIdentity:
    """Which run wrote a file: its id and start (UTC), and the code that wrote.

    ``commit`` is that of the checkout, ``-dirty`` where its code was changed; None for a wheel.
    """

    id: str
    started: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
    version: str
    commit: str | None

    def __str__(self) -> str:
        return f"{self.id} of {self.started}"


@dataclass(frozen=True)
class Stamp:
    """What a stored result says of itself beside its fields; older files say nothing."""

    schema: Annotated[int, Field(ge=1)] | None = None
    run: RunIdentity | None = None


@dataclass(frozen=True)
class DataSet:
    """How many texts or pairs a run read, and the SHA-256 of their content."""

    n: int
    sha256: str


@dataclass(frozen=True)
class RunConfig:
    """``config.json``: what was asked of a run, and the model and data it was asked of.

    Files are as they were given, None for those that the run left out. ``concept`` is missing in
    runs that are older than it; they are all about empathy.
    """

    command: str
    model: str
    model_name: str
    backend: str
    device: str
    dtype: str
    layers: tuple[int, ...]
    pooling: str
    poolings_compared: tuple[str, ...]
    embedding: str
    seed: int
    pairs_train: str
    pairs_test: str
    rubric: str | None
    data: Mapping[str, DataSet]
    provenance: Provenance
    versions: Mapping[str, str]
    concept: Optionally[Concept] = None


CriterionRuling = Literal[
    "met with the whole interval",
    "met by the point alone",
    "met by the count",
    "not met",
    "not measured",
]
"""How surely a bound is met: by every value in the figure's interval, by the figure but not by its
whole interval, or by what was counted, which has no interval."""


@dataclass(frozen=True)
class Criterion:
    """A bound that a study set itself, and whether its figure meets it (None: not measured).

    ``ruling`` says how surely; files that are older than it do not have it.
    """

    level: str
    name: str
    value: float | None
    met: bool | None
    detail: str
    ruling: Optionally[CriterionRuling] = None

    @property
    def state(self) -> str:
        """The ruling in words; of an older file's criterion, met, not met or not measured."""
        return self.ruling or {True: "met", False: "not met", None: "not measured"}[self.met]


@dataclass(frozen=True)
class StageSummary:
    """What a stage took. ``peak_rss_mb`` is the process's peak so far, in MB (10^6 bytes)."""

    name: str
    seconds: float
    peak_rss_mb: float
    resumed: bool


@dataclass(frozen=True)
class RunSummary:
    """``summary.json`` of a finished run: its criteria, time and memory."""

    selected_layer: int
    criteria: tuple[Criterion, ...]
    stages: tuple[StageSummary, ...]
    wall_seconds: float
    peak_rss_mb: float
    versions: Mapping[str, str]


@cache
def _adapter(kind: type) -> TypeAdapter:  # jaxtyping cannot check TypeAdapter[...]
    # A dataclass, with those inside it, takes its settings from this attribute alone.
    if is_dataclass(kind) and not hasattr(kind, "__pydantic_config__"):
        kind.__pydantic_config__ = STORED  # type: ignore[attr-defined]
    return TypeAdapter(kind)


def read_result(path: Path, kind: type[T]) -> T:
    """The result of a kind that a JSON file holds.

    Raises InputError naming the file, and each field with what was expected of it and what came;
    or the schema of a newer version that it was written with.
    """
    return read_stored(path, kind)[0]


def read_stored(path: Path, kind: type[T]) -> tuple[T, Stamp]:
    """The same, and what the file says of itself."""
    text, name = read_bytes(path), str(path)
    try:
        found = None if "schema" in {f.name for f in fields(kind)} else json.loads(text)  # type: ignore[arg-type]
    except (ValueError, RecursionError):  # which is said below
        found = None
    if not isinstance(found, dict) or not found.keys() & {"schema", "run"}:
        return from_json(text, kind, name), Stamp()
    stamp = take_stamp(found, name)
    result = from_plain(found, kind, name)
    _check_strictly(text, name)
    return result, stamp


def take_stamp(found: dict[str, Any], name: str) -> Stamp:
    """Takes ``schema`` and ``run`` out of a file's values. Raises InputError for a newer schema."""
    taken = {key: found.pop(key) for key in ("schema", "run") if key in found}
    for key in (key for key, value in taken.items() if value is None):
        raise InputError(f"{name}: {key}: expected a value, got null")
    schema = taken.get("schema")
    if type(schema) is int and schema > SCHEMA:
        raise InputError(
            f"{name}: written with schema {schema}, this version of empathy_lens reads schema "
            f"{SCHEMA} and older; update empathy_lens"
        )
    return from_plain(taken, Stamp, name)


def stamped(plain: Mapping[str, Any], run: RunIdentity | None) -> dict[str, Any]:
    """Values for a file with ``schema`` and ``run`` first; without a run as they are."""
    return dict(plain) if run is None else {"schema": SCHEMA, "run": to_plain(run), **plain}


def from_json(text: bytes | str, kind: type[T], name: str) -> T:
    """The same from JSON text; ``name`` stands for the file in messages."""
    try:
        value: T = _adapter(kind).validate_json(text, strict=True)  # type: ignore[arg-type]
    except ValidationError as error:
        raise InputError(_faults(name, error)) from None
    _check_strictly(text, name)
    return value


def _check_strictly(text: bytes | str, name: str) -> None:
    """Refuses what pydantic lets pass: a name given twice, numbers without bounds."""
    try:
        parse_json(text if isinstance(text, str) else text.decode(), largest=LARGEST_INTEGER)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from None


def from_plain(data: object, kind: type[T], name: str) -> T:
    """The same from values that JSON was parsed to."""
    # By way of JSON, where a list may stand for a tuple also where types are strict.
    return from_json(json.dumps(data), kind, name)


def to_plain(result: object) -> Any:
    """The result as values for JSON: objects, lists, texts and numbers."""
    return _adapter(type(result)).dump_python(result, mode="json")  # type: ignore[arg-type]


class Settings(BaseModel):
    """Base of what people write by hand in a TOML file: frozen, strict, no unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def read_settings(path: Path, kind: type[S]) -> S:
    """The settings of a kind that a TOML file holds.

    Raises InputError naming the file and each field with what was expected of it. Values stay out
    of the message: somebody may have written a key there.
    """
    data = read_bytes(path)
    try:
        values = tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected UTF-8 text, byte {error.start} is not") from None
    except (ValueError, RecursionError) as error:  # bad syntax, endless integers or nesting
        raise InputError(f"{path}: not valid TOML ({error})") from None
    try:
        # In JSON a list may stand for a tuple, also where types are strict.
        text = json.dumps(values, default=_no_date)
        parse_json(text)
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise InputError(_faults(str(path), error, show_values=False)) from None
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def _no_date(value: object) -> object:
    raise ValueError(f"expected texts, numbers and tables alone, got the date or time {value}")


def write_result(path: Path, result: object, run: RunIdentity | None = None) -> None:
    """Writes a result as its JSON file, atomically, stamped with the run that made it.

    What belongs to no run (a data set, a cache) is written without. NaN and infinity are refused.
    """
    write_json(path, stamped(to_plain(result), run))


def _faults(name: str, error: ValidationError, *, show_values: bool = True) -> str:
    faults = error.errors(include_url=False)
    lines = [
        f"{name}: {'.'.join(map(str, fault['loc'])) or 'the whole file'}: "
        f"{fault['msg'].removeprefix('Value error, ')}"
        + (f", got {_short(fault['input'])}" if show_values else "")
        for fault in faults[:SHOWN_FAULTS]
    ]
    more = len(faults) - SHOWN_FAULTS
    return "\n".join(lines) + (f"\n… and {more} more" if more > 0 else "")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
