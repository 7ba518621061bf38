"""A data set from pairs: a split with a fixed seed, the shipped pairs beside it, and its card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..data import count_by, data_hash, save_pairs, split_pairs
from ..errors import InputError
from ..files import write_json
from ..types import ContrastivePair

__all__ = ["SplitBy", "describe", "merge", "split", "write_dataset"]

SplitBy = Literal["situation", "source"]
Pairs = tuple[ContrastivePair, ...]

QUANTILES = {"min": 0.0, "q05": 0.05, "median": 0.5, "q95": 0.95, "max": 1.0}


def describe(pairs: Sequence[ContrastivePair]) -> dict[str, Any]:
    """Counts, word counts, and the words of the positive side over those of the negative."""
    texts = ("prompt", "positive", "negative")
    words = {name: [len(getattr(pair, name).split()) for pair in pairs] for name in texts}
    ratios = np.divide(words["positive"], words["negative"]).tolist()

    def quantiles(values: Sequence[int] | Sequence[float]) -> dict[str, float]:
        return {n: round(float(np.quantile(values, q)), 3) for n, q in QUANTILES.items()}

    return {
        "n_pairs": len(pairs),
        "by_scenario": count_by(pairs, "scenario_id"),
        **{f"by_{n}": count_by(pairs, n) for n in ("format", "split", "source_model")},
        "words": {name: quantiles(counts) for name, counts in words.items()},
        "length_ratio": quantiles(ratios),
    }


def split(
    pairs: Sequence[ContrastivePair], *, by: SplitBy, n_test: int, seed: int
) -> tuple[Pairs, Pairs]:
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


def write_dataset(folder: Path, train: Pairs, test: Pairs, about: dict[str, Any]) -> dict[str, Any]:
    """Writes train_pairs.jsonl, test_pairs.jsonl and dataset_summary.json; gives the last."""
    files = {"train_pairs.jsonl": train, "test_pairs.jsonl": test}
    for name, pairs in files.items():
        save_pairs(folder / name, pairs)
    summary = {**describe(train + test), **about}
    summary["data_hash"] = {name: data_hash(pairs) for name, pairs in files.items()}
    write_json(folder / "dataset_summary.json", summary)
    return summary


def _split_by_source(
    pairs: Sequence[ContrastivePair], n_test: int, seed: int
) -> tuple[Pairs, Pairs]:
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
