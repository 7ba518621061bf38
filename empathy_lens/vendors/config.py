"""Vendors, models, prices and limits: a small TOML file, read strictly."""

from __future__ import annotations

import ipaddress
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar, get_type_hints
from urllib.parse import urlsplit

from ..errors import InputError

__all__ = [
    "DEFAULT_CONFIG",
    "Config",
    "Limits",
    "MissingKeysError",
    "Model",
    "Vendor",
    "load_config",
    "read_keys",
]

DEFAULT_CONFIG = Path(__file__).with_name("vendors.toml")

Protocol = Literal["anthropic", "openai"]
Structured = Literal["schema", "tool", "text"]
T = TypeVar("T")


class MissingKeysError(InputError):
    """Keys that a configuration needs are not in the environment."""


@dataclass(frozen=True)
class Model:
    """A model and its prices in US dollars a million tokens."""

    name: str
    usd_per_million_input: float
    usd_per_million_output: float

    def usd(self, input_tokens: int | float, output_tokens: int | float) -> float:
        """What a call of that many tokens costs."""
        return (
            input_tokens * self.usd_per_million_input + output_tokens * self.usd_per_million_output
        ) / 1e6


@dataclass(frozen=True)
class Vendor:
    """A service to ask.

    ``structured`` says how JSON is demanded: by the vendor's structured output ("schema"), by a
    tool that the model must call ("tool"), or by words alone ("text"). ``extra`` goes into the
    request's body as it is. ``key_env`` is empty where a server needs no key; ``key_header`` names
    a header that is to carry the key besides the SDK's own, such as x-api-key.
    """

    name: str
    protocol: Protocol
    base_url: str
    models: tuple[Model, ...]
    key_env: str = ""
    key_header: str = ""
    concurrency: int = 4
    structured: Structured = "schema"
    seed: bool = False
    token_limit: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    temperature: float | None = None
    extra: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Limits:
    """What a run may take; seconds, tokens and US dollars."""

    max_cost_usd: float = 5.0
    max_output_tokens: int = 1500
    expected_output_tokens: int = 450
    timeout_s: float = 90.0
    call_deadline_s: float = 600.0
    retries: int = 4
    tries: int = 3


@dataclass(frozen=True)
class Config:
    """The vendors in the order of the file, and the limits."""

    vendors: Mapping[str, Vendor]
    limits: Limits

    def only(self, names: Iterable[str]) -> Config:
        """The same with these vendors alone. Raises InputError for a name it does not have."""
        chosen = tuple(names)
        unknown = [n for n in chosen if n not in self.vendors]
        if unknown or not chosen:
            raise InputError(f"expected vendors among {list(self.vendors)}, got {list(chosen)}")
        kept = {n: v for n, v in self.vendors.items() if n in chosen}
        return Config(MappingProxyType(kept), self.limits)

    def model(self, name: str) -> tuple[Vendor, Model]:
        """A model by ``VENDOR`` (its first) or ``VENDOR:MODEL``. Raises InputError for another."""
        vendor_name, _, model_name = name.partition(":")
        vendor = self.vendors.get(vendor_name)
        for model in () if vendor is None else vendor.models:
            if vendor is not None and model_name in ("", model.name):
                return vendor, model
        known = [f"{v.name}:{m.name}" for v in self.vendors.values() for m in v.models]
        raise InputError(f"expected a model among {known}, got {name!r}")


