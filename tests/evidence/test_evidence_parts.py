"""The parts of the evidence card: nulls, transfer, estimators."""

from dataclasses import replace

import numpy as np
import planted
import pytest
import torch

from empathy_lens.directions import ESTIMATORS
from empathy_lens.evidence import (
    Draws,
    agreement,
    label_swap_null,
    random_direction_null,
    select_configuration,
    stability,
)
from empathy_lens.evidence.measure import Attempts
from empathy_lens.evidence.selection import compare_estimators, nested_scores
from empathy_lens.evidence.transfer import leave_one_out
from empathy_lens.evidence.validation import group_folds, out_of_fold_scores
from empathy_lens.stats import auroc

TRAIN, TEST = planted.pairs(40), planted.pairs(30, seed=1, prefix="t")
SMALL = {"seed": 0, "n_resamples": 300}


# Nulls


def test_the_observed_value_is_the_cross_validated_auroc_of_the_best_layer():
    """The product of Gram matrices must equal refitting the directions one by one."""
    train = planted.activations(TRAIN, gap=1.0)
    folds = group_folds(train.groups, train.scenario_ids, seed=3)
    refitted = auroc(out_of_fold_scores(train, folds), train.labels.numpy())
    swaps = label_swap_null(train, Draws(3, n_permutations=20))
    assert swaps.observed_max == pytest.approx(refitted.max(), abs=1e-3)


def test_a_swapped_draw_equals_refitting_on_swapped_labels():
    from empathy_lens.evidence.nulls import _auroc_of_signs, _refitted_scores

    train = planted.activations(TRAIN, gap=1.0, layers=1, planted_at=0)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(1, len(TRAIN)))
    swap = torch.from_numpy(np.repeat(signs[0] < 0, 2))
    order = torch.arange(2 * len(TRAIN))
    order[swap] ^= 1  # exchange the two rows of a swapped pair
    swapped = replace(train, values=train.values[order])
    folds = group_folds(train.groups, train.scenario_ids, seed=0)
    expected = auroc(out_of_fold_scores(swapped, folds), train.labels.numpy())
    values = train.at(0).double().numpy()
    found = _refitted_scores(values[0::2], values[1::2], signs, folds[0::2])
    assert _auroc_of_signs(found, signs > 0) == pytest.approx(expected, abs=2e-3)


def test_a_planted_direction_beats_shuffled_labels_and_noise_does_not():
    assert label_swap_null(planted.activations(TRAIN), Draws(n_permutations=200)).p_corrected < 0.01
    noise = [
        label_swap_null(
            planted.activations(TRAIN, gap=0.0, seed=s), Draws(s, n_permutations=99)
        ).p_corrected
        for s in range(20)
    ]
    assert sum(p <= 0.05 for p in noise) <= 4
    assert np.mean(noise) > 0.3


def test_choosing_among_layers_raises_what_chance_can_reach():
    wide = planted.activations(TRAIN, gap=0.0, layers=16)
    one = replace(wide, values=wide.values[:, :1], sites=wide.sites[:1])
    null_of_one, null = (label_swap_null(a, Draws(n_permutations=300)).null for a in (one, wide))
    assert abs(null_of_one.mean - 0.5) < 0.05
    assert null.mean > null_of_one.mean + 0.05
    assert null.p95 <= null.p99


def test_pairs_of_one_situation_are_swapped_together():
    from empathy_lens.evidence.nulls import _swap_signs

    signs = _swap_signs(["a", "b", "a", "c"], 50, 0)
    assert signs.shape == (51, 4)
    assert (signs[0] == 1).all()
    assert (signs[:, 0] == signs[:, 2]).all()
    assert (signs[1:, 0] != signs[1:, 1]).any()


