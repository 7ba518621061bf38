"""Keys and values of one layer while a batch is read, behind either backend's cache interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from .logits import can_resume
from .models import model_device
from .types import HookedModel

__all__ = ["Cell", "resumed_pass"]


class Cell:
    """One layer's keys and values: those of before joined to the new.

    ``seen`` says which position of before each row goes on from, (row, column) for each place
    (default: its own row, whole), so that many rows may follow one. What the rows have read in
    the end stays in ``keys`` and ``values``, unless ``keep`` is False.
    """

    def __init__(
        self,
        keys: Float[Tensor, "past_batch past_pos head d_head"] | None = None,
        values: Float[Tensor, "past_batch past_pos head d_head"] | None = None,
        *,
        seen: tuple[Int[Tensor, "batch 1"], Int[Tensor, "batch past"]] | None = None,
        keep: bool = True,
    ) -> None:
        self._past = None if keys is None or values is None else (keys, values)
        self._seen, self._keep = seen, keep
        there = 0 if keys is None else keys.shape[1]
        self.n_past = there if seen is None else seen[1].shape[1]
        self.keys = self.values = torch.empty(0)

    def join(
        self,
        new_keys: Float[Tensor, "batch pos head d_head"],
        new_values: Float[Tensor, "batch pos head d_head"],
    ) -> tuple[Tensor, Tensor]:
        keys, values = new_keys, new_values
        if self._past is not None:
            keys = torch.cat([self._before(self._past[0]), keys], dim=1)
            values = torch.cat([self._before(self._past[1]), values], dim=1)
        if self._keep:
            self.keys, self.values = keys, values
        return keys, values

    def _before(self, past: Tensor) -> Tensor:
        return past if self._seen is None else past[self._seen]


def resumed_pass(
    model: HookedModel, read: Shaped[Tensor, "batch all"], cells: Sequence[Cell]
) -> dict[str, Any]:
    """Arguments of a forward pass that goes on from the cells and leaves what it read in them.

    ``read`` is the attention mask of old and new positions together.
    """
    device = model_device(model)
    mask = read.long().to(device)
    if can_resume(model):
        entries = [_HookedEntry(cell, len(mask), model.cfg) for cell in cells]
        return {
            "attention_mask": mask[:, cells[0].n_past :],
            "past_kv_cache": _HookedCache(entries, mask),
        }
    return {"attention_mask": mask, "past_key_values": _hub_cache(cells), "use_cache": True}


class _HookedEntry:
    """A layer of a TransformerLens cache over a cell."""

    def __init__(self, cell: Cell, batch: int, cfg: Any) -> None:
        heads = cfg.n_key_value_heads or cfg.n_heads
        # TransformerLens asks this tensor for its shape only.
        self.past_keys = torch.empty(()).expand(batch, cell.n_past, heads, cfg.d_head)
        self.append = cell.join


class _HookedCache:
    """What a HookedTransformer needs of a cache of keys and values."""

    def __init__(self, entries: list[_HookedEntry], mask: Int[Tensor, "batch all"]) -> None:
        self.entries, self.mask = entries, mask

    def __getitem__(self, layer: int) -> _HookedEntry:
        return self.entries[layer]

    def append_attention_mask(self, mask: Int[Tensor, "batch pos"]) -> Int[Tensor, "batch all"]:
        """The mask of old and new tokens, which is known already."""
        return self.mask


def _hub_cache(cells: Sequence[Cell]) -> Any:
    from transformers.cache_utils import Cache, DynamicLayer

    class Layer(DynamicLayer):
        """A layer of a transformers cache (batch, head, pos, d_head) over a cell."""

        def __init__(self, cell: Cell) -> None:
            super().__init__()
            self.cell, self.length = cell, cell.n_past
            self.is_initialized = True

        def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> Any:
            keys, values = self.cell.join(key_states.transpose(1, 2), value_states.transpose(1, 2))
            self.length = keys.shape[1]
            return keys.transpose(1, 2), values.transpose(1, 2)

        def get_seq_length(self) -> int:
            return self.length

    return Cache(layers=[Layer(cell) for cell in cells])
