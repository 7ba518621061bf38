"""Pooled ``resid_post`` of many texts through ``run_with_cache``, one pass for all layers.

The language-model head is never computed, the pass stops after the deepest layer asked for, a
prompt that several texts share is read once, and each layer is pooled inside its hook.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..cells import Cell, resumed_pass
from ..errors import InputError
from ..fused import fused_blocks
from ..logits import can_resume
from ..models import model_card, model_device
from ..tokens import EncodedText, encode, pad_batch, pad_id
from ..types import HookedModel, Pooling, Progress, Site
from .plan import plan_batches
from .pooling import Pooler, Span
from .precision import computing_in

__all__ = [
    "BATCH_TOKENS",
    "Read",
    "Settings",
    "pooled_batches",
    "pooled_resid_post",
    "read_texts",
    "resid_post_cache",
    "resolve_layers",
]

BATCH_TOKENS = 2048
PaddingSide = Literal["left", "right"]
Read = tuple[tuple[int, ...], dict[Pooling, Float[Tensor, "batch layer d_model"]]]
"""Text numbers of one pass, and their pooled values, float32 on the CPU."""


@dataclass(frozen=True)
class Settings:
    """How texts are read; none of it changes a result beyond rounding but ``precision``.

    ``layers`` in rising order. ``batch_tokens`` bounds the positions of one pass, and so memory.
    ``padding_side`` is that of texts read whole; texts that share a prompt are padded on the
    right. ``fused`` False keeps
    TransformerLens's own arithmetic throughout.
    """

    layers: tuple[int, ...]
    poolings: tuple[Pooling, ...] = ("mean",)
    batch_tokens: int = BATCH_TOKENS
    padding_side: PaddingSide = "right"
    share_prompts: bool = True
    precision: Literal["model", "bfloat16"] = "model"
    fused: bool = True

    def __post_init__(self) -> None:
        wrong = [p for p in self.poolings if p not in ("mean", "last")]
        if wrong or not self.poolings:
            raise InputError(f"pooling: expected mean or last, got {wrong or 'none'}")


def pooled_resid_post(
    model: HookedModel,
    texts: Sequence[tuple[str, str]],
    *,
    layers: Sequence[int],
    pooling: Pooling = "mean",
    batch_tokens: int = BATCH_TOKENS,
    padding_side: PaddingSide = "right",
    share_prompts: bool = True,
    progress: Progress | None = None,
) -> tuple[Float[Tensor, "item layer d_model"], tuple[int, ...]]:
    """Pooled activations of (prompt, completion) texts, float32, and the tokens pooled in each."""
    settings = Settings(
        tuple(layers), (pooling,), batch_tokens, padding_side, share_prompts=share_prompts
    )
    encoded = [encode(model, text, prompt) for prompt, text in texts]
    values = read_texts(model, encoded, settings, progress)[pooling]
    return values, tuple(e.n_completion for e in encoded)


def read_texts(
    model: HookedModel,
    encoded: Sequence[EncodedText],
    settings: Settings,
    progress: Progress | None = None,
) -> dict[Pooling, Float[Tensor, "item layer d_model"]]:
    """Pooled values of all texts in their order, in float32. Raises NonFiniteError."""
    shape = (len(encoded), len(settings.layers), int(model.cfg.d_model))
    out = {pooling: torch.empty(shape) for pooling in settings.poolings}
    done = 0
    for rows, pooled in pooled_batches(model, encoded, settings):
        for pooling, values in pooled.items():
            out[pooling][list(rows)] = values
        done += len(rows)
        if progress is not None:
            progress(done, len(encoded))
    return out


def pooled_batches(
    model: HookedModel,
    encoded: Sequence[EncodedText],
    settings: Settings,
    *,
    skip: int = 0,
    called: Sequence[int] | None = None,
) -> Iterator[Read]:
    """The texts pass by pass, in an order that depends on their tokens and the settings alone.

    ``skip`` leaves out the first passes, which were computed before; the rest is what it would
    have been, bit for bit. ``called`` are the texts' numbers in error messages.
    """
    batches = plan_batches(
        encoded,
        batch_tokens=settings.batch_tokens,
        n_ctx=model_card(model).n_ctx,
        share_prompts=settings.share_prompts,
    )
    for batch in batches:
        wanted = batch.passes[skip:]
        skip = max(0, skip - len(batch.passes))
        if not wanted:
            continue
        past = _read_prompts(model, batch.prompts, settings) if batch.prompts else None
        owner = dict(batch.owner)
        for rows in wanted:
            texts = [encoded[i] for i in rows]
            numbers = rows if called is None else [called[i] for i in rows]
            if past is None:
                yield rows, _read_whole(model, numbers, texts, settings)
            else:
                owners = [owner[i] for i in rows]
                yield rows, _read_on(model, numbers, texts, settings, past, owners)


def resolve_layers(model: HookedModel, layers: Sequence[int] | Literal["all"]) -> tuple[int, ...]:
    """Layer numbers in rising order. Raises InputError for one the model does not have."""
    n_layers = int(model.cfg.n_layers)
    if layers == "all":
        return tuple(range(n_layers))
    wrong = [layer for layer in layers if not 0 <= int(layer) < n_layers]
    if wrong or not layers:
        raise InputError(
            f"layers: expected numbers in 0..{n_layers - 1} (this model has {n_layers} layers), "
            f"got {list(wrong) or 'none'}"
        )
    return tuple(sorted({int(layer) for layer in layers}))


def resid_post_cache(
    model: HookedModel, tokens: Tensor, layers: Sequence[int], attention_mask: Tensor | None = None
) -> dict[int, Float[Tensor, "batch pos d_model"]]:
    """``resid_post`` of every position at the layers, by one ``run_with_cache``.

    The pass stops after the deepest layer; the language-model head is skipped, or where the
    backend cannot stop there, computed for one position only.
    """
    names = {Site(layer).hook_name: layer for layer in layers}
    options: dict[str, Any] = {} if attention_mask is None else {"attention_mask": attention_mask}
    with torch.no_grad():
        _, cache = model.run_with_cache(
            tokens, names_filter=lambda name: name in names, **_stop(model, layers), **options
        )
    return {layer: cache[name] for name, layer in names.items()}


def _stop(model: HookedModel, layers: Sequence[int]) -> dict[str, Any]:
    last = max(layers) + 1
    if last < model.cfg.n_layers or can_resume(model):
        return {"stop_at_layer": last}
    return {"logits_to_keep": 1}


def _run(
    model: HookedModel,
    tokens: Int[Tensor, "batch pos"],
    settings: Settings,
    hooks: list[tuple[str, Any]],
    options: dict[str, Any],
) -> None:
    """One pass whose hooks keep what is wanted of it: the cache itself stays empty."""
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(computing_in(settings.precision))
        if settings.fused:
            stack.enter_context(fused_blocks(model))
        stack.enter_context(model.hooks(fwd_hooks=hooks))
        model.run_with_cache(
            tokens.to(model_device(model)),
            names_filter=lambda name: False,
            **_stop(model, settings.layers),
            **options,
        )


def _read_whole(
    model: HookedModel, numbers: Sequence[int], texts: Sequence[EncodedText], settings: Settings
) -> dict[Pooling, Float[Tensor, "batch layer d_model"]]:
    tokens, real = pad_batch([t.ids for t in texts], pad_id(model), settings.padding_side)
    width = tokens.shape[1]
    spans = []
    for number, text in zip(numbers, texts, strict=True):
        offset = 0 if settings.padding_side == "right" else width - len(text.ids)
        spans.append((offset + text.start, offset + len(text.ids), number))
    # Causal attention never looks right, so pads on the right need no mask.
    right = settings.padding_side == "right"
    options = {} if right else {"attention_mask": real.long().to(model_device(model))}
    return _pooled(model, tokens, texts, spans, settings, options)


def _read_prompts(
    model: HookedModel, prompts: Sequence[tuple[int, ...]], settings: Settings
) -> list[Cell]:
    # Padded on the right, where no token sees a pad: no mask, and no pad that sees nothing.
    tokens, _ = pad_batch(prompts, pad_id(model))
    cells = [Cell() for _ in range(int(model.cfg.n_layers))]
    _run(model, tokens, settings, [], resumed_pass(model, torch.ones_like(tokens), cells))
    return cells


def _read_on(
    model: HookedModel,
    numbers: Sequence[int],
    texts: Sequence[EncodedText],
    settings: Settings,
    past: Sequence[Cell],
    owners: Sequence[int],
) -> dict[Pooling, Float[Tensor, "batch layer d_model"]]:
    tokens, _ = pad_batch([t.ids[t.start :] for t in texts], pad_id(model))
    # A prompt ends where its text begins, so that no gap opens inside a sliding window.
    columns, before = pad_batch([range(t.start) for t in texts], 0, "left")
    seen = (torch.tensor(owners)[:, None].to(model_device(model)), columns.to(model_device(model)))
    cells = [
        Cell(c.keys, c.values, seen=seen, keep=False) if c.keys.numel() else Cell() for c in past
    ]
    spans = [(0, t.n_completion, n) for n, t in zip(numbers, texts, strict=True)]
    # Pads on the right count as read: nothing sees them, and a pad that saw nothing would be NaN.
    read = torch.cat([before, torch.ones_like(tokens, dtype=torch.bool)], dim=1)
    options = resumed_pass(model, read, cells)
    return _pooled(model, tokens, texts, spans, settings, options)


def _pooled(
    model: HookedModel,
    tokens: Int[Tensor, "batch pos"],
    texts: Sequence[EncodedText],
    spans: Sequence[Span],
    settings: Settings,
    options: dict[str, Any],
) -> dict[Pooling, Float[Tensor, "batch layer d_model"]]:
    pooler = Pooler(spans, settings.layers, settings.poolings, [t.start for t in texts])
    _run(model, tokens, settings, pooler.hooks(), options)
    return pooler.pooled()
