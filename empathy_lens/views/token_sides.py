"""What a per-token view shows of one text, from fresh projections or from a saved example."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..token_projections import TokenProjections
from .runs import plain
from .text import number_text

__all__ = [
    "BINS",
    "POLES",
    "TokenSide",
    "colour_bin",
    "mean_of",
    "saved_side",
    "shared_scale",
    "shown_units",
    "side_of",
    "signed",
    "strongest",
]

BINS = 9
POLES = ("empathic", "task-focused")


@dataclass(frozen=True)
class TokenSide:
    """One text of a view. ``values`` [layer][pos] are relative to threshold, in class gaps."""

    title: str
    tokens: Sequence[str]
    values: Sequence[Sequence[float]]
    pooled: Sequence[bool]
    steered: Sequence[bool]
    bos: Sequence[bool]


def side_of(projections: TokenProjections, title: str) -> TokenSide:
    """One side of a view from projections."""
    return TokenSide(
        title=title,
        tokens=projections.tokens,
        values=projections.relative().tolist(),
        pooled=projections.pooled.tolist(),
        steered=projections.steered.tolist(),
        bos=projections.bos.tolist(),
    )


def saved_side(row: Mapping[str, Any], n_layers: int) -> TokenSide | None:
    """One side of an example in ``token_views.json``; None where there is nothing to show."""
    tokens, values = row.get("tokens"), row.get("values")
    if not isinstance(tokens, list) or not isinstance(values, list) or len(values) != n_layers:
        return None
    if not tokens or not all(isinstance(v, list) and len(v) == len(tokens) for v in values):
        return None

    def marks(name: str) -> list[bool]:
        given = row.get(name)
        found = [bool(mark) for mark in given] if isinstance(given, list) else []
        return (found + [False] * len(tokens))[: len(tokens)]

    return TokenSide(
        title=str(row.get("side", "")),
        tokens=[str(token) for token in tokens],
        values=[[float(v) if plain(v) else 0.0 for v in layer] for layer in values],
        pooled=marks("pooled"),
        steered=marks("steered"),
        bos=marks("bos"),
    )


def shown_units(side: TokenSide) -> list[range]:
    """Positions shown as one: the fragments of a character, and what shapes into one glyph."""
    units: list[range] = []
    marks = list(zip(side.pooled, side.steered, side.bos, strict=True))
    begin = 0
    for end in range(1, len(side.tokens) + 1):
        text = "".join(side.tokens[begin:end])
        if end < len(side.tokens):
            # Empty tokens are the first bytes of the character that the next one completes.
            rest = (side.tokens[k] for k in range(end, len(side.tokens)))
            following = next(filter(None, rest), "")
            joined = text.endswith("\u200d") or (following and _joins(following[0]))
            if not text or (joined and marks[end] == marks[begin]):
                continue
        units.append(range(begin, end))
        begin = end
    return units


def strongest(
    side: TokenSide, units: Sequence[range], shown: Sequence[float], n: int = 3
) -> dict[str, list[tuple[str, float]]]:
    """Text and value of the pooled units furthest to either side, by pole."""
    read = [i for i, unit in enumerate(units) if side.pooled[unit[0]]]
    order = sorted(read, key=lambda i: shown[i])
    ends = {POLES[0]: order[::-1][:n], POLES[1]: order[:n]}
    return {
        pole: [
            ("".join(side.tokens[k] for k in units[i]), shown[i])
            for i in picked
            if (shown[i] > 0) == (pole == POLES[0])
        ]
        for pole, picked in ends.items()
    }


def shared_scale(sides: Sequence[TokenSide], row: int) -> float:
    """Largest distance from the threshold of a pooled token; of all but BOS where none is."""
    read = [abs(v) for s in sides for v, p in zip(s.values[row], s.pooled, strict=True) if p]
    rest = [abs(v) for s in sides for v, b in zip(s.values[row], s.bos, strict=True) if not b]
    return max(read or rest or [1.0]) or 1.0


def colour_bin(value: float, scale: float) -> str:
    """The class of a token's colour, ``n9`` to ``z`` to ``p9``; ``tokens.js`` has the same rule."""
    step = math.floor(BINS * min(abs(value) / scale, 1.0) + 0.5)
    return "z" if step == 0 else f"{'p' if value > 0 else 'n'}{step}"


def mean_of(values: Sequence[float]) -> float:
    """The mean, summed exactly."""
    return math.fsum(values) / len(values)


def signed(value: float) -> str:
    """A value with its sign, for reading."""
    return f"+{number_text(value)}" if value > 0 else number_text(value)


def _joins(character: str) -> bool:
    """Whether a character shapes onto the one before: ZWJ, variation selector, skin tone."""
    code = ord(character)
    return code == 0x200D or 0xFE00 <= code <= 0xFE0F or 0x1F3FB <= code <= 0x1F3FF
