"""What gives the label of a pair's sides away without the concept: words, marks, length, courtesy.

What a data author wants to know before anybody pays for a GPU. Readers learn on other situations
than those that they are tested on; an AUROC of 0.5 is chance, and 1 says that the concept need
not be read at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

import numpy as np
from jaxtyping import Float, Int
from sklearn.model_selection import GroupKFold

from .. import stats
from ..errors import DegenerateDataError
from ..types import Estimate
from .baselines import (
    LENGTH,
    Baseline,
    Pairs,
    character_ngrams,
    naive_bayes,
    out_of_fold,
    shares_reader,
    style,
    text_labels,
    text_length,
)
from .measure import MIN_SITUATIONS

N_FOLDS = 10
COURTESY = (
    r"(?i)\b(?:please|kindly)\b",
    r"(?i)\bthank(?:s| you)?\b",
    r"(?i)\b(?:sorry|apolog\w+|excuse me|forgive)\b",
    r"(?i)\b(?:welcome|hello|hi|dear|goodbye)\b",
    r"(?i)\b(?:would|could|may|might) (?:you|i|we)\b",
)


def courtesy(train: Pairs, test: Pairs) -> Float[np.ndarray, "item"]:
    """:func:`shares_reader` of words of courtesy: please, thanks, apologies, "would you"."""
    return shares_reader(COURTESY, train, test)


READERS: Mapping[str, Baseline] = MappingProxyType(
    {
        "words": naive_bayes,
        "character_ngrams": character_ngrams,
        LENGTH: text_length,
        "punctuation": style,
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
        scores = reader(train, test) if test else out_of_fold(reader, train, ten_folds(train))
        constant = np.ptp(scores) == 0
        figures[name] = (
            None if constant else cast(Estimate, stats.auroc_estimate(scores, labels, design))
        )
    return figures


def ten_folds(pairs: Pairs) -> Int[np.ndarray, "pair"]:
    """Fold number of each pair, as equal in size as whole situations allow."""
    groups = [p.group for p in pairs]
    folds = np.empty(len(pairs), dtype=np.int64)
    splitter = GroupKFold(min(N_FOLDS, len(set(groups))))
    for number, (_, held_out) in enumerate(splitter.split(pairs, groups=groups)):
        folds[held_out] = number
    return folds
