"""HookedTransformer from a hub model without a second copy of its weights.

Gemma-2 and Gemma-3 get modules of their own, which keep one embedding and round as the hub model.
"""

from __future__ import annotations

import importlib.util
import math
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..files import read_json, write_json
from ..types import HookedModel, Tokenizer
from .checkpoint import ModelSource
from .hub import HubConfig, HubModel

Internals = Any
"""Something of TransformerLens whose parameters, settings and hook points are reached by name."""

HOOKED_AVAILABLE = importlib.util.find_spec("transformer_lens.HookedTransformer") is not None
GEMMA_ARCHITECTURES = ("Gemma2ForCausalLM", "Gemma3ForCausalLM")


def hooked_transformer(
    source: ModelSource,
    hub_model: HubModel,
    tokenizer: Tokenizer,
    dtype: torch.dtype,
    n_ctx: int,
) -> HookedModel:
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
        state = _convert_gemma(hub_model, convert) if gemma else convert()
        with init_empty_weights(include_buffers=False):
            model = HookedTransformer(cfg, tokenizer, move_to_device=False)
            if gemma:
                _use_gemma_modules(model)
    expected = dict(model.named_parameters())
    # Biases that a family has none of: its converter leaves some of them out (Phi-3).
    absent = {k for k in expected.keys() - state.keys() if k.rpartition(".")[2].startswith("b_")}
    state |= {name: torch.zeros(expected[name].shape, dtype=dtype) for name in absent}
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
    hub_config: HubConfig,
    dtype: torch.dtype,
    n_ctx: int,
    device: torch.device,
) -> Internals:
    """The TransformerLens configuration of a hub configuration; errors as above."""
    from transformer_lens import HookedTransformerConfig
    from transformer_lens import loading_from_pretrained as loading

    options: dict[str, object] = {"dtype": dtype, "n_ctx": n_ctx, "device": str(device)}
    # What a folder's configuration says is known already: no code of its own is needed for it.
    options["trust_remote_code"] = source.trust_remote_code and not source.local
    if hub_config.architectures[0] in GEMMA_ARCHITECTURES:
        # TransformerLens knows these by name only, with sizes typed in; read them instead.
        return HookedTransformerConfig(**_gemma_config(hub_config, source.hub_id), **options)
    if not source.local:
        with _nothing_trusted_unasked():
            return loading.get_pretrained_model_config(
                source.path, hf_cfg=hub_config.to_dict(), **options
            )
    # TransformerLens guesses the architecture from the words in a path: give it a neutral one.
    with tempfile.TemporaryDirectory(prefix="checkpoint") as neutral:
        said = read_json(Path(source.path) / "config.json")
        if "n_positions" in said:  # GPT-2's, which transformers 5 writes without its other name
            said.setdefault("n_ctx", said["n_positions"])
        write_json(Path(neutral) / "config.json", said)
        return loading.get_pretrained_model_config(neutral, hf_cfg=hub_config.to_dict(), **options)


@contextmanager
def _nothing_trusted_unasked() -> Iterator[None]:
    """TransformerLens lets some hub models run their own code; here only the user may."""
    from transformer_lens import loading_from_pretrained as loading

    trusted = loading.NEED_REMOTE_CODE_MODELS
    loading.NEED_REMOTE_CODE_MODELS = ()
    try:
        yield
    finally:
        loading.NEED_REMOTE_CODE_MODELS = trusted


