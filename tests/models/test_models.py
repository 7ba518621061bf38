import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import LOGIT_CAP, SLIDING_WINDOW, save_tiny_gemma2, save_tiny_llama

from empathy_lens.errors import InputError, ModelError
from empathy_lens.models import (
    HOOKED_AVAILABLE,
    load_model,
    loading,
    model_card,
    resolve_device,
    resolve_dtype,
)
from empathy_lens.models.checkpoint import locate_model
from empathy_lens.models.hub import load_hub_model
from empathy_lens.models.loading import weights_hash
from empathy_lens.types import HookedModel, Site

CPU = torch.device("cpu")


def some_tokens(model, n=40, seed=0):
    """Two rows of random text tokens after BOS, longer than the sliding window."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(10, 260, (2, n), generator=generator)
    tokens[:, 0] = model_card(model).bos_id
    return tokens


def block_outputs(hub, tokens):
    """What each decoder block of the hub model returns, and the logits."""
    outputs = []

    def keep(_module, _inputs, output):
        outputs.append((output[0] if isinstance(output, tuple) else output).detach().clone())

    handles = [block.register_forward_hook(keep) for block in hub.model.layers]
    try:
        with torch.no_grad():
            logits = hub(tokens).logits
    finally:
        for handle in handles:
            handle.remove()
    return outputs, logits


def resid_posts(model, tokens):
    with torch.no_grad():
        logits, cache = model.run_with_cache(
            tokens, names_filter=lambda name: name.endswith("hook_resid_post")
        )
    return [cache[Site(layer).hook_name] for layer in range(model.cfg.n_layers)], logits


def assert_same_as_hub(model, hub, tokens, *, relative):
    expected, expected_logits = block_outputs(hub, tokens)
    actual, logits = resid_posts(model, tokens)
    assert len(actual) == len(expected) == model.cfg.n_layers
    for layer, (ours, theirs) in enumerate(zip(actual, expected, strict=True)):
        error = (ours - theirs).abs().max() / theirs.abs().max()
        assert error < relative, f"layer {layer}: relative error {error:.2g}"
    return (logits - expected_logits).abs().max()


def copy_checkpoint(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "checkpoint")


def test_gemma2_blocks_and_logits_equal_the_hub_models(tiny_gemma2, tiny_gemma2_folder, hub_model):
    hub = hub_model(tiny_gemma2_folder)
    tokens = some_tokens(tiny_gemma2)
    assert assert_same_as_hub(tiny_gemma2, hub, tokens, relative=1e-5) < 1e-4


def test_llama_blocks_and_logits_equal_the_hub_models(tiny_llama, tiny_llama_folder, hub_model):
    hub = hub_model(tiny_llama_folder)
    tokens = some_tokens(tiny_llama)
    assert assert_same_as_hub(tiny_llama, hub, tokens, relative=1e-5) < 1e-4


def test_the_comparison_is_with_block_outputs_not_with_the_final_norm(
    tiny_gemma2, tiny_gemma2_folder, hub_model
):
    hub = hub_model(tiny_gemma2_folder)
    tokens = some_tokens(tiny_gemma2)
    normed = hub(tokens, output_hidden_states=True).hidden_states[-1]
    last = resid_posts(tiny_gemma2, tokens)[0][-1]
    assert (normed - last).abs().max() > 0.1


def test_soft_caps_and_the_sliding_window_are_on(tiny_gemma2, tiny_gemma2_folder, hub_model):
    """Were they off, the hub model with them off would be the one that agrees."""
    tokens = some_tokens(tiny_gemma2)
    outputs, logits = resid_posts(tiny_gemma2, tokens)
    assert logits.abs().max() <= LOGIT_CAP
    assert logits.abs().max() > 0.5 * LOGIT_CAP

    def without(**changes):
        hub = hub_model(tiny_gemma2_folder)
        for name, value in changes.items():
            setattr(hub.config, name, value)
        for block in hub.model.layers:
            block.self_attn.attn_logit_softcapping = hub.config.attn_logit_softcapping
        return block_outputs(hub, tokens)

    uncapped, _ = without(attn_logit_softcapping=None)
    assert (uncapped[-1] - outputs[-1]).abs().max() > 1e-2
    wide, _ = without(sliding_window=512)
    assert (wide[-1] - outputs[-1]).abs().max() > 1e-2
    assert (wide[-1] - outputs[-1])[:, :SLIDING_WINDOW].abs().max() < 1e-4


def test_a_loaded_model_fits_the_protocol_and_needs_no_gradients(tiny_gemma2):
    assert isinstance(tiny_gemma2, HookedModel)
    assert not tiny_gemma2.training
    assert not any(p.requires_grad for p in tiny_gemma2.parameters())
    assert (tiny_gemma2.cfg.n_layers, tiny_gemma2.cfg.d_model) == (4, 32)


def test_the_card_says_what_was_loaded(tiny_gemma2, tiny_llama, backend):
    gemma2, llama = model_card(tiny_gemma2), model_card(tiny_llama)
    assert gemma2.provenance.backend == llama.provenance.backend == backend
    assert gemma2.provenance.model_name == "tiny-gemma2"
    assert gemma2.provenance.dtype == "float32"
    assert gemma2.provenance.weight_basis == "hub"
    assert gemma2.provenance.prompt_format == "plain, one bos"
    assert llama.provenance.prompt_format == "chat, one bos"
    assert (gemma2.chat, llama.chat) == (False, True)
    assert gemma2.bos_id == llama.bos_id == 1


def test_the_context_is_what_was_asked_for_and_at_most_what_the_model_has(
    tiny_gemma2_folder, backend
):
    short = load_model(tiny_gemma2_folder, backend=backend, device="cpu", n_ctx=64)
    long = load_model(tiny_gemma2_folder, backend=backend, device="cpu", n_ctx=100_000)
    assert model_card(short).n_ctx == 64
    assert model_card(long).n_ctx == 512


def test_both_backends_share_a_weights_hash_and_other_weights_do_not(tiny_gemma2_folder, tmp_path):
    other = save_tiny_gemma2(tmp_path / "other", seed=1)
    backends = ("hooked", "bridge") if HOOKED_AVAILABLE else ("bridge",)
    cards = [
        model_card(load_model(folder, backend=backend, device="cpu")).provenance
        for folder in (tiny_gemma2_folder, other)
        for backend in backends
    ]
    hashes = [card.weights_hash for card in cards]
    assert len(set(hashes)) == 2
    assert cards[0].same_basis(cards[len(backends) - 1])
    assert not cards[0].same_basis(cards[-1])


def test_bfloat16_weights_give_nearly_the_same_activations(tiny_gemma2_folder, backend):
    exact = load_model(tiny_gemma2_folder, backend=backend, device="cpu")
    rounded = load_model(tiny_gemma2_folder, backend=backend, device="cpu", dtype="bfloat16")
    assert next(rounded.parameters()).dtype == torch.bfloat16
    assert model_card(rounded).provenance.dtype == "bfloat16"
    tokens = some_tokens(exact, n=8)
    a = resid_posts(exact, tokens)[0][0]
    b = resid_posts(rounded, tokens)[0][0]
    assert b.dtype == torch.bfloat16
    assert torch.cosine_similarity(a.flatten(), b.float().flatten(), dim=0) > 0.99


def test_a_model_that_was_not_loaded_here_gets_a_card(tiny_llama):
    card = model_card(tiny_llama)
    delattr(tiny_llama, "empathy_lens_card")
    try:
        made = model_card(tiny_llama)
    finally:
        object.__setattr__(tiny_llama, "empathy_lens_card", card)
    assert (made.chat, made.bos_id) == (card.chat, card.bos_id)
    assert made.provenance.weight_basis == "hub"
    assert made.provenance.backend == card.provenance.backend


@pytest.mark.parametrize(
    ("name", "device", "expected"),
    [
        ("auto", "cpu", torch.float32),
        ("auto", "mps", torch.float16),
        ("auto", "cuda", torch.bfloat16),
        ("float16", "mps", torch.float16),
        ("bfloat16", "cpu", torch.bfloat16),
        ("float32", "cuda", torch.float32),
    ],
)
def test_a_dtype_is_chosen_for_the_device(name, device, expected):
    assert resolve_dtype(name, torch.device(device)) == expected


@pytest.mark.parametrize("model_type", ["gemma3", "gemma3_text"])
def test_gemma3_does_not_get_float16_by_default_because_it_overflows(model_type):
    assert resolve_dtype("auto", torch.device("mps"), model_type) == torch.bfloat16
    assert resolve_dtype("auto", torch.device("mps"), "gemma2") == torch.float16
    assert resolve_dtype("auto", CPU, model_type) == torch.float32
    assert resolve_dtype("float16", torch.device("mps"), model_type) == torch.float16


def test_float16_on_cpu_is_refused_with_advice(tiny_gemma2_folder):
    with pytest.raises(InputError, match="--dtype float32"):
        load_model(tiny_gemma2_folder, device="cpu", dtype="float16")


def test_an_unknown_dtype_is_refused_and_the_choices_named():
    with pytest.raises(InputError, match="auto, float16, bfloat16, float32, got 'half'"):
        resolve_dtype("half", CPU)


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(False, False, "cpu"), (False, True, "mps"), (True, True, "cuda")],
)
def test_auto_takes_the_best_device_that_is_there(monkeypatch, cuda, mps, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert resolve_device("auto").type == expected


def test_a_device_that_is_not_there_is_refused_and_the_others_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"cuda:0 is not available here; available: cpu"):
        resolve_device("cuda:0")


def test_an_unknown_device_is_refused():
    with pytest.raises(InputError, match="expected auto, cpu, mps or cuda, got 'tpu'"):
        resolve_device("tpu")


@pytest.mark.parametrize("name", ["cuda:x", "cpu:"])
def test_a_malformed_device_is_refused(monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(InputError, match="expected auto, cpu, mps or cuda"):
        resolve_device(name)


def test_asking_for_a_hooked_transformer_without_one_is_refused(tiny_gemma2_folder, monkeypatch):
    monkeypatch.setattr(loading, "HOOKED_AVAILABLE", False)
    with pytest.raises(ModelError, match="--backend bridge"):
        load_model(tiny_gemma2_folder, backend="hooked", device="cpu")


@pytest.mark.parametrize("name", ["./no/such/folder", "/no/such/folder", "~/no-such-folder"])
def test_a_folder_that_is_not_there_is_named(name):
    with pytest.raises(ModelError, match="no such folder, and not a hub id"):
        load_model(name, device="cpu")


def test_a_hub_id_that_cannot_be_had_is_named_with_what_would_do():
    with pytest.raises(ModelError, match=r"'nobody/no-such-model'.*embedded.*hub id.*folder"):
        load_model("nobody/no-such-model", device="cpu")


def test_a_gated_model_gets_advice(monkeypatch):
    import httpx
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
    from transformers import AutoConfig

    response = httpx.Response(403, request=httpx.Request("GET", "https://example.invalid"))
    for error, advice in (
        (GatedRepoError("gated", response=response), "hf auth login"),
        (RepositoryNotFoundError("absent", response=response), "no model 'google/gemma-2-9b'"),
    ):

        def refuse(*_args, error=error, **_kwargs):
            raise error

        monkeypatch.setattr(AutoConfig, "from_pretrained", refuse)
        with pytest.raises(ModelError, match=advice):
            load_model("google/gemma-2-9b", device="cpu")


def test_a_folder_without_a_config_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"no config\.json"):
        load_model(tmp_path, device="cpu")


def test_a_folder_without_weights_is_refused(tiny_gemma2_folder, tmp_path):
    folder = copy_checkpoint(tiny_gemma2_folder, tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="could not be loaded"):
        load_model(folder, device="cpu")


def test_a_folder_without_a_tokenizer_is_refused(tiny_gemma2_folder, tmp_path):
    folder = copy_checkpoint(tiny_gemma2_folder, tmp_path)
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ModelError, match="no tokenizer"):
        load_model(folder, device="cpu")


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_broken_json_in_a_checkpoint_is_refused(tiny_gemma2_folder, tmp_path, file):
    folder = copy_checkpoint(tiny_gemma2_folder, tmp_path)
    (folder / file).write_text('{"model_type": "gem')
    with pytest.raises(ModelError, match="could not be loaded"):
        load_model(folder, device="cpu")


@pytest.mark.parametrize("kept", [0, 4, 100, 10_000])
def test_a_truncated_safetensors_file_is_refused(tiny_gemma2_folder, tmp_path, kept):
    folder = copy_checkpoint(tiny_gemma2_folder, tmp_path)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    with pytest.raises(ModelError, match=r"model\.safetensors: .* damaged or cut short"):
        load_model(folder, device="cpu")


def test_a_checkpoint_that_lacks_a_tensor_is_refused(tiny_gemma2_folder, tmp_path):
    """transformers would fill the hole with random numbers and go on."""
    folder = copy_checkpoint(tiny_gemma2_folder, tmp_path)
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.2.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"layers\.2\.mlp\.up_proj"):
        load_model(folder, device="cpu")


def test_a_checkpoint_whose_shapes_do_not_fit_is_refused(tiny_gemma2_folder, tmp_path):
    folder = copy_checkpoint(tiny_gemma2_folder, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 48}))
    wrong = r"12 tensors are of a wrong shape .*down_proj\.weight: \[32, 64\], expected \[32, 48\]"
    with pytest.raises(ModelError, match=wrong):
        load_model(folder, device="cpu")


def test_an_architecture_that_is_not_known_is_refused(tiny_gemma2_folder, tmp_path):
    folder = copy_checkpoint(tiny_gemma2_folder, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    changed = config | {"model_type": "unheard_of", "architectures": ["UnheardOf"]}
    (folder / "config.json").write_text(json.dumps(changed))
    with pytest.raises(ModelError, match="unheard_of"):
        load_model(folder, device="cpu")


def test_a_model_without_bos_loads_and_says_so(tmp_path, backend):
    folder = save_tiny_llama(tmp_path / "no-bos", chat_template=None, with_bos=False)
    card = model_card(load_model(folder, backend=backend, device="cpu"))
    assert card.bos_id is None
    assert card.provenance.prompt_format == "plain, no bos"


@pytest.mark.embedded
def test_all_18_blocks_of_the_embedded_model_equal_the_hub_models(
    embedded, embedded_checkpoint, hub_model
):
    hub = hub_model(embedded_checkpoint)
    text = "The courier stopped beside the man on the pavement. " * 3
    tokens = torch.tensor([[2, *embedded.tokenizer(text, add_special_tokens=False).input_ids]])
    assert embedded.cfg.n_layers == 18
    assert_same_as_hub(embedded, hub, tokens, relative=1e-4)


@pytest.mark.embedded
def test_the_embedded_models_hash_is_the_hub_models_on_every_backend(
    embedded, embedded_checkpoint, hub_model
):
    expected = weights_hash(hub_model(embedded_checkpoint))
    assert model_card(embedded).provenance.weights_hash == expected


@pytest.mark.embedded
def test_a_second_load_of_the_embedded_model_gives_the_same_weights(embedded, backend):
    again = load_model("embedded", backend=backend, device="cpu")
    first, second = model_card(embedded).provenance, model_card(again).provenance
    assert first == second
    assert first.model_name == "google/gemma-3-270m"


@pytest.mark.skipif(not HOOKED_AVAILABLE, reason="TransformerLens 4 has no HookedTransformer")
def test_gemmas_norms_round_once_like_the_hub_models(tiny_gemma2_folder):
    """TransformerLens's own norms round the weight and the product as well."""
    model = load_model(tiny_gemma2_folder, backend="hooked", device="cpu", dtype="bfloat16")
    hub = load_hub_model(locate_model(str(tiny_gemma2_folder)), torch.bfloat16, CPU)
    resid = torch.randn(1, 500, 32, generator=torch.Generator().manual_seed(0)).bfloat16() * 300
    block, hub_block = model.blocks[2], hub.model.layers[2]
    for ours, theirs in [
        (block.ln1, hub_block.input_layernorm),
        (block.ln1_post, hub_block.post_attention_layernorm),
        (block.ln2, hub_block.pre_feedforward_layernorm),
        (block.ln2_post, hub_block.post_feedforward_layernorm),
        (model.ln_final, hub.model.norm),
    ]:
        assert (ours(resid) != theirs(resid)).float().mean() < 0.01
