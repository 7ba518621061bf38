"""What every command and script shares: options, errors as one clear message, logging."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from ..console import printable, say
from ..errors import EmpathyLensError, InputError

MODEL, RUN, OUTPUT = "Model", "Run", "Output"
DEVICES = ("auto", "cpu", "mps", "cuda")


def _device(name: str) -> str:
    """Refuses what is no kind of device, before anything is loaded."""
    if name.split(":")[0] not in DEVICES:
        raise typer.BadParameter(f"expected auto, cpu, mps or cuda, got {name!r}")
    return name


ModelOption = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="embedded, embedded:smollm2, a hub id or a folder",
        rich_help_panel=MODEL,
    ),
]
BackendOption = Annotated[
    Literal["auto", "hooked", "bridge"],
    typer.Option(metavar="NAME", help="auto, hooked or bridge", rich_help_panel=MODEL),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="auto, cpu, mps or cuda", callback=_device, rich_help_panel=MODEL
    ),
]
DtypeOption = Annotated[
    Literal["auto", "float16", "bfloat16", "float32"],
    typer.Option(metavar="NAME", help="auto, float16, bfloat16 or float32", rich_help_panel=MODEL),
]
RevisionOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="revision of a hub model", rich_help_panel=MODEL),
]
TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust-remote-code",
        help="run code that comes with the model; it can do all that you can do here",
        rich_help_panel=MODEL,
    ),
]
LayersOption = Annotated[
    str,
    typer.Option(metavar="LIST", help="all, or numbers such as 8,12,16", rich_help_panel=RUN),
]
PairsTrainOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="pairs to learn from (JSONL)", rich_help_panel="Data"),
]
PairsTestOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="pairs to test on (JSONL)", rich_help_panel="Data"),
]
AllowOverlapOption = Annotated[
    bool,
    typer.Option("--allow-overlap", help="test on what train has too", rich_help_panel="Data"),
]
EmbeddingOption = Annotated[
    str,
    typer.Option(metavar="NAME", help="sentence embedding: none or minilm", rich_help_panel=RUN),
]
SkipSteeringOption = Annotated[
    bool, typer.Option("--skip-steering", help="leave it out", rich_help_panel=RUN)
]
SeedOption = Annotated[
    int, typer.Option(min=0, metavar="N", help="seed, 0 or more", rich_help_panel=RUN)
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="skip what is finished", rich_help_panel=RUN)
]


def run_folder_option(
    help: str = "the run's folder", root: Path = Path(), panel: str | None = OUTPUT
) -> Any:
    """The option for a run's folder, by default that of ``--model`` below ``root``."""

    def chosen(context: Any, folder: Path | None) -> Path:
        if folder is not None:
            return folder
        from ..study.runs import default_folder

        return default_folder(context.params["model"], root)

    return typer.Option(
        metavar="DIR",
        help=help,
        default_factory=lambda: None,
        callback=chosen,
        show_default="results/runs/<model>/",
        rich_help_panel=panel,
    )


JsonOption = Annotated[
    bool, typer.Option("--json", help="print JSON alone", rich_help_panel=OUTPUT)
]


def _loudness(
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="no progress, errors only", rich_help_panel=OUTPUT),
    ] = False,
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose",
            "-v",
            count=True,
            metavar="",
            show_default=False,
            help="log to standard error; twice for more",
            rich_help_panel=OUTPUT,
        ),
    ] = 0,
) -> None:
    """The options that :class:`Command` adds."""


class Command(TyperCommand):
    """A command that also takes --quiet and --verbose, which set the package's log level."""

    def __init__(self, *args: Any, params: list[Any], **kwargs: Any) -> None:
        app = typer.Typer(add_completion=False)
        app.command()(_loudness)
        super().__init__(*args, params=[*params, *typer.main.get_command(app).params], **kwargs)

    def invoke(self, ctx: Any) -> Any:
        quiet, verbose = ctx.params.pop("quiet"), ctx.params.pop("verbose")
        if quiet and verbose:
            raise typer.BadParameter("expected --quiet or --verbose, got both")
        levels = (logging.WARNING, logging.INFO, logging.DEBUG)
        with _logging(logging.ERROR if quiet else levels[min(verbose, 2)]):
            return super().invoke(ctx)


def run_script(main: Callable[..., None]) -> None:
    """Runs a script's function as a command line of its own."""
    app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
    app.command(cls=Command)(main)
    app()


class _Printable(logging.Formatter):
    """Records as a terminal may show them."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


@contextmanager
def _logging(level: int) -> Iterator[None]:
    """What the package logs goes to standard error while the block runs."""
    logger, handler = logging.getLogger("empathy_lens"), logging.StreamHandler()
    handler.setFormatter(_Printable("%(levelname)s %(name)s: %(message)s"))
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def asked_command(*program: str) -> str:
    """The command as a run keeps it, without --out and --resume: what is asked, not where."""
    words = iter(sys.argv[1:])
    kept = []
    for word in words:
        if word == "--out":
            next(words, None)
        elif word != "--resume" and not word.startswith("--out="):
            kept.append(word)
    return shlex.join([*program, *kept])


FROM_LAST_STAGE = "Run again with --resume to go on from the last finished stage."


@contextmanager
def clear_errors(go_on: str = "Run the same command again.") -> Iterator[None]:
    """Turns what a user can mend into one message and exit code 2, and Ctrl-C into 130.

    ``go_on`` says after Ctrl-C how to go on. A bug keeps its traceback.
    """
    try:
        yield
    except EmpathyLensError as error:
        say(f"error: {error}", err=True)
        raise SystemExit(2) from None
    except OSError as error:
        if error.filename is None and error.strerror is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        say(f"error: {where}{error.strerror}", err=True)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print(f"interrupted; nothing half-written is left. {go_on}", file=sys.stderr)
        # Threads of torch may still be busy: leave without waiting for them.
        sys.stderr.flush()
        sys.stdout.flush()
        os._exit(130)


def parse_numbers(option: str, text: str) -> tuple[float, ...]:
    """Numbers as in ``-4,0,4``. Raises InputError that names the option for anything else."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{option}: expected numbers such as -4,0,4, got {text!r}") from None
