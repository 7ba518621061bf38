"""What a run shows in a terminal: stages, progress bars and the table of criteria.

Progress goes to standard error and is plain lines where that is not a terminal.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from .results import RunSummary
from .types import Progress as ProgressCallback

__all__ = ["RunConsole", "criteria_table", "printable", "progress_bars", "say", "shown"]


def printable(text: str) -> str:
    """A text as a terminal may show it: what would steer the terminal is shown as a mark."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def shown(text: object) -> str:
    """A text from outside for rich to print as it stands: no markup, nothing that steers."""
    return escape(printable(str(text)))


def say(text: object, *, err: bool = False) -> None:
    """Prints a line that may hold texts from outside, on standard output or error."""
    print(printable(str(text)), file=sys.stderr if err else sys.stdout)


@dataclass
class RunConsole:
    """Announces stages and makes progress bars for them."""

    console: Console
    bars: Progress
    start: float = field(default_factory=time.perf_counter)

    def announce(self, stage: str) -> None:
        elapsed = time.perf_counter() - self.start
        self.console.print(f"[dim]{elapsed:6.1f}s[/dim]  {shown(stage)}", highlight=False)

    def progress(self, name: str) -> ProgressCallback:
        task = self.bars.add_task(shown(name), total=None)

        def update(done: int, total: int) -> None:
            self.bars.update(task, completed=done, total=total, visible=done < total)

        return update


@contextmanager
def progress_bars() -> Iterator[RunConsole]:
    """A console on standard error; its bars are gone when the block ends, however it ends.

    It is silent where the package's logger takes errors alone, as with --quiet.
    """
    quiet = logging.getLogger(__package__).getEffectiveLevel() > logging.WARNING
    console = Console(stderr=True, quiet=quiet)
    columns = (
        TextColumn("        {task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=quiet or not console.is_terminal
    ) as bars:
        yield RunConsole(console, bars)


def criteria_table(summary: RunSummary, folder: Path) -> None:
    """Prints the seed study's criteria, how surely each is met, and where the report is."""
    console = Console()
    table = Table(title=f"Seed criteria (layer {summary.selected_layer})", title_justify="left")
    for heading in ("level", "criterion", "measured", "state"):
        table.add_column(heading)
    colours = {
        "met": "green",
        "met with the whole interval": "green",
        "met by the count": "green",
        "met by the point alone": "yellow",
        "not met": "red",
        "not measured": "dim",
    }
    for row in summary.criteria:
        state = Text(row.state, style=colours[row.state])
        table.add_row(row.level, shown(row.name), shown(row.detail), state)
    console.print(table)
    console.print(
        f"{summary.wall_seconds:.0f} s, peak memory {summary.peak_rss_mb / 1000:.2f} GB. "
        f"Report: {shown(folder / 'report.html')}",
        highlight=False,
        soft_wrap=True,
    )
