"""What is read and written: pairs, scored texts, prompts, and the concept that they are about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Concept:
    """What a direction stands for, in words for people: its name and the names of its poles.

    They come with the data (see :func:`~empathy_lens.data.load_pairs`) and go through activations
    and directions to every table, figure and page.
    """

    name: str = "concept"
    positive: str = "positive"
    negative: str = "negative"


@dataclass(frozen=True)
class Scenario:
    """An Empathy-in-Action scenario and its rubric (score 0, 1, 2 → what earns it)."""

    id: str
    title: str
    description: str
    objective: str
    empathy_pressure: str
    rubric: Mapping[str, str]


@dataclass(frozen=True)
class ContrastivePair:
    """Two completions of one situation that differ in what is done.

    ``positive`` shows more of the concept than ``negative``. ``prompt`` is context that is
    read but never pooled; it is empty where the texts stand alone. ``situation`` groups
    texts that must not be parted by a split; it defaults to ``pair_id``. ``extra`` keeps
    every field of the source line that the library does not know.
    """

    pair_id: str
    scenario_id: str
    positive: str
    negative: str
    prompt: str = ""
    situation: str = ""
    format: str = ""
    split: str = ""
    source_model: str = ""
    tags: tuple[str, ...] = ()
    concept: Concept = Concept()
    extra: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __repr__(self) -> str:
        sides = (self.positive, self.negative)
        positive, negative = (t if len(t) <= 40 else f"{t[:37]}..." for t in sides)
        return f"ContrastivePair({self.pair_id!r}, {self.scenario_id}, {positive!r} | {negative!r})"

    @property
    def group(self) -> str:
        """What a split, a fold or a bootstrap must keep together."""
        return f"{self.scenario_id}/{self.situation or self.pair_id}"


@dataclass(frozen=True)
class UnpairedTexts:
    """Texts of both poles that do not belong together two by two; each stands alone."""

    positive: tuple[str, ...]
    negative: tuple[str, ...]
    concept: Concept = Concept()


@dataclass(frozen=True)
class RubricCompletion:
    """A text that a person or model wrote to earn a given rubric score (0, 1 or 2)."""

    completion_id: str
    scenario_id: str
    score: int
    text: str
    prompt: str = ""
    situation: str = ""
    format: str = ""
    source_model: str = ""

    @property
    def group(self) -> str:
        return f"{self.scenario_id}/{self.situation or self.completion_id}"


@dataclass(frozen=True)
class SteeringPrompt:
    """A situation with actions at the concept's positive pole and actions at its negative one."""

    scenario_id: str
    prompt: str
    positive_actions: tuple[str, ...]
    negative_actions: tuple[str, ...]


@dataclass(frozen=True)
class PlainQuestion:
    """An easy question: ``answer`` is the index of the right choice."""

    question_id: str
    question: str
    choices: tuple[str, ...]
    answer: int


@dataclass(frozen=True)
class Completion:
    """A text that a model wrote, with what is needed to write it again."""

    prompt: str
    text: str
    scenario_id: str
    alpha: float
    layer: int
    seed: int
    n_new_tokens: int
    finished: bool
