"""What a per-token view shows of one text, from fresh projections or from a saved example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..token_projections import TokenProjections
from .runs import plain

__all__ = ["TokenSide", "saved_side", "shown_units", "side_of"]


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
        if end < len(side.tokens) and marks[end] == marks[begin]:
            following = side.tokens[end]
            if not text or text.endswith("\u200d") or (following and _joins(following[0])):
                continue
        units.append(range(begin, end))
        begin = end
    return units


def _joins(character: str) -> bool:
    """Whether a character shapes onto the one before: ZWJ, variation selector, skin tone."""
    code = ord(character)
    return code == 0x200D or 0xFE00 <= code <= 0xFE0F or 0x1F3FB <= code <= 0x1F3FF
