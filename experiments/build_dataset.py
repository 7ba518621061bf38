"""Split the contrastive pairs into train and test and describe them.

    python experiments/build_dataset.py [--folder data/contrastive_pairs] [--n-test 20] [--seed 42]

Reads every pair of the folder (train and test files merged), splits again by situation and
writes train_pairs.jsonl, test_pairs.jsonl and dataset_summary.json. With the defaults it
reproduces the committed files byte for byte. To add pairs, append them to either file.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from empathy_lens.data import count_by, data_hash, load_pairs, save_pairs, split_pairs
from empathy_lens.errors import EmpathyLensError, InputError
from empathy_lens.files import write_json
from empathy_lens.types import ContrastivePair

FOLDER = Path(__file__).resolve().parents[1] / "data" / "contrastive_pairs"
QUANTILES = {"min": 0.0, "q05": 0.05, "median": 0.5, "q95": 0.95, "max": 1.0}


def describe(pairs: Sequence[ContrastivePair]) -> dict[str, Any]:
    """Counts, word counts, and the words of the positive side over those of the negative."""
    texts = ("prompt", "positive", "negative")
    words = {name: [len(getattr(pair, name).split()) for pair in pairs] for name in texts}
    ratios = np.divide(words["positive"], words["negative"]).tolist()

    def quantiles(values: Sequence[float]) -> dict[str, float]:
        return {n: round(float(np.quantile(values, q)), 3) for n, q in QUANTILES.items()}

    return {
        "n_pairs": len(pairs),
        "by_scenario": count_by(pairs, "scenario_id"),
        **{f"by_{n}": count_by(pairs, n) for n in ("format", "split", "source_model")},
        "words": {name: quantiles(counts) for name, counts in words.items()},
        "length_ratio": quantiles(ratios),
    }


def build(folder: Path, *, n_test: int, seed: int) -> dict[str, Any]:
    train_file, test_file = folder / "train_pairs.jsonl", folder / "test_pairs.jsonl"
    pairs: dict[str, ContrastivePair] = {}
    for path in (train_file, test_file):
        for pair in load_pairs(path) if path.exists() else ():
            bare = replace(pair, split="")
            if pairs.setdefault(pair.pair_id, bare) != bare:
                raise InputError(f"{path}: pair_id {pair.pair_id!r} names another pair as well")
    if not pairs:
        raise InputError(f"{folder}: holds no train_pairs.jsonl or test_pairs.jsonl")
    halves = split_pairs(tuple(pairs.values()), n_test=n_test, seed=seed)
    train = tuple(replace(pair, split="train") for pair in halves[0])
    test = tuple(replace(pair, split="test") for pair in halves[1])
    summary = {"seed": seed, "n_test": n_test, **describe(train + test)}
    summary["data_hash"] = {train_file.name: data_hash(train), test_file.name: data_hash(test)}
    # Every pair is in one file or the other at each moment: a killed run loses none.
    for path, content in ((train_file, train + test), (test_file, test), (train_file, train)):
        save_pairs(path, content)
    write_json(folder / "dataset_summary.json", summary)
    return summary


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--n-test", type=int, default=20)
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()
    try:
        summary = build(args.folder, n_test=args.n_test, seed=args.seed)
    except EmpathyLensError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{args.folder}: {summary['by_split']}, seed {args.seed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
