"""Tiny random checkpoints in the hub's format, made in a second and small enough for any test.

Text is tokenised byte by byte, so that token counts are byte counts and nothing is unknown.
Weights are drawn large, so that soft-caps, sliding windows and norm scales leave a mark.
"""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import BPE
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

PAD, BOS, EOS = 0, 1, 2
SPECIAL = ("<pad>", "<bos>", "<eos>", "<user>", "<model>", "<end>")
SLIDING_WINDOW = 8
ATTENTION_CAP, LOGIT_CAP = 4.0, 6.0

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<user>{{ message['content'] }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<model>{% endif %}"
)
CHAT_TEMPLATE_WITHOUT_BOS = CHAT_TEMPLATE.removeprefix("{{ bos_token }}")


def byte_tokenizer(
    *, chat_template: str | None = None, with_bos: bool = True
) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer that, like Gemma's and Llama's, starts every text with BOS."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate((*SPECIAL, *letters))}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL))
    if with_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", BOS)]
        )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>" if with_bos else None,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = chat_template
    return fast


def save_model(model, tokenizer, folder: Path, seed: int, max_shard_size: str = "50GB") -> Path:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    tokenizer.save_pretrained(folder)
    return folder


def save_tiny_gemma2(
    folder: Path, *, seed: int = 0, n_layers: int = 4, max_shard_size: str = "50GB"
) -> Path:
    """Gemma-2 with both soft-caps and a sliding window of 8; no chat template."""
    tokenizer = byte_tokenizer()
    config = Gemma2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=n_layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        query_pre_attn_scalar=8,
        max_position_embeddings=512,
        sliding_window=SLIDING_WINDOW,
        attn_logit_softcapping=ATTENTION_CAP,
        final_logit_softcapping=LOGIT_CAP,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
    )
    return save_model(Gemma2ForCausalLM(config), tokenizer, folder, seed, max_shard_size)


def tiny_llama_config(tokenizer: PreTrainedTokenizerFast, *, n_ctx: int = 512) -> LlamaConfig:
    """Three layers of width 32, untied embeddings, grouped-query attention."""
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=n_ctx,
        tie_word_embeddings=False,
        pad_token_id=PAD,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=EOS,
    )


def save_tiny_llama(
    folder: Path,
    *,
    seed: int = 0,
    chat_template: str | None = CHAT_TEMPLATE,
    with_bos: bool = True,
    max_shard_size: str = "50GB",
) -> Path:
    """Llama with untied embeddings, grouped-query attention and a chat template."""
    tokenizer = byte_tokenizer(chat_template=chat_template, with_bos=with_bos)
    config = tiny_llama_config(tokenizer)
    return save_model(LlamaForCausalLM(config), tokenizer, folder, seed, max_shard_size)
