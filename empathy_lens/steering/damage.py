"""What steering costs elsewhere: loss on neutral text, and answers to plain questions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from ..engine.tokens import encode, encode_prompt
from ..errors import InputError
from ..types import HookedModel, PlainQuestion
from .hooks import FwdHook
from .scoring import continuation_log_probs

__all__ = ["Damage", "measure_damage", "neutral_losses", "plain_answers"]

Step = Callable[[], None]
Hooks = Mapping[int, Sequence[FwdHook | None]]


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
    """Both kinds of damage under each condition; ``step`` is called after each text."""
    if not texts or not questions:
        raise InputError("expected at least one neutral text and one question")
    losses: dict[int, list[np.ndarray]] = {layer: [] for layer in hooks}
    correct: dict[int, list[np.ndarray]] = {layer: [] for layer in hooks}
    for text in texts:
        for layer, loss in neutral_losses(model, text, hooks, every=every).items():
            losses[layer].append(loss)
        step()
    for question in questions:
        for layer, right in plain_answers(model, question, hooks).items():
            correct[layer].append(right)
        step()
    return Damage(
        losses={layer: np.stack(found, axis=1) for layer, found in losses.items()},
        correct={layer: np.stack(found, axis=1) for layer, found in correct.items()},
    )


def neutral_losses(
    model: HookedModel, text: str, hooks: Hooks, *, every: int = 1
) -> dict[int, Float[np.ndarray, "condition"]]:
    """Mean loss of a text under each condition, nats per token, on every ``every``-th token.

    The first token is given, since a model without BOS has nothing to predict it from.
    """
    ids = encode(model, text).ids
    if len(ids) < 2:
        raise InputError(f"expected a text of at least two tokens, got {text!r}")
    found = continuation_log_probs(model, ids[:1], [ids[1:]], hooks, every=every)
    return {layer: -np.nanmean(scored[:, 0], axis=1) for layer, scored in found.items()}


def plain_answers(
    model: HookedModel, question: PlainQuestion, hooks: Hooks
) -> dict[int, Bool[np.ndarray, "condition"]]:
    """Whether the right choice is the likeliest, by mean log-probability per token."""
    prompt = encode_prompt(model, f"Question: {question.question}\nAnswer:")
    encoded = [encode(model, f" {choice}") for choice in question.choices]
    found = continuation_log_probs(model, prompt, [e.ids[e.start :] for e in encoded], hooks)
    return {
        layer: np.nanmean(scored, axis=2).argmax(axis=1) == question.answer
        for layer, scored in found.items()
    }
