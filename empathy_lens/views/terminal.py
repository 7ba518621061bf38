"""Per-token projections in a terminal: colour where it can, words where it cannot."""

from __future__ import annotations

from rich.style import Style
from rich.text import Text

from ..errors import InputError
from ..token_projections import TokenProjections
from .text import number_text, shortened, visible
from .token_sides import (
    BINS,
    POLES,
    colour_bin,
    mean_of,
    shared_scale,
    shown_units,
    side_of,
    signed,
    strongest,
)

__all__ = ["token_text"]

COLOURS = {"p": (0, 114, 178), "n": (213, 94, 0)}


def token_text(projections: TokenProjections, layer: int) -> Text:
    """The text of one layer in colour, with its pooled mean, a legend and the strongest tokens.

    Black on tints of blue (empathic) and orange (task-focused), so that it reads on light and
    dark terminals alike; context is dim. Control characters of the text are spelt out. Raises
    InputError for a layer that was not projected.
    """
    if layer not in projections.layers:
        raise InputError(f"layer {layer} is not among {list(projections.layers)}")
    side, row = side_of(projections, "text"), projections.layers.index(layer)
    units, scale = shown_units(side), shared_scale([side], row)
    shown = [mean_of([side.values[row][i] for i in unit]) for unit in units]
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
    pooled = [v for v, read in zip(side.values[row], side.pooled, strict=True) if read]
    out.append(f"\n\nlayer {layer}: mean of {len(pooled)} pooled tokens ", Style(dim=True))
    out.append(f"{signed(mean_of(pooled))}", Style(bold=True))
    out.append(" (projection − threshold, in class gaps)\n", Style(dim=True))
    out.append(f"{POLES[1]} −{number_text(scale)} ")
    for step in range(-BINS, BINS + 1):
        out.append(" ", style_of(colour_bin(step / BINS, 1.0)))
    out.append(f" +{number_text(scale)} {POLES[0]}\n")
    for pole, found in strongest(side, units, shown).items():
        names = [f"“{shortened(t.strip() or t, 30)}” {signed(v)}" for t, v in found]
        out.append(f"most {pole}: {', '.join(names) or 'none'}\n", Style(dim=True))
    return out


def style_of(colour: str) -> Style:
    """Black on the tint of a colour class; no colour in the middle."""
    if colour == "z":
        return Style()
    strength = 0.1 + 0.65 * int(colour[1:]) / BINS
    mixed = (round(255 + strength * (part - 255)) for part in COLOURS[colour[0]])
    return Style(color="#000000", bgcolor="#" + "".join(f"{part:02x}" for part in mixed))
