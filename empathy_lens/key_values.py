"""Prompts read once and gone on from many times: keys and values as plain tensors.

``read`` runs new tokens after what the rows of a batch have read before, and gives their logits and
the longer reading. A reading can be cut back (``keep``), and one row can be gone on from by many
(``rows``) without its keys and values being copied for all layers at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .errors import InputError, NonFiniteError
from .logits import unembed
from .models import model_card
from .types import HookedModel

__all__ = ["KeyValues", "Reading", "read"]

LOGIT_CHUNK = 1 << 26
"""Logits that are held at once (256 MB in float32)."""


@dataclass(frozen=True, eq=False)
class KeyValues:
    """What the rows of a batch have read so far: one tensor of keys and of values a layer.

    Keys are as the backend stores them (TransformerLens: before the rotary embedding). ``real``
    is True at tokens and False at padding, which may stand before and after a row's tokens.
    """

    keys: tuple[Float[Tensor, "batch pos head d_head"], ...]
    values: tuple[Float[Tensor, "batch pos head d_head"], ...]
    real: Bool[Tensor, "batch pos"]

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
    """Logits at the positions that were asked for, in row order, and what has been read now."""

    log_probs: Float[Tensor, "read"] | None
    logits: Float[Tensor, "read d_vocab"] | None
    past: KeyValues | None


def read(
    model: HookedModel,
    tokens: Int[Tensor, "batch pos"],
    real: Bool[Tensor, "batch pos"],
    at: Bool[Tensor, "batch pos"],
    *,
    targets: Int[Tensor, "read"] | None = None,
    past: KeyValues | None = None,
    rows: Sequence[int] | None = None,
    remember: bool = True,
) -> Reading:
    """Reads ``tokens`` (padded on the right, ``real`` marks them) after ``past``.

    ``at`` marks positions whose float32 logits are wanted; with ``targets`` only the
    log-probabilities of those tokens there are kept. Row ``i`` goes on from row ``rows[i]`` of
    ``past`` (default: from its own). ``remember=False`` gives no longer ``past``. Hooks that are on
    the model act as usual. Raises NonFiniteError where a logit is NaN or infinite.
    """
    device = torch.device(model.cfg.device or "cpu")
    tokens, real, at = tokens.to(device), real.to(device), at.to(device)
    source = None if rows is None else torch.as_tensor(list(rows), device=device)
    before = None if past is None else past.real if source is None else past.real[source]
    all_real = real if before is None else torch.cat([before, real], dim=1)
    n_layers = int(model.cfg.n_layers)
    cells = [_Cell(past, layer, source, remember) for layer in range(n_layers)]
    hooked = model_card(model).provenance.backend == "hooked"
    run = _run_hooked if hooked else _run_bridge
    with torch.no_grad():
        found = run(model, tokens, all_real, at, targets, cells)
    after = None
    if remember:
        after = KeyValues(tuple(c.keys for c in cells), tuple(c.values for c in cells), all_real)
    if targets is not None:
        return Reading(found, None, after)
    return Reading(None, found, after)


class _Cell:
    """One layer's keys and values while a batch is read: those of before joined to the new."""

    def __init__(
        self, past: KeyValues | None, layer: int, rows: Int[Tensor, "batch"] | None, remember: bool
    ) -> None:
        self._past = None if past is None else (past.keys[layer], past.values[layer])
        self._rows, self._remember = rows, remember
        self.keys = self.values = torch.empty(0)

    @property
    def n_past(self) -> int:
        return 0 if self._past is None else self._past[0].shape[1]

    def join(
        self,
        new_keys: Float[Tensor, "batch pos head d_head"],
        new_values: Float[Tensor, "batch pos head d_head"],
    ) -> tuple[Tensor, Tensor]:
        keys, values = new_keys, new_values
        if self._past is not None:
            old_keys, old_values = self._past
            if self._rows is not None:
                old_keys, old_values = old_keys[self._rows], old_values[self._rows]
            keys = torch.cat([old_keys, new_keys], dim=1)
            values = torch.cat([old_values, new_values], dim=1)
        if self._remember:
            self.keys, self.values = keys, values
        return keys, values


