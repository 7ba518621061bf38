"""Do two sets of pairs share what must be apart? Leakage between learning and testing."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from ..types import ContrastivePair

Pairs = Sequence[ContrastivePair]
OverlapKind = Literal["pair_id", "situation", "prompt", "text", "near-duplicate"]

GRAM = 5
"""Words of the runs by which texts are compared."""
NEAR = 0.2
"""Jaccard index of word 5-grams from which texts are near-duplicates: two of twenty words apart."""


@dataclass(frozen=True)
class Overlap:
    """What two pairs, named by their ids, share. ``similarity`` is 1 unless they nearly do."""

    kind: OverlapKind
    first: str
    second: str
    similarity: float = 1.0

    @property
    def exact(self) -> bool:
        return self.kind != "near-duplicate"

    def __str__(self) -> str:
        if self.exact:
            return f"{self.first} and {self.second} have the same {self.kind}"
        return f"{self.first} and {self.second} share {self.similarity:.0%} of their word 5-grams"


def find_overlaps(first: Pairs, second: Pairs) -> tuple[Overlap, ...]:
    """What pairs of ``second`` share with pairs of ``first``, exact overlaps first.

    Compared are ids, situations, prompts and the texts of either side, spaces and case aside;
    texts that are not equal by the Jaccard index of their word 5-grams (:data:`NEAR`). A pair of
    ``second`` is listed once a kind, with the first pair that it meets.
    """
    keys: dict[OverlapKind, Callable[[ContrastivePair], Iterator[str]]] = {
        "pair_id": lambda p: iter((p.pair_id,)),
        "situation": lambda p: iter((p.group,) if p.situation else ()),
        "prompt": lambda p: iter((normalised(p.prompt),) if p.prompt.strip() else ()),
        "text": lambda p: map(normalised, (p.positive, p.negative)),
    }
    overlaps = []
    for kind, keys_of in keys.items():
        holders: dict[str, str] = {}
        for pair in first:
            for key in keys_of(pair):
                holders.setdefault(key, pair.pair_id)
        for pair in second:
            met = next((holders[key] for key in keys_of(pair) if key in holders), None)
            if met is not None:
                overlaps.append(Overlap(kind, met, pair.pair_id))
    return (*overlaps, *_near(first, second, {(o.first, o.second) for o in overlaps}))


def find_repeats(pairs: Pairs) -> tuple[Overlap, ...]:
    """Texts that stand in more than one pair of one set, equal or nearly so."""
    holders: dict[str, str] = {}
    repeats = []
    for pair in pairs:
        texts = [normalised(side) for side in (pair.positive, pair.negative)]
        met = next((holders[text] for text in texts if text in holders), None)
        if met is not None:
            repeats.append(Overlap("text", met, pair.pair_id))
        for text in texts:
            holders.setdefault(text, pair.pair_id)
    return (*repeats, *_near(pairs, (), {(o.first, o.second) for o in repeats}))


def _near(first: Pairs, second: Pairs, known: set[tuple[str, str]]) -> tuple[Overlap, ...]:
    """Near-duplicates across the sets; within ``first`` where ``second`` is empty."""
    everything = [*first, *second]
    listed = [(n, side) for n, p in enumerate(everything) for side in (p.positive, p.negative)]
    items = [n for n, _ in listed]
    closest: dict[int, tuple[float, int]] = {}
    for a, b, index in near_duplicates([text for _, text in listed], items, NEAR):
        earlier, later = sorted((items[a], items[b]))
        if second and not earlier < len(first) <= later:
            continue
        if index > closest.get(later, (0.0, 0))[0]:
            closest[later] = (index, earlier)
    rows = (
        Overlap("near-duplicate", everything[n].pair_id, everything[later].pair_id, round(index, 4))
        for later, (index, n) in sorted(closest.items())
    )
    return tuple(row for row in rows if (row.first, row.second) not in known)


def near_duplicates(
    texts: Sequence[str], items: Sequence[Hashable], threshold: float
) -> list[tuple[int, int, float]]:
    """Pairs of texts of different items whose word 5-grams have a Jaccard index of ``threshold``+.

    Gives ``(i, j, index)`` with ``i < j``, in order. A text of fewer words is one run of them all,
    so that short texts are alike where nothing but their marks differs. Only texts that share a
    run are compared, so that the time grows with the texts and not with their square.
    """
    grams: list[set[tuple[str, ...]]] = []
    holders: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, text in enumerate(texts):
        words = re.findall(r"\w+(?:'\w+)*", normalised(text))
        starts = range(max(1, len(words) - GRAM + 1)) if words else ()
        grams.append({tuple(words[i : i + GRAM]) for i in starts})
        for gram in grams[number]:
            holders[gram].append(number)
    shared = Counter(pair for numbers in holders.values() for pair in combinations(numbers, 2))
    alike = []
    for (a, b), n in sorted(shared.items()):
        index = n / len(grams[a] | grams[b])
        if items[a] != items[b] and index >= threshold:
            alike.append((a, b, index))
    return alike


def normalised(text: str) -> str:
    """A text without case and width (NFKC) and with single spaces: equal ones are one text to a
    reader."""
    return " ".join(unicodedata.normalize("NFKC", text).split()).casefold()
