"""What the library must know of a loaded model beside its weights."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, cast

import torch
from torch import nn

from ..types import HookedModel, Provenance

__all__ = ["ModelCard", "attach_card", "model_card", "stop_ids", "weights_hash"]

CARD_ATTRIBUTE = "empathy_lens_card"
HASHED_VALUES = 64


@dataclass(frozen=True)
class ModelCard:
    """What the library must know of a loaded model beside its weights.

    ``bos_id`` is the token that starts every text, or None for models without one; ``stop_ids``
    end a completion; ``chat`` says whether prompts are wrapped in the tokenizer's chat template.
    """

    provenance: Provenance
    bos_id: int | None
    stop_ids: frozenset[int]
    chat: bool
    n_ctx: int


def attach_card(model: Any, card: ModelCard) -> None:
    """Keeps the card on the model, where :func:`model_card` finds it."""
    object.__setattr__(model, CARD_ATTRIBUTE, card)


def model_card(model: HookedModel) -> ModelCard:
    """The card of a model; made on the spot for one that ``load_model`` did not load.

    Such a model's weights may have been processed by TransformerLens, which changes the
    residual stream: ``weight_basis`` is then "processed" and its directions are its own.
    """
    card = getattr(model, CARD_ATTRIBUTE, None)
    if card is not None:
        return cast(ModelCard, card)
    cfg, tokenizer = model.cfg, model.tokenizer
    processed = str(getattr(cfg, "normalization_type", "")).endswith("Pre")
    chat = bool(getattr(tokenizer, "chat_template", None))
    card = ModelCard(
        provenance=Provenance(
            model_name=str(getattr(cfg, "model_name", "custom")),
            weights_hash=weights_hash(cast(nn.Module, model)),
            dtype=str(getattr(cfg, "dtype", "")).removeprefix("torch."),
            backend="hooked" if type(model).__name__ == "HookedTransformer" else "bridge",
            transformer_lens=version("transformer-lens"),
            weight_basis="processed" if processed else "hub",
            prompt_format="chat" if chat else "plain",
        ),
        bos_id=getattr(tokenizer, "bos_token_id", None),
        stop_ids=stop_ids(model, tokenizer),
        chat=chat,
        n_ctx=int(getattr(cfg, "n_ctx", 2048)),
    )
    attach_card(model, card)
    return card


def stop_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """The end tokens of the tokenizer and of the model's generation settings (end of turn)."""
    settings = getattr(model, "generation_config", None)
    configured = getattr(settings, "eos_token_id", None)
    listed = configured if isinstance(configured, list) else [configured]
    ids = (*listed, getattr(tokenizer, "eos_token_id", None))
    return frozenset(int(i) for i in ids if i is not None)


def weights_hash(module: nn.Module) -> str:
    """A fingerprint of the loaded weights: names, shapes and evenly spaced values of each tensor.

    Reading a few values of every tensor tells models and fine-tunes apart without touching
    gigabytes.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.named_parameters()):
        flat = tensor.detach().reshape(-1)
        step = max(1, flat.numel() // HASHED_VALUES)
        values = flat[::step][:HASHED_VALUES].to("cpu", torch.float32)
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()[:32]
