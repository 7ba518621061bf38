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


STAND_IN = "\uf3c0"


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
    script, call, arguments = rendered.local_src.rpartition("CircuitsVis.render(")
    return OfflineView(script + call + arguments.replace(f"\\u{ord(STAND_IN):04x}", "\\u003c"))


def script_safe(token: str) -> str:
    """A token without ``<``, so that it cannot end the script that circuitsvis writes it in.

    HTML entities would be shown as they are there. A stand-in from the private use area passes
    through circuitsvis' JSON, and is then turned into JavaScript's own escape for ``<``.
    """
    return visible(token).replace("<", STAND_IN)
