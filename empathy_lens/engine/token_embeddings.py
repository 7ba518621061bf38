"""What a model knows of a text before any layer has computed: its token embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import numpy as np
import torch
from jaxtyping import Float

from ..models import Internals, model_device
from ..types import HookedModel
from .tokens import encode


def mean_token_embedding(
    model: HookedModel,
) -> Callable[[Sequence[str]], Float[np.ndarray, "text d_model"]]:
    """A function from texts to the mean of the embedding matrix's rows over each text's tokens.

    Those that a completion has, so never BOS; positions play no part, no layer runs and no hook
    acts. In float32, scaled as the model's embedding module scales them. The function raises
    InputError for an empty text or one longer than the context.
    """
    return partial(_mean_rows, model)


def _mean_rows(model: HookedModel, texts: Sequence[str]) -> Float[np.ndarray, "text d_model"]:
    embed = cast(Internals, model).embed
    rows_of = getattr(embed, "original_component", embed)  # a bridge's own, without its hooks
    device = model_device(model)
    means = []
    with torch.no_grad():
        for text in texts:
            tokens = torch.tensor([encode(model, text).completion], device=device)
            means.append(rows_of(tokens)[0].float().mean(dim=0).cpu())
    return torch.stack(means).numpy()
