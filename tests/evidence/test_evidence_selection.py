"""The choice of layer, estimator and pooling, and the corrections for what was tried."""

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import planted
import pytest
import torch

from empathy_lens.directions import fit_direction
from empathy_lens.errors import DegenerateDataError, InputError
from empathy_lens.evidence import (
    BASELINES,
    Draws,
    StudyData,
    evidence_card,
    nested_auroc,
    select_configuration,
)
from empathy_lens.evidence.contrasts import judge_contrasts
from empathy_lens.evidence.measure import Attempts
from empathy_lens.evidence.selection import compare_estimators, nested_scores
from empathy_lens.evidence.validation import group_folds
from empathy_lens.stats import auroc

TRAIN, TEST = planted.pairs(40), planted.pairs(30, seed=1, prefix="t")
SMALL = {"seed": 0, "n_resamples": 300, "n_permutations": 199}
TWO = ("mean_difference", "pca_differences")


def script(name):
    folder = Path(__file__).resolve().parents[2] / "experiments"
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(folder)  # as for python experiments/NAME.py
        return importlib.import_module(name)


def pooled(some_pairs, gaps, seed=0):
    """Activations under mean and last-token pooling, the planted gap of each its own."""
    return [
        replace(planted.activations(some_pairs, gap=gap, seed=seed + i), pooling=pooling)
        for i, (pooling, gap) in enumerate(zip(("mean", "last"), gaps, strict=True))
    ]


def gather(gaps, **options):
    (train, other_train), (test, other_test) = pooled(TRAIN, gaps), pooled(TEST, gaps, seed=5)
    embed = options.pop("embed", None)
    other = StudyData(other_train, other_test, TRAIN, TEST)
    data = StudyData(train, test, TRAIN, TEST, other_poolings=[other], **options)
    draws = Draws(**SMALL, n_random=50)
    return evidence_card(data, 1, embed=embed, estimators=TWO, draws=draws)


@pytest.fixture(scope="module")
def last_token_tells():
    return gather((0.3, 6.0))


def test_the_pooling_that_tells_is_chosen_and_judged_on_test(last_token_tells):
    selection = last_token_tells.selection
    assert (selection.pooling, selection.layer) == ("last", 1)
    assert selection.n_tried == 2 * 2 * 3
    assert selection.test_auroc.low > 0.8
    assert selection.nested_auroc.low > 0.8
    assert selection.p == pytest.approx(1 / 200)
    assert selection.over_headline.low > 0
    assert list(selection.gains) == list(BASELINES)
    chosen = last_token_tells.selected
    assert (chosen.pooling, chosen.layer, chosen.probe) == ("last", 1, selection.test_auroc)
    found = {(v.configuration, v.claim): v.verdict for v in last_token_tells.verdicts}
    for claim in ("separates the classes", "beyond words", "holds in scenarios it never saw"):
        assert found[chosen.configuration, claim] == "supported", claim
        assert found[last_token_tells.configuration, claim] != "supported", claim


def test_the_headline_direction_stays_the_first_pooling(last_token_tells):
    assert last_token_tells.pooling == "mean"
    assert last_token_tells.probe.value < last_token_tells.selection.test_auroc.value
    assert set(last_token_tells.estimators) == {*TWO, *(f"{name}, last token" for name in TWO)}


def test_noise_is_not_called_separated_though_the_best_of_many_was_taken():
    card = gather((0.0, 0.0))
    assert card.directions
    assert not [v for v in card.verdicts if v.verdict == "supported"]


def test_the_selected_figure_is_that_of_the_direction_fitted_on_all_of_train(last_token_tells):
    chosen = last_token_tells.selection
    train, test = pooled(TRAIN, (0.3, 6.0))[1], pooled(TEST, (0.3, 6.0), seed=5)[1]
    direction = fit_direction(train, chosen.layer, chosen.estimator)
    expected = auroc(direction.project(test.at(1)).numpy(), test.labels.numpy())
    assert last_token_tells.selection.test_auroc.value == pytest.approx(float(expected), abs=1e-3)


