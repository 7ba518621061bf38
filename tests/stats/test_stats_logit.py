import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import chi2

from empathy_lens.errors import DegenerateDataError, InputError
from empathy_lens.stats import conditional_logit


def chosen_by(coefficients, n, *seed):
    """Pairs whose sides are told apart by the columns, with these log-odds a unit of each."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, len(coefficients)))
    x[:, 0] += 0.5 * x[:, -1]
    right = rng.random(n) < expit(x @ np.array(coefficients))
    return np.where(right[:, None], x, -x)


def penalised(beta, x):
    chosen = expit(x @ beta)
    information = x.T @ (x * (chosen * (1 - chosen))[:, None])
    return np.log(chosen).sum() + 0.5 * np.linalg.slogdet(information)[1]


def test_one_column_of_signs_has_the_known_coefficient():
    signs = np.array([1.0] * 9 + [-1.0] * 3)
    (estimate,) = conditional_logit(signs[:, None])
    assert estimate.value == pytest.approx(np.log(9.5 / 3.5), abs=1e-4)  # Firth 1993, sec. 3.3


def test_coefficients_and_limits_are_those_of_the_penalised_likelihood():
    x = chosen_by((0.8, 1.0), 30, 0)
    x /= np.sqrt((x**2).mean(axis=0))
    best = minimize(lambda beta: -penalised(beta, x), np.zeros(2))
    first, second = conditional_logit(x)
    assert (first.value, second.value) == pytest.approx(tuple(best.x), abs=1e-3)
    for at, p in ((first.low, 0.05), (first.high, 0.05), (0.0, first.p)):
        rest = minimize(lambda b, at=at: -penalised(np.array([at, b[0]]), x), np.zeros(1))
        assert chi2.sf(2 * (rest.fun - best.fun), 1) == pytest.approx(p, abs=1e-3)


def test_coefficients_are_free_of_scale_order_and_side():
    x = chosen_by((0.8, 1.0), 30, 1)
    plain = conditional_logit(x)
    for other in (x * [1e-9, 1e9], x[::-1], x * [-1, 1]):
        for one, same in zip(plain, conditional_logit(other), strict=True):
            assert abs(same.value) == pytest.approx(abs(one.value), abs=1e-4)
            assert same.p == pytest.approx(one.p, abs=1e-4)
    assert conditional_logit(-x)[0].value == pytest.approx(-plain[0].value, abs=1e-4)


@pytest.mark.parametrize("n", [6, 100])
def test_separation_has_finite_estimates_and_is_significant(n):
    x = np.abs(np.random.default_rng(n).normal(size=(n, 2))) * [1, 0.3]
    x[:, 1] *= np.resize([1, -1], n)
    first, second = conditional_logit(x)
    assert 0 < first.value < first.high < 1000
    assert second.low < 0 < second.high
    assert (first.p < 0.001) == (n == 100)


@pytest.mark.parametrize("n", [20, 40])
def test_a_probe_that_repeats_the_words_keeps_its_level_and_the_words_their_truth(n):
    false_alarms = covered = 0
    for draw in range(40):
        x = chosen_by((0.0, 1.5), n, draw, n)
        probe, words = conditional_logit(x)
        assert (probe.p <= 0.05) == (not probe.low <= 0 <= probe.high)
        false_alarms += probe.p <= 0.05
        covered += words.low <= 1.5 * np.sqrt((x[:, 1] ** 2).mean()) <= words.high
    assert false_alarms <= 6
    assert covered >= 34


def test_a_probe_that_knows_more_than_the_words_is_found():
    found = [conditional_logit(chosen_by((1.2, 1.0), 100, d))[0].low > 0 for d in range(10)]
    assert np.mean(found) >= 0.8


@pytest.mark.parametrize(
    ("differences", "error", "says"),
    [
        (np.ones((2, 1)), DegenerateDataError, "at least 3 pairs"),
        (np.eye(4), DegenerateDataError, "at least 5 pairs for 4 columns"),
        (np.eye(9, 2) * [1, 0], DegenerateDataError, "other than 0 in column 1"),
        (np.arange(1.0, 10)[:, None] * [1, -2], DegenerateDataError, "depend on one another"),
        (np.full((9, 2), np.nan), InputError, "nan at index"),
    ],
)
def test_columns_that_cannot_be_told_apart_are_refused(differences, error, says):
    with pytest.raises(error, match=says):
        conditional_logit(differences)
