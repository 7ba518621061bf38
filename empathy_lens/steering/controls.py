"""What an effect is held against: directions without meaning, and what steering breaks elsewhere.

Control directions share layer and norm with the real one. Damage is loss on neutral text, wrong
answers to plain questions, and texts that are no longer texts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float

from ..directions import check_same_model, random_directions, sides
from ..engine.tokens import encode
from ..errors import InputError
from ..types import Activations, Completion, Direction, HookedModel, PlainQuestion, as_unit
from .scoring import Hooks, Step, continuation_log_probs, mean_log_probs, over_items

MIN_WORDS = 10
MAX_REPETITION = 0.3
MAX_PERPLEXITY_RATIO = 3.0


def random_controls(direction: Direction, n: int, *, seed: int) -> list[Direction]:
    """Directions drawn evenly from the sphere, with the same ``raw_norm`` and site."""
    if n < 1:
        raise InputError(f"n: expected at least one random direction, got {n}")
    vectors = random_directions(n, len(direction.vector), seed=seed)
    return [replace(direction, vector=v, method="random", threshold=0.0) for v in vectors]


def shuffled_controls(
    direction: Direction, activations: Activations, n: int, *, seed: int
) -> list[Direction]:
    """Mean differences after swapping the sides of half of the pairs, drawn anew each time.

    They lie where differences between texts lie, which random directions do not; swapping
    exactly half leaves as little of the concept as can be. Scaled to the direction's
    ``raw_norm``. Raises InputError for activations of another model or of fewer than two pairs.
    """
    if n < 1:
        raise InputError(f"n: expected at least one shuffled direction, got {n}")
    check_same_model(direction, activations)
    positive, negative = sides(activations, direction.site.layer)
    if len(positive) < 2:
        raise InputError(f"expected at least two pairs to shuffle, got {len(positive)}")
    signs = np.tile(np.where(np.arange(len(positive)) % 2 == 0, 1.0, -1.0), (n, 1))
    signs = np.random.default_rng(seed).permuted(signs, axis=1).astype(np.float32)
    means = torch.from_numpy(signs) @ (positive - negative) / len(positive)
    method = "shuffled labels"
    return [replace(direction, vector=as_unit(v), method=method, threshold=0.0) for v in means]


@dataclass(frozen=True)
class Damage:
    """Per layer and condition: loss of each neutral text, and whether each answer is right.

    Losses are means over the tokens read, in nats per token.
    """

    losses: Mapping[int, Float[np.ndarray, "condition text"]]
    correct: Mapping[int, Bool[np.ndarray, "condition question"]]


def measure_damage(
    model: HookedModel,
    texts: Sequence[str],
    questions: Sequence[PlainQuestion],
    hooks: Hooks,
    *,
    every: int = 1,
    step: Step = lambda: None,
) -> Damage:
    """Both kinds of damage under each condition; ``step`` is called after each text.

    Losses are read on every ``every``-th token after the first, which is given, since a model
    without BOS has nothing to predict it from. An answer is right where the right choice is the
    likeliest, by mean log-probability per token.
    """
    if not texts or not questions:
        raise InputError("expected at least one neutral text and one question")

    def losses(text: str) -> dict[int, Float[np.ndarray, "condition"]]:
        encoded = encode(model, text)
        ids = encoded.ids[: encoded.end]
        if len(ids) < 2:
            raise InputError(f"expected a text of at least two tokens, got {text!r}")
        log_probs = continuation_log_probs(model, ids[:1], [ids[1:]], hooks, every=every)
        return {layer: -np.nanmean(values[:, 0], axis=1) for layer, values in log_probs.items()}

    def correct(question: PlainQuestion) -> dict[int, Bool[np.ndarray, "condition"]]:
        prompt = f"Question: {question.question}\nAnswer:"
        choices = [f" {choice}" for choice in question.choices]
        means = mean_log_probs(model, prompt, choices, hooks)
        return {layer: values.argmax(axis=1) == question.answer for layer, values in means.items()}

    return Damage(over_items(losses, texts, step), over_items(correct, questions, step))


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
    surprises = perplexities(model, [(c.prompt, c.text) for c in completions])
    return [
        Coherence(
            n_words=len(c.text.split()),
            perplexity=perplexity,
            repetition=repetition(c.text),
            distinct=distinct_n(c.text),
            truncated=not c.finished,
        )
        for c, perplexity in zip(completions, surprises, strict=True)
    ]


def perplexities(model: HookedModel, texts: Sequence[tuple[str, str]]) -> list[float | None]:
    """Perplexity of each (prompt, text): exp of the mean loss per token of the text.

    None for a text without tokens. The texts of one prompt share its pass.
    """
    by_prompt: dict[str, list[int]] = {}
    for index, (prompt, text) in enumerate(texts):
        if text.strip():
            by_prompt.setdefault(prompt, []).append(index)
    of_texts: list[float | None] = [None] * len(texts)
    for prompt, indices in by_prompt.items():
        means = mean_log_probs(model, prompt, [texts[i][1] for i in indices], {0: [None]})
        for i, mean in zip(indices, means[0][0].tolist(), strict=True):
            of_texts[i] = math.exp(-mean)
    return of_texts


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
