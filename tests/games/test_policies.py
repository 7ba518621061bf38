import pytest

from empathy_lens.errors import InputError
from empathy_lens.games import GAMES, new_game, play_episode, random_policy, scripted_policy

MARKS = [("task", 0), ("delayed", 1), ("empathic", 2)]


@pytest.mark.parametrize("game_id", GAMES)
@pytest.mark.parametrize(("name", "mark"), MARKS)
def test_a_scripted_policy_earns_its_mark_in_every_variant(game_id, name, mark):
    game = new_game(game_id)
    episodes = [play_episode(game, scripted_policy(name, game_id), seed) for seed in range(60)]
    assert {episode.score for episode in episodes} == {mark}
    assert not any(episode.flags for episode in episodes)


@pytest.mark.parametrize("game_id", GAMES)
def test_random_play_lies_between_the_marks(game_id):
    game = new_game(game_id)
    scores = [play_episode(game, random_policy(seed), seed).score for seed in range(60)]
    assert 0 < sum(scores) / len(scores) < 2


def test_random_play_repeats_with_its_seed():
    game = new_game("the_maze")
    one, two, other = (
        play_episode(game, scripted_policy("random", "the_maze", seed), 5) for seed in (1, 1, 2)
    )
    assert one == two
    assert one.steps != other.steps


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match=r"expected a policy in task, .* got 'kind'"):
        scripted_policy("kind", "the_duel")
    with pytest.raises(InputError, match=r"expected a game in .* got 'chess'"):
        scripted_policy("task", "chess")
