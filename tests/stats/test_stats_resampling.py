import numpy as np
import pytest
from scipy import stats as scipy_stats

from empathy_lens.errors import DegenerateDataError, InputError
from empathy_lens.stats import (
    Design,
    accuracy_estimate,
    bootstrap,
    cluster_weights,
    mean_estimate,
)

GROUPS = np.repeat(np.arange(12), [1, 2, 3, 4] * 3)


def weighted_mean(values):
    return lambda weights: weights @ values / weights.sum(axis=1)


def test_items_of_a_group_are_drawn_together_and_groups_add_up():
    weights = cluster_weights(Design(GROUPS, n_resamples=50, seed=0))
    first = np.searchsorted(GROUPS, np.arange(12))
    assert (weights == weights[:, first][:, GROUPS]).all()
    assert (weights[:, first].sum(axis=1) == 12).all()


def test_a_seed_reproduces_and_another_does_not():
    one, same = (cluster_weights(Design(GROUPS, n_resamples=20, seed=3)) for _ in range(2))
    assert (one == same).all()
    assert (one != cluster_weights(Design(GROUPS, n_resamples=20, seed=4))).any()


def test_strata_keep_their_number_of_groups():
    strata = np.where(GROUPS < 5, "a", "b")
    weights = cluster_weights(Design(GROUPS, n_resamples=50, seed=0, strata=strata))
    first = np.searchsorted(GROUPS, np.arange(12))
    assert (weights[:, first][:, :5].sum(axis=1) == 5).all()


def test_inner_groups_are_drawn_within_each_drawn_outer_one():
    outer = np.repeat(["x", "y", "z"], 4)
    inner = np.tile([0, 1, 2, 3], 3)  # the same ids in every outer group
    weights = cluster_weights(Design([outer, inner], n_resamples=400, seed=0))
    per_outer = weights.reshape(400, 3, 4).sum(axis=2)
    assert (per_outer % 4 == 0).all()
    assert (per_outer.sum(axis=1) == 12).all()
    assert (weights.reshape(400, 3, 4).std(axis=2) > 0).any()


