"""One question to one model, and its answer, over the Anthropic and the OpenAI protocol.

Replies are read strictly, and the same on every reading of the journal.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from .config import Model, Protocol, Vendor

Json = dict[str, object]
Stop = Literal["done", "refused", "truncated", "empty", "malformed"]

TOOL = "answer"
FENCE = re.compile(r"\A```(?:json)?\s*\n(.*)\n```\Z", re.DOTALL)
REFUSAL = re.compile(
    r"(?:i['’]m sorry|i am sorry|sorry|unfortunately)?[,.;: ]*(?:but )?"
    r"i (?:can(?:no|['’])t|cannot|won['’]t|am unable|['’]m unable|must decline)\b",
    re.IGNORECASE,
)


class UnreadableReplyError(ValueError):
    """A reply is not what was asked for; the message says in which way."""


@dataclass(frozen=True)
class Reply:
    """What came back. Token counts are None where the vendor did not state them."""

    text: str
    stop: Stop
    input_tokens: int | None = None
    output_tokens: int | None = None


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
    schema: Json
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
        return self.model.usd(self._n_bytes, self.max_tokens)

    def expected_usd(self, output_tokens: int) -> float:
        """What a call should cost, at four bytes a token."""
        return self.model.usd(self._n_bytes / 4, output_tokens)

    @property
    def _n_bytes(self) -> int:
        return len(json.dumps(body(self), ensure_ascii=False).encode())

    def repaired(self, reply: str, instruction: str) -> Request:
        """The same conversation, gone on with an unreadable reply and the request to mend it."""
        grown = (*self.messages, ("assistant", reply), ("user", instruction))
        return replace(self, messages=grown, purpose=f"{self.purpose}/repair")


def object_schema(**properties: Mapping[str, object]) -> Json:
    """The JSON schema of an object that has exactly these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def body(request: Request) -> Json:
    """The JSON body of the request, without anything that authenticates it."""
    vendor, schema = request.vendor, request.schema
    messages = [{"role": role, "content": text} for role, text in request.messages]
    sent: Json = {"model": request.model.name}
    if vendor.temperature is not None:
        sent["temperature"] = vendor.temperature
    demand: Json = {}
    if vendor.protocol == "anthropic":
        sent |= {
            "system": request.system,
            "messages": messages,
            "max_tokens": request.max_tokens,
        }
        if vendor.structured == "schema":
            demand = {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
        elif vendor.structured == "tool":
            tool = {"name": TOOL, "description": "Give the answer.", "input_schema": schema}
            demand = {"tools": [tool], "tool_choice": {"type": "tool", "name": TOOL}}
    else:
        sent |= {
            "messages": [{"role": "system", "content": request.system}, *messages],
            vendor.token_limit: request.max_tokens,
            **({"seed": request.seed} if vendor.seed else {}),
        }
        if vendor.structured == "schema":
            named = {"name": TOOL, "schema": schema, "strict": True}
            demand = {"response_format": {"type": "json_schema", "json_schema": named}}
        elif vendor.structured == "tool":
            function = {"name": TOOL, "description": "Give the answer.", "parameters": schema}
            choice = {"type": "function", "function": {"name": TOOL}}
            tools = [{"type": "function", "function": function}]
            demand = {"tools": tools, "tool_choice": choice}
    return sent | demand | dict(vendor.extra)


def read_reply(protocol: Protocol, body: str) -> Reply:
    """The reply in a response's body; whatever is not one is "malformed", never an exception."""
    try:
        data = json.loads(body)
        kind = _AnthropicResponse if protocol == "anthropic" else _OpenAIResponse
        reply = kind.model_validate(data).reply()
    except (ValueError, ValidationError, RecursionError):
        return Reply("", "malformed")
    if reply.stop == "done" and not reply.text.strip():
        return replace(reply, text="", stop="empty")
    if reply.stop == "done" and REFUSAL.match(reply.text.lstrip()):
        return replace(reply, stop="refused")
    return reply


def json_object(text: str, names: tuple[str, ...]) -> Json:
    """The fields of a reply that is one JSON object with exactly these names, in their order.

    A code fence around it may be. Raises UnreadableReplyError for anything more, less or other.
    """
    stripped = text.strip()
    fenced = FENCE.match(stripped)
    try:
        data = json.loads(fenced[1] if fenced else stripped, object_pairs_hook=_once)
    except RecursionError:
        raise UnreadableReplyError("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise UnreadableReplyError(f"{error.msg} at character {error.pos}") from None
    if not isinstance(data, dict):
        raise UnreadableReplyError(f"it is a JSON {type(data).__name__}, not an object")
    if set(data) != set(names):
        raise UnreadableReplyError(f"it has the fields {sorted(data)[:6]}, not {list(names)}")
    return {name: data[name] for name in names}


def _once(pairs: list[tuple[str, object]]) -> Json:
    if len({name for name, _ in pairs}) != len(pairs):
        raise UnreadableReplyError("a field appears twice")
    return dict(pairs)


def _count(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None


Tokens = Annotated[int | None, BeforeValidator(_count)]


class _AnthropicUsage(BaseModel):
    input_tokens: Tokens = None
    output_tokens: Tokens = None
    cache_creation_input_tokens: Tokens = None
    cache_read_input_tokens: Tokens = None


class _TextBlock(BaseModel):
    type: Literal["text"]
    text: str


class _ToolBlock(BaseModel):
    type: Literal["tool_use"]
    input: Json


class _OtherBlock(BaseModel):
    type: str


_Block = Annotated[_TextBlock | _ToolBlock | _OtherBlock, Field(union_mode="left_to_right")]


class _AnthropicResponse(BaseModel):
    content: list[_Block]
    stop_reason: str | None = None
    usage: _AnthropicUsage | None = None

    def reply(self) -> Reply:
        called = [json.dumps(b.input) for b in self.content if isinstance(b, _ToolBlock)]
        texts = [b.text for b in self.content if isinstance(b, _TextBlock)]
        usage = self.usage or _AnthropicUsage()
        cached = (usage.cache_creation_input_tokens or 0) + (usage.cache_read_input_tokens or 0)
        read = usage.input_tokens
        stops: Mapping[str | None, Stop] = {
            "refusal": "refused",
            "max_tokens": "truncated",
            "model_context_window_exceeded": "truncated",
        }
        return Reply(
            text=called[0] if called else "".join(texts),
            stop=stops.get(self.stop_reason, "done"),
            input_tokens=None if read is None else read + cached,
            output_tokens=usage.output_tokens,
        )


class _OpenAIUsage(BaseModel):
    prompt_tokens: Tokens = None
    completion_tokens: Tokens = None


class _Function(BaseModel):
    arguments: str


class _ToolCall(BaseModel):
    function: _Function


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _OpenAIResponse(BaseModel):
    choices: Annotated[list[_Choice], Field(min_length=1)]
    usage: _OpenAIUsage | None = None

    def reply(self) -> Reply:
        message, usage = self.choices[0].message, self.usage or _OpenAIUsage()
        calls = message.tool_calls
        text = calls[0].function.arguments if calls else message.content or ""
        stops: Mapping[str | None, Stop] = {"length": "truncated", "content_filter": "refused"}
        return Reply(
            text=message.refusal or text,
            stop="refused" if message.refusal else stops.get(self.choices[0].finish_reason, "done"),
            input_tokens=usage.prompt_tokens,
            output_tokens=usage.completion_tokens,
        )
