"""What a sweep says: dose-response, place among controls, slopes, asymmetry, frontier, success.

All effects are shifts of the action log-odds in nats per token, over the prompts for reporting
unless others are named; intervals resample situations within scenarios.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from jaxtyping import Float

from ..stats import Design, accuracy_estimate, mean_estimate, permutation_p
from ..types import Estimate
from .measured import SteeringSweep

MAX_LOSS_INCREASE = 0.05
MAX_ACCURACY_DROP = 0.05


def effect(
    sweep: SteeringSweep,
    layer: int,
    alpha: float,
    *,
    prompts: Sequence[int] | None = None,
    n_resamples: int = 10_000,
) -> Estimate:
    """Mean shift of the log-odds at one strength."""
    return over_prompts(sweep, sweep.shifts_at(layer, alpha), n_resamples, prompts)


def dose_response(
    sweep: SteeringSweep, layer: int, *, n_resamples: int = 10_000
) -> dict[float, Estimate]:
    """The mean shift at each strength."""
    return {a: effect(sweep, layer, a, n_resamples=n_resamples) for a in sweep.alphas}


@dataclass(frozen=True)
class Band:
    """What 95% of the controls' mean shifts lie in."""

    low: float
    high: float


@dataclass(frozen=True)
class ControlSlopes:
    """Mean slopes of control directions and the band of their shifts by strength;
    ``share_below`` is the share with a smaller slope than the direction's own."""

    n: int
    mean_slopes: tuple[float, ...]
    by_alpha: Mapping[str, Band]
    share_below: float | None


@dataclass(frozen=True)
class RandomSlopes(ControlSlopes):
    """The same of random directions, with a one-sided p that counts the observed slope in."""

    p: float | None


@dataclass(frozen=True)
class Slopes:
    """Least-squares slopes through the origin of shift on alpha, nats per token and alpha.

    Over the strengths at which controls were measured too, so that all are alike. ``wrong_share``
    is the share of prompts that move the wrong way (slope below 0).
    """

    by_prompt: dict[int, float]
    mean: Estimate
    wrong_share: Estimate
    random: RandomSlopes
    shuffled: ControlSlopes


def slopes(sweep: SteeringSweep, layer: int, *, n_resamples: int = 10_000) -> Slopes:
    """Each prompt's dose-response as one number, beside the controls'."""
    pushes, chosen = np.array(sweep.pushes), list(sweep.reporting)
    shifts = np.stack([sweep.shifts_at(layer, push) for push in sweep.pushes], axis=-1)
    by_prompt = slope(pushes, shifts)
    mean, controls = over_prompts(sweep, by_prompt, n_resamples), sweep.controls_at(layer)

    def beside(shifts: Float[np.ndarray, "control push prompt"]) -> ControlSlopes:
        means = shifts.mean(axis=-1)
        slopes = slope(pushes, means)
        share_below = float((slopes < mean.value).mean()) if len(slopes) else None
        return ControlSlopes(len(means), tuple(slopes.tolist()), _bands(pushes, means), share_below)

    random = beside(controls.random)
    p = p_beside(mean, np.array(random.mean_slopes))
    return Slopes(
        by_prompt={i: float(by_prompt[i]) for i in chosen},
        mean=mean,
        wrong_share=accuracy_estimate(by_prompt[chosen] < 0, _apart(sweep, chosen, n_resamples)),
        random=RandomSlopes(**vars(random), p=p),
        shuffled=beside(controls.shuffled),
    )


def p_beside(mean: Estimate, drawn: Float[np.ndarray, "control"]) -> float | None:
    """(1 + control slopes as large) / (1 + all), one-sided; None without controls."""
    return float(permutation_p(mean.value, drawn)) if len(drawn) else None


def _bands(
    pushes: Float[np.ndarray, "push"], means: Float[np.ndarray, "control push"]
) -> dict[str, Band]:
    if not len(means):
        return {}
    low, high = np.quantile(means, (0.025, 0.975), axis=0)
    ends = sorted([*zip(pushes, low, high, strict=True), (0.0, 0.0, 0.0)])
    return {str(float(a)): Band(float(x), float(y)) for a, x, y in ends}


@dataclass(frozen=True)
class Asymmetry:
    """Slopes of adding (alpha > 0) and of removing (alpha < 0), and adding minus removing.

    All in nats per token and alpha; positive = the choice follows alpha. None where a side was
    not measured.
    """

    adding: Estimate | None
    removing: Estimate | None
    difference: Estimate | None


def asymmetry(sweep: SteeringSweep, layer: int, *, n_resamples: int = 10_000) -> Asymmetry:
    """Whether adding the direction does as much as removing it."""
    alphas, shifts = np.array(sweep.alphas), sweep.shifts[sweep.layer_index(layer)]
    adding, removing = (
        slope(alphas[side], shifts[side].T) if side.any() else None
        for side in (alphas > 0, alphas < 0)
    )
    difference = None if adding is None or removing is None else adding - removing
    return Asymmetry(
        *(
            None if slopes is None else over_prompts(sweep, slopes, n_resamples)
            for slopes in (adding, removing, difference)
        )
    )


@dataclass(frozen=True)
class FrontierPoint:
    """Effect and damage of one setting: what is gained, and what it costs.

    ``loss_increase`` in nats per token of neutral text; ``accuracy`` the share of plain questions
    answered rightly; ``coherent_share`` of the texts written (None: none were); ``within``: see
    :func:`within_bounds`.
    """

    layer: int
    alpha: float
    effect: Estimate
    loss_increase: Estimate
    accuracy: Estimate
    coherent_share: float | None
    within: bool


