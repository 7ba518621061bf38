"""Directions without meaning, to steer beside the real one: same layer, same norm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ..directions import check_same_model, random_directions, sides
from ..errors import InputError
from ..types import Activations, Direction, as_unit

__all__ = ["random_controls", "shuffled_controls"]


def random_controls(direction: Direction, n: int, *, seed: int) -> list[Direction]:
    """Directions drawn evenly from the sphere, with the same ``raw_norm`` and site."""
    if n < 1:
        raise InputError(f"n: expected at least one random direction, got {n}")
    vectors = random_directions(n, len(direction.vector), seed=seed)
    return [replace(direction, vector=v, method="random", threshold=0.0) for v in vectors]


def shuffled_controls(
    direction: Direction, activations: Activations, n: int, *, seed: int
) -> list[Direction]:
    """Mean differences after swapping the sides of half of the pairs, drawn anew each time.

    They lie where differences between texts lie, which random directions do not; swapping
    exactly half leaves as little of the concept as can be. Scaled to the direction's
    ``raw_norm``. Raises InputError for activations of another model or of fewer than two pairs.
    """
    if n < 1:
        raise InputError(f"n: expected at least one shuffled direction, got {n}")
    check_same_model(direction, activations)
    positive, negative = sides(activations, direction.site.layer)
    if len(positive) < 2:
        raise InputError(f"expected at least two pairs to shuffle, got {len(positive)}")
    rng = np.random.default_rng(seed)
    signs = np.tile(np.where(np.arange(len(positive)) % 2 == 0, 1.0, -1.0), (n, 1))
    signs = rng.permuted(signs, axis=1).astype(np.float32)
    means = torch.from_numpy(signs) @ (positive - negative) / len(positive)
    return [
        replace(direction, vector=as_unit(v), method="shuffled labels", threshold=0.0)
        for v in means
    ]
