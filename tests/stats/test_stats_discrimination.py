import time

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from empathy_lens.errors import DegenerateDataError, InputError
from empathy_lens.stats import (
    Design,
    accuracy_estimate,
    auroc,
    auroc_difference,
    auroc_estimate,
    mean_estimate,
    separation_estimate,
)
from empathy_lens.stats.discrimination import _weighted_auroc

LABELS = np.tile([True, False], 40)
PAIRS = np.repeat(np.arange(40), 2)


def scores(seed, shift=1.0, shape=(80,)):
    return np.random.default_rng(seed).normal(size=shape) + shift * LABELS


@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_auroc_equals_scikit_learns_with_ties(decimals):
    rng = np.random.default_rng(decimals)
    labels = rng.random(57) < 0.3
    rows = np.round(rng.normal(size=(2, 5, 57)), decimals)
    ours = auroc(rows, labels)
    theirs = [roc_auc_score(labels, row) for row in rows.reshape(-1, 57)]
    assert ours.shape == (2, 5)
    assert ours.ravel() == pytest.approx(theirs, abs=1e-12)


def test_auroc_of_reversed_scores_is_the_complement():
    assert auroc(-scores(0), LABELS) == pytest.approx(1 - auroc(scores(0), LABELS))


def test_resampled_auroc_is_the_auroc_of_repeated_items():
    rng = np.random.default_rng(0)
    rows = np.round(scores(1, shape=(3, 80)), 1)
    weights = rng.integers(0, 4, size=(6, 80)).astype(float)
    got = _weighted_auroc(rows, LABELS)(weights)
    for weight, values in zip(weights.astype(int), got, strict=True):
        repeated = auroc(np.repeat(rows, weight, axis=1), np.repeat(LABELS, weight))
        assert values == pytest.approx(repeated, abs=1e-12)


def test_each_layer_has_the_estimate_it_has_alone():
    rows = scores(0, shape=(3, 80))
    together = auroc_estimate(rows, LABELS, Design(PAIRS, seed=5, n_resamples=500))
    alone = [auroc_estimate(row, LABELS, Design(PAIRS, seed=5, n_resamples=500)) for row in rows]
    for one, other in zip(together, alone, strict=True):
        assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))


def test_ten_thousand_resamples_of_thirty_layers_take_seconds():
    labels, pairs = np.tile([True, False], 100), np.repeat(np.arange(100), 2)
    rows = np.random.default_rng(0).normal(size=(30, 200)) + labels
    start = time.perf_counter()
    auroc_estimate(rows, labels, Design(pairs, seed=0))
    assert time.perf_counter() - start < 5


def test_auroc_intervals_cover_the_truth_for_clustered_items():
    hits, shift = [], norm.ppf(0.8) * np.sqrt(2)
    for draw in range(200):
        rng = np.random.default_rng([draw, 1])
        groups = np.repeat(np.arange(40), rng.integers(3, 6, size=40))
        labels = rng.random(len(groups)) < 0.5
        noise = np.sqrt(0.5) * (rng.normal(size=40)[groups] + rng.normal(size=len(groups)))
        estimate = auroc_estimate(
            shift * labels + noise, labels, Design(groups, seed=draw, n_resamples=300)
        )
        hits.append(estimate.low <= 0.8 <= estimate.high)
    assert 0.90 <= np.mean(hits) <= 0.99


@pytest.mark.parametrize("sign", [1, -1])
def test_perfect_separation_is_not_reported_as_certain(sign):
    estimate = auroc_estimate(
        sign * (10.0 * LABELS + 0.01 * scores(0)), LABELS, Design(PAIRS, seed=0)
    )
    edge = 0.025 ** (1 / 20)  # 40 pairs allow 20 comparisons that share no pair
    expected = (edge, 1.0) if sign > 0 else (0.0, 1 - edge)
    assert (estimate.low, estimate.high) == pytest.approx(expected)
    assert estimate.method == "clopper-pearson-boundary-20-trials"


def test_the_boundary_interval_counts_the_rarer_class():
    labels = np.arange(60) < 5
    estimate = auroc_estimate(
        labels + 0.001 * np.arange(60), labels, Design(range(60), seed=0, strata=labels)
    )
    assert estimate.low == pytest.approx(0.025 ** (1 / 5))


