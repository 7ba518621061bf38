"""A tiny random model of each family that TransformerLens has, on both backends."""

import logging

import pytest
import torch
from tiny_models import BOS, EOS, PAD, byte_tokenizer, save_model
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from empathy_lens.models import HOOKED_AVAILABLE, load_model, model_card
from empathy_lens.types import Site

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
}
GROUPED = {**SIZES, "num_key_value_heads": 2}
FAMILIES = {
    "gemma3": (Gemma3ForCausalLM, Gemma3TextConfig, {**GROUPED, "head_dim": 8}),
    "gpt2": (
        GPT2LMHeadModel,
        GPT2Config,
        {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128},
    ),
    "gpt_neox": (GPTNeoXForCausalLM, GPTNeoXConfig, SIZES),
    "mistral": (MistralForCausalLM, MistralConfig, {**GROUPED, "sliding_window": 8}),
    "phi3": (Phi3ForCausalLM, Phi3Config, {**GROUPED, "sliding_window": 8}),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config, GROUPED),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config, {**GROUPED, "head_dim": 8}),
}


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def folder(request, tmp_path_factory):
    made, config, sizes = FAMILIES[request.param]
    tokenizer = byte_tokenizer()
    special = {"pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS}
    model = made(config(vocab_size=len(tokenizer), **sizes, **special))
    return save_model(model, tokenizer, tmp_path_factory.mktemp(request.param) / "model", seed=0)


def test_the_residual_stream_and_logits_are_the_hub_models(folder, backend, hub_model, caplog):
    with caplog.at_level(logging.WARNING, logger="empathy_lens"):
        model = load_model(folder, backend="auto" if backend == "hooked" else backend, device="cpu")
    assert model_card(model).provenance.backend == backend
    assert not caplog.records
    tokens = torch.randint(10, 260, (2, 24), generator=torch.Generator().manual_seed(1))
    logits, cache = model.run_with_cache(tokens)
    expected = hub_model(folder)(tokens, output_hidden_states=True)
    # The last hidden state is normalised: the stream before each layer stands for the one after.
    for layer, wanted in enumerate(expected.hidden_states[1:-1]):
        seen = cache[Site(layer).hook_name]
        torch.testing.assert_close(seen, wanted, rtol=1e-4, atol=1e-4 * wanted.abs().max().item())
    torch.testing.assert_close(logits, expected.logits, rtol=1e-3, atol=1e-3)


@pytest.mark.skipif(not HOOKED_AVAILABLE, reason="TransformerLens 4 has no HookedTransformer")
def test_a_change_of_backend_is_said_with_its_reason(tiny_llama_folder, monkeypatch, caplog):
    def refuse(*args):
        raise ValueError("a layer it does not know")

    monkeypatch.setattr("empathy_lens.models.loading.hooked_transformer", refuse)
    with caplog.at_level(logging.WARNING, logger="empathy_lens"):
        model = load_model(tiny_llama_folder, device="cpu")
    assert model_card(model).provenance.backend == "bridge"
    (record,) = caplog.records
    assert "HookedTransformer does not take" in record.getMessage()
    assert "a layer it does not know" in record.getMessage()