class _HookedEntry:
    """A layer of a TransformerLens cache over a cell."""

    def __init__(self, cell: _Cell, batch: int, cfg: Any) -> None:
        heads = cfg.n_key_value_heads or cfg.n_heads
        # TransformerLens asks this tensor for its shape only.
        self.past_keys = torch.empty(()).expand(batch, cell.n_past, heads, cfg.d_head)
        self.append = cell.join


class _HookedCache:
    """What a HookedTransformer needs of a cache of keys and values."""

    def __init__(self, entries: list[_HookedEntry], all_real: Bool[Tensor, "batch all"]) -> None:
        self.entries, self.all_real = entries, all_real

    def __getitem__(self, layer: int) -> _HookedEntry:
        return self.entries[layer]

    def append_attention_mask(self, mask: Int[Tensor, "batch pos"]) -> Int[Tensor, "batch all"]:
        """The mask of old and new tokens, which is known already."""
        return self.all_real.to(mask.dtype)


def _run_hooked(
    model: HookedModel,
    tokens: Int[Tensor, "batch pos"],
    all_real: Bool[Tensor, "batch all"],
    at: Bool[Tensor, "batch pos"],
    targets: Int[Tensor, "read"] | None,
    cells: list[_Cell],
) -> Float[Tensor, "read"] | Float[Tensor, "read d_vocab"]:
    cache = _HookedCache([_HookedEntry(c, len(tokens), model.cfg) for c in cells], all_real)
    residual = model(
        tokens,
        attention_mask=all_real[:, -tokens.shape[1] :].long(),
        past_kv_cache=cache,
        stop_at_layer=int(model.cfg.n_layers),
    )[at]
    if targets is None:
        return _finite(unembed(model, residual[None])[0])
    size = max(1, LOGIT_CHUNK // int(model.cfg.d_vocab))
    parts = [
        _log_probs(unembed(model, x[None])[0], t)
        for x, t in zip(residual.split(size), targets.to(residual.device).split(size), strict=True)
    ]
    return torch.cat(parts)


def _run_bridge(
    model: HookedModel,
    tokens: Int[Tensor, "batch pos"],
    all_real: Bool[Tensor, "batch all"],
    at: Bool[Tensor, "batch pos"],
    targets: Int[Tensor, "read"] | None,
    cells: list[_Cell],
) -> Float[Tensor, "read"] | Float[Tensor, "read d_vocab"]:
    from transformers.cache_utils import Cache, DynamicLayer

    class Layer(DynamicLayer):
        """A layer of a transformers cache (batch, head, pos, d_head) over a cell."""

        def __init__(self, cell: _Cell) -> None:
            super().__init__()
            self.cell, self.length = cell, cell.n_past
            self.is_initialized = True

        def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> Any:
            keys, values = self.cell.join(key_states.transpose(1, 2), value_states.transpose(1, 2))
            self.length = keys.shape[1]
            return keys.transpose(1, 2), values.transpose(1, 2)

        def get_seq_length(self) -> int:
            return self.length

    columns = at.any(dim=0).nonzero()[:, 0]
    logits = model(
        tokens,
        attention_mask=all_real.long(),
        past_key_values=Cache(layers=[Layer(cell) for cell in cells]),
        use_cache=True,
        logits_to_keep=columns,
    )[at[:, columns]].float()
    return _finite(logits) if targets is None else _log_probs(logits, targets.to(logits.device))


def _log_probs(
    logits: Float[Tensor, "read d_vocab"], targets: Int[Tensor, "read"]
) -> Float[Tensor, "read"]:
    return _finite(logits.gather(1, targets[:, None])[:, 0] - logits.logsumexp(dim=1))


def _finite(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    if not torch.isfinite(values).all():
        raise NonFiniteError(
            "logits are not finite; steer less, or load the model with --dtype bfloat16 or float32"
        )
    return values
