"""Cosines between directions: exact for planted ones, absent where a contrast has no direction."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from empathy_lens.directions import fit_directions
from empathy_lens.evidence.contrasts import direction_cosines, layer_cosines
from empathy_lens.types import Activations, Provenance, Site

PROVENANCE = Provenance("made", "0" * 32, "float32", "hooked", "3.9")


def planted(axes: list[int], noise: float, seed: int) -> Activations:
    """Layer i parts the classes along axis ``axes[i]``."""
    generator = torch.Generator().manual_seed(seed)
    values = noise * torch.randn((40, len(axes), 16), generator=generator)
    labels = torch.tensor([True, False] * 20)
    for i, axis in enumerate(axes):
        values[labels, i, axis] += 1.0
    return Activations(
        values=values,
        sites=tuple(Site(i) for i in range(len(axes))),
        labels=labels,
        pair_ids=tuple(f"p{i // 2}" for i in range(40)),
        scenario_ids=("s",) * 40,
        groups=tuple(f"p{i // 2}" for i in range(40)),
        n_tokens=(1,) * 40,
        pooling="mean",
        provenance=PROVENANCE,
    )


def test_layers_that_read_one_axis_agree_and_others_are_orthogonal() -> None:
    cosines = layer_cosines(fit_directions(planted([3, 3, 5], 0.01, seed=0)))
    assert cosines[0, 1] == pytest.approx(1.0, abs=0.01)
    assert cosines[0, 2] == pytest.approx(0.0, abs=0.05)
    torch.testing.assert_close(cosines.diagonal(), torch.ones(3))
    torch.testing.assert_close(cosines, cosines.T)


def test_a_contrast_along_our_axis_stands_out_from_its_shuffled_sides() -> None:
    directions = fit_directions(planted([3, 4], 0.1, seed=1))
    found = direction_cosines(directions, {"other": planted([3, 9], 0.1, seed=2)}, seed=0)
    same, apart = found.contrasts["other"]
    assert same.cosine > 0.9
    assert same.cosine > same.shuffled_p95
    assert abs(apart.cosine) < 0.3
    assert found.layers == (0, 1)


def test_a_contrast_without_a_direction_has_none() -> None:
    ours = planted([3], 0.1, seed=1)
    flat = replace(ours, values=torch.ones_like(ours.values))
    found = direction_cosines(fit_directions(ours), {"flat": flat}, seed=0)
    assert found.contrasts == {"flat": (None,)}
