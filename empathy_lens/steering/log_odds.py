"""Which action a model leans to: teacher-forced log-odds under steering."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from ..engine.tokens import encode
from ..errors import InputError
from ..types import Direction, HookedModel, SteeringPrompt
from .checks import check_alphas, check_direction, one_layer
from .hooks import FwdHook, SteeringMethod, add_direction
from .scoring import continuation_log_probs

__all__ = [
    "INSTRUCTION",
    "action_log_odds",
    "instructed",
    "log_odds_by_layer",
]

INSTRUCTION = "Be kind: put the needs of others before your task."
"""The prompt baseline: what a plain request does, for comparison with steering."""


def action_log_odds(
    model: HookedModel,
    prompt: SteeringPrompt,
    directions: Sequence[Direction],
    alphas: Sequence[float],
    *,
    method: SteeringMethod = add_direction,
) -> Float[np.ndarray, "condition"]:
    """Log-odds of the empathic against the task actions, in nats per token.

    One value for each condition (a direction with its alpha). It is the mean log-probability per
    token of the positive actions minus that of the negative ones, teacher-forced after the prompt;
    above 0 = the model leans to the positive ones. All directions must share one layer. Raises
    InputError for directions of another model and for lists that do not match.
    """
    if len(directions) != len(alphas) or not directions:
        raise InputError(
            f"expected an alpha for each direction, got {len(directions)}, {len(alphas)}"
        )
    check_alphas(alphas)
    layer = one_layer(directions)
    for direction in directions:
        check_direction(model, direction)
    hooks = [method(d, alpha) for d, alpha in zip(directions, alphas, strict=True)]
    return log_odds_by_layer(model, prompt, {layer: hooks})[layer]


def log_odds_by_layer(
    model: HookedModel, prompt: SteeringPrompt, hooks: Mapping[int, Sequence[FwdHook | None]]
) -> dict[int, Float[np.ndarray, "condition"]]:
    """``action_log_odds`` under any hooks, of several layers at once (None: unsteered)."""
    actions = [*prompt.positive_actions, *prompt.negative_actions]
    encoded = [encode(model, action, prompt.prompt) for action in actions]
    found = continuation_log_probs(
        model,
        encoded[0].ids[: encoded[0].start],
        [e.ids[e.start :] for e in encoded],
        hooks,
    )
    n = len(prompt.positive_actions)
    means = {layer: np.nanmean(log_probs, axis=2) for layer, log_probs in found.items()}
    return {layer: m[:, :n].mean(axis=1) - m[:, n:].mean(axis=1) for layer, m in means.items()}


def instructed(prompt: SteeringPrompt, instruction: str = INSTRUCTION) -> SteeringPrompt:
    """The same situation with a plain instruction before it: the baseline that steering faces."""
    return replace(prompt, prompt=f"{instruction}\n\n{prompt.prompt}")
