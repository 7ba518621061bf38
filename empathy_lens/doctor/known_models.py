"""Published sizes of a few models, for a machine that cannot reach the hub (or has no access)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch

from ..errors import ModelError
from ..models import HubConfig, ModelSource, load_hub_config
from .machine import Check, memory_need

SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
)


def _published(
    model_type: str, architecture: str, dtype: str, *sizes: int, **others: object
) -> dict[str, object]:
    """A configuration of transformers, as far as memory depends on it; ``sizes`` are ``SIZES``."""
    kind = {"model_type": model_type, "architectures": [architecture], "dtype": dtype}
    return {**kind, **dict(zip(SIZES, sizes, strict=True)), **others}


GEMMA_2 = partial(_published, "gemma2", "Gemma2ForCausalLM", head_dim=256)
LLAMA = partial(_published, "llama", "LlamaForCausalLM")
GEMMA_2_9B = (256_000, 3584, 14_336, 42, 16, 8)
GEMMA_2_2B = (256_000, 2304, 9216, 26, 8, 4)
QWEN_2 = partial(_published, "qwen2", "Qwen2ForCausalLM", "bfloat16")
KNOWN_MODELS: dict[str, dict[str, object]] = {
    "google/gemma-2-9b-it": GEMMA_2("bfloat16", *GEMMA_2_9B),
    "google/gemma-2-9b": GEMMA_2("float32", *GEMMA_2_9B),
    "google/gemma-2-2b-it": GEMMA_2("bfloat16", *GEMMA_2_2B),
    "google/gemma-2-2b": GEMMA_2("float32", *GEMMA_2_2B),
    "meta-llama/Llama-3.1-8B-Instruct": LLAMA("bfloat16", 128_256, 4096, 14_336, 32, 32, 8),
    "Qwen/Qwen2.5-7B-Instruct": QWEN_2(152_064, 3584, 18_944, 28, 28, 4),
    "Qwen/Qwen2.5-Coder-0.5B-Instruct": QWEN_2(
        151_936, 896, 4864, 24, 14, 2, tie_word_embeddings=True
    ),
    "Qwen/Qwen2.5-Coder-1.5B-Instruct": QWEN_2(
        151_936, 1536, 8960, 28, 12, 2, tie_word_embeddings=True
    ),
    "microsoft/Phi-3-mini-4k-instruct": _published(
        "phi3", "Phi3ForCausalLM", "bfloat16", 32_064, 3072, 8192, 32, 32, 32
    ),
    "google/gemma-3-270m": _published(
        "gemma3_text", "Gemma3ForCausalLM", "bfloat16", 262_144, 640, 2048, 18, 4, 1, head_dim=256
    ),
    "HuggingFaceTB/SmolLM2-135M-Instruct": LLAMA(
        "bfloat16", 49_152, 576, 1536, 30, 9, 3, tie_word_embeddings=True
    ),
}


def known_config(hub_id: str) -> HubConfig:
    """The configuration of a model in the table, as far as memory depends on it."""
    from transformers import AutoConfig

    sizes = dict(KNOWN_MODELS[hub_id])
    return AutoConfig.for_model(sizes.pop("model_type"), **sizes)


def model_config(source: ModelSource) -> tuple[HubConfig, Check]:
    """A model's configuration, and a check that says where it is from.

    Of a hub model only the configuration is downloaded; for a well-known one that is out of
    reach or gated, the built-in sizes do. Raises ModelError where there are none.
    """
    try:
        config = load_hub_config(source)
    except ModelError as error:
        if source.local or source.hub_id not in KNOWN_MODELS:
            raise
        config = known_config(source.hub_id)
        figure = f"{config.model_type}, built-in sizes"
        return config, Check("configuration", "warn", figure, remedy=str(error))
    return config, Check("configuration", "ok", f"{config.model_type}, its config.json")


@dataclass(frozen=True)
class KnownNeed:
    """A row of the table of well-known models: memory and download in bytes."""

    model: str
    parameters: int
    download: int
    stored: str
    weights_16_bits: int
    weights_float32: int
    working: int
    source: str = "computed"


def memory_table() -> list[KnownNeed]:
    """The need of the models that are named in the documentation, in 16 and in 32 bits."""
    needs = {name: memory_need(known_config(name), torch.bfloat16) for name in KNOWN_MODELS}
    return [
        KnownNeed(
            model=name,
            parameters=need.parameters,
            download=need.download,
            stored=need.stored,
            weights_16_bits=need.weights,
            weights_float32=need.parameters * torch.float32.itemsize,
            working=need.working,
        )
        for name, need in needs.items()
    ]
