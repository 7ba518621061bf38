"""Which pair is asked of which model: a balanced rotation, the same for the same seed.

A plan of n pairs is the beginning of every longer plan with the same vendors and seed, so that a
data set can grow without asking anything twice.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..types import Scenario
from ..vendors.config import Config, Model, Vendor
from ..vendors.requests import PAIR_SCHEMA, Request

__all__ = ["Slot", "pair_request", "plan_pairs", "prompts"]

RANGE = re.compile(r"\{(\d+)\.\.(\d+)(?:/(\d+))?\}")


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


@cache
def prompts() -> Mapping[str, Any]:
    """The wordings, forms, facts and situations of ``prompts.toml``."""
    return tomllib.loads(Path(__file__).with_name("prompts.toml").read_text(encoding="utf-8"))


def plan_pairs(
    scenarios: Mapping[str, Scenario], config: Config, n_pairs: int, seed: int
) -> tuple[Slot, ...]:
    """``n_pairs`` slots in rotation over scenarios, models, formats and wordings.

    Every combination comes up once before any comes up again; of those left, the next is one whose
    values, alone, by twos and by threes, have come up least. The seed breaks ties. Raises
    InputError for a number below 1 or unknown scenarios.
    """
    if n_pairs < 1 or seed < 0:
        raise InputError(f"expected 1 pair or more and a seed of 0 or more, got {n_pairs}, {seed}")
    told = prompts()
    unknown = sorted(set(scenarios) - set(told["facts"]))
    if unknown:
        raise InputError(f"no facts are known for the scenarios {unknown}; see prompts.toml")
    models = [(v, m) for v in config.vendors.values() for m in v.models]
    games, forms = list(scenarios.values()), list(told["forms"])
    sizes = (len(games), len(models), len(forms), len(told["wordings"]))
    people, circumstances = told["situations"]["people"], told["situations"]["circumstances"]
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
                facts=tuple(_draw(fact, draws) for fact in told["facts"][scenario.id]),
                seed=int(draws.integers(2**31)),
            )
        )
    return tuple(slots)


def pair_request(slot: Slot, attempt: int, max_tokens: int) -> Request:
    """What is asked for a slot.

    ``attempt`` counts from 0; a later one is another question with another seed, so that no
    question is ever paid for twice.
    """
    told, scenario = prompts(), slot.scenario
    text = told["request"].format(
        title=scenario.title,
        description=scenario.description,
        objective=scenario.objective,
        pressure=scenario.empathy_pressure,
        person=slot.person,
        circumstance=slot.circumstance,
        facts="; ".join(slot.facts),
        form=told["forms"][slot.format],
        two=scenario.rubric["2"],
        zero=scenario.rubric["0"],
    )
    if attempt:
        text += told["another_try"].format(number=attempt + 1)
    return Request(
        vendor=slot.vendor,
        model=slot.model,
        system=told["wordings"][slot.wording],
        messages=(("user", text),),
        schema=PAIR_SCHEMA,
        max_tokens=max_tokens,
        seed=slot.seed + attempt,
        purpose=f"{slot.pair_id}/{slot.seed}/{attempt}",
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
