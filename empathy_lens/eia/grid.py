"""Cells of a grid, distance in steps, and walking."""

from __future__ import annotations

import random
from typing import NamedTuple

__all__ = ["Cell", "distance", "scatter", "walk"]


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
