"""Agreement with rubric scores: what words explain is no agreement, what they do not is."""

import numpy as np
import pytest

from empathy_lens.errors import DegenerateDataError, InputError
from empathy_lens.evidence.rubric import predict_rubric, rubric_agreement
from empathy_lens.types import RubricCompletion

N_SITUATIONS = 30
RESAMPLES = {"seed": 1, "n_resamples": 300}


@pytest.fixture(scope="module")
def planted():
    """Completions, their scores, and those of a reader of words, which follow them loosely."""
    rng = np.random.default_rng(3)
    completions = [
        RubricCompletion(
            f"{s}-{score}",
            f"scenario {s % 3}",
            score,
            " ".join(["word"] * int(rng.integers(5, 30))),
            situation=str(s),
        )
        for s in range(N_SITUATIONS)
        for score in (0, 1, 2)
    ]
    rubric = np.array([c.score for c in completions], dtype=float)
    return completions, rubric, rubric + rng.normal(size=len(rubric))


def test_projections_that_know_only_the_words_do_not_agree_given_them(planted):
    completions, _, words = planted
    projections = words + 0.3 * np.random.default_rng(4).normal(size=len(words))
    alone = rubric_agreement(projections, completions, None, **RESAMPLES)
    given = rubric_agreement(projections, completions, words, **RESAMPLES)
    assert alone.low > 0.3
    assert given.low < 0 < given.high
    assert alone.p < 0.05 < given.p
    assert given.method == "cluster-bootstrap-bca"
    assert given.n_groups == N_SITUATIONS


def test_projections_that_know_more_than_the_words_agree_given_them(planted):
    completions, rubric, words = planted
    projections = rubric + np.random.default_rng(4).normal(size=len(rubric))
    given = rubric_agreement(projections, completions, words, **RESAMPLES)
    assert given.low > 0.1
    assert given.p < 0.05
    stored = predict_rubric(projections, completions, word_scores=words, **RESAMPLES)
    assert stored.given_words == given
    assert predict_rubric(projections, completions, **RESAMPLES).given_words is None


def test_scores_of_other_completions_and_words_that_leave_nothing_are_refused(planted):
    completions, rubric, words = planted
    with pytest.raises(InputError, match="a projection for each of 89 completions, got 90"):
        rubric_agreement(rubric, completions[1:], None, **RESAMPLES)
    with pytest.raises(DegenerateDataError, match="explain it completely"):
        rubric_agreement(words, completions, words, **RESAMPLES)
