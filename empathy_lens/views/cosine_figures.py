"""Figures of geometry: how directions lie to each other, by layer and by contrast."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from .runs import get, numbers_of, plain
from .text import number_text, plotly_text, signed_text
from .theme import COLOURS, DIVERGING, GREY, SYMBOLS, new_figure

__all__ = ["contrast_cosines", "layer_cosines"]


def layer_cosines(cosines: Any) -> go.Figure | None:
    """Cosine of every two layers' directions."""
    layers, matrix = get(cosines, "layers"), get(cosines, "across_layers")
    if not _square(layers, matrix) or len(layers) < 2:
        return None
    near = [matrix[i][i + 1] for i in range(len(layers) - 1)]
    figure = new_figure(
        "Cosine of the directions of every two layers (−1 to 1)",
        "layer",
        "layer",
        height=440,
        finding=f"Neighbouring layers' directions have a mean cosine of "
        f"{number_text(sum(near) / len(near), 2)}; the first and the last layer's "
        f"{number_text(float(matrix[0][-1]), 2)}.",
        note="Blue: the two layers read the same direction; white: orthogonal ones.",
    )
    figure.add_heatmap(
        x=layers,
        y=layers,
        z=matrix,
        zmin=-1,
        zmax=1,
        colorscale=DIVERGING,
        xgap=1,
        ygap=1,
        colorbar={"thickness": 12, "outlinewidth": 0, "tickvals": [-1, 0, 1]},
        hovertemplate="layers %{x} and %{y}<br>cosine %{z:.3f}<extra></extra>",
    )
    step = max(1, -(-len(layers) // 12))
    figure.update_xaxes(dtick=step, showgrid=False, zeroline=False)
    figure.update_yaxes(dtick=step, showgrid=False, zeroline=False, autorange="reversed")
    return figure


def contrast_cosines(cosines: Any, layer: Any = None) -> go.Figure | None:
    """Cosine of our direction with each other contrast's own direction, by layer."""
    layers = get(cosines, "layers")
    if not isinstance(layers, list):
        return None
    curves: dict[str, list[Any]] = {}
    for name, row in numbers_of(cosines, "contrasts").items():
        if isinstance(row, list) and len(row) == len(layers):
            values = [get(one, "cosine") for one in row]
            if any(plain(v) for v in values):
                curves[name] = [v if plain(v) else None for v in values]
    if not curves:
        return None
    figure = new_figure(
        "Cosine of our direction with the direction of each other contrast, by layer (−1 to 1)",
        "layer",
        "cosine",
        height=440,
        finding=_largest(cosines, curves, layer),
        note="Near 0 the two share nothing. Hover for what shuffled sides reach.",
    )
    for i, (name, curve) in enumerate(curves.items()):
        nulls = [get(one, "shuffled_p95") for one in numbers_of(cosines, "contrasts")[name]]
        figure.add_scatter(
            x=layers,
            y=curve,
            customdata=[v if plain(v) else None for v in nulls],
            mode="lines+markers",
            line={"color": COLOURS[i % len(COLOURS)], "width": 2},
            marker={"symbol": SYMBOLS[i % len(SYMBOLS)], "size": 7},
            name=plotly_text(name.replace("_", " "), 40),
            hovertemplate="layer %{x}: cosine %{y:.3f}<br>95% of shuffled below "
            "%{customdata:.3f}<extra>%{fullData.name}</extra>",
        )
    figure.add_hline(y=0, line={"color": GREY, "dash": "dot", "width": 1})
    figure.update_xaxes(dtick=max(1, -(-len(layers) // 12)), zeroline=False)
    return figure


def _largest(cosines: Any, curves: dict[str, list[Any]], layer: Any) -> str:
    layers = cosines["layers"]
    if layer not in layers:
        return ""
    at = layers.index(layer)
    here = {name: curve[at] for name, curve in curves.items() if curve[at] is not None}
    if not here:
        return ""
    name = max(here, key=lambda n: abs(here[n]))
    null = get(numbers_of(cosines, "contrasts")[name][at], "shuffled_p95")
    beside = f"; shuffled sides stay below {number_text(null, 2)} in 95%" if plain(null) else ""
    words = name.replace("_", " ")
    return (
        f"At the chosen layer {layer} the largest is {words}, "
        f"{signed_text(round(here[name], 2))}{beside}."
    )


def _square(layers: Any, matrix: Any) -> bool:
    return (
        isinstance(layers, list)
        and isinstance(matrix, list)
        and len(matrix) == len(layers)
        and all(isinstance(r, list) and len(r) == len(layers) for r in matrix)
        and all(plain(v) for row in matrix for v in row)
    )
