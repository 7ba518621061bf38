"""Hooks that change the residual stream along a direction, as pure factories.

Each factory gives a ``(hook name, function)`` for ``model.hooks(fwd_hooks=[...])``. The functions
never write into their input, compute in float32, cast back, and raise where the result is not
finite. ``alpha`` counts multiples of ``raw_norm``: alpha 1 moves an activation by the mean gap
between the classes (Contrastive Activation Addition, Rimsky et al. 2024, arXiv 2312.06681, in
units that carry over between layers and models).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..engine.logits import is_finite
from ..engine.positions import PlacedHook, Positions, check_positions
from ..errors import InputError, NonFiniteError
from ..types import Direction, Site


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
Condition = Callable[[Float[Tensor, "batch pos"]], Bool[Tensor, "batch pos"]]
"""Takes the projections (``Direction.project``) and says where to act."""
Change = Callable[[Float[Tensor, "batch pos d_model"]], Float[Tensor, "batch pos d_model"]]
"""Takes the activations in the model's dtype and gives them changed in float32."""


def add_direction(
    direction: Direction,
    alpha: float | Float[Tensor, "batch"],
    *,
    positions: Positions = "all",
    condition: Condition | None = None,
) -> FwdHook:
    """Adds ``alpha * raw_norm * vector``.

    ``alpha`` is one number or one a row of the batch; rows with alpha 0 pass through untouched,
    bit for bit. ``positions`` (:data:`~empathy_lens.engine.positions.Positions`) and ``condition``
    limit where it acts (default: everywhere). Raises InputError for an alpha that is not finite and
    unknown positions, and NonFiniteError (when it runs) where the sum overflows the model's dtype.

    As an ordinary forward hook it is handed activations and nothing else: it can refuse another
    width, not another model, and with ``positions`` it raises InputError, since a cached pass shows
    it the newest tokens alone. :func:`~empathy_lens.steering.steered` attaches it with both known.

    >>> with model.hooks(fwd_hooks=[add_direction(direction, alpha=2.0)]):
    ...     logits = model(tokens)
    >>> low = add_direction(direction, alpha=2.0, positions="last_prompt_token_on")
    >>> with steered(model, [low], n_prompt=tokens.shape[1]):
    ...     longer = model.generate(tokens, max_new_tokens=20, verbose=False)
    """
    strengths = _per_row("alpha", alpha)
    push = strengths[:, None, None] * direction.raw_norm * direction.vector.float().cpu()
    push_on = cache(push.to)

    def change(resid: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"]:
        return resid + push_on(resid.device)

    check_positions(positions)
    steer = _Steer(direction, change, strengths != 0, positions, condition, f"alpha {alpha}")
    return direction.site.hook_name, steer


def clamp_direction(
    direction: Direction,
    projection: float | Float[Tensor, "batch"],
    *,
    positions: Positions = "all",
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
    check_positions(positions)
    steer = _Steer(direction, change, every, positions, condition, f"projection {projection}")
    return direction.site.hook_name, steer


def ablate_direction(
    direction: Direction,
    *,
    positions: Positions = "all",
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

    return names.pop(), _ByRow(tuple(change for _, change in hooks), repeats)


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


def limited(hook: FwdHook, positions: Positions) -> FwdHook:
    """The hook, whatever it does, at ``positions`` alone. Raises InputError for unknown ones."""
    check_positions(positions)
    if isinstance(positions, str) and positions == "all":
        return hook
    return hook[0], _Limited(hook[1], positions)


def directions_of(hook: HookFunction) -> tuple[Direction, ...]:
    """The directions that a hook of this module steers along; none for a hook of one's own."""
    return getattr(hook, "directions", ())


@dataclass(frozen=True, eq=False, repr=False)
class _Steer:
    """``change`` in float32, where row, position and projection ask for it."""

    direction: Direction
    change: Change
    rows: Bool[Tensor, "row"]
    positions: Positions
    condition: Condition | None
    what: str

    @property
    def directions(self) -> tuple[Direction, ...]:
        return (self.direction,)

    @cached_property
    def _acts(self) -> tuple[bool, bool]:
        """Whether it acts at all, and whether it does in every row."""
        return bool(self.rows.any()), bool(self.rows.all())

    @cached_property
    def _rows_on(self) -> Callable[[torch.device], Bool[Tensor, "row 1"]]:
        return cache(self.rows[:, None].to)

    def __call__(self, resid: Tensor, hook: HookPoint | None = None) -> Tensor:
        direction, (somewhere, every_row) = self.direction, self._acts
        everywhere = isinstance(self.positions, str) and self.positions == "all"
        at = None if everywhere else _marked(self.positions, resid, hook)
        if not somewhere:
            return resid
        if len(self.rows) not in (1, len(resid)):
            raise InputError(
                f"{len(self.rows)} values for a batch of {len(resid)} rows ({self.what})"
            )
        if resid.shape[-1] != len(direction.vector):
            raise InputError(
                f"a direction of width {len(direction.vector)} cannot steer activations of width "
                f"{resid.shape[-1]}: they come from different models"
            )
        changed = self.change(resid).to(resid.dtype)
        if not is_finite(changed):
            row, pos, _ = (~torch.isfinite(changed)).nonzero()[0].tolist()
            raise NonFiniteError(
                f"{(hook and hook.name) or direction.site.hook_name}: steering with {self.what} "
                f"is not finite at position {pos} of batch row {row} in {resid.dtype}; use a "
                "smaller value, or load the model with --dtype bfloat16"
            )
        if at is None and self.condition is None and every_row:
            return changed
        acts = self._rows_on(resid.device).expand(resid.shape[:2])
        if at is not None:
            acts = acts & at
        if self.condition is not None:
            acts = acts & self.condition(direction.project(resid))
        return torch.where(acts[..., None], changed, resid)


@dataclass(frozen=True, eq=False, repr=False)
class _Limited:
    """A hook whose change is kept at some positions only."""

    inner: HookFunction
    positions: Positions

    @property
    def directions(self) -> tuple[Direction, ...]:
        return directions_of(self.inner)

    def __call__(self, resid: Tensor, hook: HookPoint | None = None) -> Tensor:
        acts = _marked(self.positions, resid, hook)
        return torch.where(acts[..., None], self.inner(resid, hook), resid)


@dataclass(frozen=True, eq=False, repr=False)
class _ByRow:
    """Each row of a batch, or run of ``repeats`` rows, under a hook of its own."""

    hooks: tuple[HookFunction, ...]
    repeats: int

    @property
    def directions(self) -> tuple[Direction, ...]:
        return tuple(d for hook in self.hooks for d in directions_of(hook))

    def __call__(self, resid: Tensor, hook: HookPoint | None = None) -> Tensor:
        n = self.repeats
        if len(resid) != len(self.hooks) * n:
            raise InputError(f"{len(self.hooks)} hooks x {n} for a batch of {len(resid)} rows")
        parts = []
        for i, change in enumerate(self.hooks):
            rows = slice(i * n, i * n + n)
            point = hook.rows(rows) if isinstance(hook, PlacedHook) else hook
            parts.append(change(resid[rows], point))
        return torch.cat(parts)


def _marked(
    positions: Positions, resid: Tensor, hook: HookPoint | None
) -> Bool[Tensor, "batch pos"]:
    if not isinstance(hook, PlacedHook):
        raise InputError(
            "positions: a bare forward hook is not told which tokens it is given (with a cache, "
            "new ones alone), so that it can act on all of them only; attach it with "
            "steering.steered(model, [hook], n_prompt=…), or write with generate_steered"
        )
    return hook.places.marked(positions).to(resid.device)


def _per_row(name: str, value: object) -> Float[Tensor, "batch"]:
    try:
        values = torch.atleast_1d(torch.as_tensor(value, dtype=torch.float32))
    except (TypeError, ValueError, RuntimeError):
        raise InputError(
            f"{name}: expected a number or a tensor of one a row, got {value!r}"
        ) from None
    if not is_finite(values):
        raise InputError(f"{name}: expected finite numbers, got {value}")
    return values
