"""What a machine is told: the need before any download, and faults that parity checks must find."""

import json
from dataclasses import replace

import pytest
import torch
from tiny_models import save_tiny_gemma2
from typer.testing import CliRunner

from empathy_lens.cli.app import app
from empathy_lens.doctor import Examination, examine, hub_reference, machine, model_checks
from empathy_lens.doctor.known_models import KNOWN_MODELS, known_config
from empathy_lens.doctor.machine import (
    MemoryNeed,
    disk_check,
    machine_checks,
    memory_check,
    memory_need,
)
from empathy_lens.doctor.parity import residual_maxima
from empathy_lens.errors import InputError, ModelError, NonFiniteError
from empathy_lens.models import load_model
from empathy_lens.models.checkpoint import locate_model
from empathy_lens.models.hub import parameters_only
from empathy_lens.results import from_plain, to_plain

CPU, MPS = torch.device("cpu"), torch.device("mps")
PUBLISHED = {
    "google/gemma-2-9b-it": 9_241_705_984,
    "google/gemma-2-2b-it": 2_614_341_888,
    "google/gemma-3-270m": 268_098_176,
    "HuggingFaceTB/SmolLM2-135M-Instruct": 134_515_008,
    "microsoft/Phi-3-mini-4k-instruct": 3_821_079_552,
    "meta-llama/Llama-3.1-8B-Instruct": 8_030_261_248,
    "Qwen/Qwen2.5-7B-Instruct": 7_615_616_512,
    "Qwen/Qwen2.5-Coder-0.5B-Instruct": 494_032_768,
    "Qwen/Qwen2.5-Coder-1.5B-Instruct": 1_543_714_304,
}


@pytest.mark.parametrize("hub_id", PUBLISHED)
def test_the_built_in_sizes_give_the_published_parameter_counts(hub_id):
    need = memory_need(known_config(hub_id), torch.bfloat16)
    assert need.parameters == PUBLISHED[hub_id]
    assert need.weights == 2 * need.parameters
    assert known_config(hub_id).architectures == [
        type(parameters_only(known_config(hub_id))).__name__
    ]


def test_the_need_of_a_folder_is_its_weight_files(tiny_gemma2_folder):
    from transformers import AutoConfig

    need = memory_need(AutoConfig.from_pretrained(tiny_gemma2_folder), torch.float32)
    stored = (tiny_gemma2_folder / "model.safetensors").stat().st_size
    assert stored - 10_000 < need.weights == need.download < stored


@pytest.fixture(autouse=True)
def no_embedded_models(monkeypatch, tmp_path):
    """What a machine has of them is no part of these tests."""
    monkeypatch.setenv("EMPATHY_LENS_CACHE", str(tmp_path / "empty"))


def nine_billion(dtype=torch.float16):
    return memory_need(known_config("google/gemma-2-9b-it"), dtype)


@pytest.mark.parametrize(("free", "status"), [(40e9, "ok"), (19.5e9, "warn"), (16e9, "fail")])
def test_the_need_is_held_against_what_is_free(monkeypatch, free, status):
    monkeypatch.setattr(machine, "free_memory", lambda _device: int(free))
    check = memory_check(nine_billion(), MPS)
    assert check.status == status
    assert "18.5 GB weights (9,241,705,984 parameters in float16)" in check.figure
    assert ("iogpu.wired_limit_mb" in check.remedy) == (status != "ok")


def test_a_mac_with_32_gb_is_told_that_nine_billion_fit_in_16_bits(monkeypatch):
    """macOS recommends two thirds of the memory to the GPU; memory is one for both."""
    free = type("Memory", (), {"available": 26_000_000_000})
    monkeypatch.setattr(machine.psutil, "virtual_memory", lambda: free)
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 22_906_503_168)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 400_000_000)
    assert machine.free_memory(MPS) == 22_506_503_168
    assert memory_check(nine_billion(), MPS).status == "ok"
    assert memory_check(nine_billion(torch.float32), MPS).status == "fail"


def test_float16_is_not_advised_on_the_cpu_which_refuses_it(monkeypatch):
    monkeypatch.setattr(machine, "free_memory", lambda _device: 10)
    need = nine_billion(torch.float32)
    assert "float16" not in memory_check(need, CPU).remedy.replace("bfloat16", "")
    assert "bfloat16 or float16" in memory_check(need, MPS).remedy


def test_a_download_that_does_not_fit_fails_and_a_float32_one_is_pointed_out(tmp_path):
    need = memory_need(known_config("google/gemma-2-9b"), torch.float16)
    assert need.download == 4 * need.parameters
    absent = tmp_path / "not" / "yet"
    assert "-it model" in disk_check(replace(need, download=11_000_000_000), absent).remedy
    too_much = disk_check(replace(need, download=10**18), absent)
    assert (too_much.status, not too_much.remedy) == ("fail", False)


