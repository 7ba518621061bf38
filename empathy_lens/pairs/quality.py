"""Which pairs are fit to train on? Every rejection comes with its reasons.

The limits are measures that the shipped pairs meet; they say nothing about whether a deed is the
one that was asked for. That takes a judge or a reader.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from ..data import near_duplicates
from ..errors import InputError
from ..evidence.baselines import naive_bayes, telling_words, text_labels
from ..stats import auroc
from ..types import ContrastivePair, Scenario
from .dataset import Giveaway
from .facts import broken_facts
from .plan import Prompts, load_prompts

LENGTH_RATIO = (0.8, 1.25)
"""Words of the positive side over those of the negative."""
N_WORDS = (30, 120)
"""Words of a text."""
MAX_OVERLAP = 0.1
"""Jaccard index of word 5-grams from which two texts count as one."""
MIN_ENGLISH = 0.25
"""Share of a pair's words that are common English ones; the shipped pairs have 0.27 and more."""
N_FOLDS = 10
MIN_BATCH = 20

LEAKS = (
    r"\bas an? (?:\w+ )?(?:ai|assistant|language model|agent|artificial)\b",
    r"\b(?:contrastive|rubric|data ?set|json)\b",
    r"\b(?:these|your|my|the|per|as) (?:given )?(?:instructions?|guidelines|system prompt)\b",
    r"\bthe (?:scenario|prompt)\b",
    r"\bmy (?:primary |main )?(?:objective|priority) (?:is|remains|was)\b",
)


@dataclass(frozen=True)
class Rejection:
    """A pair that is not fit, and every reason why: ``(kind, detail)``."""

    pair: ContrastivePair
    reasons: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Quality:
    """Pairs that passed, those that did not, and what words alone tell about the former."""

    accepted: tuple[ContrastivePair, ...]
    rejected: tuple[Rejection, ...]
    giveaway: Giveaway

    @property
    def reasons(self) -> dict[str, int]:
        """How many pairs were rejected for each kind of reason; a pair may have several."""
        kinds = (kind for r in self.rejected for kind in {k for k, _ in r.reasons})
        return dict(sorted(Counter(kinds).items()))


def check_pairs(
    pairs: Sequence[ContrastivePair],
    scenarios: Mapping[str, Scenario],
    *,
    known: Sequence[ContrastivePair] = (),
    max_giveaway: float = 1.0,
    prompts: Prompts | None = None,
) -> Quality:
    """Checks pairs one by one, against each other and, for repetition, against ``known`` ones.

    Of two pairs that repeat one another the first stays. Where a bag of words separates the
    accepted pairs with an AUROC above ``max_giveaway``, the most telling pairs are rejected
    until it does so no longer. Raises InputError for a ``max_giveaway`` outside 0.5 to 1.
    """
    if not 0.5 <= max_giveaway <= 1:
        raise InputError(f"max_giveaway: expected an AUROC in 0.5..1, got {max_giveaway}")
    leaks = (*LEAKS, *(prompts or load_prompts()).concept.telling)
    faults: dict[int, list[tuple[str, str]]] = {
        number: _faults(pair, scenarios, leaks) for number, pair in enumerate(pairs)
    }
    for number, fault in _repetitions(pairs, known):
        faults[number].append(fault)
    left = [n for n in faults if not faults[n]]
    left, telling = _less_telling([pairs[n] for n in left], left, max_giveaway)
    for number, gap in telling.items():
        faults[number].append(("lexical giveaway", f"its words tell the sides apart by {gap:.1f}"))
    return Quality(
        accepted=tuple(pairs[n] for n in left),
        rejected=tuple(Rejection(pairs[n], tuple(f)) for n, f in faults.items() if f),
        giveaway=lexical_giveaway([pairs[n] for n in left]),
    )


def lexical_giveaway(pairs: Sequence[ContrastivePair]) -> Giveaway:
    """Naive Bayes on words, trained and tested on different situations of the same batch."""
    if not _enough(pairs):
        return Giveaway(None, len(pairs), {})
    scores = _out_of_fold(pairs)
    words = {word: round(odds, 2) for word, odds in telling_words(pairs, 20).items()}
    return Giveaway(round(float(auroc(scores, text_labels(pairs))), 4), len(pairs), words)


