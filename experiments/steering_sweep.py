"""Which layer and which strength, at what cost? Every layer x strength, with controls and damage.

    python experiments/steering_sweep.py [--model embedded] [--layers all|4,8,12] [--alphas=-8,…,8]
        [--n-samples 2] [--n-random 20] [--n-shuffled 20] [--every 8] [--max-new-tokens 60]
        [--out DIR] [--seed 0]

Fits a direction at every layer on the train pairs, measures, and writes DIR/steering_sweep.json
(the same content as a run's steering_examples.json, with a frontier over all layers) and the
directions. Prints what to use, or that nothing is shown to work.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from empathy_lens.activations import extract_activations
from empathy_lens.artifacts import save_directions
from empathy_lens.command_line import clear_errors
from empathy_lens.console import progress_bars
from empathy_lens.data import (
    load_neutral_texts,
    load_pairs,
    load_plain_questions,
    load_rubric_completions,
    load_steering_prompts,
)
from empathy_lens.directions import fit_directions
from empathy_lens.errors import InputError
from empathy_lens.files import check_writable, write_json
from empathy_lens.judges import judge_quality, word_judge
from empathy_lens.models import load_model
from empathy_lens.steering import recommend, steering_sweep
from empathy_lens.steering.examples import ALPHAS, sweep_summary
from empathy_lens.study import DataFiles, parse_layers

ROOT = Path(__file__).resolve().parents[1]


def sweep(args: argparse.Namespace) -> list[str]:
    """Measures, writes, and gives the lines to print."""
    files = DataFiles.shipped(ROOT / "data")
    alphas = _numbers(args.alphas)
    train_pairs = load_pairs(files.pairs_train)
    judge = word_judge(train_pairs)
    check_writable(args.out)
    model = load_model(args.model, backend=args.backend, device=args.device, dtype=args.dtype)
    with progress_bars() as console:
        console.announce("reading the train pairs")
        train = extract_activations(
            model, train_pairs, layers=parse_layers(args.layers), progress=console.progress("train")
        )
        directions = fit_directions(train)
        console.announce("steering")
        measured = steering_sweep(
            model,
            directions,
            alphas,
            load_steering_prompts(files.steering_prompts),
            neutral_texts=load_neutral_texts(files.neutral_texts),
            questions=load_plain_questions(files.plain_questions),
            train=train,
            judge=judge,
            n_random=args.n_random,
            n_shuffled=args.n_shuffled,
            n_samples=args.n_samples,
            max_new_tokens=args.max_new_tokens,
            every=args.every,
            seed=args.seed,
            progress=console.progress("steering"),
        )
        console.announce("intervals")
        found = recommend(measured)
        layer = measured.layers[-1] if found is None else found.layer
        quality = judge_quality(judge, load_rubric_completions(files.rubric), seed=args.seed)
        summary: dict[str, Any] = sweep_summary(measured, layer, judge=quality)
    save_directions(args.out / "directions.safetensors", directions)
    write_json(args.out / "steering_sweep.json", summary)
    lines = [f"Judge on held-out completions: accuracy {quality.accuracy}"]
    for towards, answer in summary["recommendation"].items():
        said = answer["text"] if answer else "no setting within the bounds moves the choice"
        lines.append(f"{towards}: {said}")
    return [*lines, f"Written: {args.out / 'steering_sweep.json'}"]


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--alphas: expected numbers such as -4,0,4, got {text!r}") from None


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--backend", choices=("auto", "hooked", "bridge"), default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--layers", default="all", help="all, or numbers such as 8,12,16")
    parser.add_argument("--alphas", default=",".join(f"{a:g}" for a in ALPHAS))
    parser.add_argument("--n-samples", type=int, default=2, help="texts of each condition")
    parser.add_argument("--n-random", type=int, default=20, help="random directions a layer")
    parser.add_argument("--n-shuffled", type=int, default=20, help="shuffled directions a layer")
    parser.add_argument("--every", type=int, default=8, help="read every N-th neutral token")
    parser.add_argument("--max-new-tokens", type=int, default=60)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "steering_sweep")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with clear_errors():
        for line in sweep(args):
            print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
