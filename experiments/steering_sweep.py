"""Which layer and which strength, at what cost? Every layer x strength, with controls and damage.

    python experiments/steering_sweep.py [--model embedded] [--layers all|4,8,12] [--alphas=-8,…,8]
        [--control-layers chosen|all|8,12] [--control-alphas=-4,…,4] [--n-random 20]
        [--n-shuffled 20] [--n-samples 2] [--every 8] [--max-new-tokens 60] [--out DIR] [--seed 0]
        [--resume]

Fits a direction at every layer on the train pairs, measures what it does at every strength, and
chooses a setting to add the concept and one to remove it, on some prompts and texts. What these do
on the other prompts is then set beside random and shuffled-label directions of equal norm at the
same layers: --control-layers adds layers, or takes all of them, at several times the cost.

Writes DIR/steering_sweep.json: what steering_examples.json holds, for all layers. DIR is the run's
folder, results/runs/<model>/ unless given, whose report then shows it. `moves` says whether the
direction moves behaviour at the layer chosen: the slope over the strengths within the damage bound,
each prompt one number, with its p and one against the random directions. Directions, and each layer
as it is done, are kept in DIR/sweep; --resume measures only what is missing or was measured
otherwise. Prints what to use, or that nothing is shown to work.
"""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import typer

from empathy_lens.activations import extract_activations
from empathy_lens.cli.shared import (
    FROM_LAST_STAGE,
    BackendOption,
    DeviceOption,
    DtypeOption,
    LayersOption,
    ModelOption,
    ResumeOption,
    SeedOption,
    TrustOption,
    clear_errors,
    parse_numbers,
    run_folder_option,
    run_script,
)
from empathy_lens.console import progress_bars, say
from empathy_lens.data import (
    load_neutral_texts,
    load_pairs,
    load_plain_questions,
    load_rubric_completions,
    load_steering_prompts,
)
from empathy_lens.directions import fit_directions
from empathy_lens.directions.store import save_directions
from empathy_lens.errors import InputError
from empathy_lens.evidence.rubric import judge_quality, word_judge
from empathy_lens.files import sha256_file
from empathy_lens.models import load_model
from empathy_lens.results import write_result
from empathy_lens.steering import (
    SteeringSweep,
    SweepSettings,
    add_controls,
    join_sweeps,
    load_sweep,
    recommendations,
    save_sweep,
    steering_sweep,
)
from empathy_lens.steering.examples import ALPHAS, sweep_summary
from empathy_lens.study import DataFiles, parse_layers
from empathy_lens.study.runs import Run

ROOT = Path(__file__).resolve().parents[1]
DEFAULT_ALPHAS = ",".join(f"{a:g}" for a in ALPHAS)
MEASURED = ("alphas", "control_alphas", "n_samples", "max_new_tokens", "every", "seed")
"""Options that change what is measured at a layer."""


