import numpy as np
import pytest
from scipy import stats as scipy_stats

from empathy_lens.errors import DegenerateDataError, InputError
from empathy_lens.stats import (
    Design,
    accuracy_estimate,
    auroc_estimate,
    cohen_dz,
    pair_differences,
    paired_accuracy,
    sign_flip_p,
)

LABELS = np.tile([True, False], 6)
PAIRS = np.repeat([f"pair {i}" for i in range(6)], 2)
SITUATIONS = np.repeat(["b", "b", "b", "a", "a", "c"], 2)
SCORES = np.array([3.0, 1, 5, 1, 0, 3, 2, 2, 4, 1, 1, 8])  # differences 2 4 -3 0 3 -7


def normal(seed, n, mean=0.0):
    return np.random.default_rng([seed, n]).normal(size=n) + mean


def test_differences_are_averaged_within_situations_in_sorted_order():
    got = pair_differences(SCORES, LABELS, PAIRS, SITUATIONS)
    assert got.tolist() == pytest.approx([1.5, 1.0, -7.0])
    assert pair_differences(SCORES, LABELS, PAIRS, PAIRS).tolist() == [2, 4, -3, 0, 3, -7]


def test_the_order_of_items_changes_no_difference_and_no_p():
    order = np.random.default_rng(0).permutation(12)
    shuffled = pair_differences(SCORES[order], LABELS[order], PAIRS[order], SITUATIONS[order])
    assert shuffled == pytest.approx(pair_differences(SCORES, LABELS, PAIRS, SITUATIONS))
    values = normal(0, 30, 0.2)
    for estimate in (
        lambda v: sign_flip_p(v, n_permutations=200, seed=0),
        lambda v: cohen_dz(v, seed=0, n_resamples=200).value,
    ):
        assert estimate(values) == pytest.approx(estimate(values[::-1]))


def test_several_texts_on_a_side_count_as_their_mean():
    labels = np.array([True, True, False] * 3)
    got = pair_differences(np.array([4.0, 2, 1] * 3), labels, np.repeat([0, 1, 2], 3), [0] * 9)
    assert got.tolist() == [2.0]


@pytest.mark.parametrize(
    ("labels", "pairs", "groups", "error", "says"),
    [
        (LABELS ^ (np.arange(12) == 1), PAIRS, SITUATIONS, InputError, "'pair 0' has no negative"),
        (LABELS, PAIRS, np.arange(12), InputError, "'pair 0' lies in two"),
        (LABELS, PAIRS[:-1], SITUATIONS, InputError, "pair_ids: expected 12 ids"),
        (np.ones(12, bool), PAIRS, SITUATIONS, DegenerateDataError, "both classes"),
    ],
)
def test_pairs_that_are_none_are_named(labels, pairs, groups, error, says):
    with pytest.raises(error, match=says):
        pair_differences(SCORES, labels, pairs, groups)


def test_paired_accuracy_counts_ties_half_and_its_p_keeps_to_the_interval():
    values = np.array([1.0] * 14 + [0.0] * 2 + [-1.0] * 4)
    assert paired_accuracy(values, seed=0, n_resamples=200).value == 0.75
    sides = set()
    for n_right in range(9, 20):
        estimate = paired_accuracy(np.arange(20) - (19.5 - n_right), seed=0, n_resamples=500)
        assert (estimate.p <= 0.05) == (estimate.low > 0.5)
        sides.add(estimate.low > 0.5)
    assert sides == {True, False}


def test_paired_accuracy_of_all_right_is_the_exact_binomial_test():
    estimate = paired_accuracy(np.arange(1.0, 13), seed=0, n_resamples=200)
    exact = scipy_stats.binomtest(12, 12)
    assert estimate.low == pytest.approx(exact.proportion_ci(method="exact").low)
    assert estimate.p == pytest.approx(exact.pvalue)


