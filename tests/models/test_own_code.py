"""Code that comes with a model runs only where the user allows it, and nobody is asked."""

import builtins
import json
import shutil

import pytest

from empathy_lens.errors import ModelError
from empathy_lens.models import load_model, model_card

CODE = """
from pathlib import Path

from transformers import LlamaConfig, PreTrainedTokenizerFast
from transformers import LlamaForCausalLM as Theirs

Path({ran!r}).touch()

class OwnConfig(LlamaConfig):
    model_type = "own"

class LlamaForCausalLM(Theirs):
    config_class = OwnConfig

class OwnTokenizer(PreTrainedTokenizerFast):
    pass
"""
NAMED = {
    "config.json": {
        "model_type": "own",
        "auto_map": {
            "AutoConfig": "own.OwnConfig",
            "AutoModelForCausalLM": "own.LlamaForCausalLM",
        },
    },
    "tokenizer_config.json": {
        "tokenizer_class": "OwnTokenizer",
        "auto_map": {"AutoTokenizer": [None, "own.OwnTokenizer"]},
    },
}


@pytest.fixture
def ran(tmp_path, monkeypatch):
    """The file that the model's code makes; whoever asks is told yes."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path))
    monkeypatch.setattr(builtins, "input", lambda *_: "y")
    return tmp_path / "ran"


def with_code(checkpoint, ran, *files):
    folder = shutil.copytree(checkpoint, ran.parent / "checkpoint")
    (folder / "own.py").write_text(CODE.format(ran=str(ran)))
    for file in files:
        data = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps(data | NAMED[file]))
    return folder


@pytest.mark.parametrize("file", NAMED)
def test_code_of_a_model_is_refused_with_the_names_of_its_files(tiny_llama_folder, ran, file):
    folder = with_code(tiny_llama_folder, ran, file)
    with pytest.raises(ModelError, match=rf"own\.py, named in {file}.*--trust-remote-code"):
        load_model(folder, device="cpu")
    assert not ran.exists()


def test_code_of_a_model_runs_where_it_is_allowed_and_the_provenance_says_so(
    tiny_llama_folder, ran
):
    model = load_model(
        with_code(tiny_llama_folder, ran, *NAMED), device="cpu", trust_remote_code=True
    )
    assert ran.exists()
    assert model_card(model).provenance.trust_remote_code


def test_code_that_transformers_has_a_model_for_is_left_aside(tiny_llama_folder, ran):
    folder = with_code(tiny_llama_folder, ran)
    data = json.loads((folder / "config.json").read_text())
    data["auto_map"] = NAMED["config.json"]["auto_map"]
    (folder / "config.json").write_text(json.dumps(data))
    load_model(folder, device="cpu")
    assert not ran.exists()


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.pt"])
def test_pickled_weights_are_refused_unread(tiny_llama_folder, tmp_path, file):
    folder = shutil.copytree(tiny_llama_folder, tmp_path / "checkpoint")
    (folder / "model.safetensors").rename(folder / file)
    with pytest.raises(ModelError, match=r"no model\.safetensors.*unpickling"):
        load_model(folder, device="cpu")