def sweep(args: SimpleNamespace) -> list[str]:
    """Measures, writes, and gives the lines to print."""
    files = DataFiles.shipped()
    alphas = parse_numbers("--alphas", args.alphas)
    controls = args.control_alphas and parse_numbers("--control-alphas", args.control_alphas)
    asked = parse_layers(args.layers)
    wanted = (
        ()
        if args.control_layers == "chosen"
        else parse_layers(args.control_layers, "--control-layers")
    )
    if 0 not in alphas or len(set(alphas)) < max(2, len(alphas)):
        raise InputError(
            f"--alphas: expected 0 and at least one other, each once, got {args.alphas}"
        )
    train_pairs = load_pairs(files.pairs_train)
    judge = word_judge(train_pairs)
    prompts = load_steering_prompts(files.need("steering_prompts"))
    out: Path = args.out
    with progress_bars() as console, Run(out / "sweep", args.resume, console.announce) as run:
        model = load_model(
            args.model,
            backend=args.backend,
            device=args.device,
            dtype=args.dtype,
            trust_remote_code=args.trust_remote_code,
        )
        swept = range(int(model.cfg.n_layers)) if asked == "all" else asked
        if wanted != "all" and (unknown := sorted(set(wanted) - set(swept))):
            raise InputError(f"--control-layers: layers {unknown} are not among those swept")
        console.announce("reading the train pairs")
        train = extract_activations(
            model, train_pairs, layers=asked, progress=console.progress("train")
        )
        directions = fit_directions(train)
        data = [sha256_file(path) for path in vars(files).values() if path.is_file()]
        inputs = [{k: vars(args)[k] for k in MEASURED}, data, asdict(train.provenance)]
        run.begin([inputs, asked, wanted, args.n_random, args.n_shuffled])

        def load(kind: str, layer: int) -> SteeringSweep:
            return load_sweep(run.folder / f"{kind}_{layer}.json", directions, prompts)

        def measure(layer: int) -> None:
            measured = steering_sweep(
                model,
                [directions[layer]],
                alphas,
                prompts,
                neutral_texts=load_neutral_texts(files.neutral_texts),
                questions=load_plain_questions(files.plain_questions),
                judge=judge,
                settings=SweepSettings(
                    control_alphas=controls or None,
                    n_random=0,
                    n_samples=args.n_samples,
                    max_new_tokens=args.max_new_tokens,
                    every=args.every,
                    seed=args.seed,
                ),
                progress=console.progress(f"layer {layer}"),
            )
            save_sweep(run.folder / f"layer_{layer}.json", measured, run.identity)

        def control(layer: int) -> None:
            measured = add_controls(
                model,
                load("layer", layer),
                [layer],
                train=train,
                n_random=args.n_random,
                n_shuffled=args.n_shuffled,
                progress=console.progress(f"controls {layer}"),
            )
            save_sweep(run.folder / f"controls_{layer}.json", measured, run.identity)

        for layer in directions:
            run.stage(
                f"layer {layer}", [layer, inputs], [f"layer_{layer}.json"], partial(measure, layer)
            )
        console.announce("choosing")
        layers = {layer: load("layer", layer) for layer in directions}
        answers = recommendations(join_sweeps(list(layers.values()))).values()
        chosen = [answer.layer for answer in answers if answer is not None] or [max(directions)]
        compared = directions if wanted == "all" else {*chosen, *wanted}
        for layer in sorted(compared):
            run.stage(
                f"controls {layer}",
                [layer, inputs, args.n_random, args.n_shuffled],
                [f"controls_{layer}.json"],
                partial(control, layer),
            )
            layers[layer] = load("controls", layer)
        console.announce("intervals")
        quality = judge_quality(
            judge, load_rubric_completions(files.need("rubric")), seed=args.seed
        )
        summary = sweep_summary(join_sweeps(list(layers.values())), chosen[0], judge=quality)
        save_directions(run.folder / "directions.safetensors", directions, run.identity)
        write_result(out / "steering_sweep.json", summary, run.identity)
    lines = [f"Judge on held-out completions: accuracy {quality.accuracy}"]
    for towards, answer in summary.recommendation.items():
        said = answer.text if answer else "no setting within the bounds moves the choice"
        lines.append(f"{towards}: {said}")
    return [*lines, f"Written: {out / 'steering_sweep.json'}"]


def main(
    *,
    model: ModelOption = "embedded",
    backend: BackendOption = "auto",
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    trust_remote_code: TrustOption = False,
    layers: LayersOption = "all",
    alphas: Annotated[
        str, typer.Option(metavar="LIST", help="strengths in mean class gaps, 0 among them")
    ] = DEFAULT_ALPHAS,
    control_layers: Annotated[
        str,
        typer.Option(
            metavar="LIST", help="with controls: chosen (those of the answer), all, or numbers"
        ),
    ] = "chosen",
    control_alphas: Annotated[
        str | None,
        typer.Option(
            metavar="LIST", help="strengths of controls (all); only these can be recommended"
        ),
    ] = None,
    n_random: Annotated[int, typer.Option(min=0, metavar="N", help="random directions")] = 20,
    n_shuffled: Annotated[
        int, typer.Option(min=0, metavar="N", help="shuffled-label directions")
    ] = 20,
    n_samples: Annotated[int, typer.Option(min=1, metavar="N", help="texts of each condition")] = 2,
    every: Annotated[
        int, typer.Option(min=1, metavar="N", help="read every N-th neutral token")
    ] = 8,
    max_new_tokens: Annotated[
        int, typer.Option(min=1, metavar="N", help="length of the texts")
    ] = 60,
    out: Annotated[Path, run_folder_option(root=ROOT)],
    seed: SeedOption = 0,
    resume: ResumeOption = False,
) -> None:
    """At which layer and strength does the direction move choices, and what does it cost?"""
    asked = SimpleNamespace(**locals())
    with clear_errors(FROM_LAST_STAGE):
        for line in sweep(asked):
            say(line)


if __name__ == "__main__":
    run_script(main)
