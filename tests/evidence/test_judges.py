import numpy as np
import pytest
from planted import pairs

from empathy_lens.errors import DegenerateDataError, InputError
from empathy_lens.evidence.rubric import judge_quality, word_judge
from empathy_lens.types import ContrastivePair, RubricCompletion


def completions(judged):
    """Completions of 12 situations in 3 scenarios whose text gives their score away, or not."""
    return [
        RubricCompletion(
            f"{s}-{score}",
            f"scenario {s % 3}",
            score,
            {0: "swiftly on", 1: "so and so", 2: "gently there"}[score if judged else 1],
            situation=str(s),
        )
        for s in range(12)
        for score in (0, 1, 2)
    ]


def test_a_judge_learns_the_words_that_tell():
    judge = word_judge(pairs(20, telling=True))
    caring, task, unknown = judge(["gently gently", "swiftly swiftly", "zzz"])
    assert caring > 0.6
    assert task < 0.4
    assert unknown == pytest.approx(0.5, abs=0.05)
    assert judge([]).shape == (0,)


def test_quality_is_high_where_words_tell_and_chance_where_they_do_not():
    judge = word_judge(pairs(20, telling=True))
    told = judge_quality(judge, completions(judged=True), n_resamples=500)
    assert told.accuracy.value == told.auroc.value == 1
    noise = np.random.default_rng(0)
    blind = judge_quality(
        lambda texts: noise.uniform(size=len(texts)), completions(judged=True), n_resamples=500
    )
    assert blind.auroc.low < 0.5 < blind.auroc.high


def test_a_judge_needs_pairs_with_words():
    with pytest.raises(InputError, match="at least one pair"):
        word_judge([])
    with pytest.raises(DegenerateDataError, match="no words"):
        word_judge([ContrastivePair("p", "s", "!", "?")])
