"""Texts that nearly repeat one another, found through shared word 5-grams."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from itertools import combinations

__all__ = ["near_duplicates"]

N_WORDS = 5


def near_duplicates(
    texts: Sequence[str], items: Sequence[Hashable], threshold: float
) -> list[tuple[int, int, float]]:
    """Pairs of texts of different items whose word 5-grams have a Jaccard index of ``threshold``+.

    Gives ``(i, j, index)`` with ``i < j``, in order. Only texts that share a 5-gram are compared,
    so that the time grows with the texts and not with their square.
    """
    grams: list[set[tuple[str, ...]]] = []
    holders: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, text in enumerate(texts):
        words = re.findall(r"\w+(?:'\w+)*", text.lower())
        grams.append({tuple(words[i : i + N_WORDS]) for i in range(len(words) - N_WORDS + 1)})
        for gram in grams[number]:
            holders[gram].append(number)
    shared = Counter(pair for numbers in holders.values() for pair in combinations(numbers, 2))
    found = []
    for (a, b), n in sorted(shared.items()):
        index = n / len(grams[a] | grams[b])
        if items[a] != items[b] and index >= threshold:
            found.append((a, b, index))
    return found
