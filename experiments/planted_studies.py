"""Studies whose truth is known: texts, activations and steering in which something was planted.

A world is a vocabulary with an embedding for each word. Words of the concept come in two sets that
share no word but lie on one axis of the embeddings: synonyms. What a model would hold of a text is
made of the text itself: layer 0 reads the mean of its words' embeddings and its length, with noise,
layer 1 reads the same, turned, and may hold the deed, on an axis of its own. Kinds of study differ
in what carries the label.

>>> study = plant(KINDS["synonyms only"], SHIPPED, seed=0)
>>> evidence_card(study.data, 1, token_embed=study.embed)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from planted_kinds import N_SCENARIOS, Kind, Size

from empathy_lens.evidence import Embed, StudyData, ablate_words
from empathy_lens.evidence.findings import CONTRASTS
from empathy_lens.types import (
    Activations,
    ContrastivePair,
    Provenance,
    RubricCompletion,
    Site,
)

WIDTH, N_LAYERS = 40, 2
PROVENANCE = Provenance("planted", "0", "float32", "none", "none")
N_FILLERS, N_TOPIC, N_CONCEPT, N_MASKED = 60, 12, 12, 30
MASK = "..."
SYLLABLES = tuple(c + v for c in "bcdfghjklmnprstvwz" for v in "aeiou")
N_TELLING = 5
"""Words of the concept in a text of 12 to 25 words; which side's they are tells the label."""
TOGETHER = 0.6
"""How much of the embedding of a word of the concept is the axis that its synonyms share."""
READING, LENGTH_READING = 2.5, 2.0
"""Activation units for a unit of mean embedding, and for three words more."""
OWN, SHARED = 0.6, 0.5
"""Standard deviations of the noise that each side has for itself, and that sides share."""
GAP, CONTRAST_GAP = 3.0, 1.5
"""Distance of the classes along the axis of the deed, and of a contrast along its own, in
activation units. A direction that is fitted on few pairs leans a little on every axis; contrasts
are so weak that what it then sees of them is far from half of its own gap."""
VERBOSITY = 1.5
"""Words that the positive side of verbosity pairs has more, where length carries no label."""
COMMON_SD = 3.0
"""Of the variation along the deed's axis that both sides share where the deed is sentiment."""


@dataclass(frozen=True)
class World:
    """Words with their embeddings, and the axes along which activations hold what they hold."""

    words: tuple[str, ...]
    embeddings: Float[np.ndarray, "word width"]
    fillers: Int[np.ndarray, "scenario filler"]
    concept: Mapping[tuple[bool, bool], Int[np.ndarray, "concept"]]
    reading: Float[np.ndarray, "layer width width"]
    axes: Mapping[str, Float[np.ndarray, "width"]]

    @cached_property
    def place(self) -> Mapping[str, int]:
        """The row of each word."""
        return {word: row for row, word in enumerate(self.words)}

    def embed(self, texts: Sequence[str]) -> Float[np.ndarray, "text width"]:
        """Mean embedding of each text's words; masked ones are none."""
        rows = [[self.place[w] for w in words_of(text) if w != MASK] for text in texts]
        of = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
        counts = np.zeros((len(rows), len(self.words)))
        np.add.at(counts, (of, np.concatenate(rows).astype(int)), 1.0)
        return counts @ self.embeddings / np.maximum(counts.sum(axis=1, keepdims=True), 1)


@dataclass(frozen=True)
class PlantedStudy:
    """A study's data, and the mean token embedding of the model that it is of."""

    kind: Kind
    data: StudyData
    embed: Embed


@dataclass(frozen=True)
class Plan:
    """A set of texts, each situation with as many sides as the tuples are long.

    A side's ``words`` are 1 for those of the positive side, -1 for those of the other; ``length``
    is in words, ``deed`` in activation units, ``other`` along the contrast ``axis``, likewise.
    """

    name: str
    n: int
    words: tuple[float, ...]
    length: tuple[float, ...]
    deed: tuple[float, ...]
    axis: str = ""
    other: float = 0.0
    synonyms: bool = False


@dataclass(frozen=True)
class Written:
    """Texts by situation and side, and what activations hold of them that no word shows."""

    plan: Plan
    scenarios: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]
    beyond: Float[np.ndarray, "situation side layer width"]


