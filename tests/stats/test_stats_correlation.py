import numpy as np
import pytest
from scipy import stats as scipy_stats

from empathy_lens.errors import DegenerateDataError, InputError
from empathy_lens.stats import (
    Design,
    dummies,
    kendall,
    partial_correlation,
    pearson,
    spearman,
)
from empathy_lens.stats.correlation import _ranked_statistic

GROUPS = np.repeat(np.arange(20), 3)
SCENARIO = GROUPS % 4
RNG = np.random.default_rng(0)
X = RNG.normal(size=60)
Y = np.round(0.7 * X + RNG.normal(size=60))  # ties
OPTIONS = {"seed": 0, "n_resamples": 400}
EQUAL = [
    (pearson, scipy_stats.pearsonr),
    (spearman, scipy_stats.spearmanr),
    (kendall, scipy_stats.kendalltau),
]


@pytest.mark.parametrize(("ours", "scipys"), EQUAL)
def test_coefficients_equal_scipys_with_ties(ours, scipys):
    estimate = ours(X, Y, Design(GROUPS, **OPTIONS))
    assert estimate.value == pytest.approx(scipys(X, Y).statistic, abs=1e-12)
    assert estimate.low < estimate.value < estimate.high
    assert estimate.p < 0.01


@pytest.mark.parametrize(("ours", "scipys"), EQUAL)
def test_p_agrees_with_scipy_where_items_are_independent(ours, scipys):
    x, y = X[:25], np.random.default_rng(4).normal(size=25) + 0.4 * X[:25]
    p = ours(x, y, Design(range(25), seed=0, n_resamples=4000)).p
    assert p == pytest.approx(scipys(x, y).pvalue, abs=0.03)


@pytest.mark.parametrize(("ours", "scipys"), EQUAL)
def test_p_allows_for_what_a_group_shares(ours, scipys):
    naive = honest = 0
    for draw in range(100):
        rng = np.random.default_rng([draw, 8])
        x, y = (rng.normal(size=20)[GROUPS] + 0.4 * rng.normal(size=60) for _ in range(2))
        naive += scipys(x, y).pvalue <= 0.05
        honest += ours(x, y, Design(GROUPS, seed=draw, n_resamples=100)).p <= 0.05
    assert honest <= 11
    assert naive >= 18


def test_within_ignores_what_lies_between_groups():
    x = 5.0 * GROUPS + X
    y = 5.0 * GROUPS + np.random.default_rng(2).normal(size=60)
    assert pearson(x, y, Design(GROUPS, **OPTIONS)).p < 0.01
    assert pearson(x, y, Design(GROUPS, **OPTIONS), exchange="within").p > 0.05


def test_resampled_spearman_is_the_spearman_of_repeated_items():
    weights = np.random.default_rng(1).integers(0, 4, size=(5, 60))
    got = _ranked_statistic([X, Y])(weights.astype(float))
    expected = [scipy_stats.spearmanr(np.repeat(X, w), np.repeat(Y, w)).statistic for w in weights]
    assert got == pytest.approx(expected)


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_partial_correlation_is_that_of_the_residuals(method):
    covariates = np.column_stack([dummies(SCENARIO), np.random.default_rng(3).normal(size=60)])
    x, y = X + SCENARIO, Y + 2 * SCENARIO
    rank = scipy_stats.rankdata if method == "spearman" else np.asarray
    design = np.column_stack([np.ones(60), *(rank(c) for c in covariates.T)])
    left = [rank(v) - design @ np.linalg.lstsq(design, rank(v))[0] for v in (x, y)]
    estimate = partial_correlation(x, y, covariates, Design(GROUPS, **OPTIONS), method=method)
    assert estimate.value == pytest.approx(scipy_stats.pearsonr(*left).statistic)
    assert estimate.low < estimate.value < estimate.high


def test_a_common_cause_is_taken_out():
    cause = np.random.default_rng(5).normal(size=20)[GROUPS]
    rng = np.random.default_rng(6)
    x, y = (3 * cause + rng.normal(size=60) for _ in range(2))
    assert pearson(x, y, Design(GROUPS, **OPTIONS)).value > 0.8
    left = partial_correlation(x, y, cause[:, None], Design(GROUPS, **OPTIONS), method="pearson")
    assert left.low < 0 < left.high
    assert left.p > 0.05


