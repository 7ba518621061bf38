import json

import pytest

from empathy_lens.vendors.protocols import read_reply


def anthropic(content, stop="end_turn", usage=None):
    return json.dumps({"content": content, "stop_reason": stop, "usage": usage or {}})


def openai(message, stop="stop", usage=None):
    choice = {"message": message, "finish_reason": stop}
    return json.dumps({"choices": [choice], "usage": usage})


@pytest.mark.parametrize(
    ("protocol", "body", "stop", "text"),
    [
        ("anthropic", anthropic([{"type": "text", "text": "a"}]), "done", "a"),
        ("anthropic", anthropic([{"type": "text", "text": "a"}], "max_tokens"), "truncated", "a"),
        ("anthropic", anthropic([], "refusal"), "refused", ""),
        ("anthropic", anthropic([]), "empty", ""),
        ("anthropic", anthropic([{"type": "text", "text": "I can't help."}]), "refused", None),
        ("anthropic", anthropic([{"type": "tool_use", "input": {"b": 1}}]), "done", '{"b": 1}'),
        ("anthropic", anthropic("text"), "malformed", ""),
        ("anthropic", openai({"content": "a"}), "malformed", ""),
        ("openai", openai({"content": "a"}), "done", "a"),
        ("openai", openai({"content": "a"}, "length"), "truncated", "a"),
        ("openai", openai({"content": None}, "content_filter"), "refused", ""),
        ("openai", openai({"content": None, "refusal": "No."}), "refused", "No."),
        ("openai", openai({"content": "I'm sorry, but I cannot do this."}), "refused", None),
        ("openai", openai({"content": None}), "empty", ""),
        ("openai", openai({"content": ["a"]}), "malformed", ""),
        ("openai", openai({"tool_calls": [{"function": {"arguments": "{}"}}]}), "done", "{}"),
        ("openai", '{"choices": []}', "malformed", ""),
        ("openai", "<html>", "malformed", ""),
        ("openai", "[" * 100_000, "malformed", ""),
        ("openai", "null", "malformed", ""),
    ],
)
def test_what_a_vendor_sent_is_told_apart(protocol, body, stop, text):
    reply = read_reply(protocol, body)
    assert reply.stop == stop
    assert text is None or reply.text == text


def test_tokens_are_counted_with_cached_ones_and_unknown_where_not_stated():
    usage = {"input_tokens": 5, "cache_read_input_tokens": 7, "output_tokens": 3}
    reply = read_reply("anthropic", anthropic([{"type": "text", "text": "a"}], usage=usage))
    assert (reply.input_tokens, reply.output_tokens) == (12, 3)
    usage = {"prompt_tokens": 5, "completion_tokens": 3}
    reply = read_reply("openai", openai({"content": "a"}, usage=usage))
    assert (reply.input_tokens, reply.output_tokens) == (5, 3)
    unstated = read_reply("openai", openai({"content": "a"}))
    assert (unstated.input_tokens, unstated.output_tokens) == (None, None)
    wrong = read_reply("openai", openai({"content": "a"}, usage={"prompt_tokens": "many"}))
    assert wrong.input_tokens is None
