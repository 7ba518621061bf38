"""Tiny tokenizers in the structure of well-known families: special tokens, post-processors, chats.

Text is tokenised byte by byte or, as SentencePiece does, letter by letter with a mark for spaces.
What stands around a text and what a template writes are as in the family; the templates are
written afresh and no longer than that takes.
"""

from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}"
    "{{ '<start_of_turn>' + message['role'] + '\n' + message['content'] | trim + "
    "'<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
LLAMA_2 = (
    "{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + message['content'].strip() + ' [/INST]' }}{% else %}"
    "{{ ' ' + message['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
LLAMA_3 = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\nToday Date: " + date_string + "\\n\\n" }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
    {{- message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + '[/INST]' }}{% else %}"
    "{{ ' ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
)
PHI_3 = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SYSTEM_AND_CHATML = (
    "{% if messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}" + CHATML
)
OLMO = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Family:
    """``adds`` is what the post-processor puts around a text, in the words of ``tokenizers``.

    ``pieces`` says how text is cut: "bytes", "letters" (a mark for spaces) or "words" (the same
    with a mark before the first word, as Llama 2).
    """

    special: tuple[str, ...]
    eos: str
    bos: str | None = None
    adds: str = "$A"
    template: str | None = None
    pieces: str = "bytes"


CHATML_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
HEADERS = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
PHI_TOKENS = ("<|user|>", "<|assistant|>", "<|end|>")
FAMILIES = {
    "gemma-2-it": Family(
        ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"),
        "<eos>",
        "<bos>",
        "<bos> $A",
        GEMMA,
        "letters",
    ),
    "gemma-3 base": Family(
        ("<pad>", "<eos>", "<bos>"), "<eos>", "<bos>", "<bos> $A", None, "letters"
    ),
    "llama-2-chat": Family(("<unk>", "<s>", "</s>"), "</s>", "<s>", "<s> $A", LLAMA_2, "words"),
    "llama-3-instruct": Family(
        ("<|begin_of_text|>", "<|end_of_text|>", *HEADERS),
        "<|eot_id|>",
        "<|begin_of_text|>",
        "<|begin_of_text|> $A",
        LLAMA_3,
    ),
    "mistral-instruct": Family(
        ("<unk>", "<s>", "</s>", "[INST]", "[/INST]"), "</s>", "<s>", "<s> $A", MISTRAL, "words"
    ),
    "qwen-2.5-instruct": Family(CHATML_TOKENS, "<|im_end|>", None, "$A", SYSTEM_AND_CHATML),
    "qwen-3": Family((*CHATML_TOKENS, "<think>", "</think>"), "<|im_end|>", None, "$A", CHATML),
    "qwen base with a bos": Family(("<|endoftext|>",), "<|endoftext|>", "<|endoftext|>"),
    "phi-3": Family(("<unk>", "<s>", "</s>", *PHI_TOKENS), "</s>", "<s>", "$A", PHI_3, "words"),
    "smollm2-instruct": Family(
        CHATML_TOKENS, "<|im_end|>", "<|im_start|>", "$A", SYSTEM_AND_CHATML
    ),
    "gpt-neox": Family(("<|endoftext|>",), "<|endoftext|>", "<|endoftext|>"),
    "olmo, which ends texts": Family(("<|endoftext|>",), "<|endoftext|>", None, "$A <|endoftext|>"),
    "olmo-2-instruct": Family(
        ("<|endoftext|>",), "<|endoftext|>", "<|endoftext|>", "$A", "{{ bos_token }}" + OLMO
    ),
}


def family_tokenizer(family: Family) -> PreTrainedTokenizerFast:
    """The family's tokenizer, with a vocabulary of letters."""
    if family.pieces == "bytes":
        letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    else:
        letters = ["▁", *map(chr, range(32, 127)), "\n", *(f"<0x{i:02X}>" for i in range(256))]
    vocabulary = {token: i for i, token in enumerate((*family.special, *letters))}
    raw = Tokenizer(BPE(vocab=vocabulary, merges=[], byte_fallback=family.pieces != "bytes"))
    if family.pieces == "bytes":
        raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        raw.decoder = decoders.ByteLevel()
    else:
        marks = [normalizers.Prepend("▁")] if family.pieces == "words" else []
        raw.normalizer = normalizers.Sequence([*marks, normalizers.Replace(" ", "▁")])
        strip = [decoders.Strip(" ", 1, 0)] if marks else []
        raw.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
        )
    raw.add_special_tokens([AddedToken(t, normalized=False) for t in family.special])
    used = [(t, vocabulary[t]) for t in family.special if t in family.adds.split()]
    around = processors.TemplateProcessing(single=family.adds, special_tokens=used)
    raw.post_processor = (
        processors.Sequence([processors.ByteLevel(trim_offsets=False), around])
        if family.pieces == "bytes"
        else around
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token=family.bos,
        eos_token=family.eos,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = family.template
    return fast


def save_family(folder: Path, model: Path, family: Family) -> Path:
    """A model's folder with the family's tokenizer instead of its own."""
    folder.mkdir(parents=True)
    for name in ("config.json", "generation_config.json", "model.safetensors"):
        (folder / name).hardlink_to(model / name)
    family_tokenizer(family).save_pretrained(folder)
    return folder
