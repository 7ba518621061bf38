"""A tiny language model plays real games: exact scores, batching, steering, nonsense, bad input."""

import pytest
import torch
from tiny_players import tiny_player

from empathy_lens.directions import random_directions
from empathy_lens.errors import InputError
from empathy_lens.games import (
    GAMES,
    Choice,
    language_model_policy,
    new_game,
    play_episode,
    play_games,
    replay,
    rollouts,
)
from empathy_lens.games.language_model import time_full_passes
from empathy_lens.games.rollouts import prompt_tokens
from empathy_lens.steering import add_direction
from empathy_lens.types import Direction, Site

EPISODES = [("the_duel", 0), ("the_protector", 3), ("the_duel", 1)]


@pytest.fixture(scope="module", params=["plain", "chat"])
def player(request, backend, tmp_path_factory):
    template = {} if request.param == "chat" else {"chat_template": None}
    return tiny_player(tmp_path_factory.mktemp(f"player-{request.param}"), backend, **template)


@pytest.fixture(scope="module")
def play(player):
    return play_games(player, EPISODES, preambles=["Be kind.", "", "Win."])


def test_every_decision_is_scored_as_full_passes_score_it(player, play):
    full = time_full_passes(player, play, n=4)
    assert full.max_abs_diff < 1e-3
    assert full.seconds_per_decision > 0


def test_the_kept_stream_is_that_of_the_prompt_s_last_token(player, play):
    for index in (0, len(play.decisions) - 1):
        decision = play.decisions[index]
        seen = replay(play.episodes[decision.episode], decision.turn)
        ids, n_kept = prompt_tokens(player, seen, play.preambles[decision.episode])
        assert decision.n_prompt_tokens == len(ids) >= n_kept
        _, cache = player.run_with_cache(torch.tensor([ids]))
        for column, layer in enumerate(play.layers):
            wanted = cache[Site(layer).hook_name][0, -1].float()
            torch.testing.assert_close(play.resid_post[index, column], wanted, atol=1e-3, rtol=1e-3)


def test_episodes_are_the_same_alone_and_side_by_side(player, play):
    for number, (episode, preamble) in enumerate(zip(EPISODES, play.preambles, strict=True)):
        alone = play_games(player, [episode], preambles=[preamble])
        assert alone.episodes[0] == play.episodes[number]
        ours = [d for d in play.decisions if d.episode == number]
        for a, b in zip(alone.decisions, ours, strict=True):
            assert a.scores == pytest.approx(b.scores, abs=1e-3)


def test_decisions_follow_the_trajectory(play):
    for number, episode in enumerate(play.episodes):
        decisions = [d for d in play.decisions if d.episode == number]
        assert [d.action for d in decisions] == list(episode.action_ids)
        assert [d.turn for d in decisions] == list(range(len(decisions)))
        for d in decisions:
            assert sum(d.probabilities) == pytest.approx(1.0)
            assert d.action in d.legal


def test_temperature_0_takes_the_likeliest_and_seeds_matter_above_it(player):
    cold = play_games(player, EPISODES[:1], choice=Choice(temperature=0.0), layers=())
    for d in cold.decisions:
        assert d.action == d.legal[max(range(len(d.scores)), key=d.scores.__getitem__)]
    hot = Choice(temperature=5.0)
    several = {
        play_games(player, EPISODES[:1], choice=hot, layers=(), seed=s).episodes[0].action_ids
        for s in range(4)
    }
    assert len(several) > 1


def test_calibrated_scores_subtract_those_after_the_cue_alone(player):
    plain = play_games(player, EPISODES[:1], choice=Choice(temperature=0.0), layers=())
    calibrated = play_games(player, EPISODES[:1], choice=Choice("score", 0.0, True), layers=())
    first, other = plain.decisions[0], calibrated.decisions[0]
    # What is subtracted is a log-probability, so every score rises.
    assert all(a < b for a, b in zip(first.scores, other.scores, strict=True))
    again = play_games(player, EPISODES[:2], choice=Choice("score", 0.0, True), layers=())
    assert again.decisions[0].scores == pytest.approx(other.scores, abs=1e-3)


def test_a_model_that_writes_nonsense_plays_a_valid_flagged_episode(player, monkeypatch):
    monkeypatch.setattr(rollouts, "MAX_REPLY", 8)
    done = play_games(player, EPISODES, choice=Choice("generate"), layers=())
    for episode in done.episodes:
        assert episode.score in (0, 1, 2)
        assert "half_replaced" in episode.flags
        assert episode.unparsable >= len(episode.steps) - 1
        assert any(step.reply for step in episode.steps)
    assert all(d.scores == () for d in done.decisions)


def test_generated_replies_do_not_depend_on_the_batch(player, monkeypatch):
    monkeypatch.setattr(rollouts, "MAX_REPLY", 4)
    two, choice = EPISODES[:2], Choice("generate")
    together = play_games(player, two, choice=choice, layers=())
    apart = play_games(player, two, choice=choice, layers=(), batch_size=1)
    assert together.episodes == apart.episodes


def test_the_policy_plays_as_play_games_does(player):
    policy = language_model_policy(player, preamble="Be kind.", seed=0)
    episode = play_episode(new_game("the_duel"), policy, 0)
    wanted = play_games(player, [("the_duel", 0)], preambles=["Be kind."], layers=())
    assert episode.action_ids == wanted.episodes[0].action_ids


def test_steering_changes_scores_and_alpha_0_does_not(player, play):
    vector = random_directions(1, player.cfg.d_model, seed=0)[0]
    direction = Direction(
        vector, Site(1), "random", raw_norm=3.0, threshold=0.0, provenance=play.provenance
    )

    def first_scores(*hooks):
        steered = play_games(player, EPISODES[:1], hooks=hooks, layers=())
        return steered.decisions[0].scores

    untouched = first_scores()
    assert first_scores(add_direction(direction, 0.0)) == untouched
    moved = first_scores(add_direction(direction, 4.0))
    assert max(abs(a - b) for a, b in zip(moved, untouched, strict=True)) > 1e-3
    assert first_scores() == untouched


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"how": "guess"}, "score or generate"),
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
    ],
)
def test_a_choice_that_cannot_be_made_is_refused(change, message):
    with pytest.raises((InputError, TypeError), match=message if "how" not in change else None):
        Choice(**change)


def test_bad_episodes_are_refused(player):
    with pytest.raises(InputError, match="got 0 and 0"):
        play_games(player, [])
    with pytest.raises(InputError, match="the_dual"):
        play_games(player, [("the_dual", 0)])
    with pytest.raises(InputError, match="a preamble for each"):
        play_games(player, EPISODES, preambles=["one"])


def test_a_game_that_outgrows_the_context_is_refused(tiny_llama):
    with pytest.raises(InputError, match="larger n_ctx"):
        play_games(tiny_llama, [("food_delivery", 0)], layers=())


def test_every_game_can_be_played(player):
    done = play_games(player, [(game_id, 5) for game_id in GAMES], layers=(0,))
    assert [e.game_id for e in done.episodes] == list(GAMES)
    assert done.resid_post.shape[:2] == (len(done.decisions), 1)
    assert done.n_tokens < sum(d.n_prompt_tokens for d in done.decisions)
