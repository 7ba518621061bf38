"""The tokenizer of Qwen2 models as its makers publish it, from what a GGUF file has of it.

A GGUF file holds vocabulary, merges and chat template, and leaves out the rest or has it
otherwise: texts are normalised (NFC), no text begins with a BOS and there is none, the tokens for
filling in code are ordinary text, and the rows of the embedding beyond the vocabulary are no
tokens ("[PAD151665]").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tokenizers import AddedToken, Regex, decoders, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as RawTokenizer
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from ..errors import ModelError

NORMAL, CONTROL, USER_DEFINED = 1, 3, 4
"""Kinds of tokens in GGUF; UNUSED (5) are no tokens."""
ORDINARY = {"fim_prefix", "fim_middle", "fim_suffix", "fim_pad", "repo_name", "file_sep"}
"""Added tokens that GGUF calls control tokens and Qwen's makers do not."""


def qwen2_tokenizer(read: Callable[[str], Any]) -> PreTrainedTokenizerFast:
    """The tokenizer of the GGUF file whose metadata ``read`` gives by key.

    Raises ModelError where the file's added tokens do not follow on its vocabulary.
    """
    tokens, kinds, merges = (
        read(f"tokenizer.ggml.{key}") for key in ("tokens", "token_type", "merges")
    )
    kind_of = dict(zip(tokens, kinds, strict=True))
    ids = {token: i for i, token in enumerate(tokens)}
    vocabulary = {token: i for token, i in ids.items() if kind_of[token] == NORMAL}
    pairs = [tuple(merge.split(" ")) for merge in merges]
    raw = RawTokenizer(BPE(vocab=vocabulary, merges=pairs))
    as_bytes = {"add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    raw.normalizer = normalizers.NFC()
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(**as_bytes),
        ]
    )
    raw.post_processor = processors.ByteLevel(**as_bytes)
    raw.decoder = decoders.ByteLevel(**as_bytes)
    added = [t for t in tokens if kind_of[t] in (CONTROL, USER_DEFINED)]
    special = {t for t in added if kind_of[t] == CONTROL and t.strip("<|>") not in ORDINARY}
    raw.add_tokens([AddedToken(t, normalized=False, special=t in special) for t in added])
    if wrong := [t for t in added if raw.token_to_id(t) != ids[t]]:
        raise ModelError(f"the GGUF file's tokens {wrong[:3]} do not follow on its vocabulary")
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token=None,
        unk_token=None,
        eos_token=tokens[read("tokenizer.ggml.eos_token_id")],
        pad_token=tokens[read("tokenizer.ggml.padding_token_id")],
        chat_template=read("tokenizer.chat_template"),
        model_max_length=read("qwen2.context_length"),
        clean_up_tokenization_spaces=False,
    )