@contextmanager
def quiet_transformer_lens() -> Iterator[None]:
    """Without its deprecation notes: which class is used is a choice this module states."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        yield


class ScaledEmbed(nn.Module):
    """Gemma's embedding, scaled by sqrt(d_model) as it is looked up, like the hub model's.

    TransformerLens keeps a scaled copy instead, beside the unscaled matrix that unembeds: for
    Gemma-2-9B 1.8 GB more in 16 bits, for Gemma-2-2B a fifth of all weights. ``W_E`` reads as
    there, but is made anew each time.
    """

    def __init__(self, unscaled: Float[Tensor, "d_vocab d_model"]) -> None:
        super().__init__()
        self.unscaled = nn.Parameter(unscaled, requires_grad=False)

    @property
    def scale(self) -> Float[Tensor, ""]:
        # Rounded to the model's dtype before it multiplies, as in the hub model.
        d_model, dtype = self.unscaled.shape[1], self.unscaled.dtype
        return torch.tensor(math.sqrt(d_model), dtype=dtype, device=self.unscaled.device)

    @property
    def W_E(self) -> Float[Tensor, "d_vocab d_model"]:
        return self.unscaled * self.scale

    def forward(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_model"]:
        return self.unscaled[tokens] * self.scale


class GemmaNorm(nn.Module):
    """Gemma's RMS norm as the hub model computes it: in float32 until its result is rounded.

    TransformerLens rounds 1 + weight to the model's dtype and once more before it multiplies,
    which in 16 bits makes the logits' rounding error a third larger. Takes the place of ``norm``,
    with its hooks.
    """

    def __init__(self, norm: Internals) -> None:
        super().__init__()
        self.dtype, self.eps = norm.cfg.dtype, norm.eps
        self.w = nn.Parameter(torch.empty_like(norm.w, dtype=torch.float32), requires_grad=False)
        self.hook_scale, self.hook_normalized = norm.hook_scale, norm.hook_normalized

    def forward(self, x: Float[Tensor, "*batch length"]) -> Float[Tensor, "*batch length"]:
        x = x.float()
        scale = self.hook_scale((x.pow(2).mean(-1, keepdim=True) + self.eps).sqrt())
        return (self.hook_normalized(x / scale) * self.w).to(self.dtype)


def _use_gemma_modules(model: Internals) -> None:
    """Puts the modules above in the place of a HookedTransformer's own (without values yet)."""
    model.embed = ScaledEmbed(model.embed.W_E)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child).__name__ == "RMSNorm":
                setattr(parent, name, GemmaNorm(child))
    model.setup()


def _convert_gemma(
    hub_model: HubModel, convert: Callable[[], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """The converter's state, with the hub model's embedding itself instead of a scaled copy."""
    embedding = hub_model.model.embed_tokens
    kept = embedding.weight
    # The unembedding keeps the values meanwhile, also where the two are one tensor.
    embedding.weight = nn.Parameter(torch.empty_like(kept, device="meta"), requires_grad=False)
    try:
        state = convert()
    finally:
        embedding.weight = kept
    del state["embed.W_E"]
    return state | {"embed.unscaled": kept}


def _gemma_config(hub: HubConfig, name: str) -> dict[str, object]:
    """Gemma-2 and Gemma-3 text models in TransformerLens's terms, from the hub configuration."""
    gemma3 = hub.architectures[0] == "Gemma3ForCausalLM"
    ropes = hub.rope_parameters
    full = ropes.get("full_attention", ropes)
    local = ropes.get("sliding_attention", ropes)
    config: dict[str, object] = {
        "model_name": name,
        "original_architecture": hub.architectures[0],
        "d_model": hub.hidden_size,
        "d_head": hub.head_dim,
        "n_heads": hub.num_attention_heads,
        "n_key_value_heads": hub.num_key_value_heads,
        "d_mlp": hub.intermediate_size,
        "n_layers": hub.num_hidden_layers,
        "eps": hub.rms_norm_eps,
        "d_vocab": hub.vocab_size,
        "act_fn": hub.hidden_activation,
        "initializer_range": hub.initializer_range,
        "normalization_type": "RMS",
        "positional_embedding_type": "rotary",
        "rotary_dim": hub.head_dim,
        "rotary_base": full["rope_theta"],
        "use_attn_scale": True,
        "attn_scale": hub.query_pre_attn_scalar**0.5,
        "gated_mlp": True,
        "final_rms": True,
        "use_normalization_before_and_after": True,
        "use_local_attn": True,
        "window_size": hub.sliding_window,
        "attn_types": ["local" if t.startswith("sliding") else "global" for t in hub.layer_types],
        "default_prepend_bos": True,
        "init_weights": False,
    }
    if gemma3:
        config |= {"use_qk_norm": True, "rotary_base_local": local["rope_theta"]}
    if hub.attn_logit_softcapping:
        config["attn_scores_soft_cap"] = hub.attn_logit_softcapping
    if hub.final_logit_softcapping:
        config["output_logits_soft_cap"] = hub.final_logit_softcapping
    return config
