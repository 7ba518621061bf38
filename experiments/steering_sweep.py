"""Which layer and which strength, at what cost? Every layer x strength, with controls and damage.

    python experiments/steering_sweep.py [--model embedded] [--layers all|4,8,12] [--alphas=-8,…,8]
        [--control-alphas=-4,…,4] [--n-samples 2] [--n-random 20] [--n-shuffled 20] [--every 8]
        [--max-new-tokens 60] [--out DIR] [--seed 0] [--resume]

Fits a direction at every layer on the train pairs, measures, and writes DIR/steering_sweep.json
(the same content as a run's steering_examples.json, with a frontier over all layers) and the
directions. Each layer is kept in DIR/layers as it is done; --resume measures only those missing.
Prints what to use, or that nothing is shown to work.
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

from empathy_lens.activations import extract_activations
from empathy_lens.artifacts import save_directions
from empathy_lens.command_line import clear_errors, parse_numbers
from empathy_lens.console import progress_bars
from empathy_lens.data import (
    load_neutral_texts,
    load_pairs,
    load_plain_questions,
    load_rubric_completions,
    load_steering_prompts,
)
from empathy_lens.directions import fit_directions
from empathy_lens.files import sha256_file, write_json
from empathy_lens.judges import judge_quality, word_judge
from empathy_lens.models import load_model
from empathy_lens.runs import Run
from empathy_lens.steering import recommend, steering_sweep
from empathy_lens.steering.examples import ALPHAS, sweep_summary
from empathy_lens.steering.sweep_file import join_sweeps, load_sweep, save_sweep
from empathy_lens.study import DataFiles, parse_layers

ROOT = Path(__file__).resolve().parents[1]


def sweep(args: argparse.Namespace) -> list[str]:
    """Measures, writes, and gives the lines to print."""
    files = DataFiles.shipped(ROOT / "data")
    alphas = parse_numbers("--alphas", args.alphas)
    controls = args.control_alphas and parse_numbers("--control-alphas", args.control_alphas)
    train_pairs = load_pairs(files.pairs_train)
    judge = word_judge(train_pairs)
    prompts = load_steering_prompts(files.steering_prompts)
    with progress_bars() as console:
        run = Run(args.out, args.resume, console.announce)
        model = load_model(args.model, backend=args.backend, device=args.device, dtype=args.dtype)
        console.announce("reading the train pairs")
        train = extract_activations(
            model, train_pairs, layers=parse_layers(args.layers), progress=console.progress("train")
        )
        directions = fit_directions(train)
        asked = {k: v for k, v in vars(args).items() if k not in ("layers", "out", "resume")}
        data = [sha256_file(path) for path in vars(files).values() if path.is_file()]
        provenance = train.provenance.to_dict()

        def measure(layer: int) -> None:
            measured = steering_sweep(
                model,
                [directions[layer]],
                alphas,
                prompts,
                neutral_texts=load_neutral_texts(files.neutral_texts),
                questions=load_plain_questions(files.plain_questions),
                control_alphas=controls or None,
                train=train,
                judge=judge,
                n_random=args.n_random,
                n_shuffled=args.n_shuffled,
                n_samples=args.n_samples,
                max_new_tokens=args.max_new_tokens,
                every=args.every,
                seed=args.seed,
                progress=console.progress(f"layer {layer}"),
            )
            save_sweep(args.out / _part(layer), measured)

        for layer in directions:
            wanted = [layer, asked, data, provenance]
            run.stage(f"layer {layer}", wanted, [_part(layer)], partial(measure, layer))
        console.announce("intervals")
        whole = join_sweeps(
            [load_sweep(args.out / _part(layer), directions, prompts) for layer in directions]
        )
        found = recommend(whole)
        layer = whole.layers[-1] if found is None else found.layer
        quality = judge_quality(judge, load_rubric_completions(files.rubric), seed=args.seed)
        summary: dict[str, Any] = sweep_summary(whole, layer, judge=quality)
    save_directions(args.out / "directions.safetensors", directions)
    write_json(args.out / "steering_sweep.json", summary)
    lines = [f"Judge on held-out completions: accuracy {quality.accuracy}"]
    for towards, answer in summary["recommendation"].items():
        said = answer["text"] if answer else "no setting within the bounds moves the choice"
        lines.append(f"{towards}: {said}")
    return [*lines, f"Written: {args.out / 'steering_sweep.json'}"]


def _part(layer: int) -> str:
    return f"layers/{layer}.json"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--backend", choices=("auto", "hooked", "bridge"), default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--layers", default="all", help="all, or numbers such as 8,12,16")
    parser.add_argument("--alphas", default=",".join(f"{a:g}" for a in ALPHAS))
    parser.add_argument(
        "--control-alphas",
        help="strengths of control directions (default: all); only these can be recommended",
    )
    parser.add_argument("--n-samples", type=int, default=2, help="texts of each condition")
    parser.add_argument("--n-random", type=int, default=20, help="random directions a layer")
    parser.add_argument("--n-shuffled", type=int, default=20, help="shuffled directions a layer")
    parser.add_argument("--every", type=int, default=8, help="read every N-th neutral token")
    parser.add_argument("--max-new-tokens", type=int, default=60)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "steering_sweep")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="skip layers that are done")
    args = parser.parse_args()
    with clear_errors():
        for line in sweep(args):
            print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