def frontier(sweep: SteeringSweep, *, n_resamples: int = 10_000) -> list[FrontierPoint]:
    """Every setting with its effect and its damage."""
    points = []
    for layer, alpha in product(sweep.layers, sweep.alphas):
        coherent = [sweep.coherent(t) for t in sweep.texts if t.setting == (layer, alpha)]
        correct = sweep.damage.correct[layer][sweep.alpha_index(alpha)]
        questions = _apart(sweep, range(len(correct)), n_resamples)
        points.append(
            FrontierPoint(
                layer=layer,
                alpha=alpha,
                effect=effect(sweep, layer, alpha, n_resamples=n_resamples),
                loss_increase=loss_increase(sweep, layer, alpha, n_resamples=n_resamples),
                accuracy=accuracy_estimate(correct, questions),
                coherent_share=float(np.mean(coherent)) if coherent else None,
                within=within_bounds(sweep, layer, alpha),
            )
        )
    return points


def within_bounds(
    sweep: SteeringSweep,
    layer: int,
    alpha: float,
    *,
    max_loss_increase: float = MAX_LOSS_INCREASE,
    max_accuracy_drop: float = MAX_ACCURACY_DROP,
) -> bool:
    """Whether the damage on the texts and questions for choosing leaves a setting in question.

    Bounds are in nats per token of neutral text, and a difference of shares.
    """
    at = sweep.alpha_index(alpha)
    losses = sweep.damage.losses[layer][:, ::2]
    correct = sweep.damage.correct[layer][:, ::2]
    loss = float((losses[at] - losses[sweep.zero]).mean())
    drop = float(correct[sweep.zero].mean() - correct[at].mean())
    return loss <= max_loss_increase and drop <= max_accuracy_drop


def loss_increase(
    sweep: SteeringSweep,
    layer: int,
    alpha: float,
    *,
    texts: Sequence[int] | None = None,
    n_resamples: int = 10_000,
) -> Estimate:
    """Mean increase of the loss on neutral text against no steering, nats per token."""
    return _change(sweep, sweep.damage.losses[layer], alpha, texts, n_resamples)


def accuracy_change(
    sweep: SteeringSweep,
    layer: int,
    alpha: float,
    *,
    questions: Sequence[int] | None = None,
    n_resamples: int = 10_000,
) -> Estimate:
    """Change of the share of plain questions answered rightly, against no steering."""
    correct = sweep.damage.correct[layer].astype(np.float64)
    return _change(sweep, correct, alpha, questions, n_resamples)


def instruction_effect(sweep: SteeringSweep, *, n_resamples: int = 10_000) -> Estimate:
    """Mean shift by a plain instruction instead of steering: the prompt baseline."""
    return over_prompts(sweep, sweep.instruction, n_resamples)


def slope(
    alphas: Float[np.ndarray, "alpha"], shifts: Float[np.ndarray, "*batch alpha"]
) -> Float[np.ndarray, "*batch"]:
    """Least-squares slope through the origin of shift on alpha."""
    return np.asarray((shifts * alphas).sum(axis=-1) / (alphas**2).sum())


def over_prompts(
    sweep: SteeringSweep,
    values: Float[np.ndarray, "prompt"],
    n_resamples: int,
    prompts: Sequence[int] | None = None,
    *,
    null: float | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """Mean over some prompts (those for reporting), resampled within scenarios.

    ``null`` sets p by inverting the interval.
    """
    chosen = list(sweep.reporting if prompts is None else prompts)
    scenarios = [sweep.prompts[i].scenario_id for i in chosen]
    groups = [f"{name}/{i}" for name, i in zip(scenarios, chosen, strict=True)]
    design = Design.within(groups, scenarios, seed=sweep.seed, n_resamples=n_resamples)
    return _mean(values[chosen], replace(design, confidence=confidence), null)


def _change(
    sweep: SteeringSweep,
    damage: Float[np.ndarray, "alpha item"],
    alpha: float,
    items: Sequence[int] | None,
    n_resamples: int,
) -> Estimate:
    """Mean change against no steering over some texts or questions (all)."""
    change = damage[sweep.alpha_index(alpha)] - damage[sweep.zero]
    chosen = list(range(len(change)) if items is None else items)
    return _mean(change[chosen], _apart(sweep, chosen, n_resamples))


def _apart(sweep: SteeringSweep, items: Sequence[int], n_resamples: int) -> Design:
    """Each item a group of its own."""
    return Design([str(i) for i in items], seed=sweep.seed, n_resamples=n_resamples)


def _mean(values: Float[np.ndarray, "item"], design: Design, null: float | None = None) -> Estimate:
    centre, spread = float(values.mean()), float(np.ptp(values))
    if spread <= 1e-9 * max(1.0, abs(centre)):
        # Alpha 0 against itself: there is nothing to resample. p is that of exact sign flips.
        sizes = len(values), len(set(design.groups))
        p = None if null is None else 2.0 ** (1 - len(values)) if centre != null else 1.0
        return Estimate(
            centre, centre, centre, design.confidence, *sizes, "exact", seed=design.seed, p=p
        )
    return mean_estimate(values, design, null=null)
