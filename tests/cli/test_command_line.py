"""The command line: one set of options, names that are not cut, exit codes, logging."""

import importlib.util
import json
import logging
import re
import runpy
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from empathy_lens.cli import study
from empathy_lens.cli.app import app
from empathy_lens.cli.shared import Command
from empathy_lens.console import progress_bars
from empathy_lens.data import load_pairs, pairs_from, save_pairs
from empathy_lens.models.zoo import EMBEDDED_MODELS
from empathy_lens.study import DataFiles

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
SCRIPTS = [
    path
    for path in sorted(EXPERIMENTS.rglob("*.py"))
    if "typer" in (text := path.read_text(encoding="utf-8")) and "__main__" in text
]
COMMANDS = tuple(typer.main.get_command(app).commands)


def run(*arguments):
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})


def script_app(path, monkeypatch):
    """A script's command line, in this process."""
    monkeypatch.syspath_prepend(str(path.parent))  # as for python experiments/NAME.py
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, path.stem, module)
    spec.loader.exec_module(module)
    script = typer.Typer(add_completion=False)
    script.command(cls=Command)(module.main)
    return script


def test_the_version_is_the_package_s():
    assert run("--version").output.strip() == version("empathy-lens")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_every_option_whole(name):
    done = run(name, "--help")
    assert done.exit_code == 0
    assert "…" not in done.output
    for param in typer.main.get_command(app).commands[name].params:
        for option in param.opts:
            assert option in done.output
    assert "--quiet" in done.output


