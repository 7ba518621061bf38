"""Whether a direction moves the choice: its dose-response on planted sweeps."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from empathy_lens.errors import InputError
from empathy_lens.results import read_result, write_result
from empathy_lens.steering import Controls, Damage, SteeringSweep, movement
from empathy_lens.steering.examples import SteeringResults, sweep_summary
from empathy_lens.steering.movement import furthest_within
from empathy_lens.types import Direction, Provenance, Site, SteeringPrompt

ALPHAS = (-4.0, -2.0, 0.0, 2.0, 4.0)
PUSHES = (-4.0, -2.0, 2.0, 4.0)
SEED = 7
CARD = Provenance("m", "h", "float32", "hooked", "3.9")


def planted(slope, *, per_scenario=6, sd=0.1, n_random=20, n_shuffled=0, seed=SEED):
    """One layer whose prompts have slopes of mean ``slope`` and ``sd`` between prompts, beside
    random directions whose slopes have mean 0."""
    rng = np.random.default_rng(seed)
    names = [f"s{k}" for k in range(5) for _ in range(per_scenario + 1)]
    prompts = tuple(SteeringPrompt(n, f"{n} {i}", ("a",), ("b",)) for i, n in enumerate(names))
    choosing = tuple(range(0, len(prompts), per_scenario + 1))
    reporting = tuple(i for i in range(len(prompts)) if i not in choosing)
    alphas, pushes = np.array(ALPHAS), np.array(PUSHES)
    of_prompt = rng.normal(slope, sd, len(prompts))
    noise = rng.normal(0, sd / 10, (len(alphas), len(prompts)))
    base = rng.normal(0, 1, len(prompts))
    n_controls = n_random + n_shuffled
    of_control = rng.normal(0, sd / 5, (n_controls, 1)) + rng.normal(
        0, sd, (n_controls, len(reporting))
    )
    drawn = of_control[:, None] * pushes[:, None]
    direction = Direction(torch.eye(4)[0], Site(0), "planted", 1.0, 0.0, CARD)
    return SteeringSweep(
        directions={0: direction},
        alphas=ALPHAS,
        pushes=PUSHES,
        prompts=prompts,
        choosing=choosing,
        reporting=reporting,
        log_odds=(base + alphas[:, None] * of_prompt + noise)[None],
        controls={0: Controls(drawn[:n_random], drawn[n_random:])},
        instruction=np.zeros(len(prompts)),
        damage=Damage({0: np.full((5, 6), 3.0)}, {0: np.ones((5, 6), dtype=bool)}),
        texts=(),
        seed=0,
    )


def spoilt(sweep, alpha, loss=1.0):
    losses = sweep.damage.losses[0].copy()
    losses[ALPHAS.index(alpha)] += loss
    return replace(sweep, damage=replace(sweep.damage, losses={0: losses}))


def with_shifts(sweep, change):
    """The sweep with ``change(alpha)`` in nats added to every prompt's log-odds."""
    by_alpha = np.array([change(alpha) for alpha in ALPHAS])
    return replace(sweep, log_odds=sweep.log_odds + by_alpha[None, :, None])


def test_a_direction_that_acts_is_found():
    moves = movement(planted(0.1), 0, n_resamples=1000)
    assert moves.slope.low > 0
    assert moves.slope.p <= 0.05
    assert moves.p_random == pytest.approx(1 / 21)
    assert (moves.monotone, moves.n_prompts, moves.n_random) == (True, 30, 20)
    assert moves.alphas == PUSHES


def test_a_direction_that_does_nothing_is_not_found():
    found = [movement(planted(0.0, seed=seed), 0, n_resamples=300) for seed in range(12)]
    assert sum(m.slope.low > 0 and m.p_random <= 0.05 for m in found) <= 1
    # p comes from the interval: it is at most .05 just where the interval leaves 0 out.
    assert all((m.slope.p <= 0.05) == (m.slope.low > 0 or m.slope.high < 0) for m in found)


