"""Forward passes in pieces, on either backend: with a key-value cache, and with few logits.

At a vocabulary of 262,144 tokens the language-model head costs more than a small model's body,
so it is computed for the positions that are read and for no others. Where a few tokens are asked
for, it is a product whose result is read once: in pieces that stay in the processor's cache, the
product and the sum over the vocabulary take about half as long as one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..errors import InputError, NonFiniteError
from ..models import Internals, model_card, model_device, not_finite_advice
from ..types import HookedModel, Site

VOCABULARY = 4096
"""Tokens of the vocabulary in one piece."""
ROWS = 256
"""Rows that are scored together; also how many rows of logits are held where hooks want them."""

KeyValueCache = Internals
"""The backend's own cache of keys and values; made by ``new_cache``."""


def new_cache(model: HookedModel, batch: int) -> KeyValueCache:
    """An empty cache for ``batch`` rows."""
    if can_resume(model):
        from transformer_lens import TransformerLensKeyValueCache

        return TransformerLensKeyValueCache.init_cache(model.cfg, model.cfg.device, batch)
    from transformers import DynamicCache

    return DynamicCache(config=cast(Internals, model).original_model.config)


def take_rows(cache: KeyValueCache, rows: Int[Tensor, "row"]) -> None:
    """Makes the cache hold the given rows, in that order, each as often as it is named."""
    if hasattr(cache, "batch_select_indices"):
        cache.batch_select_indices(rows)
        return
    for entry in cache.entries:
        at = rows.to(entry.past_keys.device)
        entry.past_keys, entry.past_values = entry.past_keys[at], entry.past_values[at]
    cache.previous_attention_mask = cache.previous_attention_mask[
        rows.to(cache.previous_attention_mask.device)
    ]


def last_logits(
    model: HookedModel,
    tokens: Int[Tensor, "batch pos"],
    attention_mask: Int[Tensor, "batch past_and_pos"],
    *,
    keep: int = 1,
    cache: KeyValueCache | None = None,
) -> Float[Tensor, "batch keep d_vocab"]:
    """Float32 logits of the last ``keep`` positions.

    ``attention_mask`` covers the cached positions and the new ones (1 = a real token); rows are
    padded on the left, so that they end together. Hooks that are on the model act as usual.
    Raises NonFiniteError where a logit is NaN or infinite.
    """
    if can_resume(model):
        last = model.cfg.n_layers - 1
        residual = early_residual(model, tokens, attention_mask, layer=last, cache=cache)
        return unembed(model, residual[:, -keep:])
    device = model_device(model)
    options: dict[str, object] = {
        "attention_mask": attention_mask.to(device),
        "logits_to_keep": keep,
    }
    if cache is not None:
        options |= {"past_key_values": cache, "use_cache": True}
    with torch.no_grad():
        logits = model(tokens.to(device), **options)[:, -keep:].float()
    return check_finite(model, logits)


def resolve_layers(model: HookedModel, layers: Sequence[int] | Literal["all"]) -> tuple[int, ...]:
    """Layer numbers in rising order. Raises InputError for one the model does not have."""
    n_layers = model.cfg.n_layers
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
    options = stopping_after(model, layers)
    if attention_mask is not None:
        options["attention_mask"] = attention_mask
    with torch.no_grad():
        _, cache = model.run_with_cache(tokens, names_filter=lambda name: name in names, **options)
    return {layer: cache[name] for name, layer in names.items()}


def stopping_after(model: HookedModel, layers: Sequence[int]) -> dict[str, object]:
    """Options of a pass that is of no use beyond the deepest of the layers."""
    last = max(layers) + 1
    if last < model.cfg.n_layers or can_resume(model):
        return {"stop_at_layer": last}
    return {"logits_to_keep": 1}


def can_resume(model: HookedModel) -> bool:
    """Whether a forward pass can start from the middle (``start_at_layer``)."""
    return model_card(model).provenance.backend == "hooked"


def early_residual(
    model: HookedModel,
    tokens: Int[Tensor, "batch pos"],
    attention_mask: Int[Tensor, "batch past_and_pos"],
    *,
    layer: int,
    cache: KeyValueCache | None = None,
) -> Float[Tensor, "batch pos d_model"]:
    """``resid_post`` of a layer, without the layers above it. Needs ``can_resume``."""
    device = model_device(model)
    with torch.no_grad():
        # HookedTransformer keeps the mask of earlier positions in its cache.
        return model(
            tokens.to(device),
            attention_mask=attention_mask[:, -tokens.shape[1] :].to(device),
            past_kv_cache=cache,
            stop_at_layer=layer + 1,
        )


def resumed_residual(
    model: HookedModel,
    residual: Float[Tensor, "batch pos d_model"],
    *,
    layer: int,
    stop: int | None = None,
    attention_mask: Int[Tensor, "batch past_and_pos"] | None = None,
    cache: KeyValueCache | None = None,
) -> Float[Tensor, "batch pos d_model"]:
    """``resid_post`` of layer ``stop`` (default: the last) from that of ``layer``.

    The attention mask may be left out where no row is padded on the left. Needs ``can_resume``.
    """
    last = model.cfg.n_layers - 1
    mask = None if attention_mask is None else attention_mask.to(residual.device)
    with torch.no_grad():
        return model(
            residual,
            start_at_layer=layer + 1,
            stop_at_layer=(last if stop is None else stop) + 1,
            attention_mask=mask,
            past_kv_cache=cache,
        )


