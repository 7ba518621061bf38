"""Judges: text in, how empathic it reads out. Here the local one, which needs no model and no key.

A judge is any function from texts to scores from 0 (task-focused) to 1 (empathic), so that one
that asks an API fits the same places.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from .errors import DegenerateDataError, InputError
from .stats import accuracy_estimate, auroc_estimate, spearman
from .types import ContrastivePair, Estimate, RubricCompletion
from .validation import usable_strata

__all__ = ["Judge", "JudgeQuality", "WordJudge", "judge_quality", "word_judge"]

Judge = Callable[[Sequence[str]], Float[np.ndarray, "text"]]


@dataclass(frozen=True)
class WordJudge:
    """Logistic regression (C = 1) on TF-IDF weights of words and word pairs.

    It reads words and nothing else, so it is fooled where words and deeds part; ask
    :func:`judge_quality` how far to trust it. A text without a known word gets the prior.
    """

    pipeline: Pipeline

    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, "text"]:
        """Probability that each text is an empathic one, 0 to 1."""
        if not texts:
            return np.empty(0)
        return np.asarray(self.pipeline.predict_proba(list(texts))[:, 1], dtype=np.float64)


def word_judge(pairs: Sequence[ContrastivePair]) -> WordJudge:
    """A judge that has learnt on the completions of contrastive pairs.

    Raises InputError without pairs, DegenerateDataError where they hold no words.
    """
    if not pairs:
        raise InputError("expected at least one pair to learn from, got none")
    texts = [side for p in pairs for side in (p.positive, p.negative)]
    pipeline = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(max_iter=1000)
    )
    try:
        pipeline.fit(texts, [True, False] * len(pairs))
    except ValueError as error:
        raise DegenerateDataError(f"the pairs hold no words to learn from ({error})") from None
    return WordJudge(pipeline)


@dataclass(frozen=True)
class JudgeQuality:
    """How a judge does on scored completions that it has not learnt from.

    ``accuracy`` and ``auroc`` tell score 2 from score 0; ``spearman`` uses all scores.
    """

    accuracy: Estimate
    auroc: Estimate
    spearman: Estimate

    def to_dict(self) -> dict[str, Any]:
        return {name: value.to_dict() for name, value in vars(self).items()}


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
    groups = [c.group for c in completions]
    options: dict[str, Any] = {"seed": seed, "n_resamples": n_resamples}
    ends = rubric != 1
    kept = [g for g, keep in zip(groups, ends, strict=True) if keep]
    scenarios = [c.scenario_id for c, keep in zip(completions, ends, strict=True) if keep]
    strata = usable_strata(kept, scenarios)
    caring = rubric[ends] == 2
    ranked = auroc_estimate(scores[ends], caring, kept, strata=strata, **options)
    assert isinstance(ranked, Estimate)
    return JudgeQuality(
        accuracy=accuracy_estimate((scores[ends] > 0.5) == caring, kept, strata=strata, **options),
        auroc=ranked,
        spearman=spearman(scores, rubric, groups, **options),
    )
