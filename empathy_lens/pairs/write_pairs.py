"""From a plan to pairs: every slot asked until it has a pair, within tries and budget."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ..types import ContrastivePair
from ..vendors.caller import Caller, Missing, Parsed, all_of
from ..vendors.config import Config
from ..vendors.journal import Journal
from ..vendors.replies import PairText, parse_pair
from .plan import Slot, pair_request, prompts

__all__ = ["Written", "cost_summary", "estimate", "write_pairs"]


@dataclass(frozen=True)
class Written:
    """What became of a slot: a pair, or why there is none, and what failed before."""

    slot: Slot
    pair: ContrastivePair | None
    missing: Missing | None
    earlier: tuple[str, ...]
    repaired: bool


async def write_pairs(
    caller: Caller, slots: Sequence[Slot], progress: Callable[[int, int], None]
) -> tuple[Written, ...]:
    """Every slot's pair or the reason why there is none, in the order of the slots.

    A slot whose answer was refused, cut short or unreadable is asked for again with another seed,
    up to ``tries`` times; one without an answer is left for the next run.
    """
    done = 0

    async def write(slot: Slot) -> Written:
        nonlocal done
        written = await _write(caller, slot)
        done += 1
        progress(done, len(slots))
        return written

    return await all_of(write(slot) for slot in slots)


async def _write(caller: Caller, slot: Slot) -> Written:
    limits, earlier = caller.config.limits, list[str]()
    for attempt in range(limits.tries):
        request = pair_request(slot, attempt, limits.max_output_tokens)
        found = await caller.parsed(request, parse_pair, prompts()["repair"])
        if isinstance(found, Parsed):
            pair = _pair(slot, found.value)
            return Written(slot, pair, None, tuple(earlier), found.repaired)
        if not found.final or attempt + 1 == limits.tries:
            return Written(slot, None, found, tuple(earlier), repaired=False)
        earlier.append(found.reason)
    raise AssertionError("a configuration has one try or more")


def _pair(slot: Slot, text: PairText) -> ContrastivePair:
    about = {
        "vendor": slot.vendor.name,
        "wording": slot.wording,
        "facts": list(slot.facts),
        "scenario_title": slot.scenario.title,
        "seed": slot.seed,
    }
    return ContrastivePair(
        pair_id=slot.pair_id,
        scenario_id=slot.scenario.id,
        situation=slot.situation,
        format=slot.format,
        prompt=text.prompt,
        positive=text.positive,
        negative=text.negative,
        source_model=slot.model.name,
        extra=MappingProxyType(about),
    )


def estimate(slots: Iterable[Slot], config: Config, journal: Journal) -> dict[str, Any]:
    """The calls still to be made for a plan, by vendor, and what they should cost in US dollars.

    One call a pair, without the repairs and second tries that some will need.
    """
    limits, usd, calls = config.limits, 0.0, Counter[str]()
    for slot in slots:
        request = pair_request(slot, 0, limits.max_output_tokens)
        if request.call not in journal.answered:
            calls[slot.vendor.name] += 1
            usd += request.expected_usd(limits.expected_output_tokens)
    by_vendor = {name: calls[name] for name in config.vendors}
    return {"calls": calls.total(), "by_vendor": by_vendor, "estimated_cost_usd": round(usd, 4)}


def cost_summary(journal: Journal) -> dict[str, Any]:
    """Tokens, US dollars, answers and failures by vendor, over all runs that share the journal."""
    vendors: dict[str, dict[str, Any]] = {}
    for record in journal.records:
        row = vendors.setdefault(
            record["vendor"],
            {"answers": 0, "input_tokens": 0, "output_tokens": 0, "cost_usd": 0.0, "failures": {}},
        )
        row["cost_usd"] = round(row["cost_usd"] + record["cost_usd"], 6)
        if record["event"] == "answered":
            row["answers"] += 1
            row["input_tokens"] += record["input_tokens"] or 0
            row["output_tokens"] += record["output_tokens"] or 0
        failure = record["kind"] if record["event"] == "failed" else record["stop"]
        if failure != "done":
            row["failures"][failure] = row["failures"].get(failure, 0) + 1
    return {
        "by_vendor": dict(sorted(vendors.items())),
        "cost_usd": round(journal.spent_usd, 6),
        "calls_in_doubt": journal.in_doubt,
    }
