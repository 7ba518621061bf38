"""The whole study with one command: pairs to directions, evidence, behaviour, steering, report.

    python experiments/run_full_pipeline.py
    python experiments/run_full_pipeline.py --model google/gemma-2-9b-it --device mps

Writes a run's folder (default results/<model>/) and ends with the seed criteria, met or not.
"""

import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from empathy_lens.command_line import clear_errors

if TYPE_CHECKING:
    from empathy_lens.study import DataFiles

Backend = Literal["auto", "hooked", "bridge"]
ROOT = Path(__file__).resolve().parents[1]


def main(
    model: Annotated[str, typer.Option(help="embedded, embedded:smollm2, a hub id, a folder")] = (
        "embedded"
    ),
    backend: Annotated[Backend, typer.Option()] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, mps or cuda")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float16, bfloat16 or float32")] = "auto",
    revision: Annotated[str | None, typer.Option(help="revision of a hub model")] = None,
    pairs_train: Annotated[Path | None, typer.Option(help="pairs to learn from (JSONL)")] = None,
    pairs_test: Annotated[Path | None, typer.Option(help="pairs to test on (JSONL)")] = None,
    layers: Annotated[str, typer.Option(help='"all" or numbers such as 8,12,16')] = "all",
    out: Annotated[Path | None, typer.Option(help="folder of the run")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    with_generation: Annotated[
        bool,
        typer.Option(
            "--generate/--skip-generation", help="ask APIs for more pairs, or use those on disk"
        ),
    ] = False,
    generation_config: Annotated[
        Path | None, typer.Option(help="vendors, prices and limits for --generate (TOML)")
    ] = None,
    generation_out: Annotated[Path, typer.Option(help="folder of --generate")] = (
        ROOT / "results" / "generated"
    ),
    n_generated: Annotated[int, typer.Option(help="pairs that --generate asks for")] = 90,
    max_cost: Annotated[
        float | None, typer.Option(help="US dollars that --generate may spend, over all runs")
    ] = None,
    embedding: Annotated[
        str, typer.Option(help="sentence embedding among the word baselines: none or minilm")
    ] = "none",
    skip_steering: Annotated[bool, typer.Option("--skip-steering")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="skip finished stages")] = False,
) -> None:
    """Run the study and write its folder."""
    start = time.perf_counter()
    with clear_errors():
        from empathy_lens.console import criteria_table, progress_bars
        from empathy_lens.errors import InputError
        from empathy_lens.runs import Run, folder_name
        from empathy_lens.study import (
            DataFiles,
            StudyOptions,
            parse_layers,
            run_study,
            summarise,
        )
        from empathy_lens.views.write import write_report

        shipped = DataFiles.shipped(ROOT / "data")
        chosen = {"pairs_train": pairs_train, "pairs_test": pairs_test}
        if with_generation:
            if pairs_train or pairs_test:
                raise InputError(
                    "--generate makes the pairs: leave out --pairs-train, --pairs-test"
                )
            chosen = generated_pairs(
                shipped, generation_config, generation_out, n_generated, max_cost, seed
            )
        options = StudyOptions(
            files=replace(shipped, **{k: v for k, v in chosen.items() if v is not None}),
            model=model,
            backend=backend,
            device=device,
            dtype=dtype,
            revision=revision,
            layers=parse_layers(layers),
            seed=seed,
            skip_steering=skip_steering,
            embedding=embedding,
            command=shlex.join(["python", *sys.argv]),
        )
        folder = out or ROOT / "results" / folder_name(model)
        with progress_bars() as console:
            run = Run(folder, resume=resume, announce=console.announce)
            run_study(options, run, console.progress)
            summary = summarise(run, time.perf_counter() - start)
            console.announce("report")
            write_report(folder)
        criteria_table(summary, folder)


def generated_pairs(
    shipped: "DataFiles",
    config: Path | None,
    out: Path,
    n_pairs: int,
    max_cost: float | None,
    seed: int,
) -> dict[str, Path | None]:
    """Generated and shipped pairs together; the shipped ones alone where there are no keys."""
    from empathy_lens.console import progress_bars
    from empathy_lens.data import load_pairs
    from empathy_lens.generation.config import DEFAULT_CONFIG, MissingKeysError, load_config
    from empathy_lens.generation.report import print_run
    from empathy_lens.generation.run import GenerateOptions, generate

    sides = (load_pairs(shipped.pairs_train), load_pairs(shipped.pairs_test))
    options = GenerateOptions(
        config=load_config(config or DEFAULT_CONFIG),
        scenarios=shipped.scenarios,
        out=out,
        n_pairs=n_pairs,
        seed=seed,
        max_cost_usd=max_cost,
        known=(*sides[0], *sides[1]),
        merged=sides,
    )
    try:
        with progress_bars() as console:
            made = generate(options, console.progress("pairs"))
    except MissingKeysError as error:
        print(f"warning: {error}. Going on with the shipped pairs.", file=sys.stderr)
        return {}
    print_run(made, options)
    return {"pairs_train": out / "train_pairs.jsonl", "pairs_test": out / "test_pairs.jsonl"}


if __name__ == "__main__":
    typer.run(main)
