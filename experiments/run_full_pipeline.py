"""The whole study with one command: pairs to directions, evidence, behaviour, steering, report.

    python experiments/run_full_pipeline.py
    python experiments/run_full_pipeline.py --model google/gemma-2-9b-it --device mps

Writes a run's folder (default results/runs/<model>/) and ends with the seed criteria, met or not.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from empathy_lens.cli.shared import (
    FROM_LAST_STAGE,
    AllowOverlapOption,
    BackendOption,
    DeviceOption,
    DtypeOption,
    EmbeddingOption,
    LayersOption,
    ModelOption,
    PairsTestOption,
    PairsTrainOption,
    ResumeOption,
    RevisionOption,
    SeedOption,
    SkipSteeringOption,
    TrustOption,
    asked_command,
    clear_errors,
    run_folder_option,
    run_script,
)

if TYPE_CHECKING:
    from empathy_lens.study import DataFiles

ROOT = Path(__file__).resolve().parents[1]


def main(
    *,
    model: ModelOption = "embedded",
    backend: BackendOption = "auto",
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    revision: RevisionOption = None,
    trust_remote_code: TrustOption = False,
    pairs_train: PairsTrainOption = None,
    pairs_test: PairsTestOption = None,
    allow_overlap: AllowOverlapOption = False,
    layers: LayersOption = "all",
    out: Annotated[Path, run_folder_option(root=ROOT)],
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
            show_default="results/runs/generated",
            rich_help_panel="Pairs from APIs",
        ),
    ] = ROOT / "results" / "runs" / "generated",
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
    embedding: EmbeddingOption = "none",
    skip_steering: SkipSteeringOption = False,
    resume: ResumeOption = False,
) -> None:
    """Run the study and write its folder."""
    with clear_errors(FROM_LAST_STAGE):
        from empathy_lens.cli.study import study_into
        from empathy_lens.errors import InputError
        from empathy_lens.study import DataFiles, StudyOptions, parse_layers

        shipped = DataFiles.shipped()
        if with_generation:
            if pairs_train or pairs_test:
                raise InputError(
                    "--generate makes the pairs: leave out --pairs-train, --pairs-test"
                )
            pairs_train, pairs_test = generated_pairs(
                shipped, generation_config, generation_out, n_generated, max_cost, seed
            )
        elif generation_config is not None or max_cost is not None:
            raise InputError(
                "--generation-config and --max-cost are about --generate: give that, or leave "
                "them out"
            )
        options = StudyOptions(
            files=shipped.of_pairs(pairs_train, pairs_test),
            model=model,
            backend=backend,
            device=device,
            dtype=dtype,
            revision=revision,
            trust_remote_code=trust_remote_code,
            layers=parse_layers(layers),
            seed=seed,
            skip_steering=skip_steering,
            embedding=embedding,
            allow_overlap=allow_overlap,
            command=asked_command("python", sys.argv[0]),
        )
        study_into(out, options, resume=resume)


def generated_pairs(
    shipped: "DataFiles",
    config: Path | None,
    out: Path,
    n_pairs: int,
    max_cost: float | None,
    seed: int,
) -> tuple[Path | None, Path | None]:
    """Generated and shipped pairs together; the shipped ones alone where there are no keys."""
    from empathy_lens.cli.generation import print_run
    from empathy_lens.console import progress_bars, say
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
        say(f"warning: {error}. Going on with the shipped pairs.", err=True)
        return None, None
    print_run(made, options)
    return out / "train_pairs.jsonl", out / "test_pairs.jsonl"


if __name__ == "__main__":
    run_script(main)
