"""Vendors, models, prices and limits: a small TOML file, read strictly."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, JsonValue, field_validator, model_validator

from ..errors import InputError, did_you_mean
from ..results import Settings, read_settings

DEFAULT_CONFIG = Path(__file__).with_name("vendors.toml")

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(pattern=r"^[\w-]+$")]
Protocol = Literal["anthropic", "openai"]
Structured = Literal["schema", "tool", "text"]


class MissingKeysError(InputError):
    """Keys that a configuration needs are not in the environment; ``have`` names who has one."""

    def __init__(self, message: str, have: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.have = have


class Model(Settings):
    """A model and its prices in US dollars a million tokens."""

    name: str
    usd_per_million_input: Amount
    usd_per_million_output: Amount

    def usd(self, input_tokens: int | float, output_tokens: int | float) -> float:
        """What a call of that many tokens costs."""
        return (
            input_tokens * self.usd_per_million_input + output_tokens * self.usd_per_million_output
        ) / 1e6


class Vendor(Settings):
    """A service to ask. Its ``name`` is the name of its table in the file.

    ``structured`` says how JSON is demanded: by the vendor's structured output ("schema"), by a
    tool that the model must call ("tool"), or by words alone ("text"). ``extra`` goes into the
    request's body as it is. ``key_env`` is empty where a server needs no key; ``key_header`` names
    a header that is to carry the key besides the SDK's own, such as x-api-key.
    """

    name: str = ""
    protocol: Protocol
    base_url: str
    models: Annotated[tuple[Model, ...], Field(min_length=1)]
    key_env: str = ""
    key_header: str = ""
    concurrency: Count = 4
    structured: Structured = "schema"
    seed: bool = False
    token_limit: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    temperature: Amount | None = None
    extra: Mapping[str, JsonValue] = Field(default_factory=dict)

    @property
    def is_local(self) -> bool:
        """Whether it answers on this machine or network, as a server for practice does."""
        return _is_local(urlsplit(self.base_url).hostname or "")

    @model_validator(mode="after")
    def _safe_url(self) -> Vendor:
        url = urlsplit(self.base_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError("base_url: expected http(s)://…")
        if url.username or url.password or url.query:
            raise ValueError("base_url: no user, password or query belongs in it")
        if url.scheme == "http" and self.key_env and not _is_local(url.hostname):
            raise ValueError("base_url: a key over plain http may go to a local address only")
        return self


class Limits(Settings):
    """What a run may take; seconds, tokens and US dollars."""

    max_cost_usd: Amount = 5.0
    max_output_tokens: Count = 1500
    expected_output_tokens: Count = 450
    timeout_s: Amount = 90.0
    call_deadline_s: Amount = 600.0
    retries: Annotated[int, Field(ge=0)] = 4
    tries: Count = 3


class Config(Settings):
    """The vendors in the order of the file, and the limits."""

    vendors: Annotated[Mapping[Name, Vendor], Field(min_length=1)]
    limits: Limits = Limits()

    @field_validator("vendors", mode="after")
    @classmethod
    def _named(cls, vendors: Mapping[str, Vendor]) -> Mapping[str, Vendor]:
        return {name: v.model_copy(update={"name": name}) for name, v in vendors.items()}

    def only(self, names: Iterable[str]) -> Config:
        """The same with these vendors alone. Raises InputError for a name it does not have."""
        chosen = tuple(names)
        unknown = [n for n in chosen if n not in self.vendors]
        if not chosen or unknown:
            hint = did_you_mean(unknown[0], self.vendors) if unknown else ""
            listed = ", ".join(self.vendors)
            raise InputError(f"expected vendors among {listed}, got {list(chosen)}{hint}")
        kept = {n: v for n, v in self.vendors.items() if n in chosen}
        return self.model_copy(update={"vendors": kept})

    def model(self, name: str) -> tuple[Vendor, Model]:
        """A model by ``VENDOR`` (its first) or ``VENDOR:MODEL``. Raises InputError for another."""
        known = {f"{v.name}:{m.name}": (v, m) for v in self.vendors.values() for m in v.models}
        for full_name, model in known.items():
            if name in (full_name, model[0].name):
                return model
        hint = did_you_mean(name, [*self.vendors, *known])
        raise InputError(
            f"expected a vendor among {', '.join(self.vendors)}, or a model among "
            f"{', '.join(known)}, got {name!r}{hint}"
        )


def load_config(path: Path = DEFAULT_CONFIG) -> Config:
    """The configuration in a TOML file. Raises InputError that names what is wrong where."""
    try:
        return read_settings(path, Config)
    except InputError as error:
        if re.search(r"key\S*: Extra inputs", str(error)):
            hint = "keys come from the environment alone: name the variable with key_env"
            raise InputError(f"{error}; {hint}") from None
        raise


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
        others = f"; there are keys for {', '.join(have)}" if have else ""
        raise MissingKeysError(f"no key in the environment: set {needed}{others}", tuple(have))
    return keys


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return host == "localhost"
