"""The script on a tiny model: stopped midway, resumed, read again; figures of its own files."""

import importlib.util
import json
from pathlib import Path

import pytest
import typer
from tiny_players import N_CTX, save_tiny_player
from typer.testing import CliRunner

from empathy_lens import games as eia
from empathy_lens.directions import random_directions
from empathy_lens.directions.store import save_directions
from empathy_lens.errors import InputError
from empathy_lens.files import read_json, write_json
from empathy_lens.games import GAMES, behaviour
from empathy_lens.models import load_model, model_card
from empathy_lens.study import own_play
from empathy_lens.types import Direction, Site

SCRIPT = Path(__file__).parents[2] / "experiments" / "predict_behaviour.py"
DISPOSITIONS = ("kind", "neutral", "ruthless")
SELECTED = 1


def script():
    spec = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    app = typer.Typer()
    app.command()(module.main)
    return app


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A tiny model's folder, and that of a run with its directions."""
    model = save_tiny_player(tmp_path_factory.mktemp("model"), chat_template=None)
    run = tmp_path_factory.mktemp("run")
    loaded = load_model(model, n_ctx=N_CTX)
    vectors = random_directions(loaded.cfg.n_layers, loaded.cfg.d_model, seed=0)
    provenance = model_card(loaded).provenance
    directions = {
        layer: Direction(v, Site(layer), "mean_difference", 3.0, 0.0, provenance)
        for layer, v in enumerate(vectors)
    }
    save_directions(run / "directions.safetensors", directions)
    write_json(run / "validation_auroc.json", {"selected_layer": SELECTED})
    write_json(run / "eia_correlation.json", {"rubric": "kept"})
    return model, run


def call(made, *args):
    model, run = made
    paths = ("--model", str(model), "--run", str(run))
    return CliRunner().invoke(script(), [*paths, "--episodes", "3", "--transcripts", "1", *args])


@pytest.mark.slow
def test_play_that_is_stopped_resumes_and_ends_in_the_files_it_promises(made, monkeypatch):
    _, run = made
    short = {game_id: GAMES[game_id] for game_id in ("the_protector", "the_duel")}
    monkeypatch.setattr(eia, "GAMES", short)
    monkeypatch.setattr(behaviour, "GAMES", short)
    parts = [f"{game_id}-{d}" for game_id in short for d in DISPOSITIONS]
    play_games, played = own_play.play_games, []

    def stops_at_the_third(*args, **kwargs):
        played.append(args)
        if len(played) == 3:
            raise InputError("the power went")
        return play_games(*args, **kwargs)

    monkeypatch.setattr(own_play, "play_games", stops_at_the_third)
    stopped = call(made)
    assert stopped.exit_code == 2
    assert "the power went" in stopped.stderr
    kept = {p: p.read_bytes() for p in (run / "plays").iterdir()}
    assert {p.stem for p in kept} == set(parts[:2])
    assert not (run / "on_policy.json").exists()

    steering = ("--steer", "--steer-episodes", "1", "--alphas=0,4", "--n-random", "1")
    done = call(made, "--resume", *steering, "--json")
    assert done.exit_code == 0, done.output
    n_played = 3 + len(parts) - 2
    assert len(played) == n_played
    assert all(path.read_bytes() == content for path, content in kept.items())
    out = json.loads(done.stdout)
    stored = {name: read_json(run / f"{name}.json") for name in ("on_policy", "steered_play")}
    assert stored["on_policy"]["run"] == stored["steered_play"]["run"]
    assert out == {
        name: {k: v for k, v in kept.items() if k not in ("schema", "run")}
        for name, kept in stored.items()
    }
    correlation = read_json(run / "eia_correlation.json")
    assert correlation == {"rubric": "kept", "on_policy": out["on_policy"]}
    on_policy, steered = out["on_policy"], out["steered_play"]
    assert set(on_policy["per_scenario"]) == set(short)
    assert set(on_policy["per_disposition"]) == set(DISPOSITIONS)
    assert on_policy["played"]["episodes"] == 3 * len(parts)
    assert (steered["layer"], steered["alphas"], steered["n_random"]) == (SELECTED, [0.0, 4.0], 1)
    assert steered["n_episodes"] == steered["n_control_episodes"] == len(short)
    assert [p.name for p in (run / "transcripts").iterdir()] == ["the_protector-0.html"]
    report = (run / "report.html").read_text()
    for caption in ("projection before a choice", "The same episodes under steering"):
        assert caption in report

    before = {p.name: p.read_bytes() for p in run.glob("*.json")}
    again = call(made, "--resume", *steering)
    assert again.exit_code == 0
    assert len(played) == n_played
    assert "random-0-4: already done" in again.stderr
    assert {p.name: p.read_bytes() for p in run.glob("*.json")} == before


def test_a_folder_without_directions_says_how_to_make_them(tmp_path):
    done = call((tmp_path / "model", tmp_path))
    assert done.exit_code == 2
    assert "run_full_pipeline.py --model" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_strengths_that_are_no_numbers_are_refused_before_anything_is_loaded(made):
    done = call(made, "--steer", "--alphas=0,strong")
    assert done.exit_code == 2
    assert "--alphas: expected numbers such as -4,0,4, got '0,strong'" in done.stderr
    assert "loading" not in done.stderr
