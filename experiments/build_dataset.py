"""Split the contrastive pairs into train and test and describe them.

    python experiments/build_dataset.py [--folder data/contrastive_pairs] [--n-test 20] [--seed 42]
        [--out results/runs/contrastive_pairs]

Reads every pair of the folder (train and test files merged), splits again by situation and
writes train_pairs.jsonl, test_pairs.jsonl and dataset_summary.json into --out. With the defaults
these are the committed files byte for byte. To add pairs, append them to either file and give
the folder itself as --out.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from empathy_lens.cli.shared import SeedOption, clear_errors, run_script
from empathy_lens.console import say
from empathy_lens.data import load_pairs, save_pairs, split_pairs
from empathy_lens.errors import InputError
from empathy_lens.pairs import DatasetSummary, describe
from empathy_lens.results import write_result
from empathy_lens.types import ContrastivePair

ROOT = Path(__file__).resolve().parents[1]


def build(folder: Path, out: Path, *, n_test: int, seed: int) -> DatasetSummary:
    """Splits the folder's pairs into ``out``, which may be the folder itself."""
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
    summary = describe(train, test, seed=seed, n_test=n_test)
    train_file, test_file = out / train_file.name, out / test_file.name
    # Every pair is in one file or the other at each moment: a killed run loses none.
    for path, content in ((train_file, train + test), (test_file, test), (train_file, train)):
        save_pairs(path, content, sides=("empathic_text", "non_empathic_text"))
    write_result(out / "dataset_summary.json", summary)
    return summary


def main(
    folder: Annotated[Path, typer.Option(metavar="DIR", help="where the pairs are")] = (
        ROOT / "data" / "contrastive_pairs"
    ),
    out: Annotated[Path, typer.Option(metavar="DIR", help="where the split goes")] = (
        ROOT / "results" / "runs" / "contrastive_pairs"
    ),
    n_test: Annotated[int, typer.Option(metavar="N", help="pairs to test on")] = 20,
    seed: SeedOption = 42,
) -> None:
    """Split the contrastive pairs into train and test and describe them."""
    with clear_errors("Run it again: every pair is in one file or the other."):
        summary = build(folder, out, n_test=n_test, seed=seed)
    say(f"{out}: {summary.by_split}, seed {seed}")


if __name__ == "__main__":
    run_script(main)
