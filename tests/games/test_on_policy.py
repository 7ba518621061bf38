"""Planted truth: a layer that leads behaviour is found, one that does not predict says so."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from empathy_lens.errors import DegenerateDataError, InputError
from empathy_lens.games import GAMES, Decision, Episode, Play, Trajectory
from empathy_lens.games.behaviour import finding, verdicts
from empathy_lens.games.on_policy import Turns, predict_on_policy, turns_with_a_choice
from empathy_lens.types import Direction, Provenance, Site

N_LAYERS, PLANTED = 6, 4
DISPOSITIONS = ("kind", "neutral", "ruthless")


def planted(strength, n_episodes=120, seed=0):
    """Turns whose leaning follows one layer's projection, with offsets of games that mislead.

    Fifteen episodes in a row are each game once under each disposition, all from one seed.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for e in range(n_episodes):
        game = e % len(GAMES)
        for turn in range(3):
            x = rng.normal(size=N_LAYERS)
            leaning = strength * x[PLANTED] + rng.normal() - 2.0 * game
            rows.append((x + 3.0 * game, leaning, e, game, turn))
    leaning = np.array([r[1] for r in rows])
    first = np.array([r[4] == 0 for r in rows])
    score_of = {r[2]: int(np.clip(round(r[1] + 2.0 * r[3]) + 1, 0, 2)) for r in rows if r[4] == 0}
    return Turns(
        projections=np.stack([r[0] for r in rows]),
        layers=tuple(range(N_LAYERS)),
        helped=leaning + 4 > 0,
        leaning=leaning,
        first=first,
        turn=np.array([r[4] for r in rows]),
        score=np.array([score_of[r[2]] for r in rows]),
        seed=np.array([r[2] // 15 for r in rows]),
        episode=tuple(str(r[2]) for r in rows),
        game=tuple(list(GAMES)[r[3]] for r in rows),
        disposition=tuple(DISPOSITIONS[r[2] % 3] for r in rows),
    )


def test_a_planted_layer_is_chosen_and_predicts_within_games_and_instructions():
    found = predict_on_policy(planted(2.0), n_resamples=500)
    assert set(found.layer_of_fold) == {PLANTED}
    assert found.pooled.partial.low > 0.3
    assert found.pooled.every_choice.leaning_partial.low > 0.5
    assert all(p.partial.low > 0 for p in found.per_disposition.values())
    assert found.pooled.every_choice.act_partial.low > 0.2
    assert all(p.every_choice.leaning.low > 0 for p in found.per_scenario.values())
    ruled = verdicts(found)
    assert {claim.all for claim in ruled.values()} == {"supported"}
    assert set(ruled["leaning"].per_disposition.values()) == {"supported"}
    leaning = found.pooled.every_choice.leaning_partial
    assert f"every choice: {leaning} (supported)" in finding(found)
    assert "kind supported, neutral supported, ruthless supported" in finding(found)


def test_games_that_differ_cannot_make_a_prediction_by_themselves():
    found = predict_on_policy(planted(0.0), n_resamples=500)
    # Across games, projections rise while helping falls; given the game nothing is left.
    assert found.pooled.every_choice.leaning.high < 0
    partial = found.pooled.every_choice.leaning_partial
    assert partial.low < 0 < partial.high
    assert "(supported)" not in finding(found)


def test_what_cannot_be_measured_cannot_be_told():
    turns = planted(2.0)
    constant = dataclasses.replace(turns, score=np.full(len(turns.score), 2))
    found = predict_on_policy(constant, n_resamples=200)
    assert found.pooled.partial is None
    ruled = verdicts(found)["score"]
    assert {ruled.all, *ruled.per_scenario.values()} == {"cannot tell"}
    assert "score, first choice: no figure (cannot tell)" in finding(found)


def shared_seeds(rng, *, n_seeds=20, shared=0.9):
    """Nothing to find: one choice an episode, most of whose projection and leaning are its seed's,
    and turns that raise both, along no straight line."""
    seed, disposition = (a.ravel() for a in np.mgrid[:n_seeds, : len(DISPOSITIONS)])

    def drawn(*shape):
        ours, own = rng.normal(size=(n_seeds, *shape))[seed], rng.normal(size=(len(seed), *shape))
        return math.sqrt(shared) * ours + math.sqrt(1 - shared) * own

    turn, n = seed % 3, len(seed)
    after = 1.5 * (turn == 1)
    leaning = drawn() + after
    return Turns(
        projections=drawn(N_LAYERS) + after[:, None],
        layers=tuple(range(N_LAYERS)),
        helped=leaning > np.median(leaning),
        leaning=leaning,
        first=np.ones(n, dtype=bool),
        turn=turn,
        score=np.digitize(leaning, [0.0, 1.0]),
        seed=seed,
        episode=tuple(map(str, range(n))),
        game=("the_duel",) * n,
        disposition=tuple(DISPOSITIONS[d] for d in disposition),
    )


def test_seeds_shared_across_dispositions_make_no_prediction():
    draws = [
        predict_on_policy(shared_seeds(np.random.default_rng(s)), seed=s, n_resamples=100).pooled
        for s in range(30)
    ]
    choices = [draw.every_choice for draw in draws]
    figures = [f for c in choices for f in (c.act_partial, c.leaning_partial)]
    assert {f.n_groups for f in figures} == {20}
    away = [not f.low <= 0 <= f.high for f in figures]
    assert np.mean(away) <= 0.1
    assert [f.p < 0.05 for f in figures] == away  # interval and p are one method
    # Nor does the choice of a layer flatter them.
    assert abs(np.mean([f.value for f in figures])) < 0.12


def test_too_few_episodes_are_refused():
    with pytest.raises(DegenerateDataError, match=r"at least 6 seeds of games.*got 5; play"):
        predict_on_policy(planted(1.0, n_episodes=15))


def a_play(probability, *, action="give_d", plea_heard=True, d_model=4, weights="w"):
    provenance = Provenance("toy", weights, "float32", "hooked", "3.9.0")
    decision = Decision(
        episode=0, game_id="food_delivery", seed=0, turn=5, plea_heard=plea_heard,
        legal=("give_b", "give_d", "wait"), scores=(-1.0, -1.0, -1.0),
        probabilities=(1 - probability, probability, 0.0), action=action, n_prompt_tokens=9,
    )  # fmt: skip
    stream = torch.arange(d_model, dtype=torch.float32).reshape(1, 1, d_model)
    episode = Episode.of(Trajectory("food_delivery", 0, ()), 2)
    return Play((episode,), ("",), (decision,), (3,), provenance, 10, stream)


def a_direction(weights="w", d_model=4):
    vector = torch.zeros(d_model)
    vector[2] = 1.0
    provenance = Provenance("toy", weights, "float32", "hooked", "3.9.0")
    return Direction(vector, Site(3), "mean_difference", 1.0, 0.0, provenance)


def test_turns_hold_the_projection_the_act_and_the_leaning():
    turns = turns_with_a_choice(a_play(0.8), {3: a_direction()}, ["kind"])
    assert turns.projections.tolist() == [[2.0]]
    assert turns.leaning[0] == pytest.approx(math.log(4))
    assert turns.helped.tolist() == [True]
    assert (turns.score.tolist(), turns.disposition) == ([2], ("kind",))


@pytest.mark.parametrize("change", [{"plea_heard": False}, {"probability": 1.0}])
def test_decisions_without_a_plea_or_a_choice_do_not_count(change):
    play = a_play(**({"probability": 0.8} | change))
    with pytest.raises(DegenerateDataError, match="no decision after a plea"):
        turns_with_a_choice(play, {3: a_direction()}, ["kind"])


def test_directions_of_another_model_or_layer_are_refused():
    with pytest.raises(InputError, match=r"comes from .* the model that played is"):
        turns_with_a_choice(a_play(0.8), {3: a_direction("other")}, ["kind"])
    with pytest.raises(InputError, match=r"layers \[3\]"):
        turns_with_a_choice(a_play(0.8), {}, ["kind"])
    with pytest.raises(InputError, match="a disposition for each"):
        turns_with_a_choice(a_play(0.8), {3: a_direction()}, [])
