"""Tables as plain text that a template escapes: cells, criteria and facts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..results import RunSummary
from ..types import Estimate
from .text import Value, number_text, shortened, value_text, words

CRITERION_CSS: Mapping[str, str] = {
    "met": "met",
    "met with the whole interval": "met",
    "met by the count": "met",
    "met by the point alone": "unknown",
    "not met": "missed",
    "not measured": "unknown",
}
ROW_LIMIT = 1000


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and the number it sorts by (None: by its text)."""

    text: str
    sort: float | None = None

    @classmethod
    def of(cls, value: Value) -> Cell:
        if isinstance(value, Estimate):
            return cls(value_text(value), value.value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return cls(value_text(value), float(value))
        return cls(value_text(value))


@dataclass(frozen=True)
class Table:
    """A table with a caption; ``note`` says what was left off."""

    name: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""

    @property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers."""
        return [any(row[i].sort is not None for row in self.rows) for i in range(len(self.columns))]


def table(name: str, caption: str, head: str, rows: Iterable[Sequence[Value]]) -> Table:
    """A table under a head such as ``layer | AUROC``; it says how many rows are left off beyond
    ``ROW_LIMIT``."""
    cells = [[Cell.of(value) for value in row] for row in rows]
    left = len(cells) - ROW_LIMIT
    note = f"{left:,} more rows are in the run's folder." if left > 0 else ""
    return Table(name, caption, tuple(head.split(" | ")), cells[:ROW_LIMIT], note)


def measured(values: Mapping[str, Value]) -> list[tuple[str, Value]]:
    """The rows of a table that names each value, without those that were not measured."""
    return [(words(name), value) for name, value in values.items() if value is not None]


def criteria(summary: RunSummary | None) -> list[dict[str, str]]:
    """The criteria, each with its verdict in words, such as "met by the point alone"."""
    return [
        {
            "level": shortened(criterion.level, 40),
            "claim": shortened(criterion.name, 300),
            "value": number_text(criterion.value),
            "verdict": criterion.state,
            "css": CRITERION_CSS[criterion.state],
            "because": shortened(criterion.detail, 1000),
        }
        for criterion in (summary.criteria if summary else ())
    ]


def facts(values: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Name and value of every leaf of a mapping, nested names joined by a dot."""
    listed: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{prefix}{shortened(key, 100)}"
        if isinstance(value, Mapping):
            listed += facts(value, f"{name}.")
        elif isinstance(value, list | tuple):
            listed.append((name, shortened(", ".join(map(str, value)) or "none", 400)))
        elif isinstance(value, Estimate | str | int | float | None):
            listed.append((name, value_text(value, 1000)))
    return listed
