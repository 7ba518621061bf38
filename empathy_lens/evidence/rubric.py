"""What follows rubric scores 0, 1, 2: projections on a direction, and judges that read texts.

A judge is any function from texts to scores from 0 (the concept's negative pole) to 1 (its positive
pole), so that one that asks an API fits the same places. The one here needs no model and no key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
from jaxtyping import Bool, Float
from pydantic import JsonValue
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from .. import stats
from ..errors import DegenerateDataError, InputError
from ..types import ContrastivePair, Estimate, Optionally, RubricCompletion
from .baselines import text_labels, texts
from .measure import Attempts, ItemScores


@dataclass(frozen=True)
class ScenarioPrediction:
    """One scenario: rank correlation (None where it cannot be had) and mean score by rubric."""

    spearman: Estimate | None
    n: int
    mean_by_score: dict[str, float]


@dataclass(frozen=True)
class RubricPrediction:
    """Correlations in [-1, 1] (positive = acts with a higher score project higher), each with p.

    ``partial`` is the rank correlation given the text's length in words and its scenario, None
    where those leave nothing to correlate; ``given_words`` is :func:`rubric_agreement`, given what
    a reader of words says too (None without such a reader).
    ``binary_accuracy`` is the share of score-2 and score-0 completions on their own side of the
    direction's training threshold; score-1 completions take no part in it.
    """

    pearson: Estimate
    spearman: Estimate
    kendall: Estimate
    partial: Estimate | None
    binary_accuracy: Estimate
    per_scenario: dict[str, ScenarioPrediction]
    given_words: Optionally[Estimate] = None


@dataclass(frozen=True)
class RubricItem:
    """A scored completion and its projection (:func:`~.validation.scores`)."""

    completion_id: str
    scenario_id: str
    score: int
    projection: float


@dataclass(frozen=True)
class RubricResult(RubricPrediction):
    """The prediction with the texts that it is made of."""

    items: tuple[RubricItem, ...] = field(kw_only=True)


@dataclass(frozen=True)
class EiaCorrelation:
    """The content of ``eia_correlation.json``; ``on_policy`` is that of ``on_policy.json``."""

    selected_layer: int
    rubric: RubricResult
    on_policy: dict[str, JsonValue] | None = None


def predict_rubric(
    scores: Float[np.ndarray, "item"],
    completions: Sequence[RubricCompletion],
    *,
    word_scores: Float[np.ndarray, "item *reader"] | None = None,
    seed: int = 0,
    n_resamples: int = 10_000,
) -> RubricPrediction:
    """How well ``validation.scores`` of completions (0 = on the threshold) follow the rubric.

    Situations are resampled whole, within scenarios; p-values permute scores among the
    completions of a situation, so that differences between situations cannot make an effect.
    ``word_scores`` are a reader of words' for the same completions, for ``given_words``, whose p
    comes from its interval. Raises DegenerateDataError with fewer than three situations or constant
    scores.
    """
    _check_scored(scores, completions, "a score")
    rubric = np.array([c.score for c in completions], dtype=np.float64)
    scenario_ids = [c.scenario_id for c in completions]
    design = _design(completions, seed, n_resamples)
    shared = len(set(design.groups)) < len(completions)
    exchange: stats.Exchange = "within" if shared else "groups"
    ends, of_ends = _ends(completions, seed, n_resamples)
    given = _length_and_scenario(completions)
    return RubricPrediction(
        pearson=stats.pearson(scores, rubric, design, exchange=exchange),
        spearman=stats.spearman(scores, rubric, design, exchange=exchange),
        kendall=stats.kendall(scores, rubric, design, exchange=exchange),
        partial=Attempts()(
            "partial", stats.partial_correlation, scores, rubric, given, design, exchange=exchange
        ),
        binary_accuracy=stats.accuracy_estimate((scores[ends] > 0) == (rubric[ends] == 2), of_ends),
        per_scenario={
            scenario_id: _scenario(
                np.array([s == scenario_id for s in scenario_ids]), scores, rubric, design, exchange
            )
            for scenario_id in dict.fromkeys(scenario_ids)
        },
        given_words=None
        if word_scores is None
        else Attempts()(
            "given_words",
            rubric_agreement,
            scores,
            completions,
            word_scores,
            seed=seed,
            n_resamples=n_resamples,
        ),
    )


def rubric_correlation(
    projections: ItemScores,
    completions: Sequence[RubricCompletion],
    *,
    seed: int = 0,
    n_resamples: int = 10_000,
) -> Estimate:
    """Spearman correlation of projections with the rubric's scores, as :func:`predict_rubric`'s."""
    design = _design(completions, seed, n_resamples)
    shared = len(set(design.groups)) < len(completions)
    rubric = np.array([c.score for c in completions], dtype=np.float64)
    return stats.spearman(projections, rubric, design, exchange="within" if shared else "groups")


def rubric_agreement(
    projections: ItemScores,
    completions: Sequence[RubricCompletion],
    word_scores: Float[np.ndarray, "item *reader"] | None,
    *,
    seed: int = 0,
    n_resamples: int = 10_000,
) -> Estimate:
    """Partial rank correlation of projections with the rubric's scores, in [-1, 1].

    Given are each text's length in words, its scenario and, unless None, what readers of words
    make of it: words that go with high scores cannot make the figure, as far as those readers know
    them. Situations are resampled whole, within scenarios as far as those allow; the interval is
    BCa, since the percentile one is too short at high correlations, and ``p`` inverts it.

    Raises InputError for numbers of scores that differ, DegenerateDataError with fewer than three
    situations or where the covariates leave nothing to correlate.
    """
    _check_scored(projections, completions, "a projection")
    given = _length_and_scenario(completions)
    if word_scores is not None:
        _check_scored(word_scores, completions, "a reader of words' score")
        given = np.column_stack([given, word_scores])
    return stats.partial_correlation(
        projections,
        np.array([c.score for c in completions], dtype=np.float64),
        given,
        replace(_design(completions, seed, n_resamples), method="bca"),
        p="interval",
    )


def rubric_gains(
    projections: ItemScores,
    completions: Sequence[RubricCompletion],
    word_scores: Mapping[str, ItemScores],
    *,
    seed: int = 0,
    n_resamples: int = 10_000,
) -> dict[str, Estimate]:
    """How much closer projections follow the rubric's scores than each reader of words does.

    Differences of rank correlations over the same resamples of situations. A partial correlation
    given what readers say stays above 0 where these read with error; this does not. Raises as
    :func:`rubric_agreement`.
    """
    _check_scored(projections, completions, "a projection")
    design = _design(completions, seed, n_resamples)
    rubric = np.array([c.score for c in completions], dtype=np.float64)
    return {
        name: stats.spearman_difference(projections, said, rubric, design)
        for name, said in word_scores.items()
    }


def _check_scored(
    scores: Float[np.ndarray, "item *reader"], completions: Sequence[RubricCompletion], what: str
) -> None:
    if len(scores) != len(completions):
        raise InputError(
            f"expected {what} for each of {len(completions)} completions, got {len(scores)}"
        )


def _length_and_scenario(completions: Sequence[RubricCompletion]) -> Float[np.ndarray, "item k"]:
    length = np.array([len(c.text.split()) for c in completions], dtype=np.float64)
    return np.column_stack([length, stats.dummies([c.scenario_id for c in completions])])


def _design(completions: Sequence[RubricCompletion], seed: int, n_resamples: int) -> stats.Design:
    """Situations within scenarios."""
    groups, scenarios = [c.group for c in completions], [c.scenario_id for c in completions]
    return stats.Design.within(groups, scenarios, seed=seed, n_resamples=n_resamples)


def _ends(
    completions: Sequence[RubricCompletion], seed: int, n_resamples: int
) -> tuple[Bool[np.ndarray, "item"], stats.Design]:
    """Which completions have score 0 or 2, and how these are resampled."""
    kept = [c for c in completions if c.score != 1]
    return np.array([c.score != 1 for c in completions]), _design(kept, seed, n_resamples)


def _scenario(
    inside: Bool[np.ndarray, "item"],
    scores: Float[np.ndarray, "item"],
    rubric: Float[np.ndarray, "item"],
    design: stats.Design,
    exchange: stats.Exchange,
) -> ScenarioPrediction:
    x, y = scores[inside], rubric[inside]
    groups = [g for g, keep in zip(design.groups, inside, strict=True) if keep]
    alone = replace(design, groups=groups, strata=None)
    return ScenarioPrediction(
        spearman=Attempts()("spearman", stats.spearman, x, y, alone, exchange=exchange),
        n=len(x),
        mean_by_score={str(int(s)): float(x[y == s].mean()) for s in np.unique(y)},
    )


Judge = Callable[[Sequence[str]], Float[np.ndarray, "text"]]


def word_judge(pairs: Sequence[ContrastivePair]) -> Judge:
    """Logistic regression (C = 1) on TF-IDF weights of words and word pairs, learnt on the pairs.

    It reads words and nothing else, so it is fooled where words and deeds part; ask
    :func:`judge_quality` how far to trust it. A text without a known word gets the prior.
    Raises InputError without pairs, DegenerateDataError where they hold no words.
    """
    if not pairs:
        raise InputError("expected at least one pair to learn from, got none")
    reader = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(max_iter=1000)
    )
    try:
        reader.fit(texts(pairs), text_labels(pairs))
    except ValueError as error:
        raise DegenerateDataError(f"the pairs hold no words to learn from ({error})") from None

    def judge(judged: Sequence[str]) -> Float[np.ndarray, "text"]:
        if not judged:
            return np.empty(0)
        return np.asarray(reader.predict_proba(list(judged))[:, 1], dtype=np.float64)

    return judge


@dataclass(frozen=True)
class JudgeQuality:
    """How a judge does on scored completions that it has not learnt from.

    ``accuracy`` and ``auroc`` tell score 2 from score 0; ``spearman`` uses all scores.
    """

    accuracy: Estimate
    auroc: Estimate
    spearman: Estimate


def judge_quality(
    judge: Judge,
    completions: Sequence[RubricCompletion],
    *,
    seed: int = 0,
    n_resamples: int = 10_000,
) -> JudgeQuality:
    """Held-out quality of a judge against rubric scores, with intervals over situations."""
    scores = judge([c.text for c in completions])
    rubric = np.array([c.score for c in completions])
    ends, of_ends = _ends(completions, seed, n_resamples)
    positive = rubric[ends] == 2
    every = stats.Design([c.group for c in completions], seed=seed, n_resamples=n_resamples)
    return JudgeQuality(
        accuracy=stats.accuracy_estimate((scores[ends] > 0.5) == positive, of_ends),
        auroc=cast(Estimate, stats.auroc_estimate(scores[ends], positive, of_ends)),
        spearman=stats.spearman(scores, rubric, every),
    )
