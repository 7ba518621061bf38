import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from tiny_players import save_tiny_player
from typer.testing import CliRunner

from empathy_lens.games import rollouts

SCRIPT = Path(__file__).parents[2] / "experiments" / "play_eia_games.py"
GAMES = {"food_delivery", "the_listener", "the_maze", "the_protector", "the_duel"}


def run(*args):
    return subprocess.run([sys.executable, SCRIPT, *args], capture_output=True, text=True)


@pytest.mark.parametrize(("policy", "mark"), [("task", 0), ("delayed", 1), ("empathic", 2)])
def test_the_script_prints_the_marks_of_the_scripted_policies(policy, mark):
    done = run("--policy", policy, "--episodes", "20", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    out = json.loads(done.stdout)
    assert list(out) == ["policy", "games", "seconds", "ratios"]
    assert (out["policy"], out["ratios"], set(out["games"])) == (policy, {}, GAMES)
    for game in out["games"].values():
        assert game["episodes"] == game["counts"][str(mark)] == 20
        assert game["mean_score"] == mark


def test_the_same_seed_prints_the_same_bytes_apart_from_seconds():
    def printed(seed):
        out = run("--policy", "random", "--episodes", "5", "--seed", seed, "--json").stdout
        return [line for line in out.splitlines() if '"seconds"' not in line]

    assert printed("3") == printed("3")
    assert printed("3") != printed("4")


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory):
    return save_tiny_player(tmp_path_factory.mktemp("player"), chat_template=None)


@pytest.mark.parametrize("how", ["", "--calibrated", "--generate"])
def test_a_model_plays_and_says_how_it_was_measured(how, tiny_folder, monkeypatch):
    spec = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    short = {game_id: script.GAMES[game_id] for game_id in ("the_protector", "the_duel")}
    monkeypatch.setattr(script, "GAMES", short)
    monkeypatch.setattr(rollouts, "MAX_REPLY", 4)
    args = ["--model", str(tiny_folder), "--episodes", "3", "--json"]
    app = typer.Typer()
    app.command()(script.main)
    done = CliRunner().invoke(app, [*args, how] if how else args)
    assert done.exit_code == 0
    out = json.loads(done.stdout)
    assert {g: played["episodes"] for g, played in out["games"].items()} == {
        "the_protector": 2,
        "the_duel": 1,
    }
    assert out["projections"] == [out["decisions"], 3]
    assert out["seconds"] > 0
    assert out["peak_rss_mb"] > 100
    # Random weights write nonsense, and what is scored cannot go wrong.
    assert out["flagged"] == (3 if how == "--generate" else 0)
    assert set(out["ratios"]) == (set() if how else {"full_passes", "max_abs_score_diff"})
    if not how:
        assert out["ratios"]["full_passes"] > 0
        assert out["ratios"]["max_abs_score_diff"] < 1e-3


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["--policy", "kind"], "'kind'"),
        (["--policy", "task", "--episodes", "0"], "got 0"),
        (["--policy", "task", "--model", "embedded"], "--policy or --model"),
        ([], "--policy"),
    ],
)
def test_bad_arguments_exit_with_2_and_one_line(args, named):
    done = run(*args)
    assert done.returncode == 2
    assert done.stdout == ""
    assert named in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
