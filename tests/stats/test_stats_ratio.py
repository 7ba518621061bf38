import numpy as np
import pytest
from scipy.stats import ttest_ind

from empathy_lens.errors import DegenerateDataError, InputError
from empathy_lens.stats import gap_ratio

RNG = np.random.default_rng(0)
THEIRS = RNG.normal(0.6, 1.0, size=30)
OURS = RNG.normal(1.5, 0.7, size=20)


def test_the_interval_holds_the_ratios_that_welchs_test_allows():
    estimate = gap_ratio(THEIRS, OURS)
    assert estimate.value == pytest.approx(THEIRS.mean() / OURS.mean())
    for limit in (estimate.low, estimate.high):
        assert ttest_ind(THEIRS, limit * OURS, equal_var=False).pvalue == pytest.approx(0.05)
    for null in (0.0, 0.5, 1.0):
        p = ttest_ind(THEIRS, null * OURS, equal_var=False).pvalue
        assert gap_ratio(THEIRS, OURS, null=null).p == pytest.approx(p)
    assert (estimate.p, estimate.n, estimate.n_groups) == (None, 50, 30)


def test_a_ratio_is_free_of_scale_and_follows_the_sign():
    one, scaled, turned = (
        gap_ratio(a * THEIRS, b * OURS) for a, b in ((1, 1), (1e-6, 1e-6), (1, -1))
    )
    assert (scaled.low, scaled.high) == pytest.approx((one.low, one.high))
    assert (-turned.high, -turned.low) == pytest.approx((one.low, one.high))


@pytest.mark.parametrize(("n_theirs", "n_ours", "share"), [(12, 20, 0.5), (20, 40, 0.0)])
def test_intervals_of_a_share_cover_the_truth(n_theirs, n_ours, share):
    hits = []
    for draw in range(150):
        rng = np.random.default_rng([draw, n_theirs])
        theirs, ours = rng.normal(2 * share, 1.5, n_theirs), rng.normal(2, 1, n_ours)
        estimate = gap_ratio(theirs, ours)
        hits.append(estimate.low <= share <= estimate.high)
    assert 0.90 <= np.mean(hits) <= 0.99


@pytest.mark.parametrize(
    ("theirs", "ours", "error", "says"),
    [
        (THEIRS, OURS - OURS.mean() + 0.1, DegenerateDataError, "ours: .*surely away from 0"),
        (THEIRS, np.ones(9), DegenerateDataError, "ours: .*constant"),
        (np.zeros(9), OURS, DegenerateDataError, "theirs: .*constant"),
        (THEIRS[:2], OURS, DegenerateDataError, "theirs: .*at least 3"),
        (np.array([1, np.nan, 3]), OURS, InputError, "theirs: .*nan"),
    ],
)
def test_shares_of_nothing_are_refused(theirs, ours, error, says):
    with pytest.raises(error, match=says):
        gap_ratio(theirs, ours)