def plant(kind: Kind, size: Size, *, seed: int) -> PlantedStudy:
    """A study of that kind and size; everything random follows from the seed."""
    rng = np.random.default_rng([seed, 1860])
    world = new_world(rng)
    size = replace(size, n_test=kind.n_test or size.n_test)
    written = {plan.name: write(world, kind, plan, rng) for plan in plans(kind, size)}
    if kind.leaked:
        written["test"] = _first(written["train"], size.n_test, "test")
    pairs = {name: pairs_of(one) for name, one in written.items() if name != "rubric"}
    read = {name: activations(world, one) for name, one in written.items()}
    masked = ablate_words(pairs["train"], pairs["test"], N_MASKED)
    masked_texts = tuple((pair.positive, pair.negative) for pair in masked)
    data = StudyData(
        train=read["train"],
        test=read["test"],
        train_pairs=pairs["train"],
        test_pairs=pairs["test"],
        hard=(read["hard"], pairs["hard"]),
        contrasts={name: read[name] for name in CONTRASTS},
        masked=(activations(world, replace(written["test"], texts=masked_texts)), N_MASKED),
        rubric=(read["rubric"], completions_of(written["rubric"])),
    )
    return PlantedStudy(kind, data, world.embed)


def plans(kind: Kind, size: Size) -> tuple[Plan, ...]:
    """What is written for a study of that kind."""
    half, deed = kind.longer / 2, kind.deed * GAP / 2
    like = Plan("train", size.n_train, (1.0, -1.0), (half, -half), (deed, -deed))
    new = replace(like, synonyms=kind.synonyms)
    return (
        like,
        replace(new, name="test", n=size.n_test),
        replace(new, name="hard", n=size.n_hard, words=(-1.0, 1.0), length=(-half, half)),
        Plan(
            "rubric",
            size.n_rubric,
            (1.0, 0.0, -1.0),
            (half, 0.0, -half),
            (deed, 0.0, -deed),
            synonyms=kind.synonyms,
        ),
        *(_contrast(name, kind, size.n_contrast) for name in CONTRASTS),
    )


def _contrast(name: str, kind: Kind, n: int) -> Plan:
    if name == "verbosity":
        half = (kind.longer or VERBOSITY) / 2
        return Plan(name, n, (0.0, 0.0), (half, -half), (0.0, 0.0))
    if name == "sentiment" and kind.sentiment:
        deed = kind.sentiment * kind.deed * GAP / 2
        return Plan(name, n, (0.0, 0.0), (0.0, 0.0), (deed, -deed))
    return Plan(name, n, (0.0, 0.0), (0.0, 0.0), (0.0, 0.0), axis=name, other=CONTRAST_GAP)


def new_world(rng: np.random.Generator) -> World:
    """Words of random syllables, with standard normal embeddings but for the concept's words."""
    n_fillers, n_concept = N_SCENARIOS * N_FILLERS, 4 * N_CONCEPT
    drawn = rng.integers(len(SYLLABLES), size=(2 * (n_fillers + n_concept), 4))
    lengths = rng.integers(5, 9, size=len(drawn)).tolist()
    spelt = (
        "".join(SYLLABLES[s] for s in four)[:n]
        for four, n in zip(drawn.tolist(), lengths, strict=True)
    )
    words = tuple(dict.fromkeys(spelt))[: n_fillers + n_concept]
    embeddings = rng.normal(size=(len(words), WIDTH))
    axis = rng.normal(size=WIDTH)
    concept = {}
    sets = [(True, True), (True, False), (False, True), (False, False)]
    for i, (positive, synonyms) in enumerate(sets):
        rows = n_fillers + np.arange(i * N_CONCEPT, (i + 1) * N_CONCEPT)
        embeddings[rows] *= np.sqrt(1 - TOGETHER**2)
        embeddings[rows] += TOGETHER * axis * (1 if positive else -1)
        concept[positive, synonyms] = rows
    fillers = np.arange(n_fillers).reshape(N_SCENARIOS, N_FILLERS)
    turned = [np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))[0] for _ in range(N_LAYERS)]
    names = ("deed", "length", *CONTRASTS)
    orthonormal = np.linalg.qr(rng.normal(size=(WIDTH, len(names))))[0].T
    axes = dict(zip(names, orthonormal, strict=True))
    return World(words, embeddings, fillers, concept, np.stack(turned), axes)


