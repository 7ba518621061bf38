"""Which tokens of its text a hook is given: positions that hold with a cache and with padding.

A hook point sees the tokens of one forward pass. With a key-value cache that is the newest ones
alone, and under padding a column is not a position, so a hook that is to act at some positions
must be told where its tokens stand. :func:`attached` puts hooks on a model that are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral
from typing import cast

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ..errors import InputError
from ..models import Internals
from ..types import HookedModel
from .logits import can_resume

POSITION_NAMES = ("all", "prompt", "last_prompt_token_on", "last_prompt_token", "new_tokens")
Positions = str | slice | Sequence[int] | Bool[Tensor, "batch pos"]
"""Where a hook acts; tokens are counted from the first of their row (BOS), padding left out.

One of ``POSITION_NAMES``: ``all`` (padding too), ``prompt``, ``last_prompt_token`` (it writes the
first new token), ``last_prompt_token_on`` (that one and all after it: whatever writes a new
token), ``new_tokens`` (those after the prompt, so that the first of them is written unsteered). A
slice or list of numbers, 0 or more. Or a mask of the padded columns, from the first that was read.
"""
_BLOCK = re.compile(r"blocks\.(\d+)\.")


@dataclass(frozen=True, eq=False)
class TokenPlaces:
    """Where the tokens of one forward pass stand in their rows.

    ``mask`` is the attention mask of past and new columns together (None: no padding), of which
    the last ``n_new`` are the pass's own. ``n_prompt`` holds the tokens of the prompt, one number
    for all rows or one for each; None where it is not known.
    """

    batch: int
    n_past: int
    n_new: int
    mask: Int[Tensor, "batch all"] | None = None
    n_prompt: tuple[int, ...] | None = None

    @cached_property
    def index(self) -> Int[Tensor, "rows new"]:
        """The number of each column's token in its row, from 0; -1 at padding."""
        if self.mask is None:
            return torch.arange(self.n_past, self.n_past + self.n_new)[None]
        expected = (self.batch, self.n_past + self.n_new)
        if not isinstance(self.mask, Tensor) or tuple(self.mask.shape) != expected:
            raise InputError(
                f"positions: expected an attention mask of {expected[0]} rows and {expected[1]} "
                f"columns ({self.n_past} read before), got "
                f"{tuple(getattr(self.mask, 'shape', ())) or type(self.mask).__name__}"
            )
        # The engine's masks of trees hold steps of positions, of which a sum is right as well.
        mask = self.mask.long()
        return torch.where(mask != 0, mask.cumsum(dim=1) - 1, -1)[:, self.n_past :]

    def rows(self, chosen: slice) -> TokenPlaces:
        """The same of some rows."""
        n_prompt = self.n_prompt
        return replace(
            self,
            batch=len(range(self.batch)[chosen]),
            mask=None if self.mask is None else self.mask[chosen],
            n_prompt=n_prompt if n_prompt is None or len(n_prompt) == 1 else n_prompt[chosen],
        )

    def marked(self, positions: Positions) -> Bool[Tensor, "batch new"]:
        """True at the columns that stand at ``positions``.

        Raises InputError for a name that needs the prompt's length where it is not known, and for
        a mask that does not cover the pass.
        """
        return self._marked(positions).expand(self.batch, self.n_new)

    def _marked(self, positions: Positions) -> Bool[Tensor, "rows new"]:
        index = self.index
        if isinstance(positions, Tensor):
            if len(positions) != self.batch or positions.shape[1] < self.n_past + self.n_new:
                raise InputError(
                    f"positions: expected a mask of {self.batch} rows and at least "
                    f"{self.n_past + self.n_new} columns, got {tuple(positions.shape)}; where the "
                    f"text grows, name them: {', '.join(POSITION_NAMES)}"
                )
            return positions[:, self.n_past : self.n_past + self.n_new].to(index.device)
        if isinstance(positions, slice):
            start, step = positions.start or 0, positions.step or 1
            within = (
                index >= start
                if positions.stop is None
                else (index >= start) & (index < positions.stop)
            )
            return within & ((index - start) % step == 0)
        if not isinstance(positions, str):
            return torch.isin(index, torch.tensor(list(positions), device=index.device))
        if positions == "all":
            return torch.ones_like(index, dtype=torch.bool)
        if self.n_prompt is None:
            raise InputError(
                f"positions {positions!r} depend on the length of the prompt: give it in tokens, "
                "as in steered(model, hooks, n_prompt=tokens.shape[1]), or use generate_steered"
            )
        if len(self.n_prompt) not in (1, self.batch):
            raise InputError(
                f"n_prompt: expected one number or one for each of {self.batch} rows, got "
                f"{len(self.n_prompt)}"
            )
        n_prompt = torch.tensor(self.n_prompt, device=index.device)[:, None]
        if positions == "prompt":
            return (index >= 0) & (index < n_prompt)
        if positions == "last_prompt_token":
            return index == n_prompt - 1
        first = n_prompt - 1 if positions == "last_prompt_token_on" else n_prompt
        return index >= first


