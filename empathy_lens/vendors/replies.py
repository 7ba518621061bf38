"""From a vendor's response to what its model said: strict, and the same on every reading."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .config import Protocol

__all__ = ["PairText", "Reply", "UnreadableReplyError", "parse_pair", "parse_score", "read_reply"]

Stop = Literal["done", "refused", "truncated", "empty", "malformed"]

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
class PairText:
    """The three texts of a pair as a model wrote them."""

    prompt: str
    positive: str
    negative: str


def read_reply(protocol: Protocol, body: str) -> Reply:
    """The reply in a response's body; whatever is not one is "malformed", never an exception."""
    try:
        data = json.loads(body)
        reply = _anthropic(data) if protocol == "anthropic" else _openai(data)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return Reply("", "malformed")
    if reply.stop == "done" and not reply.text.strip():
        return Reply("", "empty", reply.input_tokens, reply.output_tokens)
    if reply.stop == "done" and REFUSAL.match(reply.text.lstrip()):
        return Reply(reply.text, "refused", reply.input_tokens, reply.output_tokens)
    return reply


def parse_pair(text: str) -> PairText:
    """The pair in a reply: one JSON object with the three texts and nothing else.

    Raises UnreadableReplyError for anything more, less or other; a code fence around it may be.
    """
    fields = _object(text, ("prompt", "empathic_text", "non_empathic_text"))
    for name, value in fields.items():
        if not isinstance(value, str) or not value.strip():
            raise UnreadableReplyError(f"{name} is not a text")
        if not value.isprintable() and not value.replace("\n", "").isprintable():
            raise UnreadableReplyError(f"{name} holds control characters")
    prompt, positive, negative = (value.strip() for value in fields.values())
    if positive == negative:
        raise UnreadableReplyError("both texts are the same")
    return PairText(prompt, positive, negative)


def parse_score(text: str) -> int:
    """The rubric score in a reply: {"score": 0, 1 or 2}. Raises UnreadableReplyError otherwise."""
    (score,) = _object(text, ("score",)).values()
    if isinstance(score, bool) or not isinstance(score, int) or score not in (0, 1, 2):
        raise UnreadableReplyError(f"score is {json.dumps(score)[:40]}, not 0, 1 or 2")
    return score


def _object(text: str, names: tuple[str, ...]) -> dict[str, Any]:
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


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise UnreadableReplyError("a field appears twice")
    return dict(pairs)


def _anthropic(data: Mapping[str, Any]) -> Reply:
    blocks = data["content"]
    called = [json.dumps(b["input"]) for b in blocks if b["type"] == "tool_use"]
    text = called[0] if called else "".join(b["text"] for b in blocks if b["type"] == "text")
    usage = data.get("usage") or {}
    cached = ("cache_creation_input_tokens", "cache_read_input_tokens")
    read = _count(usage, "input_tokens")
    stops: dict[Any, Stop] = {
        "refusal": "refused",
        "max_tokens": "truncated",
        "model_context_window_exceeded": "truncated",
    }
    return Reply(
        text,
        stops.get(data.get("stop_reason"), "done"),
        None if read is None else read + sum(_count(usage, name) or 0 for name in cached),
        _count(usage, "output_tokens"),
    )


def _openai(data: Mapping[str, Any]) -> Reply:
    choice = data["choices"][0]
    message = choice["message"]
    calls = message.get("tool_calls") or []
    text = calls[0]["function"]["arguments"] if calls else message.get("content") or ""
    if not isinstance(text, str):
        raise TypeError("content is not a text")
    usage = data.get("usage") or {}
    stops: dict[Any, Stop] = {"length": "truncated", "content_filter": "refused"}
    stop = "refused" if message.get("refusal") else stops.get(choice.get("finish_reason"), "done")
    if message.get("refusal"):
        text = str(message["refusal"])
    return Reply(text, stop, _count(usage, "prompt_tokens"), _count(usage, "completion_tokens"))


def _count(usage: Mapping[str, Any], name: str) -> int | None:
    value = usage.get(name)
    return value if type(value) is int and value >= 0 else None
