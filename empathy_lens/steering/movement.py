"""Does a direction move behaviour? Its dose-response over the strengths that do no damage."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, takewhile

import numpy as np

from ..stats import minimal_detectable
from ..types import Estimate
from .analysis import over_prompts, p_beside, slope, within_bounds
from .measured import SteeringSweep


@dataclass(frozen=True)
class Movement:
    """How the action log-odds follow alpha, over the strengths whose damage is within its bound.

    ``alphas`` are those strengths, 0 left out, in rising order: those at which controls were
    measured, as far out from 0 as every swept strength up to them is within the bound. ``slope``
    is the mean over prompts of each prompt's least-squares slope through the origin (nats per token
    and alpha; above 0 = the choice follows alpha); the prompt is the unit and resampled within
    scenarios, and p inverts the same interval against 0. ``p_random`` is (1 + random directions of
    equal norm whose slope over the same strengths and prompts is as large) / (1 + ``n_random``),
    one-sided, None without controls; ``p_controls`` counts all ``n_controls`` control directions,
    those of shuffled labels too, which lie where differences between texts do. ``monotone``: no
    step between neighbouring swept strengths within the bound surely goes back (the interval of
    the paired change lies below 0, its confidence 95% for all steps together).
    ``minimal_detectable``: the smallest true slope that a two-sided 5% test with this many prompts
    finds in 80% of cases. Older files have no ``p_controls``.
    """

    alphas: tuple[float, ...]
    slope: Estimate
    p_random: float | None
    n_random: int
    monotone: bool | None
    n_prompts: int
    minimal_detectable: float | None
    p_controls: float | None = None
    n_controls: int = 0


def movement(sweep: SteeringSweep, layer: int, *, n_resamples: int = 10_000) -> Movement | None:
    """Whether a layer's direction moves the choice, on the prompts for reporting.

    None where no strength with controls is within the damage bound on one of the two sides: a
    slope needs both. Raises InputError for a layer that was not swept.
    """
    sweep.layer_index(layer)
    unharmed = strengths_within(sweep, layer)
    used = [alpha for alpha in unharmed if alpha in sweep.pushes]
    if not used or used[0] > 0 or used[-1] < 0:
        return None
    alphas = np.array(used)
    by_prompt = slope(alphas, np.stack([sweep.shifts_at(layer, a) for a in used], axis=-1))
    mean = over_prompts(sweep, by_prompt, n_resamples, null=0.0)
    at = [sweep.pushes.index(alpha) for alpha in used]
    controls = sweep.controls_at(layer)
    drawn = np.concatenate([controls.random, controls.shuffled])
    slopes = slope(alphas, drawn[:, at].mean(axis=-1))
    random = slopes[: len(controls.random)]
    return Movement(
        alphas=tuple(used),
        slope=mean,
        p_random=p_beside(mean, random),
        n_random=len(random),
        p_controls=p_beside(mean, slopes),
        n_controls=len(slopes),
        monotone=_monotone(sweep, layer, unharmed, n_resamples),
        n_prompts=len(sweep.reporting),
        minimal_detectable=_detectable(mean),
    )


def _detectable(slope: Estimate) -> float | None:
    """What this many prompts could have found; None where all of them have the same slope."""
    return minimal_detectable(slope) if slope.high > slope.low else None


def strengths_within(sweep: SteeringSweep, layer: int) -> list[float]:
    """The swept strengths around 0 whose damage is within its bound, in rising order.

    On each side as far as every strength nearer to 0 is within the bound too; 0 is among them.
    """

    def side(sign: float) -> list[float]:
        outwards = sorted((a for a in sweep.alphas if sign * a > 0), key=abs)
        return list(takewhile(lambda alpha: within_bounds(sweep, layer, alpha), outwards))

    return [*reversed(side(-1.0)), 0.0, *side(1.0)]


def furthest_within(sweep: SteeringSweep) -> tuple[float, ...]:
    """The strength furthest from 0 on each swept side that is within the damage bound.

    At every layer; where none is, the nearest to 0.
    """
    unharmed = set.intersection(*(set(strengths_within(sweep, k)) for k in sweep.layers))
    found = []
    for sign in (-1.0, 1.0):
        side = [alpha for alpha in sweep.alphas if sign * alpha > 0]
        if side:
            within = unharmed.intersection(side)
            found.append(max(within, key=abs) if within else min(side, key=abs))
    return tuple(found)


def _monotone(sweep: SteeringSweep, layer: int, alphas: list[float], n_resamples: int) -> bool:
    # Every step has its own chance of seeming to go back: together they share the 5%.
    confidence = 1 - 0.05 / (len(alphas) - 1)
    steps = (
        over_prompts(
            sweep,
            sweep.shifts_at(layer, high) - sweep.shifts_at(layer, low),
            n_resamples,
            confidence=confidence,
        )
        for low, high in pairwise(alphas)
    )
    return all(step.high >= 0 for step in steps)
