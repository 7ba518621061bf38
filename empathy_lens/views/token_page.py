"""Per-token projections as HTML: escaped text in colour, readable without any script.

Colour runs from the concept's negative pole to its positive one around the direction's threshold;
the scale is that of the pooled tokens, so that BOS, whose projection dwarfs all others, cannot
bleach the rest. A few fixed lines of script add the layer slider and reading by pointer or arrow
keys; the page works without.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import numpy as np

from ..engine.positions import Positions
from ..engine.token_projections import TokenExample, TokenProjections, token_projections
from ..errors import InputError
from ..files import write_text
from ..types import Concept, ContrastivePair, Direction, HookedModel
from .page import security_policy, template_text
from .text import json_island, number_text, shortened, visible
from .tokens import (
    BINS,
    colour_bin,
    mean_text,
    pooled_values,
    shared_scale,
    shown_means,
    shown_units,
    signed,
    steered_marks,
    strongest,
)


@dataclass(frozen=True)
class TokenView:
    """A view as HTML: shown by a notebook as it is, or written as a page of its own."""

    fragment: str = field(repr=False)
    title: str

    def _repr_html_(self) -> str:
        style, script = template_text("tokens.css"), template_text("tokens.js")
        return f"<style>{style}</style>{self.fragment}<script>{script}</script>"

    def page(self) -> str:
        """A self-contained page that can load nothing and runs only our own script."""
        style, script = template_text("tokens.css"), template_text("tokens.js")
        title = html.escape(visible(self.title))
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta http-equiv="Content-Security-Policy" content="{security_policy(script)}">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{title}</title><style>{style}"
            "body{margin:1rem auto;max-width:80rem;padding:0 1rem}</style></head>"
            f'<body class="elt-page"><main><h1>{title}</h1>{self.fragment}</main>'
            f"<script>{script}</script></body></html>\n"
        )

    def save(self, path: str | Path) -> None:
        """Writes the page."""
        write_text(Path(path), self.page())


def token_view(
    model: HookedModel,
    text_or_pair: str | ContrastivePair,
    direction: Direction | Mapping[int, Direction],
    *,
    layers: Sequence[int] | None = None,
    prompt: str = "",
    steered: Positions | None = None,
) -> TokenView:
    """How a direction reads a text, or both sides of a pair side by side, token by token.

    ``direction`` may hold one direction for each layer; ``layers`` picks among them, and the
    slider starts at the middle one. ``steered`` marks the positions at which the text was steered
    as it was written, as they were given to ``generate_steered``. Raises InputError for a layer
    without a direction.
    """
    if layers is not None:
        held = {direction.site.layer: direction} if isinstance(direction, Direction) else direction
        absent = sorted(set(layers) - set(held))
        if absent or not layers:
            raise InputError(f"layers: expected some of {sorted(held)}, got {list(layers)}")
        direction = {layer: held[layer] for layer in layers}
    if isinstance(text_or_pair, str):
        read = token_projections(model, direction, text_or_pair, prompt, steered=steered)
        return view_of([read], ["text"])
    pair = text_or_pair
    sides = [
        token_projections(model, direction, text, pair.prompt or prompt, steered=steered)
        for text in (pair.positive, pair.negative)
    ]
    poles = (sides[0].concept.positive, sides[0].concept.negative)
    return view_of(sides, poles, title=f"{pair.scenario_id}, pair {pair.pair_id}")


def view_of(
    projections: Sequence[TokenProjections],
    titles: Sequence[str],
    *,
    title: str = "Token projections",
    layer: int | None = None,
) -> TokenView:
    """The view of texts that were already projected (a pair; unsteered and steered)."""
    layers = projections[0].layers
    shown = layers[len(layers) // 2] if layer is None else layer
    sides = [p.example(name) for p, name in zip(projections, titles, strict=True)]
    return TokenView(tokens_fragment(sides, layers, shown, projections[0].concept), title)


def tokens_fragment(
    sides: Sequence[TokenExample], layers: Sequence[int], layer: int, concept: Concept
) -> str:
    """The view as one HTML section. Its style and script are ``tokens.css`` and ``tokens.js``.

    It embeds the values of all layers for the slider and the keyboard.
    """
    row = list(layers).index(layer)
    units = [shown_units(side) for side in sides]
    scales = [shared_scale(sides, i) for i in range(len(layers))]
    drawn = "".join(
        _side(side, unit, row, scales[row], concept)
        for side, unit in zip(sides, units, strict=True)
    )
    slider = ""
    if len(layers) > 1:
        slider = (
            '<p class="elt-slider" hidden><label>Layer <input type="range" min="0" '
            f'max="{len(layers) - 1}" value="{row}" aria-valuetext="layer {layer}"></label> '
            f"<output>{layer}</output></p>"
        )
    island = {
        "layers": list(layers),
        "poles": [visible(concept.positive), visible(concept.negative)],
        "scales": [float(f"{scale:.4g}") for scale in scales],
        "sides": [_data(side, unit) for side, unit in zip(sides, units, strict=True)],
    }
    packed = json.dumps(island, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    many = " elt-two" if len(sides) > 1 else ""
    legend = _legend(sides, scales[row], layer, concept)
    return (
        f'<section class="elt" aria-label="Token projections">{slider}'
        f'<div class="elt-sides{many}">{drawn}</div>{legend}'
        f'<script type="application/json" class="elt-data">{json_island(packed)}</script></section>'
    )


def _side(
    side: TokenExample, units: Sequence[range], row: int, scale: float, concept: Concept
) -> str:
    shown, pushed = shown_means(side, units, row), steered_marks(side)
    first_pooled = next((u[0] for u in units if side.pooled[u[0]]), None)
    spans = []
    for unit, value in zip(units, shown, strict=True):
        first = unit[0]
        text = shortened("".join(side.tokens[i] for i in unit), 2000)
        marks = [colour_bin(value, scale)]
        marks += ["b"] if side.bos[first] else [] if side.pooled[first] else ["c"]
        marks += ["f"] if first == first_pooled and first else []
        marks += ["s"] if pushed[first] else []
        # A line break has nothing to colour, so it gets a sign of its own.
        body = html.escape(text).replace("\n", "<i>↵</i>\n")
        where = f"{first}–{unit[-1]}" if len(unit) > 1 else str(first)
        spans.append(
            f'<span class="{" ".join(marks)}" title="{signed(value)}, position {where}">{body}'
            "</span>"
        )
    pooled = pooled_values(side, row)
    title = html.escape(shortened(side.side, 200))
    return (
        f'<figure class="elt-side"><figcaption><strong><bdi>{title}</bdi></strong> '
        f'<span>mean of {len(pooled)} pooled tokens <output class="elt-mean">'
        f"{mean_text(pooled)}</output></span></figcaption>"
        f'<div class="elt-text" dir="auto" tabindex="0" role="group" '
        f'aria-label="Tokens of {title}; arrow keys read them one by one">{"".join(spans)}</div>'
        f'<p class="elt-now" aria-live="polite"></p>'
        f'<p class="elt-strong">{_strongest(side, units, shown, concept)}</p></figure>'
    )


def _strongest(
    side: TokenExample, units: Sequence[range], shown: Sequence[float], concept: Concept
) -> str:
    """The most telling tokens in words, for those who do not see the colours."""
    parts = []
    for pole, words in strongest(side, units, shown, concept):
        names = [
            f"“<bdi>{html.escape(shortened(text.strip() or text, 30))}</bdi>” {signed(value)}"
            for text, value in words
        ]
        parts.append(f"Most {html.escape(visible(pole))}: {', '.join(names) or 'none'}.")
    return " ".join(parts)


def _data(side: TokenExample, units: Sequence[range]) -> dict[str, object]:
    """The shown values as base64 of little-endian float32, layer after layer, and the means."""
    rows = range(len(side.values))
    shown = np.array([shown_means(side, units, row) for row in rows], dtype="<f4")
    read = [pooled_values(side, row) for row in rows]
    means = [fmean(values) if values else None for values in read]
    return {"values": base64.b64encode(shown.tobytes()).decode(), "means": means}


def _legend(sides: Sequence[TokenExample], scale: float, layer: int, concept: Concept) -> str:
    positive, negative = (html.escape(visible(c)) for c in (concept.positive, concept.negative))
    steps = "".join(f'<span class="n{i}">&nbsp;</span>' for i in range(BINS, 0, -1))
    steps += '<span class="z">&nbsp;</span>'
    steps += "".join(f'<span class="p{i}">&nbsp;</span>' for i in range(1, BINS + 1))
    bound = number_text(scale)
    context = any(not p and not b for s in sides for p, b in zip(s.pooled, s.bos, strict=True))
    marks = [
        ('<span class="c">grey</span> context, read but not pooled', context),
        ('<span class="b">BOS</span> left out of the scale', any(any(s.bos) for s in sides)),
        ('<span class="s">line above</span> steered', any(any(steered_marks(s)) for s in sides)),
    ]
    return (
        f'<p class="elt-legend"><span>{negative} <b>−<span class="elt-bound">{bound}</span></b> '
        f'<span class="elt-bar" aria-hidden="true">{steps}</span> '
        f'<b>+<span class="elt-bound">{bound}</span></b> {positive}</span> '
        "<span>projection − threshold in class gaps, layer "
        f'<span class="elt-layer">{layer}</span></span> '
        + " ".join(f"<span>{text}</span>" for text, there in marks if there)
        + "</p>"
    )
