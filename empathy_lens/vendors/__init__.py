"""Calls to the APIs of model vendors: capped in money, journalled, and paid for once.

In go a :class:`Config` (vendors, models, prices and limits, from a TOML file) and :class:`Request`
values; out come replies, or :class:`Missing` with the reason, and a journal of every paid answer.
The SDKs of anthropic and openai are imported when the first call is made.

>>> async with open_caller(load_config(), Path("journal.jsonl"), max_cost_usd=2) as caller:
...     reply = await caller.ask(request)
"""

from .caller import Caller, Missing, Parsed, all_of, open_caller
from .config import (
    DEFAULT_CONFIG,
    Config,
    Limits,
    MissingKeysError,
    Model,
    Vendor,
    load_config,
    read_keys,
)
from .journal import Costs, Journal, cost_summary, open_journal, read_journal
from .protocols import Reply, Request, UnreadableReplyError, json_object, object_schema

__all__ = [
    "DEFAULT_CONFIG",
    "Caller",
    "Config",
    "Costs",
    "Journal",
    "Limits",
    "Missing",
    "MissingKeysError",
    "Model",
    "Parsed",
    "Reply",
    "Request",
    "UnreadableReplyError",
    "Vendor",
    "all_of",
    "cost_summary",
    "json_object",
    "load_config",
    "object_schema",
    "open_caller",
    "open_journal",
    "read_journal",
    "read_keys",
]
