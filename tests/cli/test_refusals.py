"""What a user did wrong is said at once, with the way out, before anything is loaded."""

import pytest
from rich.console import Console
from typer.testing import CliRunner

from empathy_lens.cli import app
from empathy_lens.cli.generation import print_costs
from empathy_lens.errors import ModelError
from empathy_lens.models import available_devices, locate_model
from empathy_lens.vendors import Config, Costs, load_config
from empathy_lens.vendors.journal import VendorCosts

ABSENT = next(kind for kind, there in available_devices().items() if not there)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["doctor", "--device", ABSENT], f"device {ABSENT} is not available here; available:"),
        (["doctor", "--device", "cpu", "--dtype", "float16"], "use --dtype float32"),
        (["view", "nosuch", "hi"], "nosuch: expected a saved direction or the folder of a run"),
        (["view", ".", "hi"], "it holds no directions.safetensors"),
        (["view", ".", ""], "expected a text, the argument is empty"),
        (["fetch", "smolm2"], "did you mean 'smollm2'?"),
        (["study", "--out", "file"], "a file is in the way"),
        (
            ["study", "--resume", "--out", "new", "--model", "./none"],
            "nothing to resume in new: this run begins",
        ),
    ],
)
def test_wrong_input_is_answered_with_the_way_out(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert message in done.stderr


@pytest.mark.parametrize(
    ("name", "revision", "message"),
    [
        ("file", None, "expected a model folder or a hub id, it is a file"),
        ("embedded", "main", "embedded has no revisions"),
        (".", "main", r"\. has no revisions"),
    ],
)
def test_a_file_is_no_model_and_only_hub_models_have_revisions(
    name, revision, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match=message):
        locate_model(name, revision)


def test_costs_are_never_called_paid_and_a_local_server_is_named(capsys):
    shipped = load_config().vendors["openai"]
    near = shipped.model_copy(update={"base_url": "http://127.0.0.1:8000/v1", "name": "near"})
    costs = Costs({"near": VendorCosts(1, 2, 3, 0.25, {})}, 0.25, 0)
    print_costs(Console(width=200), costs, Config(vendors={"near": near}))
    said = capsys.readouterr().out
    assert "paid" not in said.lower()
    assert "$0.2500 in all at the configured prices; near: a local address, play money" in said
