"""A Gemma-2 checkpoint of any size with random weights, written in shards with little memory."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import Gemma2Config, PreTrainedTokenizerFast

from empathy_lens.models.hub import parameters_only

PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"


def gemma2_config(
    *, d_model: int, n_layers: int, n_heads: int, d_head: int, d_vocab: int
) -> Gemma2Config:
    """Gemma-2 with its soft-caps and sliding window; half as many key-value heads as heads."""
    return Gemma2Config(
        vocab_size=d_vocab,
        hidden_size=d_model,
        intermediate_size=4 * d_model,
        num_hidden_layers=n_layers,
        num_attention_heads=n_heads,
        num_key_value_heads=n_heads // 2,
        head_dim=d_head,
        query_pre_attn_scalar=d_head,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )


def save_random_gemma2(
    config: Any, folder: Path, *, dtype: torch.dtype, shard_bytes: int = 400_000_000
) -> int:
    """Writes weights (normal, sd 0.02, seed 0), index, config and tokenizer; returns their bytes.

    A shard at a time is in memory. The tokenizer knows the digits and nothing else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    placed: dict[str, str] = {}
    total = 0
    for number, shard in enumerate(_shards(config, dtype, shard_bytes)):
        name = f"model-{number:05d}.safetensors"
        save_file(shard, folder / name, metadata={"format": "pt"})
        placed |= dict.fromkeys(shard, name)
        total += sum(tensor.nbytes for tensor in shard.values())
    index = {"metadata": {"total_size": total}, "weight_map": placed}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    config.architectures = ["Gemma2ForCausalLM"]
    config.dtype = dtype
    config.save_pretrained(folder)
    _digits().save_pretrained(folder)
    return total


def _shards(config: Any, dtype: torch.dtype, shard_bytes: int) -> Iterator[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    shard: dict[str, Tensor] = {}
    for name, parameter in parameters_only(config).named_parameters():
        values = torch.empty(parameter.shape, dtype=dtype).normal_(0, 0.02, generator=generator)
        if shard and sum(t.nbytes for t in shard.values()) + values.nbytes > shard_bytes:
            yield shard
            shard = {}
        shard[name] = values
    yield shard


def _digits() -> PreTrainedTokenizerFast:
    vocabulary = {token: i for i, token in enumerate((PAD, BOS, EOS, *"0123456789"))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=PAD))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.add_special_tokens([PAD, BOS, EOS])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, bos_token=BOS, eos_token=EOS
    )