def test_the_boundary_p_is_that_of_its_interval():
    labels, pairs = np.tile([True, False], 10), np.repeat(np.arange(10), 2)
    scores = 10.0 * labels + np.arange(20)[::-1] * 0.01
    design = Design(pairs, seed=0, n_resamples=200)
    low = auroc_estimate(scores, labels, design, null=0.5).low
    assert auroc_estimate(scores, labels, design, null=low - 1e-6).p <= 0.05
    at_limit = auroc_estimate(scores, labels, design, null=low)
    assert at_limit.p == pytest.approx(0.05)
    assert at_limit.method == "clopper-pearson-boundary-5-trials"
    assert auroc_estimate(scores, labels, design, null=1.0).p == 1.0
    assert auroc_estimate(scores, labels, design).p is None
    assert accuracy_estimate(labels[::2], Design(range(10), seed=0, n_resamples=200)).p is None


def test_auroc_has_the_p_of_its_interval_against_chance():
    labels, pairs = np.tile([True, False], 20), np.repeat(np.arange(20), 2)
    design = Design(pairs, seed=0, n_resamples=1000)
    for shift in (0.0, 0.4, 0.6, 0.8, 2.0):
        estimate = auroc_estimate(normal(1, 40) + shift * labels, labels, design, null=0.5)
        assert (estimate.p <= 0.05) == (not estimate.low <= 0.5 <= estimate.high)


def test_cohens_dz_is_the_mean_in_standard_deviations_and_free_of_scale():
    values = normal(2, 25, 0.5)
    estimate = cohen_dz(values, seed=0, n_resamples=500)
    assert estimate.value == pytest.approx(values.mean() / values.std(ddof=1))
    scaled = cohen_dz(1e-7 * values, seed=0, n_resamples=500)
    assert (scaled.low, scaled.high, scaled.p) == pytest.approx(
        (estimate.low, estimate.high, estimate.p)
    )
    assert cohen_dz(-values, seed=0, n_resamples=500).value == pytest.approx(-estimate.value)


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
@pytest.mark.parametrize("n_permutations", [1024, 20_000])
def test_sign_flips_agree_with_scipys_exact_test(alternative, n_permutations):
    values = np.round(normal(3, 10, 0.4), 1)
    exact = scipy_stats.permutation_test(
        (values,), np.mean, permutation_type="samples", alternative=alternative
    )
    p = sign_flip_p(values, n_permutations=n_permutations, seed=0, alternative=alternative)
    assert p == pytest.approx(exact.pvalue)


def test_random_flips_come_near_to_all_of_them():
    values = normal(3, 14, 0.4)
    exact = sign_flip_p(values, n_permutations=2**14, seed=0)
    assert sign_flip_p(values, n_permutations=2**14 - 1, seed=0) == pytest.approx(exact, abs=0.01)
    assert sign_flip_p(normal(3, 40, 9.0), n_permutations=999, seed=0) == 1 / 1000


@pytest.mark.parametrize("n", [20, 40])
def test_sign_flips_keep_their_level_and_intervals_of_dz_cover_zero(n):
    false_alarms, hits = 0, 0
    for draw in range(120):
        values = np.random.default_rng([draw, n]).exponential(size=n)
        values *= np.random.default_rng([draw, 1]).choice([-1, 1], size=n)
        false_alarms += sign_flip_p(values, n_permutations=199, seed=draw) <= 0.05
        estimate = cohen_dz(values, seed=draw, n_resamples=200)
        hits += estimate.low <= 0 <= estimate.high
    assert false_alarms <= 12
    assert hits >= 108


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: paired_accuracy(np.ones(2), seed=0), DegenerateDataError, "at least 3 groups"),
        (lambda: cohen_dz(np.full(9, 0.3), seed=0), DegenerateDataError, "0.3 for every group"),
        (lambda: sign_flip_p(np.array([1, np.nan, 2]), seed=0), InputError, "nan at index"),
        (lambda: sign_flip_p(np.ones(9), n_permutations=9, seed=0), InputError, "at least 100"),
    ],
)
def test_degenerate_differences_raise_and_say_why(call, error, says):
    with pytest.raises(error, match=says):
        call()
