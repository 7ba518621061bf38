"""A data set from pairs: a split with a fixed seed, the shipped pairs beside it, its summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from ..data import count_by, data_hash, save_pairs, split_pairs
from ..errors import InputError
from ..results import write_result
from ..types import ContrastivePair
from ..vendors import Costs

SplitBy = Literal["situation", "source"]
Pairs = tuple[ContrastivePair, ...]


@dataclass(frozen=True)
class Quantiles:
    """How figures of many texts lie."""

    min: float
    q05: float
    median: float
    q95: float
    max: float


@dataclass(frozen=True, kw_only=True)
class DatasetSummary:
    """``dataset_summary.json``: counts, words of the texts, and the SHA-256 of each file.

    ``length_ratio`` is the words of the positive side over those of the negative.
    """

    seed: int
    n_test: int
    n_pairs: int
    by_scenario: Mapping[str, int]
    by_format: Mapping[str, int]
    by_split: Mapping[str, int]
    by_source_model: Mapping[str, int]
    words: Mapping[str, Quantiles]
    length_ratio: Quantiles
    data_hash: Mapping[str, str]


@dataclass(frozen=True)
class AskedModel:
    """A model that was asked, in what way, and its prices in US dollars a million tokens."""

    vendor: str
    protocol: str
    structured: str
    name: str
    usd_per_million_input: float
    usd_per_million_output: float


@dataclass(frozen=True)
class PlanSummary:
    """What became of the planned pairs; ``second_tries`` and ``missing`` are counts by reason."""

    n_pairs: int
    written: int
    repaired: int
    second_tries: Mapping[str, int]
    missing: Mapping[str, int]
    models: tuple[AskedModel, ...]


@dataclass(frozen=True)
class Giveaway:
    """How well a bag of words tells the sides of a batch apart, and by which words.

    ``naive_bayes_auroc`` is of situations that it was not trained on: 0.5 is chance. It is None
    where the batch is too small to say. ``telling_words``: log-odds, positive pole above 0.
    """

    naive_bayes_auroc: float | None
    n_pairs: int
    telling_words: Mapping[str, float]


@dataclass(frozen=True)
class QualitySummary:
    """How many pairs passed the checks; ``rejections`` are counts by reason."""

    accepted: int
    accepted_by_source_model: Mapping[str, int]
    rejected: int
    rejections: Mapping[str, int]
    lexical_giveaway: Giveaway
    judges: tuple[str, ...]


@dataclass(frozen=True)
class Kappa:
    """Cohen's kappa of two reviewers over accept, edit and reject; None where it is undefined."""

    reviewers: tuple[str, str]
    n_pairs: int
    same: int
    kappa: float | None


@dataclass(frozen=True)
class ReviewSummary:
    """Decisions of reviewers, and how many pairs they took out."""

    decisions: int
    by_verdict: Mapping[str, int]
    taken_out: int
    kappas: tuple[Kappa, ...]


@dataclass(frozen=True, kw_only=True)
class GeneratedSummary(DatasetSummary):
    """The same of pairs that models wrote, with what they cost."""

    split_by: SplitBy
    plan: PlanSummary
    quality: QualitySummary
    review: ReviewSummary
    costs: Costs
    unreadable_journal_lines: int


def describe(train: Pairs, test: Pairs, *, seed: int, n_test: int) -> DatasetSummary:
    """Counts, word counts, length ratios and hashes of a split data set."""
    pairs = (*train, *test)
    texts = ("prompt", "positive", "negative")
    words = {name: [len(getattr(pair, name).split()) for pair in pairs] for name in texts}
    return DatasetSummary(
        seed=seed,
        n_test=n_test,
        n_pairs=len(pairs),
        by_scenario=count_by(pairs, "scenario_id"),
        by_format=count_by(pairs, "format"),
        by_split=count_by(pairs, "split"),
        by_source_model=count_by(pairs, "source_model"),
        words={name: _quantiles(counts) for name, counts in words.items()},
        length_ratio=_quantiles(np.divide(words["positive"], words["negative"])),
        data_hash={"train_pairs.jsonl": data_hash(train), "test_pairs.jsonl": data_hash(test)},
    )


def split(pairs: Pairs, *, by: SplitBy, n_test: int, seed: int) -> tuple[Pairs, Pairs]:
    """Train and test pairs, marked as such, with no situation on both sides.

    ``by="source"`` tests on models that wrote nothing to train on: sources are drawn with the seed
    until they hold ``n_test`` pairs. Pairs of other sources in a tested situation are left out.
    Raises InputError where nothing would be left to train on.
    """
    if by == "situation":
        train, test = split_pairs(pairs, n_test=n_test, seed=seed)
    else:
        train, test = _split_by_source(pairs, n_test, seed)
    return (
        tuple(replace(p, split="train") for p in train),
        tuple(replace(p, split="test") for p in test),
    )


def merge(own: Sequence[ContrastivePair], others: Sequence[ContrastivePair]) -> Pairs:
    """Both, own pairs first. Raises InputError where an id names two different pairs."""
    merged: dict[str, ContrastivePair] = {}
    for pair in (*own, *others):
        if merged.setdefault(pair.pair_id, pair) != pair:
            raise InputError(f"pair_id {pair.pair_id!r} names two different pairs")
    return tuple(merged.values())


def write_dataset(folder: Path, train: Pairs, test: Pairs, summary: DatasetSummary) -> None:
    """Writes train_pairs.jsonl, test_pairs.jsonl and dataset_summary.json."""
    save_pairs(folder / "train_pairs.jsonl", train)
    save_pairs(folder / "test_pairs.jsonl", test)
    write_result(folder / "dataset_summary.json", summary)


def _quantiles(values: Sequence[int] | np.ndarray) -> Quantiles:
    figures = np.quantile(values, (0.0, 0.05, 0.5, 0.95, 1.0)).round(3)
    return Quantiles(*figures.tolist())


def _split_by_source(pairs: Pairs, n_test: int, seed: int) -> tuple[Pairs, Pairs]:
    sources = sorted({p.source_model for p in pairs})
    order = np.random.default_rng(seed).permutation(len(sources))
    held_out: set[str] = set()
    for index in order:
        if sum(p.source_model in held_out for p in pairs) >= n_test:
            break
        held_out.add(sources[index])
    test = tuple(p for p in pairs if p.source_model in held_out)
    tested = {p.group for p in test}
    train = tuple(p for p in pairs if p.source_model not in held_out and p.group not in tested)
    if not train or not test:
        raise InputError(
            f"a split by source model needs pairs from at least two, and n_test below their number;"
            f" got {n_test} of {len(pairs)} from {sources}"
        )
    return train, test
