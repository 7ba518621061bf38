"""Geometry: how directions lie to each other, by layer and by contrast."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import plotly.graph_objects as go

from ..evidence.contrasts import Cosines
from .run_results import RunResults
from .tables import Table, table
from .text import number_text, plotly_text, signed_text, words
from .theme import DIVERGING, DOTTED, colour_of, layer_axis, marker, new_figure


def layer_cosines(run: RunResults) -> go.Figure | None:
    """Cosine of every two layers' directions."""
    if run.cosines is None:
        return None
    layers, matrix = run.cosines.layers, np.asarray(run.cosines.across_layers)
    if matrix.shape != (len(layers), len(layers)) or len(layers) < 2:
        return None
    figure = new_figure(
        "Cosine of the directions of every two layers (−1 to 1)",
        "layer",
        "layer",
        height=440,
        finding=f"Neighbouring layers' directions have a mean cosine of "
        f"{number_text(float(matrix.diagonal(1).mean()), 2)}; the first and the last layer's "
        f"{number_text(float(matrix[0, -1]), 2)}.",
        note="Blue: the two layers read the same direction; white: orthogonal ones.",
    )
    figure.add_heatmap(
        x=list(layers),
        y=list(layers),
        z=matrix.tolist(),
        zmin=-1,
        zmax=1,
        colorscale=DIVERGING,
        xgap=1,
        ygap=1,
        colorbar={"thickness": 12, "outlinewidth": 0, "tickvals": [-1, 0, 1]},
        hovertemplate="layers %{x} and %{y}<br>cosine %{z:.3f}<extra></extra>",
    )
    figure.update_xaxes(**layer_axis(len(layers), showgrid=False))
    figure.update_yaxes(**layer_axis(len(layers), showgrid=False), autorange="reversed")
    return figure


def contrast_cosines(run: RunResults) -> go.Figure | None:
    """Cosine of our direction with each other contrast's own direction, by layer."""
    if (cosines := run.cosines) is None:
        return None
    layers = cosines.layers
    curves = {
        name: curve
        for name, curve in cosines.contrasts.items()
        if len(curve) == len(layers) and any(curve)
    }
    if not curves:
        return None
    figure = new_figure(
        "Cosine of our direction with the direction of each other contrast, by layer (−1 to 1)",
        "layer",
        "cosine",
        height=440,
        finding=_largest(cosines, run.selected_layer),
        note="Near 0 the two share nothing. Hover for what shuffled sides reach.",
    )
    for i, (name, curve) in enumerate(curves.items()):
        figure.add_scatter(
            x=layers,
            y=[p.cosine if p else None for p in curve],
            customdata=[p.shuffled_p95 if p else None for p in curve],
            mode="lines+markers",
            line={"color": colour_of(i), "width": 2},
            marker={**marker(i, 7), "color": None},
            name=plotly_text(words(name), 40),
            hovertemplate="layer %{x}: cosine %{y:.3f}<br>95% of shuffled below "
            "%{customdata:.3f}<extra>%{fullData.name}</extra>",
        )
    figure.add_hline(y=0, line=DOTTED)
    figure.update_xaxes(**layer_axis(len(layers)))
    return figure


def _largest(cosines: Cosines, chosen: int | None) -> str:
    """The largest cosine at the chosen layer, in a sentence."""
    here = {
        name: point
        for name, curve in cosines.contrasts.items()
        for layer, point in zip(cosines.layers, curve, strict=False)
        if layer == chosen and point is not None
    }
    if not here:
        return ""
    name, point = max(here.items(), key=lambda pair: abs(pair[1].cosine))
    return (
        f"At the chosen layer {chosen} the largest is {words(name)}, "
        f"{signed_text(round(point.cosine, 2))}; shuffled sides stay below "
        f"{number_text(point.shuffled_p95, 2)} in 95%."
    )


def cosine_tables(run: RunResults) -> Iterator[Table]:
    """Every contrast's cosine at every layer."""
    if run.cosines:
        yield table(
            "cosines",
            "Cosine of our direction with each contrast's own (95% of shuffled ones are below)",
            "layer | contrast | cosine | shuffled, 95%",
            (
                (layer, words(name), *((p.cosine, p.shuffled_p95) if p else (None, None)))
                for name, curve in run.cosines.contrasts.items()
                for layer, p in zip(run.cosines.layers, curve, strict=False)
            ),
        )