def check_positions(positions: Positions) -> None:
    """Raises InputError for an unknown name, for what is no number, for numbers below 0 and for a
    mask that is not one of truths.

    Counted from the end they would move as a text grows.
    """
    if isinstance(positions, Tensor):
        if positions.ndim != 2 or positions.dtype != torch.bool:
            raise InputError(
                "positions: expected a boolean mask of rows and columns, got "
                f"{positions.dtype} of shape {tuple(positions.shape)}"
            )
        return
    if isinstance(positions, str):
        if positions not in POSITION_NAMES:
            raise InputError(
                f"positions: expected one of {', '.join(POSITION_NAMES)}, a slice, numbers or a "
                f"mask, got {positions!r}"
            )
        return
    if isinstance(positions, slice):
        numbers = [n for n in (positions.start, positions.stop) if n is not None]
        step = 1 if positions.step is None else positions.step
    else:
        numbers, step = list(positions) if isinstance(positions, Iterable) else [positions], 1
    known = isinstance(positions, (slice, Iterable)) and all(
        map(_is_whole_number, [*numbers, step])
    )
    if not known or step < 1 or any(n < 0 for n in numbers):
        raise InputError(
            "positions: expected numbers of 0 or more, counted from the first token, got "
            f"{positions}; the prompt's end is last_prompt_token"
        )


def _is_whole_number(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


class PlacedHook:
    """The hook point that an attached hook is called with, which also knows its tokens' places.

    Everything else is read from TransformerLens's own hook point.
    """

    def __init__(self, name: str | None, places: TokenPlaces, point: object = None) -> None:
        self.name, self.places, self._point = name, places, point

    def __getattr__(self, name: str) -> object:
        return getattr(self._point, name)

    def rows(self, chosen: slice) -> PlacedHook:
        """The same of some rows of the batch."""
        return PlacedHook(self.name, self.places.rows(chosen), self._point)


class _Passes:
    """Notes where the tokens of the pass that is under way stand, before hooks ask for it."""

    def __init__(self, model: HookedModel, n_prompt: int | Sequence[int] | None) -> None:
        self._model = cast(Internals, model)
        self._n_prompt: tuple[int, ...] | None = None
        if n_prompt is not None:
            rows = tuple(n_prompt) if isinstance(n_prompt, Iterable) else (n_prompt,)
            if not rows or not all(_is_whole_number(n) and n >= 1 for n in rows):
                raise InputError(f"n_prompt: expected 1 token or more, got {n_prompt}")
            self._n_prompt = rows
        self._places: TokenPlaces | None = None

    def watch(self, blocks: Sequence[int], stack: ExitStack) -> None:
        # HookedTransformer.generate calls model.forward, which no hook on the model itself sees.
        watched, note = (
            ([self._model.blocks[i] for i in blocks], self._hooked)
            if can_resume(self._model)
            else ([self._model.original_model], self._bridged)
        )
        for module in watched:
            handle = module.register_forward_pre_hook(note, with_kwargs=True)
            stack.callback(handle.remove)

    def _hooked(self, block: object, args: tuple[Tensor, ...], options: Internals) -> None:
        entry = options.get("past_kv_cache_entry")
        n_past = 0 if entry is None else entry.past_keys.shape[1]
        self._note(args[0], n_past, options.get("attention_mask"))

    def _bridged(self, module: object, args: tuple[Tensor, ...], options: Internals) -> None:
        given = (options.get("input_ids"), options.get("inputs_embeds"))
        tokens = args[0] if args else next(x for x in given if x is not None)
        past = options.get("past_key_values")
        self._note(
            tokens, 0 if past is None else past.get_seq_length(), options.get("attention_mask")
        )

    def _note(self, tokens: Tensor, n_past: int, mask: Tensor | None) -> None:
        batch, n_new = tokens.shape[:2]
        self._places = TokenPlaces(batch, n_past, n_new, mask, self._n_prompt)

    def placed(self, hook: Callable[..., object]) -> Callable[..., object]:
        steer = hook

        def placed(resid: Tensor, hook: Internals) -> object:
            assert self._places is not None, "a hook point in a block runs within a pass"
            return steer(resid, hook=PlacedHook(hook.name, self._places, hook))

        return placed


@contextmanager
def attached(
    model: HookedModel,
    hooks: Sequence[tuple[str, Callable[..., object]]],
    *,
    n_prompt: int | Sequence[int] | None = None,
) -> Iterator[None]:
    """``model.hooks``, whose hooks in blocks are told which tokens of their rows they are given.

    They are called with a :class:`PlacedHook`. ``n_prompt`` is the number of tokens of the prompt,
    padding left out, one for all rows or one for each; raises InputError for one below 1.
    """
    passes = _Passes(model, n_prompt)
    blocks = {name: _BLOCK.match(name) for name, _ in hooks}
    with ExitStack() as stack:
        passes.watch(sorted({int(found[1]) for found in blocks.values() if found}), stack)
        placed = [(name, passes.placed(hook) if blocks[name] else hook) for name, hook in hooks]
        stack.enter_context(model.hooks(fwd_hooks=placed))
        yield
