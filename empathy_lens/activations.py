"""Residual-stream activations of texts, pooled over the completion's tokens.

One pass through ``run_with_cache`` gives every layer that is asked for; the language-model head
is not computed. Texts are batched by length within a token budget, and pads are masked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .data import data_hash
from .errors import InputError, NonFiniteError
from .models import model_card
from .tokens import EncodedText, encode, pad_batch, pad_id
from .types import Activations, ContrastivePair, HookedModel, Pooling, RubricCompletion, Site

__all__ = [
    "Progress",
    "extract_activations",
    "extract_completions",
    "extract_poolings",
    "pooled_resid_post",
    "resid_post_cache",
    "resolve_layers",
]

Progress = Callable[[int, int], None]
"""Called with (texts done, texts in all) after each batch."""


def extract_activations(
    model: HookedModel,
    pairs: Sequence[ContrastivePair],
    *,
    layers: Sequence[int] | Literal["all"] = "all",
    pooling: Pooling = "mean",
    batch_tokens: int = 2048,
    padding_side: Literal["left", "right"] = "right",
    progress: Progress | None = None,
) -> Activations:
    """Pooled ``resid_post`` of both sides of every pair, positive before negative.

    Only completion tokens are pooled: never BOS, the prompt or pads. ``batch_tokens`` bounds the
    tokens of one forward pass (memory), not the result, which is the same for every batching up
    to rounding. Raises InputError for a bad layer, NonFiniteError for a NaN or infinity.
    """
    if not pairs:
        raise InputError("expected at least one pair, got none")
    chosen = resolve_layers(model, layers)
    texts = [(p.prompt, side) for p in pairs for side in (p.positive, p.negative)]
    values, n_tokens = pooled_resid_post(
        model,
        texts,
        layers=chosen,
        pooling=pooling,
        batch_tokens=batch_tokens,
        padding_side=padding_side,
        progress=progress,
    )
    return Activations(
        values=values,
        sites=tuple(Site(layer) for layer in chosen),
        labels=torch.tensor([True, False] * len(pairs)),
        pair_ids=tuple(p.pair_id for p in pairs for _ in range(2)),
        scenario_ids=tuple(p.scenario_id for p in pairs for _ in range(2)),
        groups=tuple(p.group for p in pairs for _ in range(2)),
        n_tokens=n_tokens,
        pooling=pooling,
        provenance=model_card(model).provenance.with_data(data_hash(pairs)),
    )


def extract_poolings(
    model: HookedModel,
    pairs: Sequence[ContrastivePair],
    *,
    poolings: Sequence[Pooling] = ("mean", "last"),
    layers: Sequence[int] | Literal["all"] = "all",
    progress: Progress | None = None,
) -> dict[Pooling, Activations]:
    """:func:`extract_activations` under several poolings of the same texts."""
    return {
        pooling: extract_activations(
            model, pairs, layers=layers, pooling=pooling, progress=progress
        )
        for pooling in poolings
    }


def extract_completions(
    model: HookedModel,
    completions: Sequence[RubricCompletion],
    *,
    layers: Sequence[int] | Literal["all"] = "all",
    pooling: Pooling = "mean",
    batch_tokens: int = 2048,
    progress: Progress | None = None,
) -> Activations:
    """Pooled ``resid_post`` of scored completions, one item each; labels are True for score 2."""
    if not completions:
        raise InputError("expected at least one completion, got none")
    chosen = resolve_layers(model, layers)
    values, n_tokens = pooled_resid_post(
        model,
        [(c.prompt, c.text) for c in completions],
        layers=chosen,
        pooling=pooling,
        batch_tokens=batch_tokens,
        progress=progress,
    )
    return Activations(
        values=values,
        sites=tuple(Site(layer) for layer in chosen),
        labels=torch.tensor([c.score == 2 for c in completions]),
        pair_ids=tuple(c.completion_id for c in completions),
        scenario_ids=tuple(c.scenario_id for c in completions),
        groups=tuple(c.group for c in completions),
        n_tokens=n_tokens,
        pooling=pooling,
        provenance=model_card(model).provenance.with_data(data_hash(completions)),
    )


def pooled_resid_post(
    model: HookedModel,
    texts: Sequence[tuple[str, str]],
    *,
    layers: Sequence[int],
    pooling: Pooling = "mean",
    batch_tokens: int = 2048,
    padding_side: Literal["left", "right"] = "right",
    progress: Progress | None = None,
) -> tuple[Float[Tensor, "item layer d_model"], tuple[int, ...]]:
    """Pooled activations of (prompt, completion) texts, float32, and the tokens pooled in each."""
    if pooling not in ("mean", "last"):
        raise InputError(f"pooling: expected mean or last, got {pooling!r}")
    encoded = [encode(model, text, prompt) for prompt, text in texts]
    out = torch.empty((len(encoded), len(layers), int(model.cfg.d_model)), dtype=torch.float32)
    done = 0
    for batch in _batches(encoded, batch_tokens):
        rows = [encoded[i] for i in batch]
        out[batch] = _pool_batch(model, rows, layers, pooling, padding_side)
        done += len(batch)
        if progress is not None:
            progress(done, len(encoded))
    return out, tuple(e.n_completion for e in encoded)


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
    options: dict[str, Any] = {"names_filter": lambda name: name in names}
    last = max(layers) + 1
    if last < model.cfg.n_layers or model_card(model).provenance.backend == "hooked":
        options["stop_at_layer"] = last
    else:
        options["logits_to_keep"] = 1
    if attention_mask is not None:
        options["attention_mask"] = attention_mask
    with torch.no_grad():
        _, cache = model.run_with_cache(tokens, **options)
    return {layer: cache[name] for name, layer in names.items()}


def _batches(encoded: Sequence[EncodedText], batch_tokens: int) -> Iterator[list[int]]:
    """Indices of texts of like length, longest first, each batch within the token budget."""
    order = sorted(range(len(encoded)), key=lambda i: (-len(encoded[i].ids), i))
    batch: list[int] = []
    for index in order:
        width = len(encoded[batch[0]].ids) if batch else 0
        if batch and width * (len(batch) + 1) > batch_tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _pool_batch(
    model: HookedModel,
    rows: Sequence[EncodedText],
    layers: Sequence[int],
    pooling: Pooling,
    padding_side: Literal["left", "right"],
) -> Float[Tensor, "batch layer d_model"]:
    tokens, real = pad_batch([r.ids for r in rows], pad_id(model), padding_side)
    pooled = _pooled_positions(rows, real, pooling, padding_side)
    # Causal attention never looks right, so pads on the right need no mask.
    mask = None if padding_side == "right" else real.long()
    cache = resid_post_cache(model, tokens.to(_device(model)), layers, mask)
    return torch.stack(
        [_pool(cache[layer], pooled, Site(layer).hook_name) for layer in layers], dim=1
    )


def _pooled_positions(
    rows: Sequence[EncodedText], real: Bool[Tensor, "batch pos"], pooling: Pooling, side: str
) -> Bool[Tensor, "batch pos"]:
    width = real.shape[1]
    chosen = torch.zeros_like(real)
    for row, text in enumerate(rows):
        offset = 0 if side == "right" else width - len(text.ids)
        first = text.start if pooling == "mean" else len(text.ids) - 1
        chosen[row, offset + first : offset + len(text.ids)] = True
    return chosen


def _pool(
    values: Float[Tensor, "batch pos d_model"], chosen: Bool[Tensor, "batch pos"], hook_name: str
) -> Float[Tensor, "batch d_model"]:
    chosen = chosen.to(values.device)[..., None]
    # Pads may hold NaN, and NaN times zero is NaN: select, never multiply.
    kept = torch.where(chosen, values.float(), 0.0)
    if not torch.isfinite(kept).all():
        row, pos, _ = (~torch.isfinite(kept)).nonzero()[0].tolist()
        raise NonFiniteError(
            f"{hook_name} holds {(kept[row, pos].isnan().any() and 'NaN') or 'an infinity'} at "
            f"position {pos} of batch row {row} in {values.dtype}; "
            "load the model with --dtype bfloat16 or float32"
        )
    return (kept.sum(dim=1) / chosen.sum(dim=1)).cpu()


def _device(model: HookedModel) -> torch.device:
    return torch.device(model.cfg.device or "cpu")