def _faults(
    pair: ContrastivePair, scenarios: Mapping[str, Scenario], leaks: Sequence[str]
) -> list[tuple[str, str]]:
    if pair.scenario_id not in scenarios:
        return [("schema", f"unknown scenario {pair.scenario_id!r}")]
    poles = pair.concept
    sides = {
        "prompt": pair.prompt,
        poles.positive: pair.positive,
        poles.negative: pair.negative,
    }
    faults = []
    for name, text in sides.items():
        n = len(text.split())
        if not N_WORDS[0] <= n <= N_WORDS[1] and (text or name != "prompt"):
            faults.append(
                ("length", f"the {name} text has {n} words, not {N_WORDS[0]}-{N_WORDS[1]}")
            )
        for pattern in leaks:
            if leak := re.search(pattern, text, re.IGNORECASE):
                faults.append(("leak of the instruction", f"{leak[0]!r} in the {name} text"))
    ratio = len(pair.positive.split()) / max(1, len(pair.negative.split()))
    if not LENGTH_RATIO[0] <= ratio <= LENGTH_RATIO[1]:
        faults.append(("length match", f"the {poles.positive} side is {ratio:.2f} times as long"))
    if (share := _english(" ".join(sides.values()))) < MIN_ENGLISH:
        faults.append(("language", f"{share:.0%} of the words are common English ones"))
    facts = pair.extra.get("facts", ())
    faults += [("scenario facts", fault) for fault in broken_facts(pair, facts)]
    return faults


def _english(text: str) -> float:
    """The share of common English words; characters of other scripts count as words."""
    words = re.findall(r"[a-z']+|[^\W\d_a-zA-Z]", text.lower())
    return sum(word in ENGLISH_STOP_WORDS for word in words) / max(1, len(words))


def _repetitions(
    pairs: Sequence[ContrastivePair], known: Sequence[ContrastivePair]
) -> list[tuple[int, tuple[str, str]]]:
    """Pairs that repeat an earlier pair of the batch, or a known one."""
    everything = [*known, *pairs]
    listed = [(n, t) for n, p in enumerate(everything) for t in (p.prompt, p.positive, p.negative)]
    items = [n for n, _ in listed]
    alike = near_duplicates([text for _, text in listed], items, MAX_OVERLAP)
    first: dict[int, tuple[int, float]] = {}
    for a, b, index in alike:
        earlier, later = sorted((items[a], items[b]))
        # A pair that was itself rejected as a repetition does not count against others.
        if later >= len(known) and earlier not in first:
            first.setdefault(later, (earlier, index))
    return [
        (
            later - len(known),
            ("near-duplicate", f"of {everything[earlier].pair_id} (overlap {index:.2f})"),
        )
        for later, (earlier, index) in first.items()
    ]


def _enough(pairs: Sequence[ContrastivePair]) -> bool:
    return len(pairs) >= MIN_BATCH and len({p.group for p in pairs}) >= N_FOLDS


def _out_of_fold(pairs: Sequence[ContrastivePair]) -> np.ndarray:
    """Naive-Bayes log-odds of every text, from situations in other folds."""
    order = {group: n for n, group in enumerate(sorted({p.group for p in pairs}))}
    folds: defaultdict[int, list[int]] = defaultdict(list)
    for number, pair in enumerate(pairs):
        folds[order[pair.group] % N_FOLDS].append(number)
    scores = np.zeros((len(pairs), 2))
    for numbers in folds.values():
        held_out = set(numbers)
        train = [p for n, p in enumerate(pairs) if n not in held_out]
        scores[numbers] = naive_bayes(train, [pairs[n] for n in numbers]).reshape(-1, 2)
    return scores.ravel()


def _less_telling(
    pairs: list[ContrastivePair], numbers: list[int], max_giveaway: float
) -> tuple[list[int], dict[int, float]]:
    """Drops a twentieth of the pairs at a time, those whose own words tell most."""
    dropped: dict[int, float] = {}
    while _enough(pairs):
        scores = _out_of_fold(pairs)
        if auroc(scores, text_labels(pairs)) <= max_giveaway:
            break
        gaps = scores[0::2] - scores[1::2]
        worst = set(np.argsort(-gaps, kind="stable")[: max(1, len(pairs) // 20)].tolist())
        dropped |= {numbers[n]: float(gaps[n]) for n in worst}
        kept = [n for n in range(len(pairs)) if n not in worst]
        pairs, numbers = [pairs[n] for n in kept], [numbers[n] for n in kept]
    return numbers, dropped
