"""Steering: hooks that add a direction, and what they do to action probabilities.

``alpha`` counts multiples of ``raw_norm``: alpha 1 moves an activation by the mean gap between
the classes (Contrastive Activation Addition, Rimsky et al. 2024, arXiv 2312.06681, in units that
carry over between layers and models).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .activations import resid_post_cache
from .directions import random_directions
from .errors import InputError, NonFiniteError
from .logits import can_resume, last_logits, resumed_logits
from .models import model_card
from .tokens import EncodedText, encode, pad_batch, pad_id
from .types import Direction, HookedModel, SteeringPrompt

__all__ = [
    "action_log_odds",
    "add_direction",
    "check_direction",
    "random_shift_null",
]

FwdHook = tuple[str, Callable[..., Tensor]]


def add_direction(direction: Direction, alpha: float | Float[Tensor, "batch"]) -> FwdHook:
    """A forward hook for ``model.hooks(fwd_hooks=[...])`` that adds ``alpha * raw_norm * vector``.

    ``alpha`` is one number or one a row of the batch; rows with alpha 0 pass through untouched,
    bit for bit. The sum is taken in float32 and cast back. Raises InputError for a NaN alpha, and
    NonFiniteError (when it runs) where the result overflows the model's dtype.

    >>> with model.hooks(fwd_hooks=[add_direction(direction, alpha=2.0)]):
    ...     logits = model(tokens)
    """
    strengths = torch.atleast_1d(torch.as_tensor(alpha, dtype=torch.float32))
    if not torch.isfinite(strengths).all():
        raise InputError(f"alpha: expected finite numbers, got {alpha}")
    push = strengths[:, None, None] * direction.raw_norm * direction.vector.float()

    def steer(resid: Tensor, hook: Any = None) -> Tensor:
        if not strengths.any():
            return resid
        if len(push) not in (1, len(resid)):
            raise InputError(f"alpha: {len(push)} values for a batch of {len(resid)} rows")
        steered = (resid.float() + push.to(resid.device)).to(resid.dtype)
        if not torch.isfinite(steered).all():
            raise NonFiniteError(
                f"{direction.site.hook_name}: steering with alpha {alpha} overflows {resid.dtype}; "
                "use a smaller alpha, or load the model with --dtype bfloat16"
            )
        untouched = (strengths == 0).to(resid.device)[:, None, None]
        return torch.where(untouched, resid, steered)

    return direction.site.hook_name, steer


def check_direction(model: HookedModel, direction: Direction) -> None:
    """Raises InputError unless the direction was made on this model, in this weight basis."""
    d_model, n_layers = int(model.cfg.d_model), int(model.cfg.n_layers)
    if direction.vector.shape[0] != d_model or not 0 <= direction.site.layer < n_layers:
        raise InputError(
            f"the direction (layer {direction.site.layer}, width {direction.vector.shape[0]}) does "
            f"not fit this model ({n_layers} layers, width {d_model})"
        )
    card = model_card(model).provenance
    if not direction.provenance.same_basis(card):
        there = direction.provenance
        raise InputError(
            f"the direction was made on {there.model_name} ({there.dtype}, {there.weight_basis} "
            f"weights {there.weights_hash[:8]}), this model is {card.model_name} ({card.dtype}, "
            f"{card.weight_basis} weights {card.weights_hash[:8]}); fit a direction on this model"
        )


def action_log_odds(
    model: HookedModel,
    prompt: SteeringPrompt,
    directions: Sequence[Direction],
    alphas: Sequence[float],
) -> Float[np.ndarray, "condition"]:
    """Log-odds of the empathic against the task actions, in nats per token.

    One value for each condition (a direction with its alpha). It is the mean log-probability per
    token of the empathic actions minus that of the task actions, teacher-forced after the prompt;
    positive = the model leans to the empathic ones. All directions must share one layer.
    """
    if len(directions) != len(alphas) or not directions:
        raise InputError(
            f"expected an alpha for each direction, got {len(directions)}, {len(alphas)}"
        )
    if len({d.site for d in directions}) != 1:
        raise InputError("expected directions of one layer")
    for direction in directions:
        check_direction(model, direction)
    actions = [*prompt.empathic_actions, *prompt.task_actions]
    encoded = [encode(model, action, prompt.prompt) for action in actions]
    hooks = [add_direction(d, alpha) for d, alpha in zip(directions, alphas, strict=True)]
    values = _mean_log_probs(model, encoded, hooks, directions[0].site.layer)
    per_action = np.array(values)
    n_empathic = len(prompt.empathic_actions)
    return cast(
        np.ndarray,
        per_action[:, :n_empathic].mean(axis=1) - per_action[:, n_empathic:].mean(axis=1),
    )


def random_shift_null(
    model: HookedModel,
    prompt: SteeringPrompt,
    direction: Direction,
    alphas: Sequence[float],
    *,
    n: int = 20,
    seed: int = 0,
) -> Float[np.ndarray, "n alpha"]:
    """Log-odds under random directions of the same norm at the same layer, for each alpha."""
    vectors = random_directions(n, len(direction.vector), seed=seed)
    nulls = [replace(direction, vector=v, method="random", threshold=0.0) for v in vectors]
    conditions = [(d, a) for d in nulls for a in alphas]
    flat = action_log_odds(model, prompt, [d for d, _ in conditions], [a for _, a in conditions])
    return flat.reshape(n, len(alphas))


def _mean_log_probs(
    model: HookedModel, encoded: Sequence[EncodedText], hooks: Sequence[FwdHook], layer: int
) -> list[list[float]]:
    """Mean log-probability per completion token of each text, under each hook at the layer."""
    tokens, real = pad_batch([e.ids for e in encoded], pad_id(model), side="left")
    mask = real.long()
    keep = max(e.n_completion for e in encoded) + 1
    before = None
    if can_resume(model):
        # What comes before the steered layer is the same under every condition.
        device = torch.device(model.cfg.device or "cpu")
        before = resid_post_cache(model, tokens.to(device), [layer], mask.to(device))[layer]
    values = []
    for hook in hooks:
        if before is not None:
            logits = resumed_logits(model, hook[1](before), mask, layer=layer, keep=keep)
        else:
            with model.hooks(fwd_hooks=[hook]):
                logits = last_logits(model, tokens, mask, keep=keep)
        # The logits at one position speak of the next token.
        targets = tokens[:, -(keep - 1) :].to(logits.device)
        log_probs = logits[:, :-1].log_softmax(dim=-1).gather(-1, targets[..., None])[..., 0]
        values.append(
            [
                row[-e.n_completion :].mean().item()
                for row, e in zip(log_probs, encoded, strict=True)
            ]
        )
    return values
