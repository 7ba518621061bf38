"""Activations with a planted direction at each layer, for tests of fitting and layer choice."""

import numpy as np
import torch

from empathy_lens.types import Activations, Provenance, Site

PROVENANCE = Provenance(
    model_name="planted",
    weights_hash="0" * 32,
    dtype="float32",
    backend="hooked",
    transformer_lens="3.9.0",
)


def unit(d_model, seed):
    generator = torch.Generator().manual_seed(seed)
    vector = torch.randn(d_model, generator=generator)
    return vector / vector.norm()


def truth(layer, d_model=32):
    """The direction that ``planted_activations`` plants at a layer."""
    return unit(d_model, seed=100 + layer)


def planted_activations(
    gaps,
    *,
    n_pairs=60,
    d_model=32,
    n_scenarios=3,
    pairs_per_group=1,
    noise_scales=None,
    offset=0.0,
    seed=0,
    provenance=PROVENANCE,
):
    """Pairs in unit noise whose sides lie ``gaps[layer]`` apart along ``truth(layer)``.

    ``noise_scales`` gives each coordinate its own noise; ``offset`` moves both classes along the
    planted direction, so that the threshold is far from zero.
    """
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn((2 * n_pairs, len(gaps), d_model), generator=generator)
    if noise_scales is not None:
        values = values * noise_scales
    labels = torch.tensor([True, False] * n_pairs)
    for layer, gap in enumerate(gaps):
        steps = torch.where(labels, gap / 2, -gap / 2) + offset
        values[:, layer] += steps[:, None] * truth(layer, d_model)
    pairs = np.repeat(np.arange(n_pairs), 2)
    group_of_item = pairs // pairs_per_group
    scenarios = [f"s{g % n_scenarios}" for g in group_of_item]
    return Activations(
        values=values,
        sites=tuple(Site(layer) for layer in range(len(gaps))),
        labels=labels,
        pair_ids=tuple(f"p{p}" for p in pairs),
        scenario_ids=tuple(scenarios),
        groups=tuple(f"{s}/g{g}" for s, g in zip(scenarios, group_of_item, strict=True)),
        n_tokens=(10,) * (2 * n_pairs),
        pooling="mean",
        provenance=provenance,
    )
