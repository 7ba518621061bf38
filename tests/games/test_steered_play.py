"""A planted effect is found and stands out from random directions; none is found where none is."""

import dataclasses

import numpy as np
import pytest
from tiny_players import tiny_player

from empathy_lens.directions import random_directions
from empathy_lens.errors import InputError
from empathy_lens.games import GAMES, play_games
from empathy_lens.games.steered_play import (
    Condition,
    Outcome,
    RandomNull,
    conditions,
    play_condition,
    steered_play_result,
)
from empathy_lens.models import model_card
from empathy_lens.steering import add_direction
from empathy_lens.types import Direction, Provenance, Site

EPISODES = [(game_id, seed) for seed in range(4) for game_id in GAMES]
CONTROLS = EPISODES[:10]
ALPHAS = (-4.0, 0.0, 4.0)
PROVENANCE = Provenance("toy", "w", "float32", "hooked", "3.9.0")
TOY = Direction(
    random_directions(1, 8, seed=0)[0], Site(1), "mean_difference", 2.0, 0.0, PROVENANCE
)


def outcomes(slope, n_random=19, seed=0):
    """Episodes whose help follows alpha by ``slope``; random directions move them little."""
    rng = np.random.default_rng(seed)
    base = rng.uniform(0.4, 0.6, len(EPISODES))
    found = {}
    for c in conditions(ALPHAS, n_random):
        n = len(CONTROLS) if c.kind == "random" else len(EPISODES)
        push = slope if c.kind == "direction" else rng.normal(scale=0.005)
        chance = np.clip(base[:n] + push * c.alpha + rng.normal(scale=0.01, size=n), 0, 1)
        score = np.clip(np.round(2 * chance), 0, 2)
        found[c] = Outcome(tuple(score.tolist()), tuple(chance.tolist()))
    return found


def result(found, n_resamples=500):
    return steered_play_result(TOY, EPISODES, CONTROLS, found, n_resamples=n_resamples)


def test_a_planted_effect_has_its_slope_and_exceeds_every_random_direction():
    found = result(outcomes(0.05))
    assert found.slope["help"].value == pytest.approx(0.05, abs=0.005)
    assert 0 < found.slope["help"].low <= found.slope["help"].value
    assert found.null["help"].direction == pytest.approx(0.05, abs=0.01)
    assert found.null["help"].p == pytest.approx(1 / 20)
    rising = [found.by_alpha[str(a)].help.value for a in ALPHAS]
    assert rising == sorted(rising)
    assert (found.n_episodes, found.n_control_episodes, found.n_random) == (20, 10, 19)


def test_a_negative_effect_stands_out_as_a_positive_one_does():
    found = result(outcomes(-0.05))
    assert found.slope["help"].high < 0
    assert found.null["help"].p == pytest.approx(1 / 20)


def test_p_is_even_where_the_direction_is_one_of_the_random_ones():
    slopes = np.random.default_rng(0).normal(scale=0.005, size=40)
    p = [result(outcomes(x, 9, i), n_resamples=100).null["help"].p for i, x in enumerate(slopes)]
    assert 0.35 < np.mean(p) < 0.7
    assert min(p) < 0.3 < 0.8 < max(p)


def test_where_nothing_changes_random_directions_reach_as_far():
    flat = Outcome((1.0,) * len(EPISODES), (0.5,) * len(EPISODES))
    part = Outcome(flat.score[: len(CONTROLS)], flat.help[: len(CONTROLS)])
    found = result({c: part if c.kind == "random" else flat for c in conditions(ALPHAS, 4)})
    assert found.slope["score"] is None
    assert found.null["score"] == RandomNull(0.0, (0.0,) * 4, 1.0)


def test_an_end_at_0_is_the_unsteered_play_of_the_control_episodes():
    all_of = outcomes(0.05)
    kept = {c: o for c, o in all_of.items() if c.alpha >= 0}
    found = result(kept)
    unsteered = all_of[Condition("direction", 0.0)].help[: len(CONTROLS)]
    assert found.unsteered_controls["help"] == pytest.approx(np.mean(unsteered))
    assert list(found.random) == ["4.0"]
    first = np.mean(all_of[Condition("random", 4.0, 0)].help)
    assert found.null["help"].random[0] == pytest.approx((first - np.mean(unsteered)) / 4)


def test_no_random_directions_give_no_null():
    found = result(outcomes(0.05, n_random=0))
    assert found.null is None
    assert found.random == {"-4.0": (), "4.0": ()}


def test_conditions_play_random_directions_at_the_ends_only():
    named = [str(c) for c in conditions((0.0, 2.0, -2.0, 1.0), 2)]
    assert named == [
        *("direction-0--2", "direction-0-0", "direction-0-1", "direction-0-2", "instruction-0-0"),
        *("random-0--2", "random-0-2", "random-1--2", "random-1-2"),
    ]


@pytest.mark.parametrize("alphas", [(1.0, 2.0), (0.0,), (0.0, 0.0), (0.0, float("nan"))])
def test_alphas_that_cannot_be_compared_are_refused(alphas):
    with pytest.raises(InputError, match="expected 0 and at least one other"):
        conditions(alphas)


def test_what_is_missing_is_named():
    found = outcomes(0.05)
    with pytest.raises(InputError, match=r"\('the_duel', 99\)"):
        steered_play_result(TOY, EPISODES, [("the_duel", 99)], found)
    with pytest.raises(InputError, match="outcomes of the instruction"):
        result({c: o for c, o in found.items() if c.kind != "instruction"})


@pytest.fixture(scope="module")
def player(backend, tmp_path_factory):
    return tiny_player(tmp_path_factory.mktemp("steered"), backend)


@pytest.fixture(scope="module")
def direction(player):
    vector = random_directions(1, player.cfg.d_model, seed=7)[0]
    return dataclasses.replace(TOY, vector=vector, provenance=model_card(player).provenance)


SHORT = [("the_duel", 0), ("the_duel", 1)]


def test_conditions_are_played_as_they_say(player, direction):
    plain = play_games(player, SHORT, layers=())
    kind = GAMES["the_duel"].helping
    chances = [
        np.mean(
            [d.probability_of(kind) for d in plain.decisions if d.episode == i and d.plea_heard]
        )
        for i in range(2)
    ]
    unsteered = play_condition(player, direction, Condition("direction"), SHORT)
    assert unsteered.score == tuple(e.score for e in plain.episodes)
    assert unsteered.help == pytest.approx(chances)
    others = [
        play_condition(player, direction, condition, SHORT)
        for condition in (
            Condition("direction", 4.0),
            Condition("random", 4.0, 0),
            Condition("random", 4.0, 1),
            Condition("instruction"),
        )
    ]
    assert len({o.help for o in (unsteered, *others)}) == 5


def test_any_method_that_makes_a_hook_can_steer(player, direction):
    def as_added(direction, alpha):
        return add_direction(direction, alpha=alpha)

    def unmoved(direction, alpha):
        return (direction.site.hook_name, lambda resid, hook=None: resid)

    def outcome(**method):
        return play_condition(player, direction, Condition("direction", 4.0), SHORT, **method)

    unsteered = play_condition(player, direction, Condition("direction"), SHORT)
    assert outcome(method=as_added) == outcome() != unsteered
    assert outcome(method=unmoved) == unsteered


def test_a_direction_of_another_model_is_refused(player):
    with pytest.raises(InputError):
        play_condition(player, TOY, Condition("direction", 1.0), SHORT)
