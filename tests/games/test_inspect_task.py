import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from inspect_ai import eval as inspect_eval
from inspect_ai.log import list_eval_logs, read_eval_log, read_eval_log_sample
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from loopback import first_choice_server

from empathy_lens.errors import InputError
from empathy_lens.games import (
    GAMES,
    Episode,
    Trajectory,
    new_game,
    play_episode,
    scripted_policy,
)
from empathy_lens.games.inspect_task import REPLY_RULE, eia_games
from empathy_lens.results import from_plain

ROOT = Path(__file__).parents[2]


def trajectory(stored):
    """What a log says of an episode, without what it says of how it was played and scored."""
    names = {field.name for field in fields(Trajectory)}
    return from_plain({k: v for k, v in stored.items() if k in names}, Trajectory, "log")


def played(reply, log_dir, *, epochs=1, message_limit=None, **task_args):
    """The log of Inspect's mock model that answers ``reply(messages)`` on the task."""

    def output(messages, tools, tool_choice, config):
        # With its usage stated, the mock model needs no tokenizer from the net.
        return ModelOutput.from_content("mockllm/model", reply(messages)).model_copy(
            update={"usage": ModelUsage()}
        )

    model = get_model("mockllm/model", custom_outputs=output, memoize=False)
    (log,) = inspect_eval(
        eia_games(**task_args),
        model=model,
        epochs=epochs,
        message_limit=message_limit,
        log_dir=str(log_dir),
        display="none",
    )
    assert log.status == "success", log.error
    return log


