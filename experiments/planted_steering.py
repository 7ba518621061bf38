"""Steering whose truth is known: prompts that follow a direction's dose, or no more than any other.

The figures are made of simulated shifts as ``steering/movement.py`` makes them of measured ones.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

import numpy as np

from empathy_lens import stats
from empathy_lens.results import to_plain

ALPHAS = np.array([-4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0])
N_PROMPTS, N_SCENARIOS = 30, 5
N_RANDOM, N_SHUFFLED = 20, 5
"""Control directions, random and of shuffled labels: as many as a study steers."""
ACTS = 0.05
"""Slope of a direction that acts, in nats per token and alpha."""
RANDOM_SD = 0.01
"""Standard deviation over random directions of their slope: any push changes something."""
PROMPT_SD, SHIFT_SD = 0.02, 0.05
"""Standard deviations of a prompt's slope about its direction's, and of a single shift in nats."""


def plant_steering(
    steered: Literal["acts", "does not"], layer: int, *, seed: int, n_resamples: int
) -> dict[str, Any]:
    """The part of ``steering_examples.json`` that a card reads.

    A direction that does not act has the slope of a random one.
    """
    rng = np.random.default_rng([seed, 1861])
    slopes = RANDOM_SD * rng.normal(size=1 + N_RANDOM + N_SHUFFLED)
    if steered == "acts":
        slopes[0] = ACTS
    each = slopes[:, None] + PROMPT_SD * rng.normal(size=(len(slopes), N_PROMPTS))
    shifts = each[..., None] * ALPHAS + SHIFT_SD * rng.normal(size=(*each.shape, len(ALPHAS)))
    shifts[..., ALPHAS == 0] = 0.0
    fitted = shifts @ ALPHAS / (ALPHAS @ ALPHAS)
    design = stats.Design.within(
        [f"p{i}" for i in range(N_PROMPTS)],
        [f"s{i % N_SCENARIOS}" for i in range(N_PROMPTS)],
        seed=seed,
        n_resamples=n_resamples,
    )
    slope = stats.mean_estimate(fitted[0], design, null=0.0)
    steps = [stats.mean_estimate(high - low, design) for low, high in pairwise(shifts[0].T)]
    controls = fitted[1:].mean(axis=1)
    moves = {
        "alphas": ALPHAS[ALPHAS != 0].tolist(),
        "slope": to_plain(slope),
        "p_random": float(stats.permutation_p(slope.value, controls[:N_RANDOM])),
        "n_random": N_RANDOM,
        "p_controls": float(stats.permutation_p(slope.value, controls)),
        "n_controls": len(controls),
        "monotone": all(step.high >= 0 for step in steps),
        "n_prompts": N_PROMPTS,
    }
    return {"layer": layer, "moves": moves}
