"""The key-value cache: prompts that are read once and gone on from many times.

``LayerKeyValues`` is one layer's cache while a batch is read, on either backend; ``KeyValues`` is
what all layers have kept, as plain tensors that can be cut back and repeated. ``read`` and
``read_last`` run new tokens after what the rows of a batch have read before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from ..errors import InputError
from ..models import Internals, model_device
from ..types import HookedModel
from .fused import HEADS_FIRST, fused_blocks
from .logits import can_resume, check_finite, unembed
from .tokens import pad_batch

POSITIONS_FIRST = "batch head pos d_head -> batch pos head d_head"


class LayerKeyValues:
    """One layer's key-value cache during a pass: past keys and values, then those of the pass.

    Row ``i`` of the pass goes on from past row ``i``; with ``gather`` = (rows, columns) its past
    position ``p`` is ``keys[rows[i], columns[i, p]]``, so that many rows may share one past.
    After the pass ``keys`` and ``values`` hold past and new positions together, (batch, past +
    pos, head, d_head), unless ``keep`` is False.
    """

    def __init__(
        self,
        keys: Float[Tensor, "past_batch past_pos head d_head"] | None = None,
        values: Float[Tensor, "past_batch past_pos head d_head"] | None = None,
        *,
        gather: tuple[Int[Tensor, "batch 1"], Int[Tensor, "batch past"]] | None = None,
        keep: bool = True,
    ) -> None:
        self._past = None if keys is None or values is None else (keys, values)
        self._gather, self._keep = gather, keep
        stored = 0 if keys is None else keys.shape[1]
        self.n_past = stored if gather is None else gather[1].shape[1]
        self.keys = self.values = torch.empty(0)

    def append(
        self,
        keys: Float[Tensor, "batch pos head d_head"],
        values: Float[Tensor, "batch pos head d_head"],
    ) -> tuple[Tensor, Tensor]:
        """Past and new keys, past and new values, as attention needs them."""
        if self._past is not None:
            keys = torch.cat([self._gathered(self._past[0]), keys], dim=1)
            values = torch.cat([self._gathered(self._past[1]), values], dim=1)
        if self._keep:
            self.keys, self.values = keys, values
        return keys, values

    def _gathered(self, past: Tensor) -> Tensor:
        return past if self._gather is None else past[self._gather]


def resumed_pass(
    model: HookedModel, mask: Shaped[Tensor, "batch all"], caches: Sequence[LayerKeyValues]
) -> dict[str, object]:
    """Arguments of a forward pass that goes on from the layers' caches and leaves its own there.

    ``mask`` is the attention mask of past and new positions together.
    """
    device = model_device(model)
    mask = mask.long().to(device)
    if can_resume(model):
        entries = [_HookedEntry(cache, len(mask), model.cfg) for cache in caches]
        return {
            "attention_mask": mask[:, caches[0].n_past :],
            "past_kv_cache": _HookedCache(entries, mask),
        }
    return {"attention_mask": mask, "past_key_values": _hub_cache(caches), "use_cache": True}


class _HookedEntry:
    """One layer's cache as TransformerLens expects an entry of its own."""

    def __init__(self, cache: LayerKeyValues, batch: int, cfg: Internals) -> None:
        heads = cfg.n_key_value_heads or cfg.n_heads
        # TransformerLens asks this tensor for its shape only.
        self.past_keys = torch.empty(()).expand(batch, cache.n_past, heads, cfg.d_head)
        self.append = cache.append


class _HookedCache:
    """What a HookedTransformer needs of a key-value cache."""

    def __init__(self, entries: list[_HookedEntry], mask: Int[Tensor, "batch all"]) -> None:
        self.entries, self.mask = entries, mask

    def __getitem__(self, layer: int) -> _HookedEntry:
        return self.entries[layer]

    def append_attention_mask(self, mask: Int[Tensor, "batch pos"]) -> Int[Tensor, "batch all"]:
        """The mask of past and new tokens, which is known already."""
        return self.mask


def _hub_cache(caches: Sequence[LayerKeyValues]) -> object:
    from transformers.cache_utils import Cache, DynamicLayer

    class Layer(DynamicLayer):
        """One layer's cache as transformers expects it: (batch, head, pos, d_head)."""

        def __init__(self, cache: LayerKeyValues) -> None:
            super().__init__()
            self.cache, self.length = cache, cache.n_past
            self.is_initialized = True

        def update(
            self, key_states: Tensor, value_states: Tensor, *_: object, **__: object
        ) -> tuple[Tensor, Tensor]:
            keys, values = self.cache.append(
                rearrange(key_states, POSITIONS_FIRST), rearrange(value_states, POSITIONS_FIRST)
            )
            self.length = keys.shape[1]
            return rearrange(keys, HEADS_FIRST), rearrange(values, HEADS_FIRST)

        def get_seq_length(self) -> int:
            return self.length

    return Cache(layers=[Layer(cache) for cache in caches])


