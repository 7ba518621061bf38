"""Attaching steering to a model: what can be known of model and tokens there is checked there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from ..engine.positions import attached
from ..errors import InputError
from ..models import check_made_on, model_card
from ..types import Direction, HookedModel
from .hooks import FwdHook, directions_of


@contextmanager
def steered(
    model: HookedModel, hooks: Sequence[FwdHook], *, n_prompt: int | Sequence[int] | None = None
) -> Iterator[None]:
    """The model with steering hooks on it that know which tokens they are given.

    As ``model.hooks(fwd_hooks=hooks)``, for a forward pass or ``generate``, cached or not, padded
    or not; but positions are those of the text, and directions are those of this model.
    ``n_prompt`` is the number of tokens of the prompt as the model reads it (BOS included, padding
    left out), one for all rows or one for each; positions named after the prompt need it. Raises
    InputError for a direction of another model (:func:`check_direction`).

    >>> tokens = model.to_tokens("She asks for help. I")
    >>> hook = add_direction(direction, 2.0, positions="last_prompt_token_on")
    >>> with steered(model, [hook], n_prompt=tokens.shape[1]):
    ...     longer = model.generate(tokens, max_new_tokens=20, verbose=False)
    """
    check_directions(model, [d for _, hook in hooks for d in directions_of(hook)])
    with attached(model, hooks, n_prompt=n_prompt):
        yield


def check_direction(model: HookedModel, direction: Direction) -> None:
    """Raises InputError unless the direction was made on this model (:func:`check_directions`)."""
    check_directions(model, [direction])


def check_directions(model: HookedModel, directions: Sequence[Direction]) -> None:
    """Raises InputError unless the directions were made on this model, and says what differs.

    Weights (a few values of every parameter, so that most edits in place are noticed, see
    ``models.loading.weights_sample``), weight processing and revision; dtype and backend may
    differ. It takes milliseconds. A bare ``model.hooks`` never comes here.
    """
    d_model, n_layers = int(model.cfg.d_model), int(model.cfg.n_layers)
    for direction in directions:
        width, layer = direction.vector.shape[0], direction.site.layer
        if width != d_model or not 0 <= layer < n_layers:
            raise InputError(
                f"the direction (layer {layer}, width {width}) does not fit this model "
                f"({n_layers} layers, width {d_model})"
            )
    if directions:
        check_made_on(model, directions)


def check_steering(
    model: HookedModel,
    directions: Iterable[Direction],
    alphas: Sequence[float],
    prompts: Sequence[object],
) -> None:
    """Raises InputError for no prompt, no alpha or one that is not finite, a wrong direction."""
    if not prompts:
        raise InputError("prompts: expected at least one, got an empty list")
    if not alphas or not all(map(math.isfinite, alphas)):
        raise InputError(f"alphas: expected finite numbers, got {list(alphas)}")
    check_directions(model, list(directions))


def check_room(model: HookedModel, n_prompt: int, n_new: int) -> None:
    """Raises InputError where a prompt and the tokens after it exceed the context."""
    n_ctx = model_card(model).n_ctx
    if n_prompt + n_new > n_ctx:
        raise InputError(
            f"a prompt of {n_prompt} tokens and {n_new} new ones exceed the {n_ctx} the model was "
            "loaded for; shorten the prompt, or load the model with a larger n_ctx"
        )