def test_pairing_makes_the_difference_narrower_than_its_parts():
    a = scores(0)
    b = a + 0.3 * np.random.default_rng(9).normal(size=80)
    options = {"seed": 0, "n_resamples": 2000}
    difference = auroc_difference(a, b, LABELS, Design(PAIRS, **options))
    alone = auroc_estimate(a, LABELS, Design(PAIRS, **options))
    assert difference.value == pytest.approx(auroc(a, LABELS) - auroc(b, LABELS))
    assert difference.high - difference.low < 0.7 * (alone.high - alone.low)
    assert auroc_difference(b, a, LABELS, Design(PAIRS, **options)).value == -difference.value


def test_a_clear_difference_is_significant_and_none_is_not():
    noise = np.random.default_rng(3).normal(size=80)
    assert auroc_difference(scores(0, 2.0), noise, LABELS, Design(PAIRS, seed=0)).p < 0.01
    same = auroc_difference(scores(0), scores(0), LABELS, Design(PAIRS, seed=0))
    assert same.p == 1.0
    assert same.low < 0 < same.high


def test_cohens_d_is_the_gap_in_pooled_standard_deviations():
    values = scores(0)
    a, b = values[LABELS], values[~LABELS]
    pooled = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
    options = {"seed": 0, "n_resamples": 500}
    estimate = separation_estimate(values, LABELS, Design(PAIRS, **options))
    assert estimate.value == pytest.approx((a.mean() - b.mean()) / pooled)
    scaled = separation_estimate(7 * values + 1e4, LABELS, Design(PAIRS, **options))
    assert (scaled.low, scaled.high) == pytest.approx((estimate.low, estimate.high))


def test_the_order_of_items_changes_nothing():
    order = np.random.default_rng(0).permutation(80)
    a, b, options = scores(0), scores(1), {"seed": 0, "n_resamples": 500}
    for estimate in (
        lambda o: auroc_estimate(a[o], LABELS[o], Design(PAIRS[o], **options)),
        lambda o: separation_estimate(a[o], LABELS[o], Design(PAIRS[o], **options)),
        lambda o: auroc_difference(a[o], b[o], LABELS[o], Design(PAIRS[o], **options)),
        lambda o: accuracy_estimate((a > 0)[o] == LABELS[o], Design(PAIRS[o], **options)),
        lambda o: mean_estimate(a[o], Design(PAIRS[o], **options)),
    ):
        straight, shuffled = estimate(np.arange(80)), estimate(order)
        assert (shuffled.value, shuffled.low, shuffled.high, shuffled.p) == pytest.approx(
            (straight.value, straight.low, straight.high, straight.p), abs=1e-9
        )


@pytest.mark.parametrize(
    ("values", "labels", "groups", "error", "says"),
    [
        (scores(0), np.ones(80, bool), PAIRS, DegenerateDataError, "80 positive and 0 negative"),
        (np.ones(80), LABELS, PAIRS, DegenerateDataError, "constant"),
        (np.stack([scores(0), np.ones(80)]), LABELS, PAIRS, DegenerateDataError, "row 1"),
        (np.where(PAIRS == 3, np.nan, scores(0)), LABELS, PAIRS, InputError, "nan at index .6,"),
        (np.where(PAIRS == 3, np.inf, scores(0)), LABELS, PAIRS, InputError, "2 of 80"),
        (scores(0), LABELS, PAIRS[:-1], InputError, "expected 80 ids"),
        (scores(0), LABELS, PAIRS // 20, DegenerateDataError, "at least 3"),
        (scores(0), PAIRS == 7, PAIRS, DegenerateDataError, "undefined"),
    ],
)
@pytest.mark.parametrize("estimate", [auroc_estimate, separation_estimate])
def test_degenerate_data_raise_and_say_why(estimate, values, labels, groups, error, says):
    with pytest.raises(error, match=says):
        estimate(values, labels, Design(groups, seed=0, n_resamples=200))


def test_accuracy_accepts_only_right_and_wrong():
    with pytest.raises(InputError, match="True/False"):
        accuracy_estimate(np.linspace(0, 1, 80), Design(PAIRS, seed=0))
