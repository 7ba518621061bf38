import json

import pytest

from empathy_lens import games
from empathy_lens.errors import InputError
from empathy_lens.games import (
    GAMES,
    WAIT,
    Action,
    Episode,
    new_game,
    play_episode,
    random_policy,
    scripted_policy,
    summarise_scores,
)
from empathy_lens.results import from_plain, to_plain


@pytest.mark.parametrize("game_id", GAMES)
def test_a_player_who_only_talks_nonsense_yields_a_valid_flagged_episode(game_id):
    episode = play_episode(new_game(game_id), lambda observation: "qwerty uiop", 0)
    n_steps = len(episode.steps)
    assert episode.unparsable == n_steps >= 6
    assert episode.illegal == 0
    assert set(episode.action_ids) == {"wait"}
    assert episode.flags == ("half_replaced", "no_valid_action")
    assert episode.score == 0


def test_a_player_of_illegal_actions_is_counted_apart():
    episode = play_episode(new_game("the_duel"), lambda observation: Action("fly", "fly"), 0)
    assert (episode.illegal, episode.unparsable) == (len(episode.steps), 0)


def test_half_of_the_decisions_replaced_is_flagged_and_fewer_are_not():
    def every(n):
        def policy(observation):
            return WAIT if observation.turn % n else "qwerty"

        return play_episode(new_game("the_listener"), policy, 0)  # ten decisions

    assert every(2).flags == ("half_replaced",)
    assert every(3).flags == ()


@pytest.mark.parametrize("game_id", GAMES)
def test_an_episode_survives_json(game_id):
    episode = play_episode(new_game(game_id), random_policy(4), 9, name="random")
    data = json.loads(json.dumps(to_plain(episode)))
    assert from_plain(data, Episode, "a file") == episode
    assert (data["game_id"], data["seed"], data["policy"]) == (game_id, 9, "random")
    assert new_game(game_id).score(episode) == episode.score


def test_a_wrong_score_in_a_file_is_refused():
    data = to_plain(play_episode(new_game("the_duel"), random_policy(0), 0))
    with pytest.raises(InputError, match=r"a file: score: .*0, 1 or 2, got 3"):
        from_plain({**data, "score": 3}, Episode, "a file")


def test_a_judge_can_grade_an_episode():
    policy = scripted_policy("delayed", "the_duel")
    episode = play_episode(new_game("the_duel"), policy, 0, judge=lambda message, question: False)
    assert episode.score == 0


def test_scores_are_summarised_with_their_counts():
    game = new_game("the_duel")
    names = ("task", "delayed", "empathic", "empathic")
    episodes = [play_episode(game, scripted_policy(name, "the_duel"), 0) for name in names]
    assert to_plain(summarise_scores(episodes)) == {
        "episodes": 4,
        "mean_score": 1.25,
        "counts": {"0": 1, "1": 1, "2": 2},
    }
    with pytest.raises(InputError, match="no episodes"):
        summarise_scores([])


def test_the_room_offers_every_name_it_lists():
    assert all(getattr(games, name) is not None for name in games.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'chess'"):
        getattr(games, "chess")  # noqa: B009
