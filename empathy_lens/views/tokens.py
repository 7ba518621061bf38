"""What a per-token view shows of one text; the same in a terminal's colours, and by circuitsvis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from rich.style import Style
from rich.text import Text

from ..engine.token_projections import TokenExample, TokenProjections
from ..errors import InputError
from ..types import Concept
from .text import number_text, shortened, visible
from .theme import NEGATIVE, POSITIVE, rgb

BINS = 9


def shown_units(side: TokenExample) -> list[range]:
    """Positions shown as one: the fragments of a character, and what shapes into one glyph."""
    units: list[range] = []
    marks = list(zip(side.pooled, steered_marks(side), side.bos, strict=True))
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


def steered_marks(side: TokenExample) -> Sequence[bool]:
    """Which positions were steered."""
    return side.steered or (False,) * len(side.tokens)


def shown_means(side: TokenExample, units: Sequence[range], row: int) -> list[float]:
    """The value of each shown unit at one layer: the mean over its tokens."""
    return [fmean(side.values[row][unit.start : unit.stop]) for unit in units]


def pooled_values(side: TokenExample, row: int) -> list[float]:
    """The values of the pooled tokens at one layer."""
    return [v for v, read in zip(side.values[row], side.pooled, strict=True) if read]


def strongest(
    side: TokenExample, units: Sequence[range], shown: Sequence[float], concept: Concept, n: int = 3
) -> list[tuple[str, list[tuple[str, float]]]]:
    """Each pole's name, with text and value of the pooled units furthest to its side."""
    pooled = sorted(
        (i for i, u in enumerate(units) if side.pooled[u.start]), key=lambda i: shown[i]
    )
    ends = (
        (concept.positive, [i for i in pooled[::-1][:n] if shown[i] > 0]),
        (concept.negative, [i for i in pooled[:n] if shown[i] <= 0]),
    )
    return [
        (pole, [("".join(side.tokens[k] for k in units[i]), shown[i]) for i in picked])
        for pole, picked in ends
    ]


def shared_scale(sides: Sequence[TokenExample], row: int) -> float:
    """Largest distance from the threshold of a pooled token; of all but BOS where none is."""
    read = [abs(v) for s in sides for v in pooled_values(s, row)]
    rest = [abs(v) for s in sides for v, b in zip(s.values[row], s.bos, strict=True) if not b]
    return max(read or rest or [1.0]) or 1.0


def colour_bin(value: float, scale: float) -> str:
    """The class of a token's colour, ``n9`` to ``z`` to ``p9``; ``tokens.js`` has the same rule."""
    step = math.floor(BINS * min(abs(value) / scale, 1.0) + 0.5)
    return "z" if step == 0 else f"{'p' if value > 0 else 'n'}{step}"


def signed(value: float) -> str:
    """A value with its sign, for reading."""
    return f"+{number_text(value)}" if value > 0 else number_text(value)


def mean_text(values: Sequence[float]) -> str:
    """The mean of the pooled values for reading, – where nothing is pooled."""
    return signed(fmean(values)) if values else "–"


def _joins(character: str) -> bool:
    """Whether a character shapes onto the one before: ZWJ, variation selector, skin tone."""
    code = ord(character)
    return code == 0x200D or 0xFE00 <= code <= 0xFE0F or 0x1F3FB <= code <= 0x1F3FF


COLOURS = {"p": rgb(POSITIVE), "n": rgb(NEGATIVE)}


def token_text(projections: TokenProjections, layer: int) -> Text:
    """The text of one layer in colour, with its pooled mean, a legend and the strongest tokens.

    Black on tints of blue (positive pole) and orange (negative), so that it reads on light and
    dark terminals alike; context is dim. Control characters of the text are spelt out. Raises
    InputError for a layer that was not projected.
    """
    if layer not in projections.layers:
        raise InputError(f"layer {layer} is not among {list(projections.layers)}")
    side, concept = projections.example("text"), projections.concept
    row = projections.layers.index(layer)
    units, scale = shown_units(side), shared_scale([side], row)
    shown = shown_means(side, units, row)
    out = Text()
    for unit, value in zip(units, shown, strict=True):
        text = visible("".join(side.tokens[i] for i in unit))
        if side.pooled[unit[0]]:
            # A coloured line break would colour the rest of the line.
            ink = text.rstrip("\n")
            out.append(ink, style_of(colour_bin(value, scale)))
            out.append(text[len(ink) :])
        else:
            out.append(text, Style(dim=True))
    pooled = pooled_values(side, row)
    out.append(f"\n\nlayer {layer}: mean of {len(pooled)} pooled tokens ", Style(dim=True))
    out.append(mean_text(pooled), Style(bold=True))
    out.append(" (projection − threshold, in class gaps)\n", Style(dim=True))
    out.append(f"{visible(concept.negative)} −{number_text(scale)} ")
    for step in range(-BINS, BINS + 1):
        out.append(" ", style_of(colour_bin(step / BINS, 1.0)))
    out.append(f" +{number_text(scale)} {visible(concept.positive)}\n")
    for pole, words in strongest(side, units, shown, concept):
        names = [f"“{shortened(t.strip() or t, 30)}” {signed(v)}" for t, v in words]
        out.append(f"most {visible(pole)}: {', '.join(names) or 'none'}\n", Style(dim=True))
    return out


def style_of(colour: str) -> Style:
    """Black on the tint of a colour class; no colour in the middle."""
    if colour == "z":
        return Style()
    strength = 0.1 + 0.65 * int(colour[1:]) / BINS
    mixed = (round(255 + strength * (part - 255)) for part in COLOURS[colour[0]])
    return Style(color="#000000", bgcolor="#" + "".join(f"{part:02x}" for part in mixed))


STAND_IN = "\uf3c0"


class OfflineView(str):
    """HTML that a notebook shows as it is."""

    def _repr_html_(self) -> str:
        return str(self)


def circuitsvis_view(projections: TokenProjections, layer: int | None = None) -> OfflineView:
    """``circuitsvis.tokens.colored_tokens`` of one layer (the first unless given), offline.

    circuitsvis writes tokens into its page unescaped and prefers a CDN; here its own offline
    source is used, and no token can end the script it is written in.
    Values are projection minus threshold in class gaps; the scale is that of the pooled tokens,
    and BOS is clipped to it. About 1.3 MB, the size of circuitsvis' own script.
    """
    from circuitsvis.tokens import colored_tokens

    layer = projections.layers[0] if layer is None else layer
    if layer not in projections.layers:
        raise InputError(f"layer {layer} is not among {list(projections.layers)}")
    values = projections.relative()[projections.layers.index(layer)]
    pooled = values[projections.pooled]
    scale = float(pooled.abs().max()) if len(pooled) else float(values.abs().max())
    rendered: Any = colored_tokens(
        [script_safe(token) for token in projections.tokens],
        values.clamp(-scale, scale).tolist(),
        min_value=-scale,
        max_value=scale,
        negative_color=NEGATIVE,
        positive_color=POSITIVE,
    )
    script, call, arguments = rendered.local_src.rpartition("CircuitsVis.render(")
    return OfflineView(script + call + arguments.replace(f"\\u{ord(STAND_IN):04x}", "\\u003c"))


def script_safe(token: str) -> str:
    """A token without ``<``, so that it cannot end the script that circuitsvis writes it in.

    HTML entities would be shown as they are there. A stand-in from the private use area passes
    through circuitsvis' JSON, and is then turned into JavaScript's own escape for ``<``.
    """
    return visible(token).replace("<", STAND_IN)
