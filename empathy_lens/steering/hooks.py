"""Hooks that change the residual stream along a direction, as pure factories.

Each factory gives a ``(hook name, function)`` for ``model.hooks(fwd_hooks=[...])``. The functions
never write into their input, compute in float32, cast back, and raise where the result is not
finite. ``alpha`` counts multiples of ``raw_norm``: alpha 1 moves an activation by the mean gap
between the classes (Contrastive Activation Addition, Rimsky et al. 2024, arXiv 2312.06681, in
units that carry over between layers and models).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..directions import check_same_model
from ..engine.logits import is_finite
from ..errors import InputError, NonFiniteError
from ..models import model_card
from ..types import Direction, HookedModel, Site


@runtime_checkable
class HookPoint(Protocol):
    """The part of TransformerLens's ``HookPoint`` that is read here."""

    name: str | None


@runtime_checkable
class HookFunction(Protocol):
    """What TransformerLens calls at a hook point: activations in, activations out."""

    def __call__(self, resid: Tensor, /, hook: HookPoint | None = None) -> Tensor: ...


FwdHook = tuple[str, HookFunction]
SteeringMethod = Callable[[Direction, float], FwdHook]
"""Makes the hook that steers along a direction at an alpha: :func:`add_direction`, or a function
such as ``lambda direction, alpha: clamp_direction(direction, alpha * direction.raw_norm)``. At
alpha 0 it must leave the model as it is where a sweep compares with that."""
Positions = slice | Sequence[int] | Bool[Tensor, "batch pos"]
"""Positions of the tensor that the hook sees: with a cache, those are the new tokens alone."""
Condition = Callable[[Float[Tensor, "batch pos"]], Bool[Tensor, "batch pos"]]
"""Takes the projections (``Direction.project``) and says where to act."""
Change = Callable[[Float[Tensor, "batch pos d_model"]], Float[Tensor, "batch pos d_model"]]
"""Takes the activations in the model's dtype and gives them changed in float32."""


