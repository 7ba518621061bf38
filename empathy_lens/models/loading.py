"""``load_model``: from a name to a model with hooks."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, cast

import torch

from ..errors import InputError, ModelError
from ..types import HookedModel, Provenance
from .card import ModelCard, attach_card, stop_ids, weights_hash
from .devices import resolve_device, resolve_dtype
from .hooked import HOOKED_AVAILABLE, hooked_transformer, quiet_transformer_lens
from .hub import load_hub_config, load_hub_model, load_tokenizer
from .source import ModelSource, locate_model

__all__ = ["Backend", "load_model"]

Backend = Literal["auto", "hooked", "bridge"]


def load_model(
    name: str | Path = "embedded",
    *,
    backend: Backend = "auto",
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    n_ctx: int = 2048,
) -> HookedModel:
    """A language model with hooks, ready for inference.

    Parameters
    ----------
    name
        ``embedded`` (Gemma-3-270M from the package registry), ``embedded:smollm2``, a hub id
        such as ``google/gemma-2-9b-it``, or a folder with config, tokenizer and weights.
    backend
        ``auto`` takes HookedTransformer where it can be had, else TransformerBridge.
    device, dtype
        ``auto``: CUDA, then MPS, then CPU; bfloat16 on CUDA, float16 on MPS (bfloat16 for Gemma-3,
        which overflows there), float32 on CPU.
    n_ctx
        Longest text in tokens that will be accepted (at most what the model was made for).

    Raises
    ------
    InputError
        float16 on CPU, an unknown backend, device or dtype.
    ModelError
        The model does not exist, is gated, cannot be reached, or is not supported.
    """
    resolved_device = resolve_device(device)
    resolved_dtype = resolve_dtype(dtype, resolved_device)
    if backend not in ("auto", "hooked", "bridge"):
        raise InputError(f"backend: expected auto, hooked or bridge, got {backend!r}")
    if backend == "hooked" and not HOOKED_AVAILABLE:
        raise ModelError(
            f"transformer-lens {version('transformer-lens')} has no HookedTransformer; "
            "use --backend bridge, or install 'transformer-lens>=3.9,<4'"
        )
    source = locate_model(str(name), revision)
    if dtype == "auto":
        resolved_dtype = resolve_dtype(dtype, resolved_device, load_hub_config(source).model_type)
    tokenizer = load_tokenizer(source)
    hub_model = load_hub_model(source, resolved_dtype, resolved_device)
    limit = getattr(hub_model.config, "max_position_embeddings", None) or n_ctx
    n_ctx = min(n_ctx, limit)
    chat = bool(tokenizer.chat_template)
    prompt_format = f"{'chat' if chat else 'plain'}, {_bos_policy(tokenizer)}"
    hashed, stops = weights_hash(hub_model), stop_ids(hub_model, tokenizer)
    bos_id = tokenizer.bos_token_id
    used, model = _with_hooks(backend, source, hub_model, tokenizer, resolved_dtype, n_ctx)
    provenance = Provenance(
        model_name=source.hub_id,
        weights_hash=hashed,
        dtype=str(resolved_dtype).removeprefix("torch."),
        backend=used,
        transformer_lens=version("transformer-lens"),
        revision=revision or "",
        prompt_format=prompt_format,
    )
    attach_card(model, ModelCard(provenance, bos_id, stops, chat, n_ctx))
    return cast(HookedModel, model)


def _bos_policy(tokenizer: Any) -> str:
    return "no bos" if tokenizer.bos_token_id is None else "one bos"


def _with_hooks(
    backend: Backend,
    source: ModelSource,
    hub_model: Any,
    tokenizer: Any,
    dtype: torch.dtype,
    n_ctx: int,
) -> tuple[str, Any]:
    """The hub model as a HookedTransformer or a TransformerBridge, and which it became."""
    if backend != "bridge" and HOOKED_AVAILABLE:
        try:
            return "hooked", hooked_transformer(source, hub_model, tokenizer, dtype, n_ctx)
        except (ValueError, KeyError, AttributeError, NotImplementedError) as error:
            if backend == "hooked":
                raise ModelError(
                    f"HookedTransformer does not take {source.hub_id} ({error}); "
                    "use --backend bridge"
                ) from error
    from transformer_lens.model_bridge import TransformerBridge

    try:
        with quiet_transformer_lens():
            bridge = TransformerBridge.boot_transformers(
                source.path,
                hf_model=hub_model,
                tokenizer=tokenizer,
                dtype=dtype,
                device=hub_model.device,
            )
    except (ValueError, KeyError, AttributeError, NotImplementedError) as error:
        raise ModelError(f"TransformerLens cannot bridge {source.hub_id}: {error}") from error
    return "bridge", bridge.eval().requires_grad_(False)