@dataclass(frozen=True, eq=False)
class KeyValues:
    """What the rows of a batch have read so far: one tensor of keys and of values a layer.

    Keys are as the backend stores them (TransformerLens: before the rotary embedding). ``mask``
    is True at tokens and False at padding, which may stand before and after a row's tokens.
    """

    keys: tuple[Float[Tensor, "batch pos head d_head"], ...]
    values: tuple[Float[Tensor, "batch pos head d_head"], ...]
    mask: Bool[Tensor, "batch pos"]

    @classmethod
    def of(cls, caches: Sequence[LayerKeyValues], mask: Bool[Tensor, "batch pos"]) -> KeyValues:
        """What a pass has left in the caches of all layers; ``mask`` is True at tokens."""
        keys, values = tuple(c.keys for c in caches), tuple(c.values for c in caches)
        return cls(keys, values, mask.to(keys[0].device))

    def aligned(self) -> KeyValues:
        """The same with every row's last token in the last place, as reading on needs it."""
        if bool(self.mask[:, -1].all()):
            return self
        return self.keep(self.mask.sum(dim=1).tolist())

    def keep(self, lengths: Sequence[int], rows: Sequence[int] | None = None) -> KeyValues:
        """The first ``lengths[i]`` tokens of row ``rows[i]`` (default: of each row in order)."""
        chosen = list(range(len(self.mask))) if rows is None else list(rows)
        if len(chosen) != len(lengths):
            raise InputError(f"expected a length for each of {len(chosen)} rows, got {lengths}")
        width = max(lengths)
        where = torch.zeros((len(chosen), width), dtype=torch.long)
        mask = torch.zeros((len(chosen), width), dtype=torch.bool)
        for i, (row, length) in enumerate(zip(chosen, lengths, strict=True)):
            tokens = self.mask[row].nonzero()[:, 0][:length].cpu()
            if len(tokens) < length:
                raise InputError(f"row {row} has read {len(tokens)} tokens, fewer than {length}")
            where[i, width - length :] = tokens
            mask[i, width - length :] = True
        at = (torch.tensor(chosen)[:, None], where)
        return KeyValues(
            tuple(k[at] for k in self.keys),
            tuple(v[at] for v in self.values),
            mask.to(self.mask.device),
        )


@dataclass(frozen=True, eq=False)
class Reading:
    """Float32 logits at the positions that were asked for, in row order, and all that is read."""

    logits: Float[Tensor, "read d_vocab"]
    past: KeyValues


def read(
    model: HookedModel,
    tokens: Int[Tensor, "batch pos"],
    mask: Bool[Tensor, "batch pos"],
    at: Bool[Tensor, "batch pos"],
    *,
    past: KeyValues | None = None,
) -> Reading:
    """Reads ``tokens`` (padded on the right, ``mask`` True at tokens) after ``past``.

    ``at`` marks positions whose logits are wanted. Hooks that are on the model act as usual.
    Raises NonFiniteError where a logit is NaN or infinite.
    """
    past = None if past is None else past.aligned()
    caches = layer_caches(model, past)
    whole = mask if past is None else torch.cat([past.mask, mask.to(past.mask.device)], dim=1)
    with torch.no_grad():
        if can_resume(model):
            residual = read_residual(model, tokens, whole.long(), caches, mask)
            logits = unembed(model, residual[at])
        else:
            logits = check_finite(model, _bridge_logits(model, tokens, whole, at, caches))
    return Reading(logits, KeyValues.of(caches, whole))


def read_last(
    model: HookedModel, new: Sequence[Sequence[int]], *, past: KeyValues | None = None
) -> Reading:
    """Reads the ``new`` tokens of every row after ``past``; logits at each row's last token."""
    tokens, mask = pad_batch(new, 0)
    last = torch.zeros_like(mask)
    last[torch.arange(len(new)), torch.tensor([len(ids) - 1 for ids in new])] = True
    return read(model, tokens, mask, last, past=past)


def layer_caches(model: HookedModel, past: KeyValues | None) -> list[LayerKeyValues]:
    """A cache for each layer, to read on from ``past``, which is ``aligned``."""
    if past is None:
        return [LayerKeyValues() for _ in range(model.cfg.n_layers)]
    return [LayerKeyValues(k, v) for k, v in zip(past.keys, past.values, strict=True)]


def read_residual(
    model: HookedModel,
    tokens: Int[Tensor, "batch pos"],
    attention_mask: Int[Tensor, "batch all"],
    caches: list[LayerKeyValues],
    mask: Bool[Tensor, "batch pos"],
    blocked: Bool[Tensor, "batch 1 pos all"] | None = None,
) -> Float[Tensor, "batch pos d_model"]:
    """A HookedTransformer's residual stream after the last block, of use where ``mask`` is True.

    ``attention_mask`` covers past and new positions; ``blocked`` marks keys that a position must
    not attend to beside those it hides. What is read stays in ``caches``.
    """
    with fused_blocks(model, blocked, mask=mask.to(model_device(model))):
        residual: Tensor = model(
            tokens.to(model_device(model)),
            stop_at_layer=model.cfg.n_layers,
            **resumed_pass(model, attention_mask, caches),
        )
    return residual


def _bridge_logits(
    model: HookedModel,
    tokens: Int[Tensor, "batch pos"],
    attention_mask: Bool[Tensor, "batch all"],
    at: Bool[Tensor, "batch pos"],
    caches: list[LayerKeyValues],
) -> Float[Tensor, "read d_vocab"]:
    device = model_device(model)
    columns = at.any(dim=0).nonzero()[:, 0].to(device)
    logits: Tensor = model(
        tokens.to(device), logits_to_keep=columns, **resumed_pass(model, attention_mask, caches)
    )
    return logits[at.to(device)[:, columns]].float()
