"""What gives the label of a pair's sides away without the concept: words, marks, length, courtesy.

What a data author wants to know before anybody pays for a GPU. Readers learn on other situations
than those that they are tested on; an AUROC of 0.5 is chance, and 1 says that the concept need
not be read at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

import numpy as np
from jaxtyping import Float
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .. import stats
from ..errors import DegenerateDataError
from ..types import Estimate
from .baselines import (
    LENGTH,
    Baseline,
    Pairs,
    naive_bayes,
    text_labels,
    text_length,
    texts,
)
from .measure import MIN_SITUATIONS

N_FOLDS = 10
MARKS = (r"[.]", r"[,]", r"[!]", r"[?]", r"[;:]", r"[-–—]", r"[\"'“”‘’]", r"[()\[\]]", r"\n")
COURTESY = (
    r"(?i)\b(?:please|kindly)\b",
    r"(?i)\bthank(?:s| you)?\b",
    r"(?i)\b(?:sorry|apolog\w+|excuse me|forgive)\b",
    r"(?i)\b(?:welcome|hello|hi|dear|goodbye)\b",
    r"(?i)\b(?:would|could|may|might) (?:you|i|we)\b",
)


def character_ngrams(train: Pairs, test: Pairs) -> Float[np.ndarray, "item"]:
    """Logit of a logistic regression (C = 1) on TF-IDF of 2 to 5 characters within words."""
    reader = make_pipeline(
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5)), LogisticRegression(max_iter=1000)
    )
    reader.fit(texts(train), text_labels(train))
    return np.asarray(reader.decision_function(texts(test)), dtype=np.float64)


def punctuation(train: Pairs, test: Pairs) -> Float[np.ndarray, "item"]:
    """The same on shares of characters: each kind of mark, digits and capitals."""
    return _by_counts((*MARKS, r"\d", r"[A-Z]"), train, test)


def courtesy(train: Pairs, test: Pairs) -> Float[np.ndarray, "item"]:
    """The same on words of courtesy: please, thanks, apologies, greetings, "would you"."""
    return _by_counts(COURTESY, train, test)


READERS: Mapping[str, Baseline] = MappingProxyType(
    {
        "words": naive_bayes,
        "character_ngrams": character_ngrams,
        LENGTH: text_length,
        "punctuation": punctuation,
        "courtesy": courtesy,
    }
)


def giveaways(
    train: Pairs, test: Pairs = (), *, seed: int = 0, n_resamples: int = 10_000
) -> dict[str, Estimate | None]:
    """AUROC of each reader on the test pairs, with its interval over situations; None where it
    finds nothing to read, as where no text has a word of courtesy.

    Without test pairs each situation of ``train`` is read by readers that learnt on others, in ten
    folds. Raises DegenerateDataError for fewer than six situations.
    """
    read = test or train
    groups = [p.group for p in read for _ in range(2)]
    if len(set(groups)) < MIN_SITUATIONS:
        raise DegenerateDataError(
            f"expected at least {MIN_SITUATIONS} situations to read, got {len(set(groups))}"
        )
    strata = [p.scenario_id for p in read for _ in range(2)]
    design = stats.Design.within(groups, strata, seed=seed, n_resamples=n_resamples)
    labels = text_labels(read)
    figures: dict[str, Estimate | None] = {}
    for name, reader in READERS.items():
        scores = reader(train, test) if test else out_of_fold(reader, train)
        constant = np.ptp(scores) == 0
        figures[name] = (
            None if constant else cast(Estimate, stats.auroc_estimate(scores, labels, design))
        )
    return figures


def out_of_fold(reader: Baseline, pairs: Pairs) -> Float[np.ndarray, "item"]:
    """Scores of every text by a reader that learnt on other situations, in ten folds."""
    groups = [p.group for p in pairs]
    folds = GroupKFold(min(N_FOLDS, len(set(groups)))).split(pairs, groups=groups)
    scores = np.zeros((len(pairs), 2))
    for train, test in folds:
        scores[test] = reader([pairs[i] for i in train], [pairs[i] for i in test]).reshape(-1, 2)
    return scores.ravel()


def _by_counts(patterns: tuple[str, ...], train: Pairs, test: Pairs) -> Float[np.ndarray, "item"]:
    reader = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    reader.fit(_shares(patterns, train), text_labels(train))
    return np.asarray(reader.decision_function(_shares(patterns, test)), dtype=np.float64)


def _shares(patterns: tuple[str, ...], pairs: Pairs) -> Float[np.ndarray, "item pattern"]:
    """Matches of each pattern for each character of a text."""
    return np.array(
        [
            [len(re.findall(pattern, text)) / max(1, len(text)) for pattern in patterns]
            for text in texts(pairs)
        ]
    )
