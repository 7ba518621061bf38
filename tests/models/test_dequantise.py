"""A tiny GGUF file of a Qwen2 model, made here, becomes a folder that is loaded as any other."""

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Kind
from safetensors.torch import load_file
from tokenizers import Tokenizer, pre_tokenizers

from empathy_lens.errors import ModelError
from empathy_lens.models import load_model, load_tokenizer, locate_model, model_card
from empathy_lens.models.dequantise import dequantise_qwen2

D, WIDE, KV, LETTERS = 32, 64, 16, sorted(pre_tokenizers.ByteLevel.alphabet())
ADDED = {"<|endoftext|>": 3, "<|im_start|>": 3, "<|im_end|>": 3, "<|fim_pad|>": 3, "<call>": 4}
TOKENS = [*LETTERS, "hi", "11", *ADDED, "[PAD1]", "[PAD2]"]
KINDS = [1] * 258 + [*ADDED.values(), 5, 5]
END, TURN_ENDS = TOKENS.index("<|endoftext|>"), TOKENS.index("<|im_end|>")
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
BLOCK = {
    "attn_norm": (D,),
    "ffn_norm": (D,),
    "attn_q": (D, D),
    "attn_k": (KV, D),
    "attn_v": (KV, D),
    "attn_output": (D, D),
    "ffn_gate": (WIDE, D),
    "ffn_up": (WIDE, D),
    "ffn_down": (D, WIDE),
}
BIASES = {"attn_q": (D,), "attn_k": (KV,), "attn_v": (KV,)}


def tiny_tensors():
    """Its tensors by name, as numbers, with the kind that each is stored as."""
    draw = np.random.default_rng(0)
    matrix = draw.normal(size=(len(TOKENS), D)).astype(np.float32)
    tensors = {
        "token_embd.weight": (matrix, Kind.Q5_0),
        "output.weight": (matrix, Kind.Q8_0),
        "output_norm.weight": (np.ones(D, np.float32), Kind.F32),
    }
    for layer in range(2):
        named = {f"{k}.weight": s for k, s in BLOCK.items()}
        named |= {f"{k}.bias": s for k, s in BIASES.items()}
        for name, shape in named.items():
            values = draw.normal(scale=0.3, size=shape).astype(np.float32)
            kind = Kind.F32 if len(shape) == 1 else Kind.Q8_0
            tensors[f"blk.{layer}.{name}"] = (values, kind)
    return tensors


def write_gguf(path, tensors, architecture="qwen2"):
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(2)
    writer.add_context_length(64)
    writer.add_embedding_length(D)
    writer.add_feed_forward_length(WIDE)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_rope_freq_base(1e6)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(TOKENS)
    writer.add_token_types(KINDS)
    writer.add_token_merges(["h i", "1 1"])
    writer.add_bos_token_id(END)
    writer.add_eos_token_id(TURN_ENDS)
    writer.add_pad_token_id(END)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHATML)
    for name, (values, kind) in tensors.items():
        stored = values if kind == Kind.F32 else gguf.quantize(values, kind)
        writer.add_tensor(name, stored, raw_dtype=None if kind == Kind.F32 else kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def unseen(_done, _in_all):
    pass


@pytest.fixture(scope="module")
def tiny_gguf(tmp_path_factory):
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", tiny_tensors())


@pytest.fixture(scope="module")
def folder(tiny_gguf):
    made = tiny_gguf.parent / "made"
    dequantise_qwen2(tiny_gguf, made, unseen)
    return made


def test_every_tensor_is_what_transformers_reads_rounded_to_float16(tiny_gguf, folder):
    from transformers import AutoModelForCausalLM

    theirs = AutoModelForCausalLM.from_pretrained(
        tiny_gguf.parent, gguf_file=tiny_gguf.name, dtype=torch.float32
    ).state_dict()
    ours = load_file(folder / "model.safetensors")
    # Of the two roundings of the one matrix, the finer.
    theirs["model.embed_tokens.weight"] = theirs.pop("lm_head.weight")
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        assert torch.equal(values, theirs[name].half()), name


def test_rows_that_do_not_fit_in_memory_at_once_are_the_same(tiny_gguf, folder, monkeypatch):
    monkeypatch.setattr("empathy_lens.models.dequantise.VALUES_AT_A_TIME", 5 * D)
    seen = []
    dequantise_qwen2(tiny_gguf, tiny_gguf.parent / "again", lambda *done: seen.append(done))
    again = (tiny_gguf.parent / "again" / "model.safetensors").read_bytes()
    assert again == (folder / "model.safetensors").read_bytes()
    assert len(seen) > len(load_file(folder / "model.safetensors"))


def test_the_folder_is_loaded_as_a_chat_model_without_bos(folder, backend):
    model = load_model(folder, backend=backend, device="cpu")
    card = model_card(model)
    assert (model.cfg.d_model, model.cfg.n_layers, model.cfg.dtype) == (D, 2, torch.float32)
    assert (card.bos_id, card.provenance.prompt_format) == (None, "chat, no bos")
    assert card.stop_ids == {END, TURN_ENDS}
    assert torch.isfinite(model(model.to_tokens("hi"))).all()


@pytest.fixture(scope="module")
def tokenizer(folder):
    return load_tokenizer(locate_model(str(folder)))


def test_the_tokenizer_is_that_of_qwens_makers(tokenizer):
    named = (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token)
    assert named == (None, "<|im_end|>", "<|endoftext|>", None)
    assert tokenizer("hi").input_ids == [TOKENS.index("hi")]
    assert len(tokenizer) == len(TOKENS) - 2  # What fills up the embedding is no token.
    assert tokenizer("<|im_start|>").input_ids == [TOKENS.index("<|im_start|>")]


def test_its_file_says_all_of_it_also_to_readers_that_do_not_know_qwen(folder):
    raw = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert raw.encode("e\u0301").ids == raw.encode("\u00e9").ids
    assert raw.encode("11 hi").tokens == ["1", "1", "\u0120", "hi"]  # Digits stand alone.


def test_only_what_steers_a_chat_is_left_out_of_text(tokenizer):
    ids = [TOKENS.index(token) for token in ("hi", *ADDED)]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "hi<|fim_pad|><call>"


def test_a_prompt_is_put_into_chatml(tokenizer):
    asked = [{"role": "user", "content": "hi"}]
    text = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
    assert text == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"


def beyond(tensors):
    values, _ = tensors["blk.0.attn_q.bias"]
    tensors["blk.0.attn_q.bias"] = (values + 1e5, Kind.F32)


def of_another_shape(tensors):
    tensors["blk.1.attn_k.bias"] = (np.zeros(D, np.float32), Kind.F32)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (beyond, "layers.0.self_attn.q_proj.bias: expected numbers within float16"),
        (of_another_shape, r"layers.1.self_attn.k_proj.bias: expected \(16,\)"),
        (lambda tensors: tensors.pop("blk.1.ffn_up.weight"), "missing or left over: blk.1.ffn_up"),
    ],
)
def test_what_cannot_be_a_folder_is_named(tmp_path, change, named):
    tensors = tiny_tensors()
    change(tensors)
    path = write_gguf(tmp_path / "odd.gguf", tensors)
    with pytest.raises(ModelError, match=named):
        dequantise_qwen2(path, tmp_path / "made", unseen)


def test_another_architecture_is_refused(tmp_path):
    path = write_gguf(tmp_path / "llama.gguf", tiny_tensors(), "llama")
    with pytest.raises(ModelError, match="expected a GGUF file of a qwen2 model, got llama"):
        dequantise_qwen2(path, tmp_path / "made", unseen)
