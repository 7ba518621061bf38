"""Rubric scores (0, 1, 2) of texts by a model, asked through the same client as everything else.

A reply that cannot be read is a missing score, never a 0. The journal is the cache: a text with
the same content is scored by the same model once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Float
from pydantic import ConfigDict

from .. import stats
from ..errors import DegenerateDataError, InputError
from ..results import read_result
from ..types import ContrastivePair, Estimate, RubricCompletion, Scenario
from ..vendors import (
    Caller,
    Costs,
    Missing,
    Model,
    Request,
    UnreadableReplyError,
    Vendor,
    all_of,
    json_object,
    object_schema,
    read_journal,
)
from .plan import Price, load_prompts

OUTPUT_TOKENS = 1000
"""Room for a short JSON object, and for models that think before it."""
EXPECTED_TOKENS = 10
SCORE_SCHEMA = object_schema(score={"type": "integer", "enum": [0, 1, 2]})


@dataclass(frozen=True)
class Text:
    """A completion to be scored under the rubric of its scenario."""

    text_id: str
    scenario_id: str
    prompt: str
    text: str


@dataclass(frozen=True)
class Score:
    """A rubric score, or None and why it is missing."""

    text_id: str
    value: int | None
    missing: str = ""


@dataclass(frozen=True)
class Agreement:
    """A judge beside known scores, over the texts that it did score; None: cannot be had.

    ``exact`` is the share of equal scores, ``kappa`` Cohen's with quadratic weights (1 = as one,
    0 = chance), ``spearman`` the rank correlation with p.
    """

    exact: Estimate | None
    kappa: Estimate | None
    spearman: Estimate | None
    n: int
    n_missing: int


@dataclass(frozen=True)
class JudgeReport:
    """``judge_scores.json``: scores of texts by one judge, and its agreement with known ones."""

    judge: str
    agreement: Agreement
    scores: tuple[Score, ...]
    costs: Costs


@dataclass(frozen=True)
class _SteeredExample:
    __pydantic_config__ = ConfigDict(extra="ignore", allow_inf_nan=False)

    scenario_id: str
    prompt: str
    alpha: float
    seed: int
    completion: str


@dataclass(frozen=True)
class _SteeredExamples:
    """What is judged of ``steering_examples.json``, whose other entries are passed by."""

    __pydantic_config__ = ConfigDict(extra="ignore", allow_inf_nan=False)

    examples: tuple[_SteeredExample, ...]


def judge_request(text: Text, scenario: Scenario, vendor: Vendor, model: Model) -> Request:
    """The question for the score of one text; the same content makes the same call."""
    prompts = load_prompts()
    question = prompts.judge.format(
        title=scenario.title,
        description=scenario.description,
        objective=scenario.objective,
        zero=scenario.rubric["0"],
        one=scenario.rubric["1"],
        two=scenario.rubric["2"],
        prompt=text.prompt or "(not given)",
        text=text.text,
    )
    return Request(
        vendor=vendor,
        model=model,
        system=prompts.judge_system,
        messages=(("user", question),),
        schema=SCORE_SCHEMA,
        max_tokens=OUTPUT_TOKENS,
        seed=0,
        purpose="judge",
    )


def estimate_judging(
    texts: Sequence[Text],
    scenarios: Mapping[str, Scenario],
    vendor: Vendor,
    model: Model,
    journal: Path,
) -> Price:
    """The calls still to be made to score texts, and their estimated cost in US dollars."""
    answered = read_journal(journal).answered
    requests = {
        r.call: r
        for r in (judge_request(t, scenarios[t.scenario_id], vendor, model) for t in texts)
    }
    new = [r for call, r in requests.items() if call not in answered]
    cost = sum(r.expected_usd(EXPECTED_TOKENS) for r in new)
    return Price(len(new), {vendor.name: len(new)}, round(cost, 4))


def steered_texts(path: Path) -> dict[str, Text]:
    """The steered completions of a run (``steering_examples.json``), by an id that says alpha."""
    try:
        examples = read_result(path, _SteeredExamples).examples
    except InputError as error:
        raise InputError(f"expected a run's steering examples; {error}") from None
    named = (
        Text(
            f"steered/{e.scenario_id}/alpha={e.alpha:g}/seed={e.seed}/{number}",
            e.scenario_id,
            e.prompt,
            e.completion,
        )
        for number, e in enumerate(examples)
    )
    return {text.text_id: text for text in named if text.text.strip()}


def parse_score(text: str) -> int:
    """The rubric score in a reply: {"score": 0, 1 or 2}. Raises UnreadableReplyError otherwise."""
    score = json_object(text, ("score",))["score"]
    if type(score) is not int or score not in (0, 1, 2):
        raise UnreadableReplyError(f"score is {json.dumps(score)[:40]}, not 0, 1 or 2")
    return score


async def judge_texts(
    caller: Caller,
    judge: str,
    texts: Sequence[Text],
    scenarios: Mapping[str, Scenario],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Score, ...]:
    """A score for each text, in order. ``judge`` is ``VENDOR`` or ``VENDOR:MODEL``.

    Raises InputError for a judge or scenario that is not known.
    """
    vendor, model = caller.config.model(judge)
    unknown = sorted({t.scenario_id for t in texts} - set(scenarios))
    if unknown:
        raise InputError(f"expected scenarios among {list(scenarios)}, got {unknown}")
    done = 0

    async def score(text: Text) -> Score:
        nonlocal done
        request = judge_request(text, scenarios[text.scenario_id], vendor, model)
        answer = await caller.parsed(request, parse_score, load_prompts().repair)
        done += 1
        progress(done, len(texts))
        if isinstance(answer, Missing):
            return Score(text.text_id, None, answer.reason)
        return Score(text.text_id, answer.value)

    return await all_of(score(text) for text in texts)


async def cross_check(
    caller: Caller,
    judges: Sequence[str],
    pairs: Sequence[ContrastivePair],
    scenarios: Mapping[str, Scenario],
) -> dict[str, tuple[int | None, int | None]]:
    """Scores of both sides of each pair, by pair id, from the first judge that did not write it.

    None where a score is missing; a pair that all judges wrote is not in the result.
    """
    chosen: dict[str, list[ContrastivePair]] = {}
    for pair in pairs:
        others = (j for j in judges if caller.config.model(j)[1].name != pair.source_model)
        if judge := next(others, None):
            chosen.setdefault(judge, []).append(pair)
    out: dict[str, tuple[int | None, int | None]] = {}
    for judge, judged in chosen.items():
        texts = [
            Text(p.pair_id, p.scenario_id, p.prompt, side)
            for p in judged
            for side in (p.positive, p.negative)
        ]
        values = [s.value for s in await judge_texts(caller, judge, texts, scenarios)]
        sides = zip(judged, values[0::2], values[1::2], strict=True)
        out |= {pair.pair_id: (positive, negative) for pair, positive, negative in sides}
    return out


def agreement(
    scores: Sequence[Score], completions: Sequence[RubricCompletion], *, seed: int = 0
) -> Agreement:
    """How far a judge agrees with the scores that completions were written to earn.

    Matched by id; situations are resampled whole. Raises InputError where no id matches.
    """
    known = {c.completion_id: c for c in completions}
    matched = [(s, known[s.text_id]) for s in scores if s.text_id in known]
    if not matched:
        raise InputError("none of the scored texts is one of the rubric completions")
    pairs = [(s.value, c) for s, c in matched if s.value is not None]
    given = np.array([v for v, _ in pairs], dtype=np.float64)
    true = np.array([c.score for _, c in pairs], dtype=np.float64)
    groups = [c.group for _, c in pairs]

    def kappa(weights: Float[np.ndarray, "resample item"]) -> Float[np.ndarray, "resample"]:
        return _quadratic_kappa(weights, given, true)

    return Agreement(
        exact=_or_none(
            lambda: stats.accuracy_estimate(given == true, stats.Design(groups, seed=seed))
        ),
        kappa=_or_none(
            lambda: cast(
                Estimate,
                stats.bootstrap(kappa, stats.Design(groups, seed=seed), bounds=(-1.0, 1.0)),
            )
        ),
        spearman=_or_none(lambda: stats.spearman(given, true, stats.Design(groups, seed=seed))),
        n=len(pairs),
        n_missing=len(matched) - len(pairs),
    )


def _quadratic_kappa(weights: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cohen's kappa with squared distances (Cohen 1968), for each row of item weights."""
    w = weights / weights.sum(axis=-1, keepdims=True)
    mean_a, mean_b = w @ a, w @ b
    spread = w @ a**2 - mean_a**2 + w @ b**2 - mean_b**2
    by_chance = spread + (mean_a - mean_b) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(1 - (w @ (a - b) ** 2) / by_chance)


def _or_none(make: Callable[[], Estimate]) -> Estimate | None:
    try:
        return make()
    except (DegenerateDataError, InputError):
        return None
