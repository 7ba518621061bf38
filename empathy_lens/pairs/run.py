"""A generated data set in a folder: journal, pairs, rejected pairs, split and card.

Everything but the journal is made anew from it on every run, so a second run asks only for what
is missing and takes in what reviewers decided since.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..data import count_by, load_scenarios, save_pairs
from ..errors import InputError
from ..files import check_writable
from ..types import ContrastivePair, Progress, Scenario
from ..vendors.caller import Caller, open_caller
from ..vendors.config import Config
from ..vendors.journal import read_journal
from .dataset import SplitBy, merge, split, write_dataset
from .judge import EXPECTED_TOKENS, Text, cross_check, judge_request
from .plan import Slot, plan_pairs
from .quality import Quality, Rejection, check_pairs, lexical_giveaway
from .review import apply_decisions, kappas, load_decisions, reviews_path
from .write_pairs import Written, cost_summary, estimate, write_pairs

__all__ = ["GenerateOptions", "Generated", "generate", "plan_and_price"]

Pairs = Sequence[ContrastivePair]
JUDGED_WORDS = 80


@dataclass(frozen=True)
class GenerateOptions:
    """What is asked of a run. Raises InputError for shares, caps and judges that make no sense.

    ``known`` are pairs that new ones must not repeat. ``merged`` are train and test pairs that the
    data set takes in beside the generated ones, each staying on its side of the split.
    """

    config: Config
    scenarios: Path
    out: Path
    n_pairs: int = 90
    seed: int = 0
    max_cost_usd: float | None = None
    judges: tuple[str, ...] = ()
    max_giveaway: float = 1.0
    split_by: SplitBy = "situation"
    test_share: float = 0.2
    known: Pairs = ()
    merged: tuple[Pairs, Pairs] = ((), ())

    def __post_init__(self) -> None:
        if not 0 < self.test_share < 1:
            raise InputError(f"test_share: expected a share between 0 and 1, got {self.test_share}")
        if not 0.5 <= self.max_giveaway <= 1:
            raise InputError(f"max_giveaway: expected 0.5 to 1, got {self.max_giveaway}")
        if self.max_cost_usd is not None and not 0 <= self.max_cost_usd < float("inf"):
            raise InputError(f"max_cost_usd: expected 0 or more, got {self.max_cost_usd}")
        for judge in self.judges:
            self.config.model(judge)

    @property
    def journal(self) -> Path:
        return self.out / "journal.jsonl"


@dataclass(frozen=True)
class Generated:
    """What a run made: the written slots, their quality, and ``dataset_summary.json``."""

    written: tuple[Written, ...]
    quality: Quality
    summary: Mapping[str, Any]
    halted: Mapping[str, str]
    capped: bool

    @property
    def unasked(self) -> int:
        """Slots that the next run will ask for."""
        return sum(w.missing is not None and not w.missing.final for w in self.written)


def plan_and_price(options: GenerateOptions) -> tuple[tuple[Slot, ...], dict[str, Any]]:
    """The plan, and the calls still to be made for it with their estimated cost. Needs no key."""
    scenarios, slots = _plan(options)
    journal = read_journal(options.journal)
    priced = estimate(slots, options.config, journal)
    for slot in slots if options.judges else ():
        models = [options.config.model(judge) for judge in options.judges]
        other = next((m for m in models if m[1].name != slot.model.name), None)
        if other is not None:
            text = Text("", slot.scenario.id, "word " * JUDGED_WORDS, "word " * JUDGED_WORDS)
            request = judge_request(text, scenarios[slot.scenario.id], *other)
            priced["by_vendor"][other[0].name] += 2
            priced["calls"] += 2
            priced["estimated_cost_usd"] += 2 * request.expected_usd(EXPECTED_TOKENS)
    priced["estimated_cost_usd"] = round(priced["estimated_cost_usd"], 4)
    return slots, priced


def generate(options: GenerateOptions, progress: Progress = lambda done, total: None) -> Generated:
    """Asks for what is missing, checks, splits and writes the folder.

    Raises InputError for missing keys or bad options, before anything is asked, and where no pair
    is left to train on, after the journal and the rejected pairs were written.
    """
    if not 0 < options.test_share < 1:
        raise InputError(
            f"--test-share: expected a share between 0 and 1, got {options.test_share}"
        )
    scenarios, slots = _plan(options)
    check_writable(options.out)
    return asyncio.run(_generate(options, scenarios, slots, progress))


def _plan(options: GenerateOptions) -> tuple[dict[str, Scenario], tuple[Slot, ...]]:
    scenarios = load_scenarios(options.scenarios)
    return scenarios, plan_pairs(scenarios, options.config, options.n_pairs, options.seed)


async def _generate(
    options: GenerateOptions,
    scenarios: dict[str, Scenario],
    slots: tuple[Slot, ...],
    progress: Progress,
) -> Generated:
    cap = options.max_cost_usd
    async with open_caller(options.config, options.journal, max_cost_usd=cap) as caller:
        written = await write_pairs(caller, slots, progress)
        quality = check_pairs(
            [w.pair for w in written if w.pair is not None],
            scenarios,
            known=options.known,
            max_giveaway=options.max_giveaway,
        )
        if options.judges:
            quality = await _judged(caller, options.judges, quality, scenarios)
        about = _about(options, caller, written, quality)
        halted, capped = MappingProxyType(caller.halted), caller.capped
    summary = _write(options, quality, about)
    return Generated(written, quality, MappingProxyType(summary), halted, capped)


async def _judged(
    caller: Caller, judges: Sequence[str], quality: Quality, scenarios: Mapping[str, Scenario]
) -> Quality:
    """Rejects pairs whose sides a judge scores alike or the wrong way round."""
    scores = await cross_check(caller, judges, quality.accepted, scenarios)
    accepted, rejected = [], list(quality.rejected)
    for pair in quality.accepted:
        positive, negative = scores.get(pair.pair_id, (None, None))
        extra = {**pair.extra, "judge_scores": [positive, negative]}
        judged = replace(pair, extra=MappingProxyType(extra))
        if positive is not None and negative is not None and positive <= negative:
            reason = ("judge", f"scores the empathic side {positive}, the task-focused {negative}")
            rejected.append(Rejection(judged, (reason,)))
        else:
            accepted.append(judged)
    return Quality(tuple(accepted), tuple(rejected), lexical_giveaway(accepted))


def _about(
    options: GenerateOptions, caller: Caller, written: Sequence[Written], quality: Quality
) -> dict[str, Any]:
    missing = [w.missing for w in written if w.missing is not None]
    models = [
        {"vendor": v.name, "protocol": v.protocol, "structured": v.structured, **vars(m)}
        for v in options.config.vendors.values()
        for m in v.models
    ]
    return {
        "seed": options.seed,
        "split_by": options.split_by,
        "plan": {
            "n_pairs": len(written),
            "written": sum(w.pair is not None for w in written),
            "repaired": sum(w.repaired for w in written),
            "second_tries": dict(sorted(Counter(r for w in written for r in w.earlier).items())),
            "missing": dict(sorted(Counter(m.reason for m in missing).items())),
            "models": models,
        },
        "quality": {
            "accepted": len(quality.accepted),
            "accepted_by_source_model": count_by(quality.accepted, "source_model"),
            "rejected": len(quality.rejected),
            "rejections": quality.reasons,
            "lexical_giveaway": quality.giveaway.to_dict(),
            "judges": list(options.judges),
        },
        "costs": cost_summary(caller.journal),
        "unreadable_journal_lines": caller.journal.unreadable_lines,
    }


def _write(options: GenerateOptions, quality: Quality, about: dict[str, Any]) -> dict[str, Any]:
    pairs_file = options.out / "pairs.jsonl"
    rejected = [
        replace(r.pair, extra=MappingProxyType({**r.pair.extra, "rejections": list(r.reasons)}))
        for r in quality.rejected
    ]
    save_pairs(pairs_file, quality.accepted)
    save_pairs(options.out / "rejected.jsonl", rejected)
    decisions = load_decisions(reviews_path(pairs_file))
    kept = apply_decisions(quality.accepted, decisions)
    about["review"] = {
        "decisions": len(decisions),
        "by_verdict": dict(sorted(Counter(d.verdict for d in decisions).items())),
        "taken_out": len(quality.accepted) - len(kept),
        "kappas": [vars(k) for k in kappas(decisions)],
    }
    if len(kept) < 2:
        raise InputError(
            f"{options.out}: {len(kept)} of {about['plan']['n_pairs']} pairs are left to train on "
            f"(not written: {about['plan']['missing']}; rejected: {quality.reasons}); nothing that "
            "was paid for is lost: see journal.jsonl and rejected.jsonl"
        )
    n_test = min(max(1, round(options.test_share * len(kept))), len(kept) - 1)
    train, test = split(kept, by=options.split_by, n_test=n_test, seed=options.seed)
    return write_dataset(
        options.out, merge(train, options.merged[0]), merge(test, options.merged[1]), about
    )
