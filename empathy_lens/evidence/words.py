"""What readers of words say of every set of texts that a direction is read on.

They learn on train pairs alone. The best of them is chosen by folds of train; beside it stand the
two that read the model's own mean token embedding, which is all that a direction can know before
any layer has computed. A probe must beat them all.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from ..errors import DegenerateDataError
from ..types import RubricCompletion
from .baselines import (
    TOKEN_READERS,
    Baseline,
    Pairs,
    ReaderChoice,
    ablate_words,
    best_reader,
    out_of_fold,
)
from .measure import Attempts, ItemScores, StudyData, WordScores, in_item_order

LEARNT_WHOLE = ", learnt from whole texts"


@dataclass(frozen=True)
class WordEvidence:
    """Scores by reader, in the order of each set's items; empty where there is no such set.

    ``choice`` is the reader that folds of train chose, None where none could be; ``rivals`` are the
    readers a probe must beat. On masked texts readers learn and are chosen anew, and those that
    learnt from whole texts, as the direction did, are rivals too (``masked_rivals``). ``unseen``:
    scores of train items by rivals that never saw their scenario. ``rubric``: the rivals' scores of
    the scored completions.
    """

    choice: ReaderChoice | None = None
    rivals: tuple[str, ...] = ()
    test: Mapping[str, Float[np.ndarray, "test_item"]] = field(default_factory=dict)
    masked: Mapping[str, Float[np.ndarray, "test_item"]] = field(default_factory=dict)
    masked_rivals: tuple[str, ...] = ()
    hard: Mapping[str, Float[np.ndarray, "hard_item"]] = field(default_factory=dict)
    unseen: Mapping[str, Float[np.ndarray, "train_item"]] = field(default_factory=dict)
    rubric: Mapping[str, Float[np.ndarray, "text"]] = field(default_factory=dict)


def read_words(data: StudyData, readers: Mapping[str, Baseline], attempt: Attempts) -> WordEvidence:
    """Every reader on every set of the study; reasons for what is missing go to ``attempt``."""
    choice, rivals = _rivals("reader", readers, data.train_pairs, attempt)
    known = {name: readers[name] for name in rivals}
    masked: WordScores = {}
    masked_rivals: tuple[str, ...] = ()
    if data.masked is not None:
        part, (items, n_words) = "lexically_ablated", data.masked
        learnt, tested = (
            ablate_words(data.train_pairs, pairs, n_words)
            for pairs in (data.train_pairs, data.test_pairs)
        )
        _, masked_rivals = _rivals(f"{part}: reader", readers, learnt, attempt)
        masked = dict(attempt.words(part, readers, learnt, tested, items))
        # The direction has seen the telling words; readers that have seen them are its equals.
        whole = attempt.words(part, known, data.train_pairs, tested, items)
        masked |= {f"{name}{LEARNT_WHOLE}": scored for name, scored in whole.items()}
        masked_rivals += tuple(f"{name}{LEARNT_WHOLE}" for name in whole)
    hard: WordScores = {}
    if data.hard is not None:
        hard = attempt.words("hard_pairs", readers, data.train_pairs, data.hard[1], data.hard[0])
    rubric: WordScores = {}
    if data.rubric is not None:
        texts = data.train_pairs, data.rubric[1]
        rubric = {
            name: scored
            for name, reader in known.items()
            if (scored := attempt("rubric: words", read_texts, reader, *texts)) is not None
        }
    return WordEvidence(
        choice=choice,
        rivals=rivals,
        test=attempt.words("baselines", readers, data.train_pairs, data.test_pairs, data.test),
        masked=masked,
        masked_rivals=masked_rivals,
        hard=hard,
        unseen={
            name: scored
            for name, reader in known.items()
            if (scored := attempt(f"unseen: {name}", _unseen, reader, data)) is not None
        },
        rubric=rubric,
    )


def rivals_of(choice: ReaderChoice | None, readers: Container[str]) -> tuple[str, ...]:
    """The readers that a probe must beat: the chosen one, and those of token embeddings."""
    chosen = [] if choice is None else [choice.name]
    return tuple(dict.fromkeys([*chosen, *(name for name in TOKEN_READERS if name in readers)]))


def _rivals(
    part: str, readers: Mapping[str, Baseline], train: Pairs, attempt: Attempts
) -> tuple[ReaderChoice | None, tuple[str, ...]]:
    """The reader that folds of these pairs choose, and all that a probe must beat."""
    choice = attempt(part, best_reader, readers, train, seed=attempt.draws.seed)
    return choice, rivals_of(choice, readers)


def _unseen(reader: Baseline, data: StudyData) -> ItemScores:
    """Scores of every train item by the reader that learnt on the other scenarios' pairs.

    Raises DegenerateDataError for pairs of one scenario.
    """
    pairs = data.train_pairs
    scenarios, scenario = np.unique([p.scenario_id for p in pairs], return_inverse=True)
    if len(scenarios) < 2:
        raise DegenerateDataError("leaving a scenario out needs at least 2, got 1")
    return in_item_order(out_of_fold(reader, pairs, scenario), pairs, data.train, "train")


def read_texts(
    reader: Baseline, train: Pairs, completions: Sequence[RubricCompletion]
) -> ItemScores:
    """Scores of single texts by a reader of pairs, which scores each side on its own.

    It learns on the train pairs. Raises what the reader raises.
    """
    texts = [c.text for c in completions]
    padded = [*texts, texts[-1]] if len(texts) % 2 else texts
    pairs = [
        replace(train[0], pair_id=str(i), positive=padded[i], negative=padded[i + 1])
        for i in range(0, len(padded), 2)
    ]
    return reader(train, pairs)[: len(texts)]
