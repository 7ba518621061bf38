"""Forward passes in pieces, on either backend: with a key-value cache, and with few logits.

At a vocabulary of 262,144 tokens the language-model head costs more than a small model's body,
so it is computed for the positions that are read and for no others.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .errors import NonFiniteError
from .models import model_card, model_device
from .types import HookedModel

__all__ = [
    "KeyValueCache",
    "can_resume",
    "check_finite",
    "early_residual",
    "is_finite",
    "last_logits",
    "new_cache",
    "not_finite",
    "resumed_residual",
    "soft_capped",
    "take_rows",
    "unembed",
]

KeyValueCache = Any
"""The backend's own cache of keys and values; made by ``new_cache``."""


def new_cache(model: HookedModel, batch: int) -> KeyValueCache:
    """An empty cache for ``batch`` rows."""
    if can_resume(model):
        from transformer_lens import TransformerLensKeyValueCache

        return TransformerLensKeyValueCache.init_cache(model.cfg, model.cfg.device, batch)
    from transformers import DynamicCache

    return DynamicCache(config=cast(Any, model).original_model.config)


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
        last = int(model.cfg.n_layers) - 1
        residual = early_residual(model, tokens, attention_mask, layer=last, cache=cache)
        return unembed(model, residual[:, -keep:])
    device = model_device(model)
    options: dict[str, Any] = {"attention_mask": attention_mask.to(device), "logits_to_keep": keep}
    if cache is not None:
        options |= {"past_key_values": cache, "use_cache": True}
    with torch.no_grad():
        logits = model(tokens.to(device), **options)[:, -keep:].float()
    return check_finite(model, logits)


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
        residual = model(
            tokens.to(device),
            attention_mask=attention_mask[:, -tokens.shape[1] :].to(device),
            past_kv_cache=cache,
            stop_at_layer=layer + 1,
        )
    return cast(Tensor, residual)


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
    last = int(model.cfg.n_layers) - 1
    mask = None if attention_mask is None else attention_mask.to(residual.device)
    with torch.no_grad():
        out = model(
            residual,
            start_at_layer=layer + 1,
            stop_at_layer=(last if stop is None else stop) + 1,
            attention_mask=mask,
            past_kv_cache=cache,
        )
    return cast(Tensor, out)


def unembed(
    model: HookedModel, residual: Float[Tensor, "*batch d_model"]
) -> Float[Tensor, "*batch d_vocab"]:
    """A HookedTransformer's final norm, unembedding and logit soft-cap, in float32.

    Raises NonFiniteError where a logit is NaN or infinite.
    """
    hooked = cast(Any, model)
    with torch.no_grad():
        logits = soft_capped(model, hooked.unembed(hooked.ln_final(residual)).float())
    return check_finite(model, logits)


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
        "less, or load the model with --dtype bfloat16 or float32"
    )


def is_finite(values: Float[Tensor, "..."]) -> bool:
    """Whether no value is NaN or infinite: one pass without a mask, one wait for the device."""
    if not values.numel():
        return True
    # The extremes are NaN where anything is.
    low, high = values.aminmax()
    return bool(torch.isfinite(low) & torch.isfinite(high))
