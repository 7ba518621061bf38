"""One question to one model, and what is sent for it over each protocol."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .config import Model, Vendor

__all__ = ["PAIR_SCHEMA", "SCORE_SCHEMA", "Request", "body"]

TOOL = "answer"


def _schema(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


PAIR_SCHEMA = _schema(
    {name: {"type": "string"} for name in ("prompt", "empathic_text", "non_empathic_text")}
)
SCORE_SCHEMA = _schema({"score": {"type": "integer", "enum": [0, 1, 2]}})


@dataclass(frozen=True)
class Request:
    """A question with everything that decides its answer.

    ``purpose`` tells apart questions of equal content that are to be asked separately. Two
    requests with the same ``call`` are the same question: it is paid for once.
    """

    vendor: Vendor
    model: Model
    system: str
    messages: tuple[tuple[str, str], ...]
    schema: Mapping[str, Any]
    max_tokens: int
    seed: int
    purpose: str

    @property
    def call(self) -> str:
        """An id from the content; where the vendor is found does not enter into it."""
        content = [self.vendor.name, self.purpose, body(self)]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:24]

    @property
    def most_usd(self) -> float:
        """The most that one attempt can cost: a token is a byte or more, and output is limited."""
        sent = len(json.dumps(body(self), ensure_ascii=False).encode())
        return self.model.usd(sent, self.max_tokens)

    def expected_usd(self, output_tokens: int) -> float:
        """What a call should cost, at four bytes a token."""
        sent = len(json.dumps(body(self), ensure_ascii=False).encode())
        return self.model.usd(sent / 4, output_tokens)

    def repaired(self, reply: str, instruction: str) -> Request:
        """The same conversation, gone on with an unreadable reply and the request to mend it."""
        grown = (*self.messages, ("assistant", reply), ("user", instruction))
        return replace(self, messages=grown, purpose=f"{self.purpose}/repair")


def body(request: Request) -> dict[str, Any]:
    """The JSON body of the request, without anything that authenticates it."""
    vendor = request.vendor
    common: dict[str, Any] = {"model": request.model.name}
    if vendor.temperature is not None:
        common["temperature"] = vendor.temperature
    messages = [{"role": role, "content": text} for role, text in request.messages]
    make = _anthropic if vendor.protocol == "anthropic" else _openai
    return common | make(request, messages) | dict(vendor.extra)


def _anthropic(request: Request, messages: list[dict[str, str]]) -> dict[str, Any]:
    schema = dict(request.schema)
    demands: dict[str, dict[str, Any]] = {
        "schema": {"output_config": {"format": {"type": "json_schema", "schema": schema}}},
        "tool": {
            "tools": [{"name": TOOL, "description": "Give the answer.", "input_schema": schema}],
            "tool_choice": {"type": "tool", "name": TOOL},
        },
        "text": {},
    }
    return {
        "system": request.system,
        "messages": messages,
        "max_tokens": request.max_tokens,
        **demands[request.vendor.structured],
    }


def _openai(request: Request, messages: list[dict[str, str]]) -> dict[str, Any]:
    schema, vendor = dict(request.schema), request.vendor
    function = {"name": TOOL, "description": "Give the answer.", "parameters": schema}
    named = {"name": TOOL, "schema": schema, "strict": True}
    demands: dict[str, dict[str, Any]] = {
        "schema": {"response_format": {"type": "json_schema", "json_schema": named}},
        "tool": {
            "tools": [{"type": "function", "function": function}],
            "tool_choice": {"type": "function", "function": {"name": TOOL}},
        },
        "text": {},
    }
    return {
        "messages": [{"role": "system", "content": request.system}, *messages],
        vendor.token_limit: request.max_tokens,
        **({"seed": request.seed} if vendor.seed else {}),
        **demands[vendor.structured],
    }
