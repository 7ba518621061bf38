"""Is a direction more than words, chance or something simpler? Prints its evidence card.

    python experiments/evidence_card.py
    python experiments/evidence_card.py --layers 8,12,16 --out results/runs/card.json

Reads the shipped pairs, or your own, with a model; writes nothing but --out.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from empathy_lens.cli.shared import (
    AllowOverlapOption,
    DeviceOption,
    DtypeOption,
    LayersOption,
    ModelOption,
    SeedOption,
    TrustOption,
    clear_errors,
    run_script,
)

if TYPE_CHECKING:
    from empathy_lens.types import ContrastivePair

DATA = Path(__file__).resolve().parents[1] / "data"
PAIRS = DATA / "contrastive_pairs"


def main(
    model: ModelOption = "embedded",
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    trust_remote_code: TrustOption = False,
    pairs_train: Annotated[
        Path, typer.Option(metavar="FILE", help="pairs to learn from", show_default="shipped")
    ] = (PAIRS / "train_pairs.jsonl"),
    pairs_test: Annotated[
        Path, typer.Option(metavar="FILE", help="pairs to test on", show_default="shipped")
    ] = (PAIRS / "test_pairs.jsonl"),
    allow_overlap: AllowOverlapOption = False,
    layers: LayersOption = "all",
    n_ablated: Annotated[
        int, typer.Option(min=0, metavar="N", help="words to mask, both sides")
    ] = 50,
    embedding: Annotated[
        str, typer.Option(metavar="NAME", help="none or minilm, a word baseline more")
    ] = "none",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="where to write the card as JSON")
    ] = None,
    seed: SeedOption = 0,
) -> None:
    """Measure the shipped pairs, or yours, and print the card."""
    with clear_errors("Run it again: nothing is kept."):
        from empathy_lens.activations import extract_poolings
        from empathy_lens.console import say
        from empathy_lens.data import data_hash, load_pairs
        from empathy_lens.engine import mean_token_embedding
        from empathy_lens.evidence import Draws, StudyData, evidence_card
        from empathy_lens.evidence.baselines import ablate_words
        from empathy_lens.evidence.embeddings import load_embedding
        from empathy_lens.evidence.validation import select_layer
        from empathy_lens.models import load_model
        from empathy_lens.results import write_result
        from empathy_lens.study import parse_layers
        from empathy_lens.study.identity import new_identity
        from empathy_lens.study.inputs import check_split

        wanted = parse_layers(layers)
        train_pairs, test_pairs = load_pairs(pairs_train), load_pairs(pairs_test)
        check_split(train_pairs, test_pairs, allow_overlap=allow_overlap)
        hard_pairs = load_pairs(DATA / "hard_pairs" / "hard_pairs.jsonl")
        masked = ablate_words(train_pairs, test_pairs, n_ablated)
        sets = {p.stem: load_pairs(p) for p in sorted((DATA / "contrast_sets").glob("*.jsonl"))}
        embed = load_embedding(embedding)
        loaded = load_model(model, device=device, dtype=dtype, trust_remote_code=trust_remote_code)

        def read(pairs: "Sequence[ContrastivePair]", name: str) -> dict:
            print(f"reading {len(pairs)} {name} pairs", file=sys.stderr)
            return extract_poolings(loaded, pairs, layers=wanted)

        trains, tests = read(train_pairs, "train"), read(test_pairs, "test")
        hard, hidden = read(hard_pairs, "hard"), read(masked, "masked test")
        contrasts = {name: read(pairs, name) for name, pairs in sets.items()}
        data, *others = (
            StudyData(
                trains[pooling],
                tests[pooling],
                train_pairs,
                test_pairs,
                hard=(hard[pooling], hard_pairs),
                masked=(hidden[pooling], n_ablated),
                contrasts={name: one[pooling] for name, one in contrasts.items()},
            )
            for pooling in trains
        )
        layer = select_layer(trains["mean"], seed=seed).layer
        card = evidence_card(
            replace(data, other_poolings=others),
            layer,
            embed=embed,
            token_embed=mean_token_embedding(loaded),
            draws=Draws(seed),
        )
        say(card)
        if out is not None:
            asked = [model, device, dtype, layers, n_ablated, embedding, seed]
            read_pairs = [data_hash(pairs) for pairs in (train_pairs, test_pairs, hard_pairs)]
            write_result(out, card, new_identity([asked, read_pairs]))


if __name__ == "__main__":
    run_script(main)
