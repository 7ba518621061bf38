"""Is a text still a text? What steering too hard breaks first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..engine.tokens import encode
from ..errors import InputError
from ..types import Completion, HookedModel
from .scoring import continuation_log_probs

__all__ = ["Coherence", "coherence", "distinct_n", "perplexities", "repetition"]

MIN_WORDS = 10
MAX_REPETITION = 0.3
MAX_PERPLEXITY_RATIO = 3.0


@dataclass(frozen=True)
class Coherence:
    """What can be measured of a text without reading it.

    ``perplexity`` is that of the text after its prompt under the unsteered model (None where
    there is no text), ``repetition`` the share of word triples that occurred before, ``distinct``
    the share of word pairs that are different from each other; ``truncated``: cut at the token
    limit.
    """

    n_words: int
    perplexity: float | None
    repetition: float
    distinct: float
    truncated: bool

    @property
    def empty(self) -> bool:
        return self.n_words == 0

    def coherent(self, unsteered_perplexity: float) -> bool:
        """At least 10 words, at most 30% of word triples repeated, and at most three times as
        surprising to the unsteered model as its own texts (``unsteered_perplexity``)."""
        return (
            self.perplexity is not None
            and self.n_words >= MIN_WORDS
            and self.repetition <= MAX_REPETITION
            and self.perplexity <= MAX_PERPLEXITY_RATIO * unsteered_perplexity
        )


def coherence(model: HookedModel, completions: Sequence[Completion]) -> list[Coherence]:
    """The coherence of each completion. Nothing on the model may be steering while it runs."""
    found = perplexities(model, [(c.prompt, c.text) for c in completions])
    return [
        Coherence(
            n_words=len(c.text.split()),
            perplexity=perplexity,
            repetition=repetition(c.text),
            distinct=distinct_n(c.text),
            truncated=not c.finished,
        )
        for c, perplexity in zip(completions, found, strict=True)
    ]


def perplexities(model: HookedModel, texts: Sequence[tuple[str, str]]) -> list[float | None]:
    """Perplexity of each (prompt, text): exp of the mean loss per token of the text.

    None for a text without tokens. The texts of one prompt share its pass.
    """
    by_prompt: dict[str, list[int]] = {}
    for index, (prompt, text) in enumerate(texts):
        if text.strip():
            by_prompt.setdefault(prompt, []).append(index)
    found: list[float | None] = [None] * len(texts)
    for prompt, indices in by_prompt.items():
        encoded = [encode(model, texts[i][1], prompt) for i in indices]
        context = encoded[0].ids[: encoded[0].start]
        scored = continuation_log_probs(
            model, context, [e.ids[e.start :] for e in encoded], {0: [None]}
        )
        for i, loss in zip(indices, -np.nanmean(scored[0][0], axis=1), strict=True):
            found[i] = math.exp(float(loss))
    return found


def repetition(text: str, n: int = 3) -> float:
    """Share of word n-grams that occurred before in the text, 0 (none) to 1 (a loop)."""
    return 1 - distinct_n(text, n)


def distinct_n(text: str, n: int = 2) -> float:
    """Different word n-grams over all of them, 0 to 1 (Li et al. 2016, arXiv 1510.03055).

    1 for a text too short to hold any.
    """
    if n < 1:
        raise InputError(f"n: expected at least 1, got {n}")
    words = text.split()
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 1.0