def test_p_pays_for_every_covariate():
    covariates = np.random.default_rng(7).normal(size=(30, 10))
    x, y = np.random.default_rng(11).normal(size=(2, 30))
    y = y + 0.3 * x
    estimate = partial_correlation(
        x, y, covariates, Design(range(30), seed=0, n_resamples=4000), method="pearson"
    )
    df = 30 - 2 - 10
    t = estimate.value * np.sqrt(df / (1 - estimate.value**2))
    assert 0.05 < estimate.p < 0.5
    assert estimate.p == pytest.approx(2 * scipy_stats.t.sf(abs(t), df), abs=0.03)


def test_redundant_covariates_change_nothing():
    once = partial_correlation(X, Y, dummies(SCENARIO), Design(GROUPS, **OPTIONS))
    full = (SCENARIO[:, None] == np.arange(4)).astype(float)
    again = partial_correlation(X, Y, full, Design(GROUPS, **OPTIONS))
    assert (again.value, again.low, again.high) == pytest.approx((once.value, once.low, once.high))


def test_a_perfect_correlation_is_not_reported_as_certain():
    for correlation in (pearson, spearman, kendall):
        estimate = correlation(X, -2 * X + 1, Design(GROUPS, **OPTIONS))
        assert estimate.value == pytest.approx(-1)
        assert estimate.high == pytest.approx(1 - 2 * 0.025 ** (1 / 10))
        assert "boundary" in estimate.method


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_a_p_by_the_interval_says_what_the_interval_says(method):
    design = Design(GROUPS, method=method, **OPTIONS)
    noise = np.random.default_rng(7).normal(size=60)
    found = [
        partial_correlation(noise + share * Y, Y, X[:, None], design, p="interval")
        for share in np.linspace(0, 1, 11)
    ]
    excluded = [one.low > 0 or one.high < 0 for one in found]
    assert [one.p < 0.05 for one in found] == excluded
    assert {True, False} == set(excluded)
    permuted = partial_correlation(noise, Y, X[:, None], design)
    assert (permuted.value, permuted.low) == (found[0].value, found[0].low)


def test_the_interval_can_be_chosen():
    chosen = pearson(X, Y, Design(GROUPS, method="bca", **OPTIONS))
    assert chosen == partial_correlation(
        X, Y, None, Design(GROUPS, method="bca", **OPTIONS), method="pearson"
    )
    assert "bca" in chosen.method
    assert "percentile" in pearson(X, Y, Design(GROUPS, **OPTIONS)).method


@pytest.mark.parametrize("icc", [0.0, 0.5])
def test_pearson_intervals_cover_the_truth(icc):
    hits = []
    for draw in range(150):
        rng = np.random.default_rng([draw, 3])
        groups = np.repeat(np.arange(40), rng.integers(3, 6, size=40))
        shared, own = rng.normal(size=(2, 40))[:, groups], rng.normal(size=(2, len(groups)))
        x, z = np.sqrt(icc) * shared + np.sqrt(1 - icc) * own
        y = 0.5 * x + np.sqrt(0.75) * z
        estimate = pearson(x, y, Design(groups, seed=draw, n_resamples=300))
        hits.append(estimate.low <= 0.5 <= estimate.high)
    assert 0.89 <= np.mean(hits) <= 0.993


def test_the_order_of_items_changes_nothing():
    order = np.random.default_rng(0).permutation(60)
    weak = np.random.default_rng(1).normal(size=60) + 0.2 * X
    for correlation in (pearson, spearman, kendall):
        straight = correlation(X, weak, Design(GROUPS, **OPTIONS))
        shuffled = correlation(X[order], weak[order], Design(GROUPS[order], **OPTIONS))
        assert shuffled.p == straight.p
        assert (shuffled.low, shuffled.high) == pytest.approx((straight.low, straight.high))


def test_dummies_leave_out_the_first_id():
    assert dummies(["b", "a", "c", "b"]).tolist() == [[1, 0], [0, 0], [0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (
            lambda: pearson(X, np.ones(60), Design(GROUPS, **OPTIONS)),
            DegenerateDataError,
            "y: .*constant",
        ),
        (lambda: pearson(X, Y, Design(np.zeros(60, int), **OPTIONS)), DegenerateDataError, "got 1"),
        (
            lambda: spearman(np.where(X > 1, np.nan, X), Y, Design(GROUPS, **OPTIONS)),
            InputError,
            "x: .*nan",
        ),
        (
            lambda: partial_correlation(X, Y, X[:, None], Design(GROUPS, **OPTIONS)),
            DegenerateDataError,
            "explain it completely",
        ),
        (
            lambda: partial_correlation(X, Y, np.full((60, 1), np.nan), Design(GROUPS, **OPTIONS)),
            InputError,
            "covariates: .*nan",
        ),
    ],
)
def test_degenerate_data_raise_and_say_why(call, error, says):
    with pytest.raises(error, match=says):
        call()
