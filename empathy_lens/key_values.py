"""Prompts read once and gone on from many times: keys and values as plain tensors.

``read`` and ``read_last`` run new tokens after what the rows of a batch have read before, and give
their logits and the longer reading, which can be cut back (``keep``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .cells import Cell, resumed_pass
from .errors import InputError
from .fused import fused_blocks
from .logits import can_resume, check_finite, unembed
from .models import model_device
from .tokens import pad_batch
from .types import HookedModel

__all__ = ["KeyValues", "Reading", "past_cells", "read", "read_last", "read_residual"]


@dataclass(frozen=True, eq=False)
class KeyValues:
    """What the rows of a batch have read so far: one tensor of keys and of values a layer.

    Keys are as the backend stores them (TransformerLens: before the rotary embedding). ``real``
    is True at tokens and False at padding, which may stand before and after a row's tokens.
    """

    keys: tuple[Float[Tensor, "batch pos head d_head"], ...]
    values: tuple[Float[Tensor, "batch pos head d_head"], ...]
    real: Bool[Tensor, "batch pos"]

    @classmethod
    def of(cls, cells: Sequence[Cell], real: Bool[Tensor, "batch pos"]) -> KeyValues:
        """What a pass over the cells of all layers has left in them."""
        keys, values = tuple(c.keys for c in cells), tuple(c.values for c in cells)
        return cls(keys, values, real.to(keys[0].device))

    def aligned(self) -> KeyValues:
        """The same with every row's last token in the last place, as reading on needs it."""
        if bool(self.real[:, -1].all()):
            return self
        return self.keep(self.real.sum(dim=1).tolist())

    def keep(self, lengths: Sequence[int], rows: Sequence[int] | None = None) -> KeyValues:
        """The first ``lengths[i]`` tokens of row ``rows[i]`` (default: of each row in order)."""
        chosen = list(range(len(self.real))) if rows is None else list(rows)
        if len(chosen) != len(lengths):
            raise InputError(f"expected a length for each of {len(chosen)} rows, got {lengths}")
        width = max(lengths)
        where = torch.zeros((len(chosen), width), dtype=torch.long)
        real = torch.zeros((len(chosen), width), dtype=torch.bool)
        for i, (row, length) in enumerate(zip(chosen, lengths, strict=True)):
            tokens = self.real[row].nonzero()[:, 0][:length].cpu()
            if len(tokens) < length:
                raise InputError(f"row {row} has read {len(tokens)} tokens, fewer than {length}")
            where[i, width - length :] = tokens
            real[i, width - length :] = True
        at = (torch.tensor(chosen)[:, None], where)
        return KeyValues(
            tuple(k[at] for k in self.keys),
            tuple(v[at] for v in self.values),
            real.to(self.real.device),
        )


@dataclass(frozen=True, eq=False)
class Reading:
    """Float32 logits at the positions that were asked for, in row order, and all that is read."""

    logits: Float[Tensor, "read d_vocab"]
    past: KeyValues


def read(
    model: HookedModel,
    tokens: Int[Tensor, "batch pos"],
    real: Bool[Tensor, "batch pos"],
    at: Bool[Tensor, "batch pos"],
    *,
    past: KeyValues | None = None,
) -> Reading:
    """Reads ``tokens`` (padded on the right, ``real`` marks them) after ``past``.

    ``at`` marks positions whose logits are wanted. Hooks that are on the model act as usual.
    Raises NonFiniteError where a logit is NaN or infinite.
    """
    past = None if past is None else past.aligned()
    cells = past_cells(model, past)
    all_real = real if past is None else torch.cat([past.real, real.to(past.real.device)], dim=1)
    with torch.no_grad():
        if can_resume(model):
            steps = all_real.long()
            logits = unembed(model, read_residual(model, tokens, steps, cells, real)[at])
        else:
            logits = check_finite(model, _bridge_logits(model, tokens, all_real, at, cells))
    return Reading(logits, KeyValues.of(cells, all_real))


def read_last(
    model: HookedModel, new: Sequence[Sequence[int]], *, past: KeyValues | None = None
) -> Reading:
    """Reads the ``new`` tokens of every row after ``past``; logits at each row's last token."""
    tokens, real = pad_batch(new, 0)
    last = torch.zeros_like(real)
    last[torch.arange(len(new)), torch.tensor([len(ids) - 1 for ids in new])] = True
    return read(model, tokens, real, last, past=past)


def past_cells(model: HookedModel, past: KeyValues | None) -> list[Cell]:
    """A cell of each layer to read on from ``past``, which is ``aligned``."""
    if past is None:
        return [Cell() for _ in range(int(model.cfg.n_layers))]
    return [Cell(keys, values) for keys, values in zip(past.keys, past.values, strict=True)]


def read_residual(
    model: HookedModel,
    tokens: Int[Tensor, "batch pos"],
    steps: Int[Tensor, "batch all"],
    cells: list[Cell],
    real: Bool[Tensor, "batch pos"],
    hidden: Bool[Tensor, "batch 1 pos all"] | None = None,
) -> Float[Tensor, "batch pos d_model"]:
    """A HookedTransformer's residual stream after the last block, of use where ``real`` is True.

    ``steps`` is the attention mask, past included; ``hidden`` marks keys that are not seen beside
    those it hides. What is read stays in ``cells``.
    """
    device = model_device(model)
    with fused_blocks(model, hidden, real=real.to(device)):
        residual: Tensor = model(
            tokens.to(device),
            stop_at_layer=int(model.cfg.n_layers),
            **resumed_pass(model, steps, cells),
        )
    return residual


def _bridge_logits(
    model: HookedModel,
    tokens: Int[Tensor, "batch pos"],
    all_real: Bool[Tensor, "batch all"],
    at: Bool[Tensor, "batch pos"],
    cells: list[Cell],
) -> Float[Tensor, "read d_vocab"]:
    device = model_device(model)
    columns = at.any(dim=0).nonzero()[:, 0].to(device)
    logits: Tensor = model(
        tokens.to(device), logits_to_keep=columns, **resumed_pass(model, all_real, cells)
    )
    return logits[at.to(device)[:, columns]].float()
