"""Published sizes of a few models, for a machine that cannot reach the hub (or has no access)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..errors import ModelError
from ..models import HubConfig, ModelSource, load_hub_config
from .machine import Check, memory_need

__all__ = ["KNOWN_MODELS", "KnownNeed", "known_config", "memory_table", "model_config"]

GEMMA_2_2B = {
    "model_type": "gemma2",
    "architectures": ["Gemma2ForCausalLM"],
    "vocab_size": 256_000,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
}
GEMMA_2_9B = GEMMA_2_2B | {
    "hidden_size": 3584,
    "intermediate_size": 14336,
    "num_hidden_layers": 42,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
}
KNOWN_MODELS: dict[str, dict[str, object]] = {
    "google/gemma-2-9b-it": GEMMA_2_9B | {"dtype": "bfloat16"},
    "google/gemma-2-9b": GEMMA_2_9B | {"dtype": "float32"},
    "google/gemma-2-2b-it": GEMMA_2_2B | {"dtype": "bfloat16"},
    "google/gemma-2-2b": GEMMA_2_2B | {"dtype": "float32"},
    "meta-llama/Llama-3.1-8B-Instruct": {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "dtype": "bfloat16",
        "vocab_size": 128_256,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
    "Qwen/Qwen2.5-7B-Instruct": {
        "model_type": "qwen2",
        "architectures": ["Qwen2ForCausalLM"],
        "dtype": "bfloat16",
        "vocab_size": 152_064,
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
    },
    "microsoft/Phi-3-mini-4k-instruct": {
        "model_type": "phi3",
        "architectures": ["Phi3ForCausalLM"],
        "dtype": "bfloat16",
        "vocab_size": 32_064,
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
    },
    "google/gemma-3-270m": {
        "model_type": "gemma3_text",
        "architectures": ["Gemma3ForCausalLM"],
        "dtype": "bfloat16",
        "vocab_size": 262_144,
        "hidden_size": 640,
        "intermediate_size": 2048,
        "num_hidden_layers": 18,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 256,
    },
    "HuggingFaceTB/SmolLM2-135M-Instruct": {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "dtype": "bfloat16",
        "vocab_size": 49_152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "tie_word_embeddings": True,
    },
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
    rows = []
    for hub_id in KNOWN_MODELS:
        need = memory_need(known_config(hub_id), torch.bfloat16)
        float32 = need.parameters * torch.float32.itemsize
        rows.append(
            KnownNeed(
                hub_id,
                need.parameters,
                need.download,
                need.stored,
                need.weights,
                float32,
                need.working,
            )
        )
    return rows
