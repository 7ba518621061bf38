"""Pairs before a run: what train and test share, and what gives the label away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ..console import shown
from ..data import Overlap, find_overlaps, find_repeats, load_pairs
from ..errors import DegenerateDataError
from ..evidence.giveaways import giveaways
from ..types import ContrastivePair, Estimate

SHOWN = 20


@dataclass(frozen=True)
class Found(Overlap):
    """What two pairs share, and the lines that they stand on: ``train_pairs.jsonl:71``."""

    first_at: str = ""
    second_at: str = ""

    def __str__(self) -> str:
        return f"{self.first_at} and {self.second_at}: {super().__str__()}"


@dataclass(frozen=True)
class Checked:
    """What ``empathy-lens check`` found; ``giveaways`` is empty where situations are too few."""

    n_pairs: tuple[int, ...]
    n_situations: tuple[int, ...]
    repeats: tuple[Found, ...]
    overlaps: tuple[Found, ...]
    giveaways: Mapping[str, Estimate | None]
    not_computed: str = ""

    @property
    def leaks(self) -> bool:
        return any(overlap.exact for overlap in self.overlaps)


def check_files(train: Path, test: Path | None) -> Checked:
    """Reads one file of pairs, or train and test. Raises InputError for files that hold none."""
    paths = [path for path in (train, test) if path is not None]
    files = [load_pairs(path) for path in paths]
    places = [_places(path, pairs) for path, pairs in zip(paths, files, strict=True)]
    figures, why = {}, ""
    try:
        figures = giveaways(*files)
    except DegenerateDataError as error:
        why = str(error)
    return Checked(
        n_pairs=tuple(map(len, files)),
        n_situations=tuple(len({p.group for p in pairs}) for pairs in files),
        repeats=tuple(
            found
            for pairs, at in zip(files, places, strict=True)
            for found in _located(find_repeats(pairs), at, at)
        ),
        overlaps=_located(find_overlaps(*files), *places) if len(files) == 2 else (),
        giveaways=figures,
        not_computed=why,
    )


def _places(path: Path, pairs: Sequence[ContrastivePair]) -> dict[str, str]:
    """File and line of each pair by its id: pairs stand in the file's order, one a line."""
    lines = enumerate(path.read_bytes().split(b"\n"), start=1)
    numbers = (number for number, line in lines if line.strip())
    return {p.pair_id: f"{path}:{n}" for p, n in zip(pairs, numbers, strict=True)}


def _located(
    overlaps: Sequence[Overlap], first: Mapping[str, str], second: Mapping[str, str]
) -> tuple[Found, ...]:
    return tuple(
        Found(**vars(o), first_at=first[o.first], second_at=second[o.second]) for o in overlaps
    )


def print_checked(checked: Checked, console: Console) -> None:
    """The same as text: what is shared, then AUROCs of readers that know nothing of the concept."""
    for name, n, situations in zip(
        ("train", "test"), checked.n_pairs, checked.n_situations, strict=False
    ):
        console.print(f"{name}: {n} pairs in {situations} situations")
    for title, rows in (
        ("shared by train and test", checked.overlaps),
        ("repeated within a file", checked.repeats),
    ):
        console.print(f"{title}: {len(rows) or 'nothing'}")
        for row in rows[:SHOWN]:
            console.print(f"  {shown(row)}")
        if len(rows) > SHOWN:
            console.print(f"  … and {len(rows) - SHOWN} more (--json lists all)")
    table = Table(title="What gives the sides away", title_justify="left")
    table.add_column("reader")
    table.add_column("AUROC [95% interval], 0.5 = chance")
    for name, figure in checked.giveaways.items():
        table.add_row(name.replace("_", " "), str(figure or "nothing to read"))
    console.print(table if checked.giveaways else f"not read: {shown(checked.not_computed)}")
