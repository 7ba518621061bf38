import importlib.util
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import typer
from fault_server import CONFIG, FaultServer
from practice import ROOT, SCENARIOS
from typer.testing import CliRunner

from empathy_lens.data import load_pairs
from empathy_lens.study import DataFiles
from empathy_lens.vendors import read_journal

SCRIPT = ROOT / "experiments" / "generate_pairs.py"


def environment(**keys):
    """Nothing but what a program needs to start, and the keys given."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **keys}


def run(*args, name="generate_pairs"):
    """The script in this process, as far as its arguments, output and exit code go."""
    app = typer.Typer()
    app.command()(load(name).main)
    return CliRunner().invoke(app, [*map(str, args)])


@pytest.fixture
def no_keys(monkeypatch, keys):
    for name in keys:
        monkeypatch.delenv(name)


@pytest.fixture
def served(tmp_path):
    """A server and the arguments that send the script to it."""
    with FaultServer(faults=0.1, seed=4) as server:
        config = tmp_path / "practice.toml"
        config.write_text(CONFIG.format(url=server.url))
        yield server, ["--config", config, "--out", tmp_path / "generated"]


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "experiments" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_dry_run_prints_the_plan_and_price_as_json_without_any_key(tmp_path, no_keys):
    done = run("--dry-run", "--json", "--pairs", 200, "--out", tmp_path / "out")
    assert (done.exit_code, done.stderr) == (0, "")
    out = json.loads(done.stdout)
    assert list(out) == ["calls", "by_vendor", "estimated_cost_usd"]
    assert out["calls"] == sum(out["by_vendor"].values()) == 200
    assert set(out["by_vendor"]) == {"anthropic", "openai", "gemini"}
    assert max(out["by_vendor"].values()) - min(out["by_vendor"].values()) <= 2
    assert 0 < out["estimated_cost_usd"] < 20
    assert not (tmp_path / "out").exists()


def test_the_slow_sdks_are_not_imported_before_something_is_asked():
    code = (
        "import sys, empathy_lens.cli, empathy_lens.pairs.generate, empathy_lens.pairs.api_judge;"
        "print(sorted({'anthropic', 'openai'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          env=environment())  # fmt: skip
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_dry_run_for_people_names_models_keys_and_cap(no_keys):
    done = run("--dry-run", "--pairs", 30, "--max-cost", 2, "--judge", "openai")
    assert done.exit_code == 0, done.stderr
    for part in ("ANTHROPIC_API_KEY", "claude-sonnet-4-5", "Cap: $2.00", "Nothing was asked"):
        assert part in done.stdout


def test_without_keys_the_variables_are_named_and_nothing_is_asked(served, no_keys):
    server, args = served
    done = run("--pairs", 5, *args)
    assert done.exit_code == 2
    assert done.stdout == ""
    for vendor in ("ANTHROPIC", "OPENAI", "GEMINI"):
        assert f"EL_TEST_{vendor}_KEY" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert server.requests == []


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["--pairs", "0"], "1 pair or more"),
        (["--vendors", "mistral"], "mistral"),
        (["--config", "none.toml"], "none.toml"),
        (["--max-cost", "-1"], "0 or more"),
        (["--judge", "nobody"], "nobody"),
        (["--test-share", "2"], "between 0 and 1"),
        (["--max-giveaway", "0.2"], "0.5 to 1"),
    ],
)
def test_bad_arguments_are_one_clear_line_and_nothing_is_asked(args, named, served):
    server, common = served
    done = run(*common, *args)
    assert done.exit_code == 2
    assert named in done.output
    assert len(done.output.strip().splitlines()) == 1
    assert server.requests == []


def test_the_script_writes_a_data_set_and_a_second_run_asks_nothing(served, keys, tmp_path):
    server, args = served
    command = ["--pairs", 24, "--merge-shipped", "--split-by", "source", *args]
    done = run(*command)
    assert done.exit_code == 0, done.stderr
    assert "24 of 24 pairs written" in done.stdout
    assert not any(key in done.stdout + done.stderr for key in keys.values())
    n_asked = len(server.requests)
    again = run(*command, "--json")
    assert len(server.requests) == n_asked
    card = json.loads(again.stdout)
    train = load_pairs(tmp_path / "generated" / "train_pairs.jsonl")
    assert len(train) == card["by_split"]["train"] > 70
    assert card["split_by"] == "source"


def test_a_vendor_that_is_down_is_a_warning_and_exit_code_one(served, keys, tmp_path):
    _, args = served
    config = tmp_path / "practice.toml"
    lines = [
        'base_url = "http://127.0.0.1:9/"' if "/gemini/" in line else line
        for line in config.read_text().replace("retries = 6", "retries = 0").splitlines()
    ]
    config.write_text("\n".join(lines))
    done = run("--pairs", 30, *args)
    assert done.exit_code == 1
    assert "warning: gemini is not asked again in this run" in done.stderr
    assert "pairs are still to be asked for" in done.stdout


def test_control_c_stops_with_130_and_keeps_what_was_paid_for(keys, tmp_path):
    config, out = tmp_path / "practice.toml", tmp_path / "generated"
    command = [sys.executable, SCRIPT, "--pairs", "1500", "--config", config, "--out", out]
    journal = out / "journal.jsonl"
    with FaultServer(latency=0.5) as server:
        config.write_text(CONFIG.format(url=server.url))
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env=environment(**keys), preexec_fn=heed_interrupts,
        ) as process:  # fmt: skip
            while process.poll() is None and len(read_journal(journal).answered) < 20:
                time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            try:
                _, errors = process.communicate(timeout=60)
            finally:
                process.kill()
        assert process.returncode == 130
        assert "Run the same command to go on" in errors
        server.settle()
    kept = read_journal(journal)
    assert len(kept.answered) >= 20
    assert sum(server.delivered.values()) - len(kept.answered) <= kept.in_doubt <= 24


def heed_interrupts():
    """What a shell starts in the background ignores Ctrl-C, and so does what that starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_the_pipeline_goes_on_with_the_shipped_pairs_where_there_are_no_keys(
    monkeypatch, capsys, keys, tmp_path
):
    pipeline = load("run_full_pipeline")
    shipped = DataFiles.shipped(ROOT / "data")
    chosen = pipeline.generated_pairs(shipped, None, tmp_path / "out", 10, None, 0)
    assert chosen == (None, None)
    warning = capsys.readouterr().err
    assert "ANTHROPIC_API_KEY" in warning
    assert "Going on with the shipped pairs" in warning


def test_the_pipeline_takes_generated_and_shipped_pairs_together(served, tmp_path):
    server, (_, config, _, out) = served
    pipeline = load("run_full_pipeline")
    shipped = DataFiles.shipped(SCENARIOS.parents[1])
    chosen = pipeline.generated_pairs(shipped, config, out, 12, 1.0, 0)
    train, test = map(load_pairs, chosen)
    assert len(train) > 70
    assert len(test) > 20
    assert {p.source_model for p in train} > {"claude", "gpt-practice"}
    assert server.requests


def test_the_pipeline_generates_only_when_told_and_not_beside_other_pairs():
    done = run("--generate", "--pairs-train", SCENARIOS, name="run_full_pipeline")
    assert done.exit_code == 2