def test_tuples_are_ids_where_they_outnumber_their_length():
    ids = [("a", i // 2) for i in range(12)]
    plain = cluster_weights(Design([i // 2 for i in range(12)], n_resamples=10, seed=0))
    assert (cluster_weights(Design(ids, n_resamples=10, seed=0)) == plain).all()


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_ungrouped_intervals_agree_with_scipy(method):
    values = np.random.default_rng(0).exponential(size=30)
    ours = mean_estimate(
        values, Design(range(30), seed=1, method=method, small_sample=False, n_resamples=40_000)
    )
    theirs = scipy_stats.bootstrap(
        (values,), np.mean, method=method, n_resamples=40_000, rng=np.random.default_rng(2)
    ).confidence_interval
    spread = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.02 * spread)
    assert ours.high == pytest.approx(theirs.high, abs=0.02 * spread)


def test_the_small_sample_correction_gives_students_interval_for_normal_means():
    values = scipy_stats.norm.ppf((np.arange(20) + 0.5) / 20)
    ours = mean_estimate(values, Design(range(20), seed=0, method="percentile", n_resamples=40_000))
    student = scipy_stats.ttest_1samp(values, 0).confidence_interval()
    assert ours.high - ours.low == pytest.approx(student.high - student.low, rel=0.03)


def test_copying_every_item_within_its_group_adds_no_certainty():
    values = np.random.default_rng(0).normal(size=len(GROUPS))
    once = mean_estimate(values, Design(GROUPS, seed=0, n_resamples=2000))
    thrice = mean_estimate(np.tile(values, 3), Design(np.tile(GROUPS, 3), seed=0, n_resamples=2000))
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))
    assert (thrice.n, thrice.n_groups) == (3 * once.n, once.n_groups)


def test_resampling_both_levels_is_wider_than_the_outermost_alone():
    rng = np.random.default_rng(0)
    outer, inner = np.repeat(np.arange(8), 10), np.arange(80)
    values = rng.normal(size=80)
    both = mean_estimate(values, Design([outer, inner], seed=0, n_resamples=4000))
    one = mean_estimate(values, Design(outer, seed=0, n_resamples=4000))
    assert both.n_groups == one.n_groups == 8
    assert both.high - both.low > 1.1 * (one.high - one.low)


def test_strata_remove_the_variance_between_them():
    rng = np.random.default_rng(0)
    strata = np.repeat([0, 1, 2, 3], 10)
    values = rng.normal(size=40) + 10 * strata
    free = mean_estimate(values, Design(range(40), seed=0, n_resamples=2000))
    fixed = mean_estimate(values, Design(range(40), seed=0, n_resamples=2000, strata=strata))
    assert fixed.high - fixed.low < 0.2 * (free.high - free.low)


@pytest.mark.parametrize("icc", [0.0, 0.5])
def test_intervals_of_a_mean_cover_the_truth(icc):
    hits = []
    for draw in range(200):
        rng = np.random.default_rng([draw, 7])
        groups = np.repeat(np.arange(30), rng.integers(3, 6, size=30))
        shared = np.sqrt(icc) * rng.normal(size=30)[groups]
        values = shared + np.sqrt(1 - icc) * rng.normal(size=len(groups))
        estimate = mean_estimate(values, Design(groups, seed=draw, n_resamples=400))
        hits.append(estimate.low <= 0 <= estimate.high)
    assert 0.90 <= np.mean(hits) <= 0.99


def test_p_agrees_with_the_interval_it_inverts():
    values = np.random.default_rng(0).exponential(size=8)
    estimate = mean_estimate(values, Design(range(8), seed=0))
    for limit in (estimate.low, estimate.high):
        p = bootstrap(weighted_mean(values), Design(range(8), seed=0), null=limit).p
        assert p == pytest.approx(0.05, rel=0.03)


def test_a_perfect_score_has_the_exact_interval_of_its_groups():
    estimate = accuracy_estimate(np.ones(80), Design(np.arange(80) // 2, seed=0, n_resamples=200))
    exact = scipy_stats.binomtest(40, 40).proportion_ci(method="exact")
    assert (estimate.low, estimate.high) == pytest.approx((exact.low, exact.high))
    assert "clopper-pearson" in estimate.method


def test_constant_values_without_bounds_are_refused():
    with pytest.raises(DegenerateDataError, match="do not vary"):
        mean_estimate(np.full(20, 2.5), Design(range(20), seed=0, n_resamples=200))


def test_a_statistic_with_many_outputs_gives_one_estimate_each():
    values = np.random.default_rng(0).normal(size=(len(GROUPS), 3))
    estimates = bootstrap(
        lambda w: w @ values / w.sum(axis=1, keepdims=True), Design(GROUPS, seed=0, n_resamples=500)
    )
    single = mean_estimate(values[:, 2], Design(GROUPS, seed=0, n_resamples=500))
    assert [e.value for e in estimates] == pytest.approx(values.mean(axis=0).tolist())
    assert (estimates[2].low, estimates[2].high) == pytest.approx((single.low, single.high))


@pytest.mark.parametrize(
    ("groups", "options", "error", "says"),
    [
        ([0] * 6, {}, DegenerateDataError, "at least 3 distinct groups"),
        ([0, 0, 0, 1, 1, 1], {}, DegenerateDataError, "got 2"),
        ([0, 1, 2], {}, InputError, "expected 6 ids"),
        ([0, 1, 2, None, 4, 5], {}, InputError, "item 3"),
        ("abcdef", {}, InputError, "single string"),
        (range(6), {"strata": [0, 0, 0, 0, 0, 1]}, DegenerateDataError, "at least 2 groups"),
        ([0, 0, 1, 1, 2, 2], {"strata": [0, 1, 0, 0, 1, 1]}, InputError, "one stratum a group"),
        (range(6), {"confidence": 95.0}, InputError, "between 0 and 1"),
        (range(6), {"n_resamples": 5}, InputError, "at least 100"),
    ],
)
def test_bad_groups_and_options_are_named(groups, options, error, says):
    with pytest.raises(error, match=says):
        mean_estimate(np.arange(6.0), Design(groups, seed=0, **options))


def test_strata_are_used_only_where_each_holds_two_groups():
    groups = ["a", "a", "b", "b", "c", "c", "d", "d"]
    assert Design.within(groups, ["s"] * 4 + ["t"] * 4, seed=0).strata == ["s"] * 4 + ["t"] * 4
    assert Design.within(groups, ["s"] * 6 + ["t"] * 2, seed=0).strata is None
