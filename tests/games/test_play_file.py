"""What was played survives a file; plays of one model become one, others are refused."""

import dataclasses

import pytest
import torch
from test_on_policy import a_play

from empathy_lens.directions.store import save_tensors
from empathy_lens.errors import InputError
from empathy_lens.games import new_game, play_episode, random_policy
from empathy_lens.games.play import join_plays, load_play, save_play
from empathy_lens.games.steered_play import Outcome
from empathy_lens.results import read_result

EPISODES = tuple(play_episode(new_game("the_duel"), random_policy(s), s) for s in range(2))


def a_real_play(resid=1.0):
    play = a_play(0.8)
    decisions = tuple(
        dataclasses.replace(play.decisions[0], episode=i, game_id="the_duel", seed=i)
        for i in range(2)
    )
    return dataclasses.replace(
        play,
        episodes=EPISODES,
        preambles=("Be kind.", ""),
        decisions=decisions,
        resid_post=torch.full((2, 1, 4), resid),
    )


def alike(one, other):
    names = ("episodes", "preambles", "decisions", "layers", "provenance", "n_tokens")
    return torch.equal(one.resid_post, other.resid_post) and all(
        getattr(one, name) == getattr(other, name) for name in names
    )


def test_a_play_survives_a_file(tmp_path):
    play = a_real_play()
    save_play(tmp_path / "play.safetensors", play)
    assert alike(load_play(tmp_path / "play.safetensors"), play)


def test_joined_plays_keep_decisions_with_their_episodes():
    joined = join_plays([a_real_play(1.0), a_real_play(2.0)])
    assert joined.episodes == EPISODES * 2
    assert [d.episode for d in joined.decisions] == [0, 1, 2, 3]
    assert joined.resid_post[:, 0, 0].tolist() == [1.0, 1.0, 2.0, 2.0]
    assert joined.n_tokens == 20
    assert alike(join_plays([a_real_play()]), a_real_play())


def test_plays_of_different_models_are_not_joined():
    other = dataclasses.replace(a_real_play(), provenance=a_play(0.8, weights="v").provenance)
    with pytest.raises(InputError, match="different models or layers"):
        join_plays([a_real_play(), other])
    with pytest.raises(InputError, match="different models or layers"):
        join_plays([a_real_play(), dataclasses.replace(a_real_play(), layers=(0,))])
    with pytest.raises(InputError, match="got none"):
        join_plays([])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"episode": 2}, r"decisions\.1\.episode: expected one of 2 episodes, got 2"),
        ({"game_id": "the_dual"}, r"decisions\.1\.game_id: .* did you mean 'the_duel'"),
        ({"seed": 7}, r"decisions\.1: expected a decision of the_duel, seed 1"),
        ({"probabilities": (0.5,)}, r"decisions\.1: expected a score and a probability for each"),
        ({"probabilities": (0.5, 0.5, 1.5)}, r"decisions\.1\.probabilities\.2: .* less than"),
    ],
)
def test_a_decision_that_cannot_be_is_named(tmp_path, change, message):
    path, play = tmp_path / "play.safetensors", a_real_play()
    decisions = (play.decisions[0], dataclasses.replace(play.decisions[1], **change))
    save_play(path, dataclasses.replace(play, decisions=decisions))
    with pytest.raises(InputError, match=rf"play\.safetensors: {message}"):
        load_play(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"score": [2.5], "help": [0.5]}', r"score\.0"),
        ('{"score": [0.5], "help": [0.5]}', r"score\.0"),
        ('{"score": [-1], "help": [0.5]}', r"score\.0"),
        ('{"score": [2], "help": [1.01]}', r"help\.0"),
        ('{"score": [2, 1], "help": [1]}', "a score and a help of each"),
    ],
)
def test_scores_and_help_out_of_their_range_are_refused(tmp_path, text, message):
    path = tmp_path / "steered.json"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"steered\.json: .*{message}"):
        read_result(path, Outcome)


def test_another_kind_of_file_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_tensors(path, {"resid_post": torch.zeros(1)}, {"play": {"episodes": []}})
    with pytest.raises(InputError, match=r"other\.safetensors: preambles: Field required"):
        load_play(path)
    save_tensors(path, {"resid_post": torch.zeros(1)}, {"activations": {}})
    with pytest.raises(InputError, match="expected play"):
        load_play(path)
