"""A generated data set in a folder: journal, pairs, rejected pairs, split and summary.

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

from ..data import count_by, load_scenarios, save_pairs
from ..errors import InputError
from ..files import check_writable
from ..types import Concept, ContrastivePair, Progress, Scenario
from ..vendors import (
    Caller,
    Config,
    Missing,
    Parsed,
    all_of,
    cost_summary,
    open_caller,
    read_journal,
)
from .api_judge import EXPECTED_TOKENS, Text, cross_check, judge_request
from .dataset import (
    AskedModel,
    GeneratedSummary,
    PlanSummary,
    QualitySummary,
    ReviewSummary,
    SplitBy,
    describe,
    merge,
    split,
    write_dataset,
)
from .plan import Price, Prompts, Slot, load_prompts, pair_request, parse_pair, plan_pairs
from .quality import Quality, Rejection, check_pairs, lexical_giveaway
from .review import apply_decisions, kappas, load_decisions, reviews_path

Pairs = tuple[ContrastivePair, ...]
JUDGED_WORDS = 80


@dataclass(frozen=True)
class GenerateOptions:
    """What is asked of a run. Raises InputError for shares, caps and judges that make no sense.

    ``prompts`` name the concept and say what models are told (None: those of the package).
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
    prompts: Prompts | None = None

    def __post_init__(self) -> None:
        if not 0 < self.test_share < 1:
            raise InputError(f"test_share: expected a share between 0 and 1, got {self.test_share}")
        if not 0.5 <= self.max_giveaway <= 1:
            raise InputError(f"max_giveaway: expected 0.5 to 1, got {self.max_giveaway}")
        if self.max_cost_usd is not None and not 0 <= self.max_cost_usd < float("inf"):
            raise InputError(
                f"max_cost_usd (--max-cost): expected 0 or more, got {self.max_cost_usd}"
            )
        for judge in self.judges:
            self.config.model(judge)

    @property
    def journal(self) -> Path:
        return self.out / "journal.jsonl"


@dataclass(frozen=True)
class Written:
    """What became of a slot: a pair, or why there is none, and what failed before."""

    slot: Slot
    pair: ContrastivePair | None
    missing: Missing | None
    earlier: tuple[str, ...]
    repaired: bool


@dataclass(frozen=True)
class Generated:
    """What a run made: the written slots, their quality, and ``dataset_summary.json``."""

    written: tuple[Written, ...]
    quality: Quality
    summary: GeneratedSummary
    halted: Mapping[str, str]
    capped: bool

    @property
    def unasked(self) -> int:
        """Slots that the next run will ask for."""
        return sum(w.missing is not None and not w.missing.final for w in self.written)


def plan_and_price(options: GenerateOptions) -> tuple[tuple[Slot, ...], Price]:
    """The plan, and the calls still to be made for it with their estimated cost. Needs no key."""
    scenarios, slots = _plan(options)
    answered, limits = read_journal(options.journal).answered, options.config.limits
    judges = [options.config.model(judge) for judge in options.judges]
    calls, usd = Counter[str](), 0.0
    for slot in slots:
        request = pair_request(slot, 0, limits.max_output_tokens, options.prompts)
        if request.call not in answered:
            calls[slot.vendor.name] += 1
            usd += request.expected_usd(limits.expected_output_tokens)
        other = next((j for j in judges if j[1].name != slot.model.name), None)
        if other is not None:
            text = Text("", slot.scenario.id, "word " * JUDGED_WORDS, "word " * JUDGED_WORDS)
            judging = judge_request(text, scenarios[slot.scenario.id], *other)
            calls[other[0].name] += 2
            usd += 2 * judging.expected_usd(EXPECTED_TOKENS)
    by_vendor = {name: calls[name] for name in options.config.vendors}
    return slots, Price(calls.total(), by_vendor, round(usd, 4))


def generate(options: GenerateOptions, progress: Progress = lambda done, total: None) -> Generated:
    """Asks for what is missing, checks, splits and writes the folder.

    Raises InputError for missing keys, before anything is asked, and where no pair is left to train
    on, after the journal and the rejected pairs were written.
    """
    scenarios, slots = _plan(options)
    check_writable(options.out)
    return asyncio.run(_generate(options, scenarios, slots, progress))


def _plan(options: GenerateOptions) -> tuple[dict[str, Scenario], tuple[Slot, ...]]:
    scenarios = load_scenarios(options.scenarios)
    slots = plan_pairs(scenarios, options.config, options.n_pairs, options.seed, options.prompts)
    return scenarios, slots


