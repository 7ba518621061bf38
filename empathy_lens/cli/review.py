"""Stepping through pairs in a terminal."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from ..console import shown
from ..data import load_pairs
from ..errors import InputError
from ..pairs.review import (
    Decision,
    Verdict,
    edit_form,
    kappas,
    load_decisions,
    read_edit_form,
    reviews_path,
    save_decision,
    text_hash,
    undecided,
)
from ..types import ContrastivePair

VERDICTS: dict[str, Verdict] = {"a": "accept", "r": "reject", "e": "edit"}
KEYS = "[b]a[/b]ccept  [b]r[/b]eject  [b]e[/b]dit  [b]n[/b]ote  [b]s[/b]kip  [b]q[/b]uit > "


def review_pairs(file: Path, reviewer: str) -> None:
    """Shows each pair that the reviewer has not decided on and keeps each decision at once.

    Raises InputError for a bad file or name.
    """
    if not reviewer.strip():
        raise InputError("--reviewer: expected a name, it is empty")
    console, path = Console(highlight=False), reviews_path(file)
    pairs = load_pairs(file)
    left = undecided(pairs, load_decisions(path), reviewer)
    console.print(f"{len(left)} of {len(pairs)} pairs to read; decisions go to {shown(str(path))}")
    for number, pair in enumerate(left, start=1):
        _show(console, pair, f"{number} of {len(left)}")
        if not _decide(console, path, pair, reviewer):
            break
    _summarise(console, path)


def _decide(console: Console, path: Path, pair: ContrastivePair, reviewer: str) -> bool:
    """Asks until the pair is decided on or skipped; False to stop reading."""
    note = ""
    while True:
        try:
            key = console.input(KEYS).strip().lower()[:1]
        except EOFError:
            return False
        if key == "q":
            return False
        if key == "s":
            return True
        if key == "n":
            note = console.input("note > ").strip()
            continue
        edited = None
        if key == "e":
            form = click.edit(edit_form(pair), extension=".txt")
            try:
                edited = read_edit_form(form) if form else None
            except InputError as error:
                console.print(shown(str(error)))
            if edited is None:
                continue
        verdict = VERDICTS.get(key)
        if verdict is not None:
            hashed = text_hash(pair)
            save_decision(path, Decision(pair.pair_id, reviewer, verdict, hashed, note, edited))
            return True


def _show(console: Console, pair: ContrastivePair, place: str) -> None:
    about = (place, pair.pair_id, pair.format, pair.source_model)
    console.rule(shown(" · ".join(part for part in about if part)))
    console.print(_panel(pair.prompt or "(no prompt)", "prompt", "white"))
    sides = Table.grid(expand=True, padding=(0, 1))
    sides.add_row(
        _panel(pair.positive, pair.concept.positive, "green"),
        _panel(pair.negative, pair.concept.negative, "blue"),
    )
    console.print(sides)


def _panel(text: str, title: str, colour: str) -> Panel:
    """A text in a frame; what would steer the terminal is shown as a mark."""
    return Panel(shown(text), title=shown(title), title_align="left", border_style=colour)


def _summarise(console: Console, path: Path) -> None:
    decisions = load_decisions(path)
    for name in sorted({d.reviewer for d in decisions}):
        verdicts = [d.verdict for d in decisions if d.reviewer == name]
        counts = ", ".join(f"{v} {verdicts.count(v)}" for v in ("accept", "edit", "reject"))
        console.print(f"{shown(name)}: {counts}")
    for k in kappas(decisions):
        value = "undefined (all decisions alike)" if k.kappa is None else f"{k.kappa:.2f}"
        names = shown(" and ".join(k.reviewers))
        console.print(f"{names}: {k.same} of {k.n_pairs} alike, Cohen's kappa {value}")