def unembed(
    model: HookedModel, residual: Float[Tensor, "*batch d_model"]
) -> Float[Tensor, "*batch d_vocab"]:
    """A HookedTransformer's final norm, unembedding and logit soft-cap, in float32.

    Raises NonFiniteError where a logit is NaN or infinite.
    """
    hooked = cast(Internals, model)
    with torch.no_grad():
        logits = soft_capped(model, hooked.unembed(hooked.ln_final(residual)).float())
    return check_finite(model, logits)


def token_log_probs(
    model: HookedModel,
    residual: Float[Tensor, "row d_model"],
    rows: Int[Tensor, "read"],
    tokens: Int[Tensor, "read"],
) -> Float[Tensor, "read"]:
    """Natural log-probability of ``tokens[i]`` after row ``rows[i]`` of the last residual stream.

    A HookedTransformer's final norm, head and soft-cap. Where the head's hook points carry hooks,
    it computes its logits whole. Raises NonFiniteError where a logit is NaN or infinite.
    """
    head = cast(Internals, model).unembed
    score = _whole if watched(head.hook_in, head.hook_out) else _in_pieces
    out = torch.empty(len(rows), device=residual.device)
    rows, tokens = rows.to(residual.device), tokens.to(residual.device)
    with torch.no_grad():
        for start in range(0, len(residual), ROWS):
            mine = (rows >= start) & (rows < start + ROWS)
            part = residual[start : start + ROWS]
            out[mine] = score(model, part, rows[mine] - start, tokens[mine])
    return out


def _whole(model: HookedModel, residual: Tensor, rows: Tensor, tokens: Tensor) -> Tensor:
    logits = unembed(model, residual)
    return logits[rows, tokens] - logits.logsumexp(dim=-1)[rows]


def _in_pieces(model: Internals, residual: Tensor, rows: Tensor, tokens: Tensor) -> Tensor:
    x = model.ln_final(residual[None])[0]
    weights, bias = model.unembed.W_U, model.unembed.b_U
    columns = x.T.contiguous()
    room = x.new_empty(min(VOCABULARY, weights.shape[1]), len(x))
    sums = []
    for start in range(0, weights.shape[1], VOCABULARY):
        here = slice(start, start + VOCABULARY)
        product = room[: weights.shape[1] - start]
        torch.addmm(bias[here, None], weights[:, here].T, columns, out=product)
        logits = soft_capped(model, product.float())
        highest = logits.amax(dim=0)
        # In place: a new tensor of this size costs as much as what is computed in it.
        sums.append(logits.sub_(highest).exp_().sum(dim=0).log_().add_(highest))
    total = torch.stack(sums).logsumexp(dim=0)
    if not bool(torch.isfinite(total).all()):
        row = int((~torch.isfinite(total)).nonzero()[0, 0])
        raise not_finite(model, f"row {row} of {len(x)}")
    asked = (x[rows] * weights[:, tokens].T).sum(dim=-1) + bias[tokens]
    return soft_capped(model, asked.float()) - total[rows]


def soft_capped(model: HookedModel, logits: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Logits within the bounds that the model's configuration sets, if it sets any."""
    cap = getattr(model.cfg, "output_logits_soft_cap", None)
    return cap * torch.tanh(logits / cap) if cap and cap > 0 else logits


def check_finite(
    model: HookedModel, logits: Float[Tensor, "*batch d_vocab"]
) -> Float[Tensor, "*batch d_vocab"]:
    """The logits as they are. Raises NonFiniteError where one is NaN or infinite."""
    if not is_finite(logits):
        *at, _ = (~torch.isfinite(logits)).nonzero()[0].tolist()
        raise not_finite(model, f"index {at} of {list(logits.shape[:-1])} rows and positions")
    return logits


def not_finite(model: HookedModel, where: str) -> NonFiniteError:
    """The error to raise for logits that are NaN or infinite."""
    return NonFiniteError(
        f"unembed.hook_out holds a NaN or infinity (logits, {where}) in {model.cfg.dtype}; steer "
        f"less, or: {not_finite_advice(model.cfg.dtype)}"
    )


def is_finite(values: Float[Tensor, "..."]) -> bool:
    """Whether no value is NaN or infinite: one pass without a mask, one wait for the device."""
    if not values.numel():
        return True
    # The extremes are NaN where anything is.
    low, high = values.aminmax()
    return bool(torch.isfinite(low) & torch.isfinite(high))


def watched(*points: nn.Module) -> bool:
    """Whether a hook of any kind sits on one of the hook points."""
    return any(
        p._forward_hooks or p._forward_pre_hooks or p._backward_hooks or p._backward_pre_hooks
        for p in points
    )