async def _generate(
    options: GenerateOptions,
    scenarios: dict[str, Scenario],
    slots: tuple[Slot, ...],
    progress: Progress,
) -> Generated:
    cap = options.max_cost_usd
    async with open_caller(options.config, options.journal, max_cost_usd=cap) as caller:
        written = await write_pairs(caller, slots, progress, options.prompts)
        quality = check_pairs(
            [w.pair for w in written if w.pair is not None],
            scenarios,
            known=options.known,
            max_giveaway=options.max_giveaway,
            prompts=options.prompts,
        )
        if options.judges:
            quality = await _judged(caller, options.judges, quality, scenarios)
        halted, capped = MappingProxyType(caller.halted), caller.capped
    summary = _write_folder(options, caller, written, quality)
    return Generated(written, quality, summary, halted, capped)


async def write_pairs(
    caller: Caller, slots: Sequence[Slot], progress: Progress, prompts: Prompts | None = None
) -> tuple[Written, ...]:
    """Every slot's pair or the reason why there is none, in the order of the slots.

    A slot whose answer was refused, cut short or unreadable is asked for again with another seed,
    up to ``tries`` times; one without an answer is left for the next run.
    """
    prompts, done = prompts or load_prompts(), 0
    named = prompts.concept
    concept = Concept(named.name, named.positive, named.negative)

    async def write(slot: Slot) -> Written:
        nonlocal done
        written = await _written(caller, slot, prompts, concept)
        done += 1
        progress(done, len(slots))
        return written

    return await all_of(write(slot) for slot in slots)


async def _written(caller: Caller, slot: Slot, prompts: Prompts, concept: Concept) -> Written:
    limits, earlier = caller.config.limits, list[str]()
    for attempt in range(limits.tries):
        request = pair_request(slot, attempt, limits.max_output_tokens, prompts)
        answer = await caller.parsed(
            request, lambda text: parse_pair(text, slot, concept), prompts.repair
        )
        if isinstance(answer, Parsed):
            return Written(slot, answer.value, None, tuple(earlier), answer.repaired)
        if not answer.final or attempt + 1 == limits.tries:
            return Written(slot, None, answer, tuple(earlier), repaired=False)
        earlier.append(answer.reason)
    raise AssertionError("a configuration has one try or more")


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
            poles = pair.concept
            fault = f"scores the {poles.positive} side {positive}, the {poles.negative} {negative}"
            rejected.append(Rejection(judged, (("judge", fault),)))
        else:
            accepted.append(judged)
    return Quality(tuple(accepted), tuple(rejected), lexical_giveaway(accepted))


def _write_folder(
    options: GenerateOptions, caller: Caller, written: Sequence[Written], quality: Quality
) -> GeneratedSummary:
    pairs_file = options.out / "pairs.jsonl"
    rejected = [
        replace(r.pair, extra=MappingProxyType({**r.pair.extra, "rejections": list(r.reasons)}))
        for r in quality.rejected
    ]
    save_pairs(pairs_file, quality.accepted)
    save_pairs(options.out / "rejected.jsonl", rejected)
    decisions = load_decisions(reviews_path(pairs_file))
    kept = apply_decisions(quality.accepted, decisions)
    plan = _plan_summary(options.config, written)
    if len(kept) < 2:
        halted = "".join(f"\n{message}" for message in caller.halted.values())
        raise InputError(
            f"{options.out}: {len(kept)} of {plan.n_pairs} pairs are left to train on "
            f"(not written: {dict(plan.missing)}; rejected: {quality.reasons}); nothing that "
            f"was answered is lost: see journal.jsonl and rejected.jsonl{halted}"
        )
    n_test = min(max(1, round(options.test_share * len(kept))), len(kept) - 1)
    train, test = split(kept, by=options.split_by, n_test=n_test, seed=options.seed)
    train, test = merge(train, options.merged[0]), merge(test, options.merged[1])
    summary = GeneratedSummary(
        **vars(describe(train, test, seed=options.seed, n_test=n_test)),
        split_by=options.split_by,
        plan=plan,
        quality=QualitySummary(
            accepted=len(quality.accepted),
            accepted_by_source_model=count_by(quality.accepted, "source_model"),
            rejected=len(quality.rejected),
            rejections=quality.reasons,
            lexical_giveaway=quality.giveaway,
            judges=options.judges,
        ),
        review=ReviewSummary(
            decisions=len(decisions),
            by_verdict=count_by(decisions, "verdict"),
            taken_out=len(quality.accepted) - len(kept),
            kappas=kappas(decisions),
        ),
        costs=cost_summary(caller.journal),
        unreadable_journal_lines=caller.journal.unreadable_lines,
    )
    write_dataset(options.out, train, test, summary)
    return summary


def _plan_summary(config: Config, written: Sequence[Written]) -> PlanSummary:
    missing = Counter(w.missing.reason for w in written if w.missing is not None)
    return PlanSummary(
        n_pairs=len(written),
        written=sum(w.pair is not None for w in written),
        repaired=sum(w.repaired for w in written),
        second_tries=dict(sorted(Counter(r for w in written for r in w.earlier).items())),
        missing=dict(sorted(missing.items())),
        models=tuple(
            AskedModel(v.name, v.protocol, v.structured, **m.model_dump())
            for v in config.vendors.values()
            for m in v.models
        ),
    )