def test_keys_are_reported_and_never_shown(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    examined = examine()
    found = to_plain(examined)
    assert from_plain(found, Examination, "doctor") == examined
    keys = next(c for c in found["checks"] if c["name"] == "keys")
    assert "OPENAI_API_KEY yes" in keys["figure"]
    assert "GEMINI_API_KEY no" in keys["figure"]
    assert "secret" not in json.dumps(found)


def test_torch_2_8_is_a_fault_on_mps(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 20_000_000_000)
    for found, status in (("2.8.0", "fail"), ("2.9.1", "ok")):
        monkeypatch.setattr(torch, "__version__", found)
        check = next(c for c in machine_checks() if c.name == "device mps")
        assert check.status == status


def test_embedded_models_are_reported_without_being_prepared(tmp_path):
    smollm2 = next(c for c in machine_checks() if c.name == "embedded:smollm2")
    assert (smollm2.figure, smollm2.remedy) == ("not fetched", "empathy-lens fetch smollm2")
    found = examine("embedded", run=False, device="cpu")
    assert found.need.parameters == PUBLISHED["google/gemma-3-270m"]
    assert not (tmp_path / "empty").exists()


def by_name(checks):
    return {check.name.split(",")[0].split(" = ")[0]: check for check in checks}


def test_a_sound_model_passes_every_check(tiny_gemma2_folder, backend):
    found = examine(str(tiny_gemma2_folder), backend=backend, device="cpu")
    assert [c.name for c in found.checks if c.status != "ok" and "embedded" not in c.name] == []
    checks = by_name(found.checks)
    assert {"blocks", "finite", "batched", "cached", "alpha 0"} <= checks.keys()
    assert (
        checks["backend"].figure
        == {
            "hooked": "HookedTransformer",
            "bridge": "TransformerBridge",
        }[backend]
    )
    assert len(found.resid_post_max) == 4
    assert min(found.resid_post_max) > 1


@pytest.fixture
def damaged(tiny_gemma2_folder, backend):
    """A model to damage, and what the hub model says."""
    model = load_model(tiny_gemma2_folder, backend=backend, device="cpu")
    return model, hub_reference(locate_model(str(tiny_gemma2_folder)), torch.float32, CPU)


def scaled_at_layer_2(factor):
    def change(resid, hook=None):
        return resid * factor

    return [("blocks.2.hook_resid_post", change)]


def test_a_block_that_is_off_by_a_percent_is_found(damaged):
    model, reference = damaged
    with model.hooks(fwd_hooks=scaled_at_layer_2(1.01)):
        blocks = by_name(model_checks(model, reference))["blocks"]
    assert blocks.status == "fail"
    assert "worst at layer" in blocks.figure


def test_a_model_that_reads_pads_is_found(damaged):
    model, _ = damaged

    def leak(resid, hook=None):
        return resid + resid.mean(dim=1, keepdim=True)

    with model.hooks(fwd_hooks=[("blocks.1.hook_resid_post", leak)]):
        checks = by_name(model_checks(model, None))
    assert checks["batched"].status == "fail"
    assert checks["cached"].status == "fail"


def test_a_model_that_never_computes_the_same_twice_fails_alpha_0(damaged):
    model, _ = damaged

    def noise(resid, hook=None):
        return resid + 1e-3 * torch.randn_like(resid)

    with model.hooks(fwd_hooks=[("blocks.1.hook_resid_post", noise)]):
        assert by_name(model_checks(model, None))["alpha 0"].status == "fail"


@pytest.mark.parametrize(("value", "named"), [(torch.inf, "layer"), (torch.nan, "layer")])
def test_a_value_that_is_not_finite_is_named_with_hook_and_position(damaged, value, named):
    model, reference = damaged

    def overflow(resid, hook=None):
        resid = resid.clone()
        resid[:, 3:, 0] = value
        return resid

    with model.hooks(fwd_hooks=[("blocks.2.hook_resid_post", overflow)]):
        checks = by_name(model_checks(model, reference))
    assert "blocks.2.hook_resid_post, position 3" in checks["finite"].figure
    assert {checks[n].status for n in ("blocks", "finite", "batched", "cached")} == {"fail"}
    assert "get a new copy of the weights" in checks["finite"].remedy


def test_an_overflow_of_16_bits_in_a_real_forward_pass_is_named(tmp_path, backend):
    """Norm weights large enough to leave bfloat16's range: nobody plants the infinity itself."""
    from safetensors.torch import load_file, save_file

    from empathy_lens.activations import pooled_resid_post
    from empathy_lens.engine.logits import last_logits

    folder = save_tiny_gemma2(tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.1.post_feedforward_layernorm.weight"][:] = 3e38
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    model = load_model(folder, backend=backend, device="cpu")
    with pytest.raises(NonFiniteError, match=r"blocks\.1\.hook_resid_post .* position \d+ .*copy"):
        pooled_resid_post(model, [("", "some text")], layers=[1])
    ids = torch.arange(1, 20)[None]
    with pytest.raises(NonFiniteError, match=r"unembed\.hook_out .*\[0, 0\].*new copy"):
        last_logits(model, ids, torch.ones_like(ids))


def test_float16_with_little_room_is_a_warning(damaged, monkeypatch):
    """On the CPU float16 is refused, so that only the model's stated dtype is changed."""
    model, _ = damaged
    monkeypatch.setattr(model.cfg, "dtype", torch.float16)
    assert by_name(model_checks(model, None))["finite"].status == "ok"
    with model.hooks(fwd_hooks=scaled_at_layer_2(4000.0)):
        check = by_name(model_checks(model, None))["finite"]
        assert max(residual_maxima(model)) > 0.5 * 65504
    assert check.status == "warn"
    assert "bfloat16 has the range" in check.remedy


def test_another_device_is_compared_with_the_cpu(damaged):
    model, reference = damaged
    assert by_name(model_checks(model, None, reference))["cpu"].status == "ok"
    wrong = replace(reference, logits=tuple(-row for row in reference.logits))
    assert by_name(model_checks(model, None, wrong))["cpu"].status == "fail"


def run(*arguments):
    return CliRunner().invoke(app, ["doctor", *map(str, arguments)])


def test_the_command_prints_a_table_and_json(tiny_gemma2_folder):
    found = run("--model", tiny_gemma2_folder, "--device", "cpu")
    assert (found.exit_code, "batched = single" in found.output) == (0, True)
    printed = json.loads(run("--json").output)
    assert printed["status"] in ("ok", "warn")
    assert {row["model"] for row in printed["memory_table"]} == set(KNOWN_MODELS)
    assert {row["source"] for row in printed["memory_table"]} == {"computed"}


def test_what_does_not_fit_is_exit_code_1_and_nothing_is_loaded(tiny_gemma2_folder, monkeypatch):
    monkeypatch.setattr(machine, "free_memory", lambda _device: 10)
    found = run("--model", tiny_gemma2_folder, "--device", "cpu", "--json")
    assert found.exit_code == 1
    checks = {c["name"]: c for c in json.loads(found.output)["checks"]}
    assert checks["memory on cpu"]["status"] == "fail"
    assert "not run" in checks["parity"]["figure"]


def test_a_known_hub_model_that_is_out_of_reach_still_has_its_need_told():
    found = examine("google/gemma-2-2b-it", device="cpu", dtype="bfloat16")
    checks = {check.name: check for check in found.checks}
    assert checks["configuration"].figure == "gemma2, built-in sizes"
    assert "could not be loaded" in checks["configuration"].remedy
    assert found.need == MemoryNeed(
        PUBLISHED["google/gemma-2-2b-it"],
        "bfloat16",
        2 * PUBLISHED["google/gemma-2-2b-it"],
        found.need.working,
        2 * PUBLISHED["google/gemma-2-2b-it"],
        "bfloat16",
        2 * PUBLISHED["google/gemma-2-2b-it"] + found.need.working,
    )
    assert checks["download"].status == "ok"


def test_a_gated_model_is_told_how_to_get_access(monkeypatch):
    import httpx
    from huggingface_hub.errors import GatedRepoError
    from transformers import AutoConfig

    response = httpx.Response(403, request=httpx.Request("GET", "https://example.invalid"))

    def refuse(*_args, **_kwargs):
        raise GatedRepoError("gated", response=response)

    monkeypatch.setattr(AutoConfig, "from_pretrained", refuse)
    found = examine("google/gemma-2-2b-it", device="cpu", dtype="bfloat16")
    check = next(c for c in found.checks if c.name == "configuration")
    assert check.status == "warn"
    assert "hf auth login" in check.remedy


def test_an_unknown_hub_model_that_is_out_of_reach_is_exit_code_1_with_a_remedy():
    found = run("--model", "nobody/no-such-model", "--json")
    assert found.exit_code == 1
    check = json.loads(found.output)["checks"][-1]
    assert (check["name"], check["status"]) == ("configuration", "fail")
    assert "connection" in check["remedy"]


def test_damaged_weights_are_exit_code_1_and_named(tmp_path):
    folder = save_tiny_gemma2(tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    found = run("--model", folder, "--device", "cpu", "--json")
    assert found.exit_code == 1
    assert "damaged or cut short" in json.loads(found.output)["checks"][-1]["figure"]


def test_bad_input_is_refused(tiny_gemma2_folder, tmp_path):
    with pytest.raises(InputError, match="float16 on CPU"):
        examine(str(tiny_gemma2_folder), device="cpu", dtype="float16")
    with pytest.raises(ModelError, match="no such folder"):
        examine(str(tmp_path / "absent"))
    assert run("--model", tmp_path / "absent").exit_code == 2
