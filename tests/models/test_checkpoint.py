"""Weights that are read in pieces: the same values, named faults, and no second copy."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_models import byte_tokenizer, save_tiny_gemma2, save_tiny_llama
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from empathy_lens.errors import ModelError
from empathy_lens.models import HOOKED_AVAILABLE, checkpoint, load_model
from empathy_lens.models.checkpoint import (
    Checkpoint,
    find_checkpoint,
    locate_model,
    open_checkpoint,
)
from empathy_lens.models.hooked import hooked_transformer
from empathy_lens.models.hub import load_hub_model, load_tokenizer, parameters_only

CPU = torch.device("cpu")


@pytest.fixture(params=[save_tiny_gemma2, save_tiny_llama])
def sharded(request, tmp_path):
    """A checkpoint of several files with an index."""
    folder = request.param(tmp_path / "sharded", max_shard_size="40KB")
    assert len(list(folder.glob("*.safetensors"))) > 2
    return folder


def tensors_of(folder):
    return open_checkpoint(find_checkpoint(locate_model(str(folder))))


def test_a_sharded_checkpoint_loads_like_the_hub_model(sharded, backend, hub_model):
    model, hub = load_model(sharded, backend=backend, device="cpu"), hub_model(sharded)
    tokens = torch.arange(10, 50)[None]
    assert (model(tokens) - hub(tokens).logits).abs().max() < 1e-4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_pieces_are_cast_as_transformers_casts(sharded, monkeypatch, dtype):
    from transformers import AutoModelForCausalLM

    monkeypatch.setattr(checkpoint, "PIECE_BYTES", 300)  # Many pieces, and a last one cut short.
    ours = load_hub_model(locate_model(str(sharded)), dtype, CPU)
    theirs = AutoModelForCausalLM.from_pretrained(sharded, dtype=dtype, local_files_only=True)
    expected = dict(theirs.named_parameters())
    found = dict(ours.named_parameters())
    assert found.keys() == expected.keys()
    for name, parameter in found.items():
        assert parameter.dtype == dtype
        assert torch.equal(parameter, expected[name]), name
    assert ours.generation_config.eos_token_id == theirs.generation_config.eos_token_id


@pytest.mark.parametrize("shape", [(), (0, 4), (1,), (7,), (5, 3, 2)])
def test_tensors_of_any_shape_are_read_whole(tmp_path, monkeypatch, shape):
    monkeypatch.setattr(checkpoint, "PIECE_BYTES", 16)
    values = torch.randn(shape, dtype=torch.float64)
    save_file({"x": values}, tmp_path / "x.safetensors")
    stored = open_checkpoint(Checkpoint((tmp_path / "x.safetensors",)))["x"]
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        assert torch.equal(stored[...].to("cpu", dtype), values.to(dtype))


def test_values_that_stay_as_they_are_are_not_read(tmp_path):
    """They are mapped: a byte that changes in the file afterwards changes in the tensor."""
    path = tmp_path / "x.safetensors"
    save_file({"x": torch.ones(4096)}, path)
    values = open_checkpoint(Checkpoint((path,)))["x"].to("cpu", torch.float32)
    with path.open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"\0\0\0\0")
    assert values[-1] == 0


def test_the_files_that_an_index_promises_and_the_folder_lacks_are_named(sharded):
    gone = sorted(sharded.glob("*.safetensors"))[1]
    gone.unlink()
    with pytest.raises(ModelError, match=rf"1 of \d+ weight files are missing \({gone.name}\)"):
        load_model(sharded, device="cpu")


@pytest.mark.parametrize("damage", ["cut short", "header"])
def test_a_damaged_shard_is_named(sharded, damage):
    victim = sorted(sharded.glob("*.safetensors"))[1]
    content = victim.read_bytes()
    victim.write_bytes(content[:-10] if damage == "cut short" else b"\xff" * 8 + content[8:])
    with pytest.raises(ModelError, match=rf"{victim.name}: the weight file is damaged"):
        load_model(sharded, device="cpu")


def test_a_tensor_that_is_not_where_the_index_says_is_named(sharded):
    shard = sorted(sharded.glob("*.safetensors"))[1]
    tensors = load_file(shard)
    lost = sorted(tensors)[0]
    del tensors[lost]
    save_file(tensors, shard, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=rf"index\.json: 1 tensors .*{lost} in {shard.name}"):
        load_model(sharded, device="cpu")


@pytest.mark.parametrize("content", ["{", "[]", '{"weight_map": 3}', '{"weight_map": {"a": "b"}}'])
def test_a_damaged_index_is_named(sharded, content):
    (sharded / checkpoint.INDEX).write_text(content)
    with pytest.raises(ModelError, match=r"index\.json|weight files are missing \(b\)"):
        load_model(sharded, device="cpu")


def change(folder, edit):
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def test_every_fault_of_the_tensors_is_named_at_once(tmp_path):
    folder = save_tiny_gemma2(tmp_path / "model")

    def edit(tensors):
        del tensors["model.layers.2.mlp.up_proj.weight"]
        tensors["model.layers.1.mlp.up_proj.weight"] = torch.zeros(3, 5)
        tensors["vision_tower.weight"] = torch.zeros(2)

    change(folder, edit)
    with pytest.raises(ModelError) as caught:
        load_model(folder, device="cpu")
    message = str(caught.value)
    assert "lacks 1 tensors (model.layers.2.mlp.up_proj.weight)" in message
    assert "model.layers.1.mlp.up_proj.weight: [3, 5], expected [64, 32]" in message
    assert "1 tensors are no part of the model (vision_tower.weight)" in message


def test_integers_in_place_of_weights_are_refused(tmp_path):
    folder = save_tiny_gemma2(tmp_path / "model")
    name = "model.layers.0.mlp.up_proj.weight"
    change(folder, lambda tensors: tensors.update({name: tensors[name].to(torch.int8)}))
    with pytest.raises(ModelError, match=rf"kind I8, .*{name}.*not quantised"):
        load_model(folder, device="cpu")


class LargestOnTheCPU(TorchDispatchMode):
    """The bytes of the largest CPU tensor that any operation wrote.

    Empty ones do not count: memory that nobody writes to is not taken.
    """

    def __init__(self):
        super().__init__()
        self.n_bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if function is not torch.ops.aten.empty.memory_format:
            tensors = [t for t in tree_leaves(result) if isinstance(t, torch.Tensor)]
            sizes = [t.nbytes for t in tensors if t.device.type == "cpu"]
            self.n_bytes = max([self.n_bytes, *sizes])
        return result


def test_a_model_for_another_device_is_never_whole_on_the_cpu(tmp_path, monkeypatch, backend):
    """The meta device stands for a GPU: what is moved to it leaves the CPU piece by piece."""
    folder = save_tiny_gemma2(tmp_path / "model")
    piece = 2048
    monkeypatch.setattr(checkpoint, "PIECE_BYTES", piece)
    source, meta = locate_model(str(folder)), torch.device("meta")
    tokenizer = load_tokenizer(source)
    with LargestOnTheCPU() as largest_on_cpu:
        hub = load_hub_model(source, torch.float16, meta)
        if backend == "hooked":
            model = hooked_transformer(source, hub, tokenizer, torch.float16, n_ctx=16)
            assert all(p.is_meta for p in model.parameters())
    largest = max(parameter.nbytes for parameter in hub.parameters())
    assert largest > 4 * piece
    assert all(parameter.is_meta for parameter in hub.parameters())
    assert largest_on_cpu.n_bytes <= piece


PEAK = """
import sys, accelerate, transformers.models.gemma2.modeling_gemma2
from empathy_lens.models import HOOKED_AVAILABLE, load_model
from transformer_lens.model_bridge import TransformerBridge
if HOOKED_AVAILABLE:
    from transformer_lens import HookedTransformer
