"""How directions lie to each other: across layers, and to the directions of other contrasts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .errors import DegenerateDataError
from .evidence.contrasts import shuffled_cosine
from .evidence.measure import fit
from .types import Activations, Direction

__all__ = ["direction_cosines", "layer_cosines"]


def layer_cosines(directions: Mapping[int, Direction]) -> Float[Tensor, "layer layer"]:
    """Cosine of every two layers' directions, in [-1, 1], layers in ascending order.

    All layers write to one residual stream, so their directions can be compared as they are.
    """
    stacked = torch.stack([directions[layer].vector.double() for layer in sorted(directions)])
    return (stacked @ stacked.T).clamp(-1, 1).float()


def direction_cosines(
    directions: Mapping[int, Direction], contrasts: Mapping[str, Activations], *, seed: int
) -> dict[str, Any]:
    """The content of ``cosines.json``: between layers, and to each contrast's own direction.

    A contrast has one entry a layer, None where it has no direction there. ``shuffled_p95`` is
    what the cosine's size reaches in 5% of draws when the contrast's sides are shuffled within
    pairs: below it, a cosine is no evidence of anything shared.
    """
    layers = sorted(directions)
    return {
        "layers": layers,
        "across_layers": [[round(v, 5) for v in row] for row in layer_cosines(directions).tolist()],
        "contrasts": {
            name: [_with_contrast(directions[k], theirs, seed) for k in layers]
            for name, theirs in contrasts.items()
        },
    }


def _with_contrast(
    direction: Direction, contrast: Activations, seed: int
) -> dict[str, float] | None:
    try:
        theirs = fit(contrast, direction.site.layer, "mean_difference")
    except DegenerateDataError:
        return None
    return {
        "cosine": float(theirs.vector @ direction.vector),
        "shuffled_p95": shuffled_cosine(contrast, direction, seed),
    }
