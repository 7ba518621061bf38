"""What does a direction show beyond words, and what does it not? The evidence card.

    python experiments/evidence_card.py [--model embedded] [--pairs-train A --pairs-test B]
        [--layers all] [--n-ablated 50] [--embedding none|minilm] [--out card.json] [--seed 0]

Chooses a layer on the train pairs, then opens test, masked, hard and contrast pairs once. Beside
that direction stands the choice of layer, estimator and pooling by nested cross-validation.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from empathy_lens.activations import extract_poolings
from empathy_lens.baselines import ablate_words
from empathy_lens.data import load_pairs
from empathy_lens.embeddings import load_embedding
from empathy_lens.errors import EmpathyLensError
from empathy_lens.evidence import Evidence, gather_evidence
from empathy_lens.files import write_json
from empathy_lens.models import load_model
from empathy_lens.study import parse_layers
from empathy_lens.types import Activations, ContrastivePair, Pooling
from empathy_lens.validation import select_layer

DATA = Path(__file__).resolve().parents[1] / "data"
PAIRS = DATA / "contrastive_pairs"


def evidence_card(args: argparse.Namespace) -> Evidence:
    layers = parse_layers(args.layers)
    train_pairs, test_pairs = load_pairs(args.pairs_train), load_pairs(args.pairs_test)
    hard_pairs = load_pairs(DATA / "hard_pairs" / "hard_pairs.jsonl")
    embed = load_embedding(args.embedding)
    model = load_model(args.model, device=args.device, dtype=args.dtype)

    def read(pairs: Sequence[ContrastivePair], name: str) -> dict[Pooling, Activations]:
        print(f"reading {len(pairs)} {name} pairs", file=sys.stderr)
        return extract_poolings(model, pairs, layers=layers)

    trains, tests = read(train_pairs, "train"), read(test_pairs, "test")
    train, test = trains["mean"], tests["mean"]
    masked = ablate_words(train_pairs, test_pairs, args.n_ablated)
    contrast_files = sorted((DATA / "contrast_sets").glob("*.jsonl"))
    return gather_evidence(
        train,
        test,
        train_pairs,
        test_pairs,
        layer=select_layer(train, seed=args.seed).layer,
        hard=(read(hard_pairs, "hard")["mean"], hard_pairs),
        ablated=(read(masked, "masked test")["mean"], args.n_ablated),
        other_poolings=[(trains["last"], tests["last"])],
        embed=embed,
        contrasts={path.stem: read(load_pairs(path), path.stem)["mean"] for path in contrast_files},
        seed=args.seed,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--pairs-train", type=Path, default=PAIRS / "train_pairs.jsonl")
    parser.add_argument("--pairs-test", type=Path, default=PAIRS / "test_pairs.jsonl")
    parser.add_argument("--layers", default="all", help="all, or numbers such as 8,12,16")
    parser.add_argument("--n-ablated", type=int, default=50, help="words to mask, both sides")
    parser.add_argument("--embedding", default="none", help="none or minilm, a word baseline more")
    parser.add_argument("--out", type=Path, help="where to write the card as JSON")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    try:
        evidence = evidence_card(args)
    except EmpathyLensError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(evidence)
    if args.out is not None:
        write_json(args.out, evidence.to_dict())
    return 0


if __name__ == "__main__":
    sys.exit(main())
