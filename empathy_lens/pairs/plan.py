"""Which pair is asked of which model: a balanced rotation, the same for the same seed.

A plan of n pairs is the beginning of every longer plan with the same vendors and seed, so that a
data set can grow without asking anything twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product
from pathlib import Path
from types import MappingProxyType

import numpy as np

from ..errors import InputError
from ..results import Settings, read_settings
from ..types import Concept, ContrastivePair, Scenario
from ..vendors import (
    Config,
    Model,
    Request,
    UnreadableReplyError,
    Vendor,
    json_object,
    object_schema,
)

DEFAULT_PROMPTS = Path(__file__).with_name("prompts.toml")
TEXTS = ("prompt", "positive_text", "negative_text")
PAIR_SCHEMA = object_schema(**{name: {"type": "string"} for name in TEXTS})
RANGE = re.compile(r"\{(\d+)\.\.(\d+)(?:/(\d+))?\}")


class ConceptWords(Settings):
    """The concept that pairs are about, the names of its poles, and words that would betray it.

    ``telling`` are regular expressions that no text may match.
    """

    name: str
    positive: str
    negative: str
    telling: tuple[str, ...] = ()


class Situations(Settings):
    """Who is met, and what to know of them; every combination comes up before one returns."""

    people: tuple[str, ...]
    circumstances: tuple[str, ...]


class Prompts(Settings):
    """What models are told (``prompts.toml``): wordings, forms, facts by scenario, situations."""

    wordings: tuple[str, ...]
    request: str
    another_try: str
    repair: str
    judge_system: str
    judge: str
    concept: ConceptWords
    forms: Mapping[str, str]
    facts: Mapping[str, tuple[str, ...]]
    situations: Situations


@dataclass(frozen=True)
class Slot:
    """One pair to be written.

    ``facts`` are sentences with figures that the prompt must state; ``situation`` groups what a
    split must keep together.
    """

    index: int
    scenario: Scenario
    vendor: Vendor
    model: Model
    format: str
    wording: int
    person: str
    circumstance: str
    facts: tuple[str, ...]
    seed: int

    @property
    def pair_id(self) -> str:
        return f"{self.scenario.id}-g{self.index:05d}"

    @property
    def situation(self) -> str:
        return f"{_slug(self.person)}--{_slug(self.circumstance)}"


@dataclass(frozen=True)
class Price:
    """Calls still to be made, and their estimated cost in US dollars.

    Repairs and second tries come on top.
    """

    calls: int
    by_vendor: Mapping[str, int]
    estimated_cost_usd: float


@cache
def load_prompts(path: Path = DEFAULT_PROMPTS) -> Prompts:
    """The prompts in a TOML file. Raises InputError that names what is wrong where."""
    return read_settings(path, Prompts)


def plan_pairs(
    scenarios: Mapping[str, Scenario],
    config: Config,
    n_pairs: int,
    seed: int,
    prompts: Prompts | None = None,
) -> tuple[Slot, ...]:
    """``n_pairs`` slots in rotation over scenarios, models, formats and wordings.

    Every combination comes up once before any comes up again; of those left, the next is one whose
    values, alone, by twos and by threes, have come up least. The seed breaks ties. Raises
    InputError for a number below 1 or unknown scenarios.
    """
    if n_pairs < 1 or seed < 0:
        raise InputError(f"expected 1 pair or more and a seed of 0 or more, got {n_pairs}, {seed}")
    prompts = prompts or load_prompts()
    unknown = sorted(set(scenarios) - set(prompts.facts))
    if unknown:
        raise InputError(f"no facts are known for the scenarios {unknown}; see prompts.toml")
    models = [(v, m) for v in config.vendors.values() for m in v.models]
    games, forms = list(scenarios.values()), list(prompts.forms)
    sizes = (len(games), len(models), len(forms), len(prompts.wordings))
    people, circumstances = prompts.situations.people, prompts.situations.circumstances
    rng = np.random.default_rng(seed)
    who, what = rng.permutation(len(people)), rng.permutation(len(circumstances))
    of_scenario = dict.fromkeys(scenarios, 0)
    slots = []
    for index, (game, author, form, wording) in enumerate(_rotation(sizes, n_pairs, rng)):
        scenario, (vendor, model) = games[game], models[author]
        turn = of_scenario[scenario.id]
        of_scenario[scenario.id] += 1
        draws = np.random.default_rng([seed, index])
        slots.append(
            Slot(
                index=index,
                scenario=scenario,
                vendor=vendor,
                model=model,
                format=forms[form],
                wording=wording,
                person=people[who[turn % len(people)]],
                circumstance=circumstances[what[turn % len(circumstances)]],
                facts=tuple(_draw(fact, draws) for fact in prompts.facts[scenario.id]),
                seed=int(draws.integers(2**31)),
            )
        )
    return tuple(slots)


def pair_request(
    slot: Slot, attempt: int, max_tokens: int, prompts: Prompts | None = None
) -> Request:
    """What is asked for a slot.

    ``attempt`` counts from 0; a later one is another question with another seed, so that no
    question is ever paid for twice.
    """
    prompts, scenario = prompts or load_prompts(), slot.scenario
    text = prompts.request.format(
        title=scenario.title,
        description=scenario.description,
        objective=scenario.objective,
        pressure=scenario.empathy_pressure,
        person=slot.person,
        circumstance=slot.circumstance,
        facts="; ".join(slot.facts),
        form=prompts.forms[slot.format],
        two=scenario.rubric["2"],
        zero=scenario.rubric["0"],
    )
    if attempt:
        text += prompts.another_try.format(number=attempt + 1)
    return Request(
        vendor=slot.vendor,
        model=slot.model,
        system=prompts.wordings[slot.wording],
        messages=(("user", text),),
        schema=PAIR_SCHEMA,
        max_tokens=max_tokens,
        seed=slot.seed + attempt,
        purpose=f"{slot.pair_id}/{slot.seed}/{attempt}",
    )


def parse_pair(text: str, slot: Slot, concept: Concept) -> ContrastivePair:
    """The pair in a reply: one JSON object with the three texts and nothing else.

    Raises UnreadableReplyError for anything more, less or other; a code fence around it may be.
    """
    texts = []
    for name, value in json_object(text, TEXTS).items():
        if not isinstance(value, str) or not value.strip():
            raise UnreadableReplyError(f"{name} is not a text")
        if not value.replace("\n", "").isprintable():
            raise UnreadableReplyError(f"{name} holds control characters")
        texts.append(value.strip())
    prompt, positive, negative = texts
    if positive == negative:
        raise UnreadableReplyError("both texts are the same")
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
        prompt=prompt,
        positive=positive,
        negative=negative,
        source_model=slot.model.name,
        concept=concept,
        extra=MappingProxyType(about),
    )


def _rotation(sizes: Sequence[int], n: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """``n`` cells of a grid, each once before any comes again, and evenly along the way."""
    cells = np.array(list(product(*map(range, sizes))))
    margins = [m for k in range(1, len(sizes)) for m in combinations(range(len(sizes)), k)]
    counts = {m: np.zeros([sizes[axis] for axis in m], dtype=int) for m in margins}
    times = np.zeros(len(cells), dtype=int)
    chosen = []
    for _ in range(n):
        used = {m: counts[m][tuple(cells[:, axis] for axis in m)] for m in margins}
        by_order = [sum(used[m] for m in margins if len(m) == k) for k in range(1, len(sizes))]
        # The last key of lexsort counts first: whole cells, then single values, twos and threes.
        best = np.lexsort((rng.random(len(cells)), *reversed(by_order), times))[0]
        times[best] += 1
        cell = tuple(int(i) for i in cells[best])
        for m in margins:
            counts[m][tuple(cell[axis] for axis in m)] += 1
        chosen.append(cell)
    return chosen


def _draw(fact: str, rng: np.random.Generator) -> str:
    def value(match: re.Match[str]) -> str:
        low, high, step = (int(group or 1) for group in match.groups())
        return str(int(rng.choice(np.arange(low, high + 1, step))))

    return RANGE.sub(value, fact)


def _slug(text: str) -> str:
    return "-".join(re.findall(r"[a-z0-9]+", text.lower()))
