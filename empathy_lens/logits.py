"""Logits of the last positions only, with a key-value cache, on either backend.

At a vocabulary of 262,144 tokens the language-model head costs more than a small model's body,
so it is computed for the positions that are read and for no others.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .errors import NonFiniteError
from .models import model_card
from .types import HookedModel

__all__ = [
    "KeyValueCache",
    "can_resume",
    "last_logits",
    "new_cache",
    "resumed_logits",
    "unembed",
]

KeyValueCache = Any
"""The backend's own cache of keys and values; made by ``new_cache``."""


def new_cache(model: HookedModel, batch: int) -> KeyValueCache:
    """An empty cache for ``batch`` rows."""
    if model_card(model).provenance.backend == "hooked":
        from transformer_lens import TransformerLensKeyValueCache

        return TransformerLensKeyValueCache.init_cache(model.cfg, model.cfg.device, batch)
    from transformers import DynamicCache

    return DynamicCache(config=cast(Any, model).original_model.config)


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
    device = torch.device(model.cfg.device or "cpu")
    tokens, attention_mask = tokens.to(device), attention_mask.to(device)
    with torch.no_grad():
        if model_card(model).provenance.backend == "hooked":
            # HookedTransformer keeps the mask of earlier positions in its cache.
            residual = model(
                tokens,
                attention_mask=attention_mask[:, -tokens.shape[1] :],
                past_kv_cache=cache,
                stop_at_layer=int(model.cfg.n_layers),
            )
            logits = unembed(model, residual[:, -keep:])
        else:
            options: dict[str, Any] = {"attention_mask": attention_mask, "logits_to_keep": keep}
            if cache is not None:
                options |= {"past_key_values": cache, "use_cache": True}
            logits = model(tokens, **options)[:, -keep:].float()
    return _finite(model, logits)


def can_resume(model: HookedModel) -> bool:
    """Whether a forward pass can start from the middle (``start_at_layer``)."""
    return model_card(model).provenance.backend == "hooked"


def resumed_logits(
    model: HookedModel,
    residual: Float[Tensor, "batch pos d_model"],
    attention_mask: Int[Tensor, "batch pos"],
    *,
    layer: int,
    keep: int = 1,
) -> Float[Tensor, "batch keep d_vocab"]:
    """``last_logits`` from the ``resid_post`` of a layer on, without the layers up to it."""
    mask = attention_mask.to(residual.device)
    n_layers = int(model.cfg.n_layers)
    with torch.no_grad():
        out = model(residual, start_at_layer=layer + 1, stop_at_layer=n_layers, attention_mask=mask)
        return _finite(model, unembed(model, out[:, -keep:]))


def _finite(
    model: HookedModel, logits: Float[Tensor, "batch keep d_vocab"]
) -> Float[Tensor, "batch keep d_vocab"]:
    if not torch.isfinite(logits).all():
        raise NonFiniteError(
            f"logits are not finite in {model.cfg.dtype}; steer less, or load the model with "
            "--dtype bfloat16 or float32"
        )
    return logits


def unembed(
    model: HookedModel, residual: Float[Tensor, "batch keep d_model"]
) -> Float[Tensor, "batch keep d_vocab"]:
    """A HookedTransformer's final norm, unembedding and logit soft-cap, in float32."""
    hooked = cast(Any, model)
    logits = hooked.unembed(hooked.ln_final(residual)).float()
    cap = getattr(hooked.cfg, "output_logits_soft_cap", None)
    return cap * torch.tanh(logits / cap) if cap and cap > 0 else logits
