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
from typing import TYPE_CHECKING, Annotated

import typer

from empathy_lens.cli.shared import (
    BackendOption,
    DeviceOption,
    DtypeOption,
    LayersOption,
    ModelOption,
    OutOption,
    ResumeOption,
    RevisionOption,
    SeedOption,
    clear_errors,
    run_script,
)

if TYPE_CHECKING:
    from empathy_lens.study import DataFiles

ROOT = Path(__file__).resolve().parents[1]


def main(
    model: ModelOption = "embedded",
    backend: BackendOption = "auto",
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    revision: RevisionOption = None,
    pairs_train: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="pairs to learn from (JSONL)", rich_help_panel="Data"),
    ] = None,
    pairs_test: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="pairs to test on (JSONL)", rich_help_panel="Data"),
    ] = None,
    layers: LayersOption = "all",
    out: OutOption = None,
    seed: SeedOption = 0,
    with_generation: Annotated[
        bool,
        typer.Option(
            "--generate/--skip-generation",
            help="ask APIs for more pairs",
            rich_help_panel="Pairs from APIs",
        ),
    ] = False,
    generation_config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="vendors, prices, limits (TOML)", rich_help_panel="Pairs from APIs"
        ),
    ] = None,
    generation_out: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="folder of --generate",
            show_default="results/generated",
            rich_help_panel="Pairs from APIs",
        ),
    ] = ROOT / "results" / "generated",
    n_generated: Annotated[
        int,
        typer.Option(
            metavar="N", help="pairs that --generate asks for", rich_help_panel="Pairs from APIs"
        ),
    ] = 90,
    max_cost: Annotated[
        float | None,
        typer.Option(
            metavar="USD", help="most to spend, over all runs", rich_help_panel="Pairs from APIs"
        ),
    ] = None,
    embedding: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="sentence embedding: none or minilm", rich_help_panel="Run"
        ),
    ] = "none",
    skip_steering: Annotated[
        bool, typer.Option("--skip-steering", help="leave it out", rich_help_panel="Run")
    ] = False,
    resume: ResumeOption = False,
) -> None:
    """Run the study and write its folder."""
    start = time.perf_counter()
    with clear_errors():
        from empathy_lens.console import criteria_table, progress_bars
        from empathy_lens.errors import InputError
        from empathy_lens.study import DataFiles, StudyOptions, parse_layers, run_study, summarise
        from empathy_lens.study.runs import Run, folder_name
        from empathy_lens.views import write_report

        shipped = DataFiles.shipped()
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
    from empathy_lens.cli.generation import print_run
    from empathy_lens.console import progress_bars
    from empathy_lens.data import load_pairs
    from empathy_lens.pairs import GenerateOptions, generate
    from empathy_lens.vendors import DEFAULT_CONFIG, MissingKeysError, load_config

    sides = (load_pairs(shipped.pairs_train), load_pairs(shipped.pairs_test))
    options = GenerateOptions(
        config=load_config(config or DEFAULT_CONFIG),
        scenarios=shipped.need("scenarios"),
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
    run_script(main)
