"""The same per-token data through circuitsvis, for those who know its look.

circuitsvis writes tokens into its page unescaped and prefers a CDN; here its own offline source is
used, and no token can end the script it is written in.
"""

from __future__ import annotations

from typing import Any

from ..errors import InputError
from ..token_projections import TokenProjections
from .text import visible

__all__ = ["OfflineView", "circuitsvis_view"]


class OfflineView:
    """HTML that a notebook shows as it is; ``str`` gives the same."""

    def __init__(self, source: str) -> None:
        self.source = source

    def _repr_html_(self) -> str:
        return self.source

    def __str__(self) -> str:
        return self.source


def circuitsvis_view(projections: TokenProjections, layer: int | None = None) -> OfflineView:
    """``circuitsvis.tokens.colored_tokens`` of one layer (the first unless given), offline.

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
        # Okabe-Ito, as everywhere here.
        negative_color="#D55E00",
        positive_color="#0072B2",
    )
    return OfflineView(rendered.local_src)


def script_safe(token: str) -> str:
    """A token that can neither close nor open an element of the script it is written in.

    circuitsvis turns tokens into JSON inside a script, where HTML entities would be shown as
    they are; so ``<`` becomes its full-width twin, which looks alike and means nothing to HTML.
    """
    return visible(token).replace("<", "＜").replace("\u2028", " ").replace("\u2029", " ")