def load_config(path: Path = DEFAULT_CONFIG) -> Config:
    """The configuration in a TOML file. Raises InputError that names what is wrong where."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not valid TOML ({error})") from None
    try:
        return _config(data)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def read_keys(vendors: Iterable[Vendor]) -> dict[str, str]:
    """The key of each vendor from the environment, "" where it needs none.

    Raises MissingKeysError that names every variable that is missing.
    """
    vendors = tuple(vendors)
    keys = {v.name: os.environ.get(v.key_env, "").strip() if v.key_env else "" for v in vendors}
    missing = [v for v in vendors if v.key_env and not keys[v.name]]
    if missing:
        needed = ", ".join(f"{v.key_env} (for {v.name})" for v in missing)
        have = [v.name for v in vendors if v not in missing]
        others = f", or go on with --vendors {','.join(have)}" if have else ""
        raise MissingKeysError(f"no key in the environment: set {needed}{others}")
    return keys


def _config(data: Mapping[str, Any]) -> Config:
    _known(data, {"limits", "vendors"}, "")
    limits = _build(Limits, _table(data, "limits", {}), "limits")
    vendors = {
        name: _vendor(name, _table(data["vendors"], name)) for name in _table(data, "vendors")
    }
    if not vendors:
        raise InputError("vendors: expected at least one")
    if limits.tries < 1 or limits.max_output_tokens < 1:
        raise InputError("limits: tries and max_output_tokens must be 1 or more")
    return Config(MappingProxyType(vendors), limits)


def _vendor(name: str, table: Mapping[str, Any]) -> Vendor:
    where = f"vendors.{name}"
    if not name.replace("-", "").replace("_", "").isalnum():
        raise InputError(f"{where}: expected a name of letters, digits, - and _")
    if any("key" in entry and entry not in ("key_env", "key_header") for entry in table):
        raise InputError(
            f"{where}: keys come from the environment alone; name its variable: key_env"
        )
    rows = table.get("models")
    if not (isinstance(rows, list) and rows and all(isinstance(r, dict) for r in rows)):
        raise InputError(f"{where}.models: expected a list of tables, got {rows!r}")
    models = tuple(_build(Model, row, f"{where}.models") for row in rows)
    vendor = _build(Vendor, {**table, "name": name, "models": models}, where)
    _check_url(vendor, f"{where}.base_url")
    if vendor.concurrency < 1:
        raise InputError(f"{where}.concurrency: expected 1 or more, got {vendor.concurrency}")
    return vendor


def _check_url(vendor: Vendor, where: str) -> None:
    url = urlsplit(vendor.base_url)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise InputError(f"{where}: expected http(s)://…, got {vendor.base_url!r}")
    if url.username or url.password or url.query:
        raise InputError(f"{where}: no user, password or query belongs in it")
    if url.scheme == "http" and vendor.key_env and not _is_local(url.hostname):
        raise InputError(f"{where}: a key over plain http may go to a local address only")


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return host == "localhost"


def _build(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    """An instance of a dataclass from a table of its fields, types checked."""
    hints = get_type_hints(kind)
    slots = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    _known(table, set(slots), where)
    absent = [
        n
        for n, f in slots.items()
        if n not in table and f.default is MISSING and f.default_factory is MISSING
    ]
    if absent:
        raise InputError(f"{where}: lacks {', '.join(absent)}")
    values = {}
    for name, value in table.items():
        choices = getattr(hints[name], "__args__", ())
        default = slots[name].default
        if hints[name] in (float, float | None) and type(value) in (int, float):
            if not 0 <= value < float("inf"):
                raise InputError(f"{where}.{name}: expected 0 or more, got {value!r}")
            value = float(value)
        elif hints[name] in (int, bool, str) and type(value) is hints[name]:
            if type(value) is int and value < 0:
                raise InputError(f"{where}.{name}: expected 0 or more, got {value!r}")
        elif isinstance(value, tuple | dict) and not isinstance(default, str | int | float):
            pass
        elif value not in choices or not isinstance(value, str):
            expected = " or ".join(map(repr, choices)) if choices else hints[name].__name__
            raise InputError(f"{where}.{name}: expected {expected}, got {value!r}")
        values[name] = value
    return kind(**values)


def _table(data: Mapping[str, Any], name: str, default: Any = None) -> Mapping[str, Any]:
    value = data.get(name, default)
    if not isinstance(value, dict):
        raise InputError(f"{name}: expected a table, got {value!r}")
    return value


def _known(table: Mapping[str, Any], names: set[str], where: str) -> None:
    unknown = sorted(set(table) - names)
    if unknown:
        inside = f"{where}: " if where else ""
        raise InputError(f"{inside}does not know {', '.join(unknown)}; knows {sorted(names)}")