def add_direction(
    direction: Direction,
    alpha: float | Float[Tensor, "batch"],
    *,
    positions: Positions | None = None,
    condition: Condition | None = None,
) -> FwdHook:
    """Adds ``alpha * raw_norm * vector``.

    ``alpha`` is one number or one a row of the batch; rows with alpha 0 pass through untouched,
    bit for bit. ``positions`` and ``condition`` limit where it acts (default: everywhere); for
    new tokens only, give ``positions=slice(n_prompt, None)``. Raises InputError for an alpha that
    is not finite, and NonFiniteError (when it runs) where the sum overflows the model's dtype.

    >>> with model.hooks(fwd_hooks=[add_direction(direction, alpha=2.0)]):
    ...     logits = model(tokens)
    """
    strengths = _per_row("alpha", alpha)
    push = strengths[:, None, None] * direction.raw_norm * direction.vector.float().cpu()
    push_on = cache(push.to)

    def change(resid: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"]:
        return resid + push_on(resid.device)

    return _hook(direction, change, strengths != 0, positions, condition, f"alpha {alpha}")


def clamp_direction(
    direction: Direction,
    projection: float | Float[Tensor, "batch"],
    *,
    positions: Positions | None = None,
    condition: Condition | None = None,
) -> FwdHook:
    """Sets the projection on the direction to a value, in activation units, one or one a row.

    ``direction.threshold`` is the midpoint between the classes. What is at right angles to the
    direction stays. Options and errors as for :func:`add_direction`.
    """
    wanted = _per_row("projection", projection)
    vector_on, wanted_on = cache(direction.vector.float().to), cache(wanted[:, None].to)

    def change(resid: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"]:
        exact, vector = resid.float(), vector_on(resid.device)
        missing = wanted_on(resid.device) - exact @ vector
        return torch.addcmul(exact, missing[..., None], vector)

    every = torch.ones_like(wanted, dtype=torch.bool)
    return _hook(direction, change, every, positions, condition, f"projection {projection}")


def ablate_direction(
    direction: Direction,
    *,
    positions: Positions | None = None,
    condition: Condition | None = None,
) -> FwdHook:
    """Projects the direction out: afterwards the projection is 0 (up to rounding).

    Directional ablation of Arditi et al. 2024 (arXiv 2406.11717, eq. 4). Options and errors as
    for :func:`add_direction`; for every layer, see :func:`on_sites`.
    """
    return clamp_direction(direction, 0.0, positions=positions, condition=condition)


def on_sites(hook: FwdHook, sites: Sequence[Site]) -> list[FwdHook]:
    """The same change at each of several sites, whatever site the direction came from."""
    if not sites:
        raise InputError("expected at least one site, got none")
    return [(site.hook_name, hook[1]) for site in sites]


def by_row(hooks: Sequence[FwdHook], *, repeats: int = 1) -> FwdHook:
    """One hook of one site that gives each row (or run of ``repeats`` rows) a hook of its own."""
    names = {name for name, _ in hooks}
    if len(names) != 1:
        raise InputError(f"expected hooks of one site, got {sorted(names) or 'none'}")

    def steer(resid: Tensor, hook: HookPoint | None = None) -> Tensor:
        if len(resid) != len(hooks) * repeats:
            raise InputError(f"{len(hooks)} hooks x {repeats} for a batch of {len(resid)} rows")
        parts = zip(hooks, resid.split(repeats), strict=True)
        return torch.cat([change(rows, hook) for (_, change), rows in parts])

    return names.pop(), steer


def method_hook(method: SteeringMethod, direction: Direction, alphas: Sequence[float]) -> FwdHook:
    """One hook that steers each row of a batch at its own alpha, whatever the method."""
    if method is add_direction:  # takes one alpha a row, in one operation
        return add_direction(direction, torch.tensor(list(alphas), dtype=torch.float32))
    return by_row([method(direction, alpha) for alpha in alphas])


def method_name(method: SteeringMethod) -> str:
    """What a stored sweep calls its method: a function's name, with the options of a ``partial``.

    Lambdas are all called ``<lambda>``: give a method that is stored a name with ``def``.
    """
    if isinstance(method, partial):
        options = [*map(repr, method.args), *(f"{k}={v!r}" for k, v in method.keywords.items())]
        return f"{method_name(method.func)}({', '.join(options)})"
    return str(getattr(method, "__name__", None) or repr(method))


def check_direction(model: HookedModel, direction: Direction) -> None:
    """Raises InputError unless the direction was made on this model, weights and dtype alike."""
    d_model, n_layers = int(model.cfg.d_model), int(model.cfg.n_layers)
    if direction.vector.shape[0] != d_model or not 0 <= direction.site.layer < n_layers:
        raise InputError(
            f"the direction (layer {direction.site.layer}, width {direction.vector.shape[0]}) does "
            f"not fit this model ({n_layers} layers, width {d_model})"
        )
    check_same_model(direction, model_card(model), "this model is", dtype=True)


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
    for direction in directions:
        check_direction(model, direction)


def check_room(model: HookedModel, n_prompt: int, n_new: int) -> None:
    """Raises InputError where a prompt and the tokens after it exceed the context."""
    n_ctx = model_card(model).n_ctx
    if n_prompt + n_new > n_ctx:
        raise InputError(
            f"a prompt of {n_prompt} tokens and {n_new} new ones exceed the {n_ctx} the model was "
            "loaded for; shorten the prompt, or load the model with a larger n_ctx"
        )


def _hook(
    direction: Direction,
    change: Change,
    rows: Bool[Tensor, "row"],
    positions: Positions | None,
    condition: Condition | None,
    what: str,
) -> FwdHook:
    """``change`` in float32, where row, position and projection ask for it."""
    acts_somewhere, acts_everywhere = bool(rows.any()), bool(rows.all())
    acts_everywhere &= positions is None and condition is None
    rows_on = cache(rows[:, None].to)

    def steer(resid: Tensor, hook: HookPoint | None = None) -> Tensor:
        if not acts_somewhere:
            return resid
        if len(rows) not in (1, len(resid)):
            raise InputError(f"{len(rows)} values for a batch of {len(resid)} rows ({what})")
        if resid.shape[-1] != len(direction.vector):
            raise InputError(
                f"a direction of width {len(direction.vector)} cannot steer activations of width "
                f"{resid.shape[-1]}: they come from different models"
            )
        changed = change(resid).to(resid.dtype)
        if not is_finite(changed):
            row, pos, _ = (~torch.isfinite(changed)).nonzero()[0].tolist()
            raise NonFiniteError(
                f"{(hook and hook.name) or direction.site.hook_name}: steering with {what} "
                f"is not finite at position {pos} of batch row {row} in {resid.dtype}; use a "
                "smaller value, or load the model with --dtype bfloat16"
            )
        if acts_everywhere:
            return changed
        acts = rows_on(resid.device).expand(resid.shape[:2])
        if positions is not None:
            acts = acts & _position_mask(positions, resid)
        if condition is not None:
            acts = acts & condition(direction.project(resid))
        return torch.where(acts[..., None], changed, resid)

    return direction.site.hook_name, steer


def _position_mask(positions: Positions, resid: Tensor) -> Bool[Tensor, "batch pos"]:
    if isinstance(positions, Tensor):
        if positions.shape != resid.shape[:2]:
            raise InputError(
                f"positions: expected a mask of shape {tuple(resid.shape[:2])}, got "
                f"{tuple(positions.shape)}"
            )
        return positions.to(resid.device)
    mask = torch.zeros(resid.shape[:2], dtype=torch.bool, device=resid.device)
    columns = positions if isinstance(positions, slice) else list(positions)
    try:
        mask[:, columns] = True
    except IndexError:
        last = resid.shape[1] - 1
        raise InputError(f"positions: expected numbers in 0..{last}, got {columns}") from None
    return mask


def _per_row(name: str, value: float | Float[Tensor, "batch"]) -> Float[Tensor, "batch"]:
    values = torch.atleast_1d(torch.as_tensor(value, dtype=torch.float32))
    if not is_finite(values):
        raise InputError(f"{name}: expected finite numbers, got {value}")
    return values