def write(world: World, kind: Kind, plan: Plan, rng: np.random.Generator) -> Written:
    """The plan's texts, one scenario after the other in turn."""
    n_sides = len(plan.words)
    of = [i % kind.n_scenarios for i in range(plan.n)]
    texts = []
    for scenario in of:
        topic = rng.choice(world.fillers[scenario], size=N_TOPIC, replace=False)
        base = rng.integers(16, 21)
        sides = zip(plan.words, plan.length, strict=True)
        lengths = [(cue, round(base + more + rng.uniform(-1.5, 1.5))) for cue, more in sides]
        texts.append(
            tuple(
                _text(world, rng, topic, n, 0.5 + cue * (kind.agreement - 0.5), plan.synonyms)
                for cue, n in lengths
            )
        )
    beyond = OWN * rng.normal(size=(plan.n, n_sides, N_LAYERS, WIDTH))
    beyond += SHARED * rng.normal(size=(plan.n, 1, N_LAYERS, WIDTH))
    has_deed = np.array([kind.deed_in in (None, scenario) for scenario in of])
    amount = has_deed[:, None] * np.array(plan.deed)
    if kind.sentiment:
        amount = amount + COMMON_SD * rng.normal(size=(plan.n, 1))
    beyond[:, :, 1] += amount[..., None] * world.axes["deed"]
    if plan.axis:
        sign = np.array([0.5, -0.5])[:, None, None]
        beyond += plan.other * sign * world.axes[plan.axis]
    return Written(plan, tuple(f"s{scenario}" for scenario in of), tuple(texts), beyond)


def _text(
    world: World,
    rng: np.random.Generator,
    topic: np.ndarray,
    n_words: int,
    positive: float,
    synonyms: bool,
) -> str:
    """Words of the topic and among them some of the concept, each of the positive side's with that
    probability."""
    rows = topic[rng.integers(len(topic), size=min(max(n_words, 12), 25))]
    n_positive = int((rng.random(N_TELLING) < positive).sum())
    drawn = rng.integers(N_CONCEPT, size=N_TELLING)
    rows[:n_positive] = world.concept[True, synonyms][drawn[:n_positive]]
    rows[n_positive:N_TELLING] = world.concept[False, synonyms][drawn[n_positive:]]
    words = [world.words[row] for row in rng.permutation(rows).tolist()]
    return " ".join(words).capitalize() + "."


def words_of(text: str) -> list[str]:
    """A text's words in lower case; a masked one is :data:`MASK`."""
    return [word.rstrip(".") or MASK for word in text.lower().split()]


def activations(world: World, written: Written) -> Activations:
    """What a model holds of the texts, side by side."""
    n, n_sides = written.beyond.shape[:2]
    texts = [text for sides in written.texts for text in sides]
    values = written.beyond.reshape(n * n_sides, N_LAYERS, WIDTH).copy()
    values += READING * np.einsum("tw,lwd->tld", world.embed(texts), world.reading)
    lengths = np.array([len(words_of(text)) for text in texts])
    values += LENGTH_READING * (lengths[:, None, None] - 18) / 3 * world.axes["length"]
    name, scenarios = written.plan.name, written.scenarios
    ids = tuple(f"{name}{i}" for i in range(n) for _ in range(n_sides))
    of = tuple(scenario for scenario in scenarios for _ in range(n_sides))
    return Activations(
        values=torch.from_numpy(values).float(),
        sites=tuple(Site(layer) for layer in range(N_LAYERS)),
        labels=torch.tensor([True] * (n_sides - 1) + [False]).repeat(n),
        pair_ids=ids,
        scenario_ids=of,
        groups=tuple(f"{scenario}/{one}" for scenario, one in zip(of, ids, strict=True)),
        n_tokens=tuple(lengths.tolist()),
        pooling="mean",
        provenance=PROVENANCE,
    )


def pairs_of(written: Written) -> tuple[ContrastivePair, ...]:
    """The texts as contrastive pairs, each a situation of its own."""
    hard = ("hard",) if written.plan.name == "hard" else ()
    return tuple(
        ContrastivePair(f"{written.plan.name}{i}", scenario, positive, negative, tags=hard)
        for i, (scenario, (positive, negative)) in enumerate(
            zip(written.scenarios, written.texts, strict=True)
        )
    )


def completions_of(written: Written) -> tuple[RubricCompletion, ...]:
    """The texts as scored completions: 2, 1 and 0 of each situation."""
    name = written.plan.name
    return tuple(
        RubricCompletion(f"{name}{i}-{score}", scenario, score, text, situation=f"{name}{i}")
        for i, (scenario, texts) in enumerate(zip(written.scenarios, written.texts, strict=True))
        for score, text in zip((2, 1, 0), texts, strict=True)
    )


def _first(written: Written, n: int, name: str) -> Written:
    """The first situations under another name."""
    return Written(
        replace(written.plan, name=name),
        written.scenarios[:n],
        written.texts[:n],
        written.beyond[:n],
    )