from empathy_lens.study.runs import peak_rss_mb
before = peak_rss_mb()
load_model(sys.argv[1], device="cpu", dtype="bfloat16")
print(peak_rss_mb() - before)
"""


@pytest.mark.slow
def test_the_peak_of_a_float32_checkpoint_in_16_bits_is_near_its_weights(tmp_path):
    """In a process of its own. transformers' mapped files would make it three times the weights."""
    from transformers import Gemma2Config

    config = Gemma2Config(
        vocab_size=16_000,
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=256,
    )
    model = parameters_only(config).to_empty(device="cpu")
    model.tie_weights()
    megabytes = sum(p.numel() for p in model.parameters()) * 2 / 1e6
    assert megabytes > 100
    model.save_pretrained(tmp_path, max_shard_size="100MB")
    byte_tokenizer().save_pretrained(tmp_path)
    command = [sys.executable, "-c", PEAK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout.splitlines()[-1]) < 1.25 * megabytes + 80


@pytest.mark.skipif(not HOOKED_AVAILABLE, reason="TransformerLens 4 has no HookedTransformer")
@pytest.mark.parametrize("save", [save_tiny_gemma2, save_tiny_llama])
def test_a_hooked_transformer_shares_the_hub_models_memory(tmp_path, save):
    source = locate_model(str(save(tmp_path / "model")))
    hub = load_hub_model(source, torch.bfloat16, CPU)
    model = hooked_transformer(source, hub, load_tokenizer(source), torch.bfloat16, n_ctx=16)
    held = {p.untyped_storage().data_ptr() for p in hub.parameters()}
    weights = sum(p.nbytes for p in hub.parameters())
    own = [p for p in model.parameters() if p.untyped_storage().data_ptr() not in held]
    # Norms (1 + weight for Gemma) and biases of zeros: vectors.
    assert sum(p.nbytes for p in own) < 0.05 * weights


@pytest.mark.skipif(not HOOKED_AVAILABLE, reason="TransformerLens 4 has no HookedTransformer")
def test_gemmas_shared_embedding_reads_as_transformer_lens_has_it(tmp_path):
    folder = save_tiny_gemma2(tmp_path / "model")
    model = load_model(folder, backend="hooked", device="cpu", dtype="bfloat16")
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        stored = file.get_tensor("model.embed_tokens.weight").bfloat16()
    scaled = stored * torch.tensor(32**0.5, dtype=torch.bfloat16)
    assert torch.equal(model.W_E, scaled)
    tokens = torch.tensor([[1, 17, 200]])
    _, cache = model.run_with_cache(tokens)
    assert torch.equal(cache["hook_embed"], scaled[tokens])
    assert model.unembed.W_U.data_ptr() == model.embed.unscaled.data_ptr()


def test_a_quantised_checkpoint_without_its_library_is_refused(tmp_path):
    folder = save_tiny_gemma2(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    quantised = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": quantised}))
    with pytest.raises(ModelError, match="could not be loaded"):
        load_model(folder, device="cpu")