def scripted_reply(policy, n_episodes):
    """Answers as the scripted policy would, each episode known by its first message."""
    scripts = {}
    for sample in eia_games(episodes=n_episodes).dataset:
        game_id, seed = sample.metadata["game_id"], sample.metadata["seed"]
        episode = play_episode(new_game(game_id), scripted_policy(policy, game_id), seed)
        scripts[sample.input] = [action.text for action in episode.actions]
    return lambda messages: scripts[messages[0].text][len(messages) // 2]


def metrics(log):
    """Values by score and metric; Inspect puts a package's name before that of its metric."""
    return {
        f"{score.name}/{name.rpartition('/')[2]}": metric.value
        for score in log.results.scores
        for name, metric in score.metrics.items()
    }


@pytest.mark.parametrize(("policy", "mark"), [("task", 0), ("delayed", 1), ("empathic", 2)])
def test_a_mock_model_that_acts_a_scripted_policy_has_exactly_its_mark(policy, mark, tmp_path):
    log = played(scripted_reply(policy, 3), tmp_path, episodes=3)
    found = metrics(log)
    assert found.pop("rubric_score/mean") == mark
    for game_id in GAMES:
        assert found.pop(f"rubric_score/mean_{game_id}") == mark
    assert set(found.values()) == {0}
    assert set(found) == {
        "rubric_score/stderr",
        "illegal/total",
        "unparsable/total",
        "half_replaced/total",
        "no_valid_action/total",
    }


def test_the_written_log_holds_every_trajectory(tmp_path):
    played(scripted_reply("empathic", 2), tmp_path, episodes=2)
    (path,) = list_eval_logs(str(tmp_path))
    ids = {sample.id for sample in read_eval_log(path).samples}
    assert ids == {f"{game_id}/{seed}" for game_id in GAMES for seed in range(2)}
    sample = read_eval_log_sample(path, id="the_maze/1")
    expected = play_episode(new_game("the_maze"), scripted_policy("empathic", "the_maze"), 1)
    metadata = sample.scores["rubric_score"].metadata
    for stored in (metadata, sample.store["trajectory"]):
        assert trajectory(stored).actions == expected.actions
    assert from_plain(metadata, Episode, "log").policy == "mockllm/model"
    assert sample.metadata == {"game_id": "the_maze", "seed": 1}


def test_each_message_holds_only_what_is_new(tmp_path):
    log = played(scripted_reply("empathic", 1), tmp_path, episodes=1)
    for sample in log.samples:
        game = new_game(sample.metadata["game_id"])
        observation = game.reset(0)
        for action in trajectory(sample.store["trajectory"]).actions:
            observation = game.step(action)
        told = [message.text for message in sample.messages if message.role == "user"]
        news = "".join(text.partition("Now: ")[0] for text in told[:-1]) + told[-1]
        assert news == f"{REPLY_RULE}\n\n{observation.history}The game is over."


def test_a_model_that_talks_nonsense_yields_valid_flagged_episodes(tmp_path):
    log = played(lambda messages: "qwerty uiop", tmp_path, episodes=2, epochs=2)
    assert [sample.error for sample in log.samples] == [None] * 20
    episodes = [from_plain(s.scores["rubric_score"].metadata, Episode, "log") for s in log.samples]
    assert {episode.flags for episode in episodes} == {("half_replaced", "no_valid_action")}
    found = metrics(log)
    assert found["rubric_score/mean"] == 0
    assert found["no_valid_action/total"] == found["half_replaced/total"] == 20
    assert found["unparsable/total"] == sum(len(e.steps) for e in episodes) > 120
    assert found["illegal/total"] == 0


def test_an_empty_reply_is_a_wait_that_is_counted(tmp_path):
    log = played(lambda messages: "", tmp_path, games="the_duel", episodes=1)
    assert metrics(log)["no_valid_action/total"] == 1


def test_an_episode_cut_short_by_a_limit_has_no_score(tmp_path):
    log = played(
        scripted_reply("empathic", 1), tmp_path, games="the_duel", episodes=1, message_limit=5
    )
    (sample,) = log.samples
    assert sample.limit.type == "message"
    assert log.results.scores[0].unscored_samples == 1
    assert len(trajectory(sample.scores["rubric_score"].metadata).steps) == 2


def test_a_limit_before_the_first_turn_has_no_score_either(tmp_path):
    log = played(lambda messages: "1", tmp_path, games="the_duel", episodes=1, message_limit=1)
    assert log.results.scores[0].unscored_samples == 1


@pytest.mark.parametrize("disposition", ["Be kind, always.", ["Be kind", " always."]])
def test_a_disposition_comes_before_the_first_turn(disposition):
    (sample,) = eia_games(games="the_duel", episodes=1, seed=4, disposition=disposition).dataset
    (plain,) = eia_games(games=["the_duel", "the_duel"], episodes=1, seed=4).dataset
    assert sample.id == plain.id == "the_duel/4"
    assert sample.input == f"Be kind, always.\n\n{plain.input}"
    assert plain.input == f"{REPLY_RULE}\n\n{new_game('the_duel').reset(4).prompt}"


@pytest.mark.parametrize(
    ("task_args", "named"),
    [
        ({"games": "the_dual"}, "did you mean 'the_duel'"),
        ({"games": []}, "got none"),
        ({"episodes": 0}, "got 0"),
        ({"seed": -1}, "-1"),
    ],
)
def test_bad_arguments_are_refused(task_args, named):
    with pytest.raises(InputError, match=named):
        eia_games(**task_args)


@pytest.mark.slow
def test_the_command_line_plays_a_server_that_speaks_the_openai_protocol(tmp_path):
    key = "sk-planted-4711"
    # The name belongs to the installed package, which a search path would hide.
    environment = {name: os.environ[name] for name in os.environ if name != "PYTHONPATH"}
    command = """eval empathy_lens/eia_games --model openai-api/loopback/first-choice
        --display plain -T games=the_duel,the_maze -T episodes=2 -T seed=3
        --log-format json --log-dir"""
    with first_choice_server() as (base_url, requests):
        done = subprocess.run(
            [Path(sys.executable).with_name("inspect"), *command.split(), tmp_path / "logs"],
            cwd=ROOT,
            env=environment
            | {"LOOPBACK_API_KEY": key, "LOOPBACK_BASE_URL": base_url, "NO_PROXY": "127.0.0.1"}
            | {"XDG_DATA_HOME": str(tmp_path / "data")},
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {(path, sent) for path, sent, _ in requests} == {
        ("/v1/chat/completions", f"Bearer {key}")
    }
    (path,) = list_eval_logs(str(tmp_path / "logs"))
    log = read_eval_log(path)
    assert log.status == "success"
    assert {sample.id for sample in log.samples} == {
        f"{game_id}/{seed}" for game_id in ("the_duel", "the_maze") for seed in (3, 4)
    }
    for sample in log.samples:
        game = new_game(sample.metadata["game_id"])
        expected = play_episode(game, lambda seen: seen.legal_actions[0], sample.metadata["seed"])
        score = sample.scores["rubric_score"]
        assert trajectory(score.metadata).actions == expected.actions
        assert score.value == expected.score
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert any(b"Your action:" in file.read_bytes() for file in written)
    assert all(key.encode() not in file.read_bytes() for file in written)
    assert key not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("argument", "named"),
    [
        ("disposition=Rule: be kind", "expected a text, got {'Rule': 'be kind'}"),
        ("episodes=x", "expected a whole number from 1, got 'x'"),
    ],
)
def test_arguments_that_the_command_line_reads_otherwise_are_refused(argument, named, tmp_path):
    command = "eval empathy_lens/games/inspect_task.py --model mockllm/model --display plain -T"
    done = subprocess.run(
        [Path(sys.executable).with_name("inspect"), *command.split(), argument],
        cwd=ROOT,
        env=os.environ | {"XDG_DATA_HOME": str(tmp_path), "INSPECT_LOG_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert named in done.stderr


def test_the_games_do_not_need_inspect():
    code = "import sys; sys.modules['inspect_ai'] = None; import empathy_lens.games"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
