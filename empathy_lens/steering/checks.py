"""What steering refuses before it computes anything."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..directions import check_same_model
from ..errors import InputError
from ..models import model_card
from ..types import Direction, HookedModel

__all__ = ["check_alphas", "check_direction", "check_prompts", "check_room", "one_layer"]


def check_direction(model: HookedModel, direction: Direction) -> None:
    """Raises InputError unless the direction was made on this model, weights and dtype alike."""
    d_model, n_layers = int(model.cfg.d_model), int(model.cfg.n_layers)
    if direction.vector.shape[0] != d_model or not 0 <= direction.site.layer < n_layers:
        raise InputError(
            f"the direction (layer {direction.site.layer}, width {direction.vector.shape[0]}) does "
            f"not fit this model ({n_layers} layers, width {d_model})"
        )
    check_same_model(direction, model_card(model), "this model is", dtype=True)


def check_alphas(alphas: Sequence[float]) -> None:
    """Raises InputError for an empty list, or a strength that is NaN or infinite."""
    if not alphas or not all(math.isfinite(a) for a in alphas):
        raise InputError(f"alphas: expected finite numbers, got {list(alphas)}")


def check_prompts(prompts: Sequence[object]) -> None:
    """Raises InputError for an empty list."""
    if not prompts:
        raise InputError("prompts: expected at least one, got an empty list")


def check_room(model: HookedModel, n_prompt: int, n_new: int) -> None:
    """Raises InputError where a prompt and the tokens after it exceed the context."""
    n_ctx = model_card(model).n_ctx
    if n_prompt + n_new > n_ctx:
        raise InputError(
            f"a prompt of {n_prompt} tokens and {n_new} new ones exceed the {n_ctx} the model was "
            "loaded for; shorten the prompt, or load the model with a larger n_ctx"
        )


def one_layer(directions: Sequence[Direction]) -> int:
    """The layer that all directions share. Raises InputError where they do not."""
    layers = {d.site.layer for d in directions}
    if len(layers) != 1:
        raise InputError(f"expected directions of one layer, got layers {sorted(layers)}")
    return layers.pop()
