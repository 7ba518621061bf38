from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import nct, ttest_1samp
from scipy.stats import t as student_t

from empathy_lens.errors import DegenerateDataError, InputError
from empathy_lens.stats import minimal_detectable, n_needed
from empathy_lens.types import Estimate

VALUES = np.random.default_rng(0).normal(0.3, 2.0, size=20)
SE = float(VALUES.std(ddof=1) / np.sqrt(20))
LIMITS = ttest_1samp(VALUES, 0).confidence_interval()
MEAN = Estimate(float(VALUES.mean()), float(LIMITS.low), float(LIMITS.high), 0.95, 20, 20, "t")


def power_of(effect, se, n):
    critical = student_t.ppf(0.975, n - 1)
    return nct.sf(critical, n - 1, effect / se) + nct.cdf(-critical, n - 1, effect / se)


@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
def test_the_test_has_the_promised_power_at_the_smallest_effect(power):
    effect = minimal_detectable(MEAN, power=power)
    assert power_of(effect, SE, 20) == pytest.approx(power, abs=0.02)
    shift = 9.3
    moved = Estimate(MEAN.value + shift, MEAN.low + shift, MEAN.high + shift, 0.95, 20, 20, "t")
    assert minimal_detectable(moved, power=power) == pytest.approx(effect)


@pytest.mark.parametrize("effect", [0.25, -1.0, 5.0])
def test_the_groups_needed_are_enough_and_one_fewer_is_not(effect):
    n = n_needed(MEAN, effect)
    per_group = SE * np.sqrt(20)
    assert power_of(abs(effect), per_group / np.sqrt(n), n) > 0.79
    assert power_of(abs(effect), per_group / np.sqrt(n - 1), n - 1) < 0.8 + 0.01


def test_the_effect_that_can_be_found_needs_the_groups_there_are():
    assert n_needed(MEAN, minimal_detectable(MEAN) * (1 + 1e-9)) == 20


def test_an_interval_that_ends_at_a_bound_is_not_taken_for_a_precise_one():
    boundary = Estimate(1.0, 0.8, 1.0, 0.95, 40, 20, "clopper-pearson-boundary-10-trials")
    even = replace(boundary, value=0.8, low=0.6)
    assert minimal_detectable(boundary) == pytest.approx(minimal_detectable(even))


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: minimal_detectable(MEAN, power=80.0), InputError, "power: .*got 80"),
        (lambda: n_needed(MEAN, 0.0), InputError, "effect: .*other than 0"),
        (
            lambda: n_needed(replace(MEAN, low=MEAN.value, high=MEAN.value), 1.0),
            DegenerateDataError,
            "some width",
        ),
    ],
)
def test_questions_without_an_answer_are_refused(call, error, says):
    with pytest.raises(error, match=says):
        call()
