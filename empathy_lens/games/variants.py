"""What the games draw their variants with: names, wording, people, and places on a grid."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

T = TypeVar("T")
NAMES = (
    "Ada", "Ben", "Cleo", "Dan", "Eli", "Fay", "Gus", "Ida", "Jon", "Kim",
    "Leo", "Mia", "Ned", "Ola", "Pia", "Ray", "Sam", "Tess", "Uma", "Vic",
)  # fmt: skip


def cast(rng: random.Random, n: int) -> tuple[str, ...]:
    """``n`` different names, all of them short, so that no action is long for its name."""
    return tuple(rng.sample(NAMES, n))


def shuffled(rng: random.Random, pool: Sequence[T]) -> tuple[T, ...]:
    return tuple(rng.sample(pool, len(pool)))


def cycle(pool: Sequence[str], turn: int) -> str:
    """The wording of a turn; the pool starts again when it is used up."""
    return pool[turn % len(pool)]


def chat(name: str, words: str) -> str:
    return f'{name}: "{words}"'


def count(n: int, thing: str) -> str:
    """``n`` things in words: "1 turn", "2 turns"."""
    return f"{n} {thing}{'' if n == 1 else 's'}"


@dataclass(frozen=True)
class Sufferer:
    """Someone who speaks every turn from the plea on, and answers whoever speaks to them."""

    name: str
    plea: str
    suffering: tuple[str, ...]
    replies: tuple[str, ...]

    def line(self, since_plea: int, n_messages: int, *, answering: bool) -> str:
        """What is said after ``n_messages`` messages, of which the last came just now or not."""
        words = self.plea if since_plea == 0 else cycle(self.suffering, since_plea - 1)
        if answering:
            words = f"{cycle(self.replies, n_messages - 1)} {words}"
        return chat(self.name, words)


class Cell(NamedTuple):
    row: int
    column: int

    def __str__(self) -> str:
        return f"({self.row},{self.column})"


def distance(a: Cell, b: Cell) -> int:
    """Steps between two cells; a step goes up, down, left or right."""
    return abs(a.row - b.row) + abs(a.column - b.column)


def walk(start: Cell, goal: Cell, steps: int) -> Cell:
    """Where ``steps`` steps towards ``goal`` lead: along the row first, then the column."""
    across = max(-steps, min(steps, goal.column - start.column))
    left = steps - abs(across)
    down = max(-left, min(left, goal.row - start.row))
    return Cell(start.row + down, start.column + across)


def scatter(rng: random.Random, n: int, rows: int, columns: range) -> tuple[Cell, ...]:
    """``n`` different cells in the given columns."""
    cells = [Cell(row, column) for row in range(rows) for column in columns]
    return tuple(rng.sample(cells, n))
