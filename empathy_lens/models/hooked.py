"""HookedTransformer from a hub model without a second copy of its weights."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .gemma import GEMMA_ARCHITECTURES, convert_gemma, gemma_config, use_gemma_modules
from .source import ModelSource

__all__ = ["HOOKED_AVAILABLE", "hooked_config", "hooked_transformer", "quiet_transformer_lens"]

HOOKED_AVAILABLE = importlib.util.find_spec("transformer_lens.HookedTransformer") is not None


def hooked_transformer(
    source: ModelSource, hub_model: Any, tokenizer: Any, dtype: torch.dtype, n_ctx: int
) -> Any:
    """A HookedTransformer that shares the hub model's tensors, on the hub model's device.

    ``HookedTransformer.from_pretrained`` copies every tensor; here its parameters hold no memory
    until the converted ones, which are views where the layouts agree, are put in their place.
    Raises ValueError, KeyError, AttributeError or NotImplementedError for an architecture that
    TransformerLens does not know.
    """
    from accelerate import init_empty_weights
    from transformer_lens import HookedTransformer
    from transformer_lens import loading_from_pretrained as loading

    gemma = hub_model.config.architectures[0] in GEMMA_ARCHITECTURES
    device = hub_model.device
    with quiet_transformer_lens():
        cfg = hooked_config(source, hub_model.config, dtype, n_ctx, device)
        convert = partial(
            loading.get_pretrained_state_dict,
            source.path if source.local else cfg.model_name,
            cfg,
            hub_model,
            dtype=dtype,
        )
        state = convert_gemma(hub_model, convert) if gemma else convert()
        with init_empty_weights(include_buffers=False):
            model = HookedTransformer(cfg, tokenizer, move_to_device=False)
            if gemma:
                use_gemma_modules(model)
    expected = dict(model.named_parameters())
    missing = sorted(expected.keys() - state.keys())
    wrong = sorted(k for k in expected.keys() & state.keys() if expected[k].shape != state[k].shape)
    if missing or wrong:
        raise ValueError(f"missing tensors {missing[:5]}, tensors of wrong shape {wrong[:5]}")
    values = {name: state[name].detach().to(device, p.dtype) for name, p in expected.items()}
    model.load_state_dict(values, assign=True, strict=False)
    # Not HookedTransformer.to: it warns about devices, which is for `doctor` to judge.
    return nn.Module.to(model, device).eval().requires_grad_(False)


def hooked_config(
    source: ModelSource,
    hub_config: Any,
    dtype: torch.dtype,
    n_ctx: int,
    device: torch.device,
) -> Any:
    """The TransformerLens configuration of a hub configuration; errors as above."""
    from transformer_lens import HookedTransformerConfig
    from transformer_lens import loading_from_pretrained as loading

    options: dict[str, Any] = {"dtype": dtype, "n_ctx": n_ctx, "device": str(device)}
    if hub_config.architectures[0] in GEMMA_ARCHITECTURES:
        # TransformerLens knows these by name only, with sizes typed in; read them instead.
        return HookedTransformerConfig(**gemma_config(hub_config, source.hub_id), **options)
    if not source.local:
        return loading.get_pretrained_model_config(
            source.path, hf_cfg=hub_config.to_dict(), **options
        )
    # TransformerLens guesses the architecture from the words in a path: give it a neutral one.
    with tempfile.TemporaryDirectory(prefix="checkpoint") as neutral:
        shutil.copy(Path(source.path) / "config.json", neutral)
        return loading.get_pretrained_model_config(neutral, hf_cfg=hub_config.to_dict(), **options)


@contextmanager
def quiet_transformer_lens() -> Iterator[None]:
    """Without its deprecation notes: which class is used is a choice this module states."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        yield