def test_random_directions_are_projected_and_oriented_on_train():
    train, test = planted.activations(TRAIN), planted.activations(TEST, seed=1)
    null = random_direction_null(train, test, 1, 1.0, n=500, seed=0)
    noise = random_direction_null(train, test, 0, 0.5, n=500, seed=0)
    assert null.mean > 0.52 > abs(noise.mean)
    assert null.n == 500
    assert null.p95 < null.p99 <= 1
    assert null.p < 0.01 < noise.p


# Transfer


def left_out(train, **options):
    attempt = Attempts(Draws(**SMALL, **options))
    found = leave_one_out(
        train,
        train.scenario_ids,
        estimator="mean_difference",
        name="leave_one_scenario_out",
        attempt=attempt,
    )
    return found, attempt.reasons


def test_a_direction_that_turns_with_the_scenario_does_not_transfer():
    train = planted.activations(planted.pairs(60), gap=6.0)
    own = torch.tensor([s == "s0" for s in train.scenario_ids])
    values = train.values.clone()
    values[own] = -values[own]
    turned, _ = left_out(replace(train, values=values))
    assert turned.parts["s0"].high < 0.5
    straight, reasons = left_out(train)
    assert straight.parts["s0"].low > 0.5
    assert straight.mean.n_groups == 60
    assert not reasons


def test_a_scenario_too_small_for_a_figure_is_none_with_a_reason():
    pairs = tuple(replace(p, scenario_id="rare") if i < 3 else p for i, p in enumerate(TRAIN))
    found, reasons = left_out(planted.activations(pairs))
    assert found.parts["rare"] is None
    assert "6 situations" in reasons["leave_one_scenario_out: rare"]
    assert found.mean is not None


# Estimators


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_finds_the_planted_layer_and_is_stable(name):
    train = planted.activations(TRAIN[:24], gap=6.0, layers=2)
    test = planted.activations(TEST, gap=6.0, layers=2, seed=1)
    row = compare_estimators(
        [train], [test], [name], attempt=Attempts(Draws(n_permutations=99, **SMALL))
    )[name]
    assert row.layer == 1
    assert row.p_corrected == row.p == 0.01
    assert row.test_auroc.value > 0.95
    assert row.stability > 0.6
    assert row.agreement > 0.2


def test_stability_and_agreement_are_near_zero_without_a_direction():
    noise = planted.activations(planted.pairs(60), gap=0.0)
    assert abs(agreement(noise, 0)) < 0.05
    strong = planted.activations(planted.pairs(60), gap=20.0)
    assert agreement(strong, 1) > 0.75
    assert stability(strong, 1, "mean_difference") > 0.95
    assert stability(noise, 1, "mean_difference") < 0.7


def test_agreement_is_the_mean_cosine_of_distinct_pairs():
    noise = planted.activations(TRAIN[:5], gap=2.0)
    differences = (noise.at(1)[0::2] - noise.at(1)[1::2]).double()
    unit = differences / differences.norm(dim=1, keepdim=True)
    expected = (unit @ unit.T)[~torch.eye(5, dtype=torch.bool)].mean()
    assert agreement(noise, 1) == pytest.approx(float(expected))


def test_the_configuration_is_chosen_over_pooling_layer_and_estimator():
    weak = planted.activations(TRAIN, gap=0.5)
    strong = replace(planted.activations(TRAIN, gap=8.0), pooling="last")
    chosen = select_configuration([weak, strong], ["pca_differences", "mean_difference"])
    assert (chosen.pooling, chosen.layer) == ("last", 1)
    assert chosen.cv_auroc > 0.99


def test_nested_cross_validation_is_not_fooled_by_the_choice():
    """On noise the chosen layer looks better than chance; the nested figure must not."""
    chosen, nested = [], []
    for seed in range(6):
        noise = planted.activations(TRAIN[:24], gap=0.0, layers=8, seed=seed)
        chosen.append(select_configuration(noise, ["mean_difference"]).cv_auroc)
        nested.append(auroc(nested_scores(noise, ["mean_difference"]), noise.labels.numpy()))
    assert np.mean(chosen) > 0.57
    assert abs(np.mean(nested) - 0.5) < 0.09