def test_the_prompt_is_the_unit():
    """Strengths of one prompt are not independent: twice as many of them narrow nothing."""
    sweep = planted(0.1, per_scenario=2)
    moves = movement(sweep, 0, n_resamples=1000)
    assert (moves.n_prompts, moves.slope.n, moves.slope.n_groups) == (10, 10, 10)
    half = movement(replace(sweep, pushes=(-4.0, 4.0), controls={}), 0, n_resamples=1000)
    width, of_half = (m.slope.high - m.slope.low for m in (moves, half))
    assert width == pytest.approx(of_half, rel=0.1)


def test_strengths_beyond_the_damage_bound_take_no_part():
    sweep = planted(0.1)
    wild = with_shifts(sweep, lambda alpha: -50.0 if alpha == 4 else 0.0)
    assert movement(wild, 0, n_resamples=500).monotone is False
    moves = movement(spoilt(wild, 4.0), 0, n_resamples=500)
    assert moves.alphas == (-4.0, -2.0, 2.0)
    assert moves == movement(spoilt(sweep, 4.0), 0, n_resamples=500)
    # Past a strength that does damage, a stronger one that happens to do none is out as well.
    assert movement(spoilt(sweep, 2.0), 0, n_resamples=500) is None
    assert movement(spoilt(sweep, -2.0), 0, n_resamples=500) is None


def test_random_directions_are_compared_over_the_same_strengths():
    sweep = planted(0.1)
    random = sweep.controls[0].random.copy()
    random[:, PUSHES.index(4.0)] = 100.0
    strong = replace(sweep, controls={0: replace(sweep.controls[0], random=random)})
    assert movement(strong, 0, n_resamples=500).p_random == 1
    assert movement(spoilt(strong, 4.0), 0, n_resamples=500).p_random == pytest.approx(1 / 21)


def test_directions_of_shuffled_labels_are_compared_too():
    sweep = planted(0.1, n_shuffled=5)
    moves = movement(sweep, 0, n_resamples=500)
    assert (moves.p_random, moves.p_controls) == pytest.approx((1 / 21, 1 / 26))
    steep = np.ones((5, 1, 30)) * np.array(PUSHES)[:, None]
    strong = replace(sweep, controls={0: replace(sweep.controls[0], shuffled=steep)})
    moves = movement(strong, 0, n_resamples=500)
    assert (moves.p_random, moves.p_controls) == pytest.approx((1 / 21, 6 / 26))


def test_controls_stand_at_the_furthest_strengths_within_the_damage_bound():
    sweep = planted(0.1)
    assert furthest_within(sweep) == (-4, 4)
    assert furthest_within(spoilt(sweep, 4.0)) == (-4, 2)
    assert furthest_within(spoilt(sweep, -2.0)) == (-2, 4)


def test_without_controls_there_is_no_p_against_random_directions():
    moves = movement(replace(planted(0.1), controls={}), 0, n_resamples=500)
    assert (moves.p_random, moves.n_random, moves.p_controls, moves.n_controls) == (None, 0) * 2
    assert moves.slope.low > 0


def test_a_dose_that_goes_back_is_not_monotone():
    bent = with_shifts(planted(0.1), lambda alpha: {2.0: 1.5, 4.0: 0.5}.get(alpha, 0.0))
    moves = movement(bent, 0, n_resamples=500)
    assert moves.slope.low > 0
    assert moves.monotone is False


def test_prompts_that_all_move_alike_have_an_exact_interval():
    sweep = planted(0.0, sd=0.0)
    still = movement(sweep, 0, n_resamples=500).slope
    assert (still.low, still.high, still.p) == (0, 0, 1)
    alike = movement(with_shifts(sweep, lambda alpha: alpha), 0, n_resamples=500).slope
    assert alike.p == pytest.approx(2.0**-29)
    with pytest.raises(InputError, match="layer 3 was not swept"):
        movement(sweep, 3)


def test_the_summary_carries_it_and_older_files_lack_it(tmp_path):
    sweep, path = planted(0.1), tmp_path / "steering_examples.json"
    summary = sweep_summary(sweep, 0, n_resamples=200)
    assert summary.moves == movement(sweep, 0, n_resamples=200)
    write_result(path, summary)
    assert read_result(path, SteeringResults) == summary
    write_result(path, replace(summary, moves=None))
    assert "moves" not in path.read_text()
