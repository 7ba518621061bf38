"""``empathy-lens doctor`` as a table."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from ..console import shown
from ..doctor.examine import Examination

MARKS = {"ok": "[green]ok[/green]", "warn": "[yellow]warn[/yellow]", "fail": "[red]FAIL[/red]"}


def print_examination(found: Examination, console: Console) -> None:
    """The checks as a table; then the need of well-known models where none was named."""
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("", "check", "found"):
        table.add_column(heading, overflow="fold")
    for check in found.checks:
        lines = [check.figure + (f" ({check.bound})" if check.bound else "")]
        lines += [f"→ {check.remedy}"] if check.remedy else []
        table.add_row(MARKS[check.status], shown(check.name), shown("\n".join(lines)))
    console.print(table)
    if found.resid_post_max:
        listed = " ".join(f"{value:,.0f}" for value in found.resid_post_max)
        console.print(f"largest |resid_post| by layer: {listed}", highlight=False)
    if found.memory_table:
        console.print("\nMemory need, computed from the configurations, in GB (weights only):")
        console.print(_need_table(found))


def _need_table(found: Examination) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("model", "parameters", "16 bits", "float32", "to work", "download"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for row in found.memory_table:
        sizes = (row.weights_16_bits, row.weights_float32, row.working, row.download)
        cells = (f"{size / 1e9:.1f}" for size in sizes)
        table.add_row(row.model, f"{row.parameters / 1e9:.2f} B", *cells)
    return table
