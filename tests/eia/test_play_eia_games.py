import json
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["--policy", "kind"], "'kind'"),
        (["--policy", "task", "--episodes", "0"], "got 0"),
        (["--policy", "task", "--episodes", "x"], "'x'"),
        (["--policy", "task", "--seed", "-1"], "got -1"),
        ([], "--policy"),
    ],
)
def test_bad_arguments_exit_with_2_and_one_line(args, named):
    done = run(*args)
    assert done.returncode == 2
    assert done.stdout == ""
    assert named in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