def test_p_is_corrected_for_every_row_that_was_tried():
    trains, tests = pooled(TRAIN, (0.0, 1.0)), pooled(TEST, (0.0, 1.0), seed=5)
    rows = compare_estimators(trains, tests, TWO, attempt=Attempts(Draws(**SMALL)))
    alone = compare_estimators(trains[1:], tests[1:], TWO[:1], attempt=Attempts(Draws(**SMALL)))
    for row in rows.values():
        assert row.p_corrected >= row.p
    (only,) = alone.values()
    assert only.p_corrected == only.p
    assert rows["mean_difference, last token"].p_corrected > only.p


def test_nothing_of_a_fold_leaks_into_its_own_scores():
    train = planted.activations(TRAIN, gap=1.0)
    before = nested_scores(train, TWO[:1])
    values = train.values.clone()
    values[:2] = 50 * torch.randn(values[:2].shape, generator=torch.Generator().manual_seed(0))
    after = nested_scores(replace(train, values=values), TWO[:1])
    changed = np.flatnonzero(before != after)
    # The changed pair's own fold is scored by directions that never saw it: only the pair differs.

    folds = group_folds(train.groups, train.scenario_ids, seed=0)
    own = np.flatnonzero(folds == folds[0])
    assert set(changed) & set(own) == {0, 1}
    assert len(changed) > len(own)


def test_nested_auroc_of_pooling_and_layer_is_an_estimate():
    estimate = nested_auroc(pooled(TRAIN, (0.0, 5.0)), TWO[:1], Draws(n_resamples=300))
    assert estimate.low > 0.8
    assert estimate.n_groups == 40


def test_poolings_of_other_items_or_the_same_pooling_twice_are_refused():
    train = planted.activations(TRAIN)
    with pytest.raises(InputError, match="expected each once, got mean, mean"):
        select_configuration([train, train], TWO)
    other = replace(planted.activations(TRAIN[::-1]), pooling="last")
    with pytest.raises(InputError, match="same items in the same order"):
        select_configuration([train, other], TWO)


def test_too_few_situations_cannot_choose():
    with pytest.raises(DegenerateDataError, match="at least 4 groups"):
        select_configuration(planted.activations(TRAIN[:3]), ["mean_difference"])


def test_contrast_sets_share_one_family_of_tests():
    """A small effect that one set alone would show does not survive five sets of noise."""
    train, test = planted.activations(TRAIN), planted.activations(TEST, seed=1)
    direction = fit_direction(train, 1)
    own = planted.pairs(24, scenarios=1, prefix="n")
    sets = {"seen": planted.activations(own, gap=4.0, seed=9)}
    sets |= {f"noise {i}": planted.activations(own, gap=0.0, seed=20 + i) for i in range(5)}
    options = {"attempt": Attempts(Draws(0, 300, 999))}
    found = judge_contrasts(direction, sets, train, test, **options)
    alone = {
        name: judge_contrasts(direction, {name: one}, train, test, **options)[name].p_holm
        for name, one in sets.items()
    }
    assert found["seen"].p_holm == pytest.approx(6 * alone["seen"])
    assert all(found[name].p_holm >= alone[name] for name in sets)
    assert min(found[name].p_holm for name in sets if name != "seen") > 0.05


def test_the_best_of_layers_and_estimators_is_called_an_effect_only_when_corrected_p_says_so():
    """A small run of experiments/check_selection.py: nothing is there to be found."""
    alarms = [script("check_selection").null_draw(seed) for seed in range(12)]
    raised = {name: sum(alarm[name] for alarm in alarms) for name in alarms[0]}
    assert raised["best of 18 layers x 4 estimators on test, uncorrected"] >= 6
    for name in raised:
        if "uncorrected" not in name:
            assert raised[name] <= 3, name