def test_python_m_is_the_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["empathy-lens", "--version"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("empathy_lens", run_name="__main__")
    assert ended.value.code == 0
    assert capsys.readouterr().out.strip() == version("empathy-lens")


def test_the_embedded_models_are_listed_in_80_columns_with_what_they_are_and_how_they_stand(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("EMPATHY_LENS_CACHE", str(tmp_path))
    (tmp_path / "qwen2.5-coder-1.5b.parts").mkdir()
    for i in (1, 2, 3):
        (tmp_path / "qwen2.5-coder-1.5b.parts" / f"00{i}.bin").touch()
    listed, shown = json.loads(run("models", "--json").output), run("models").output
    assert list(listed) == list(EMBEDDED_MODELS)
    assert max(map(len, shown.splitlines())) <= 80
    assert len(re.findall(r"; download \d+\.\d GB, disk \d+\.\d GB", shown)) == len(listed)
    for name, row in listed.items():
        model = EMBEDDED_MODELS[name]
        assert (row["download_bytes"], row["licence"]) == (model.gguf_bytes, model.licence)
        for said in (f"embedded:{name}", row["good_for"], row["licence"], row["state"]):
            assert said in shown
        assert f"→ {row['command']}" in shown
    assert listed["smollm2"]["state"] == "not fetched"
    assert listed["qwen2.5-coder-1.5b"]["state"] == "partly fetched (3 of 22 parts)"


def test_the_doctor_without_a_model_says_what_models_need():
    done = run("doctor", "--no-run")
    assert done.exit_code == 0, done.output
    assert "Memory need" in done.output
    assert "gemma-2-9b" in done.output


def test_a_device_that_is_none_is_refused_with_the_choices():
    done = run("doctor", "--device", "tpu")
    assert done.exit_code == 2
    assert "expected auto, cpu, mps or cuda, got 'tpu'" in done.output


@pytest.mark.parametrize(
    ("arguments", "shown"), [([], "warned"), (["-q"], ""), (["-v"], "told warned")]
)
def test_what_is_logged_goes_to_standard_error_as_asked(arguments, shown):
    small = typer.Typer(add_completion=False)
    logger = logging.getLogger("empathy_lens.some_room")

    @small.command(cls=Command)
    def main() -> None:
        logger.info("told")
        logger.warning("warned")
        with progress_bars() as console:
            console.announce("a stage")

    done = CliRunner().invoke(small, arguments)
    assert done.exit_code == 0
    assert done.stdout == ""
    assert [w for w in ("told", "warned") if w in done.stderr] == shown.split()
    assert ("a stage" in done.stderr) == (arguments != ["-q"])
    assert logging.getLogger("empathy_lens").level == logging.NOTSET


def test_quiet_and_verbose_together_are_refused():
    assert run("models", "-q", "-v").exit_code == 2


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_has_help(path, monkeypatch):
    done = CliRunner().invoke(script_app(path, monkeypatch), ["--help"])
    assert done.exit_code == 0
    assert "--verbose" in done.output


INPUTS = {"folder", "pairs_train", "pairs_test", "scenarios"}
NEEDED = {"folders": "A", "file": "x", "name": "x", "train": "x", "direction": "x"}


@pytest.mark.parametrize("name", [*COMMANDS, *(path.stem for path in SCRIPTS)])
def test_every_default_output_lies_among_the_runs_that_git_ignores(name, monkeypatch):
    """Read off the defaults as the command itself gets them; what is only read is named above."""
    if name in COMMANDS:
        command = typer.main.get_command(app).commands[name]
    else:
        path = next(path for path in SCRIPTS if path.stem == name)
        command = typer.main.get_command(script_app(path, monkeypatch))
    needed = [p for p in command.params if p.required]
    given = [[NEEDED.get(p.name, "x")] if p.opts == [p.name] else [p.opts[0], "x"] for p in needed]
    chosen = command.make_context(name, [word for words in given for word in words]).params
    runs = EXPERIMENTS.parent / "results" / "runs"
    for option, value in chosen.items():
        if isinstance(value, Path) and option not in INPUTS | {p.name for p in needed}:
            assert (EXPERIMENTS.parent / value).is_relative_to(runs), (option, value)


def test_git_ignores_the_folder_of_runs_and_tracks_nothing_in_it():
    root = EXPERIMENTS.parent
    if not (root / ".git").exists():
        pytest.skip("not a checkout")
    ask = {"cwd": root, "capture_output": True, "text": True}
    ignored = subprocess.run(["git", "check-ignore", "results/runs/embedded/a.json"], **ask)
    assert ignored.returncode == 0
    assert subprocess.run(["git", "ls-files", "results/runs"], **ask).stdout == ""


@pytest.mark.parametrize("script", [None, "run_full_pipeline"])
def test_a_study_of_another_concept_leaves_out_what_is_about_the_shipped_one(
    script, tmp_path, monkeypatch
):
    asked = []
    monkeypatch.setattr(study, "study_into", lambda folder, options, **_: asked.append(options))
    pairs = pairs_from(["I told her."] * 2, ["I hid it.", "I lied."], concept="honesty")
    save_pairs(tmp_path / "honesty.jsonl", pairs)
    chosen = ["--pairs-train", str(tmp_path / "honesty.jsonl"), "--out", str(tmp_path / "out")]
    if script is None:
        done = run("study", *chosen)
    else:
        done = CliRunner().invoke(script_app(EXPERIMENTS / f"{script}.py", monkeypatch), chosen)
    assert done.exit_code == 0, done.output
    (options,) = asked
    assert options.files.pairs_train == tmp_path / "honesty.jsonl"
    assert options.files.pairs_test == DataFiles.shipped().pairs_test
    assert options.files.rubric is options.files.steering_prompts is None


def test_check_finds_nothing_in_the_shipped_files_and_names_a_planted_leak(tmp_path):
    files = DataFiles.shipped()
    done = run("check", str(files.pairs_train), str(files.pairs_test), "--json")
    checked = json.loads(done.output)
    assert (done.exit_code, checked["overlaps"], checked["n_pairs"]) == (0, [], [70, 20])
    assert checked["giveaways"]["words"]["value"] > 0.8
    leaked = load_pairs(files.pairs_test)[7]
    planted = (*load_pairs(files.pairs_train), replace(leaked, split="train"))
    save_pairs(tmp_path / "train.jsonl", planted)
    done = run("check", str(tmp_path / "train.jsonl"), str(files.pairs_test))
    assert done.exit_code == 1
    for kind in ("pair_id", "situation", "prompt", "text"):
        assert f"{leaked.pair_id} and {leaked.pair_id} have the same {kind}" in done.output
    lines = f"{tmp_path / 'train.jsonl'}:{len(planted)} and {files.pairs_test}:8: "
    assert done.output.count(lines) == 4


def test_a_study_on_leaked_pairs_is_refused_before_a_model_is_loaded(tmp_path):
    shared = str(DataFiles.shipped().pairs_test)
    chosen = ["--pairs-train", shared, "--pairs-test", shared, "--model", "nowhere"]
    done = run("study", *chosen, "--out", str(tmp_path))
    assert done.exit_code == 2
    assert "overlap" in done.output
    assert "--allow-overlap" in done.output
    done = run("study", *chosen, "--out", str(tmp_path), "--allow-overlap")
    assert (done.exit_code, "nowhere" in done.output) == (2, True)  # it is the model that is asked


@pytest.mark.parametrize("quiet", [False, True])
def test_fetch_says_its_steps_on_standard_error_unless_quiet(quiet, monkeypatch, tmp_path):
    def fetched(_name, step):
        step("download toy")(1, 2)
        return tmp_path

    monkeypatch.setattr("empathy_lens.models.embedded.fetch_embedded", fetched)
    done = run("fetch", "toy", *(["--quiet"] if quiet else []))
    assert done.stdout == f"embedded:toy is ready in {tmp_path}\n"
    assert ("download toy" in done.stderr) is not quiet


def test_fetch_takes_the_name_as_the_model_option_does():
    done = run("fetch", "embedded:nowhere")
    assert done.exit_code == 2
    assert "no embedded model 'nowhere'" in done.output
