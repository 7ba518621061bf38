"""What a sweep says: dose-response, place among controls, slopes, asymmetry, frontier, success.

All effects are shifts of the action log-odds in nats per token, over the prompts for reporting
unless others are named; intervals resample situations within scenarios.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import cast

import numpy as np
from jaxtyping import Float

from ..stats import Design, accuracy_estimate, mean_estimate, permutation_p
from ..types import Estimate
from .measured import SteeringSweep

__all__ = [
    "Asymmetry",
    "FrontierPoint",
    "Slopes",
    "accuracy_change",
    "asymmetry",
    "dose_response",
    "effect",
    "frontier",
    "instruction_effect",
    "loss_increase",
    "slopes",
    "within_bounds",
]

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
    return _over_prompts(sweep, sweep.shifts_at(layer, alpha), n_resamples, prompts)


def dose_response(
    sweep: SteeringSweep, layer: int, *, n_resamples: int = 10_000
) -> dict[float, Estimate]:
    """The mean shift at each strength."""
    return {a: effect(sweep, layer, a, n_resamples=n_resamples) for a in sweep.alphas}


@dataclass(frozen=True)
class Slopes:
    """Least-squares slopes through the origin of shift on alpha, nats per token and alpha.

    Over the strengths at which controls were measured too, so that all are alike.

    ``wrong_share`` is the share of prompts that move the wrong way (slope below 0).
    ``random`` and ``shuffled`` are the controls' mean slopes; ``share_below`` the share of random
    directions whose slope is smaller, ``p`` one-sided with the observed slope counted in (None
    where the layer has no controls).
    """

    by_prompt: dict[int, float]
    mean: Estimate
    wrong_share: Estimate
    random: tuple[float, ...]
    shuffled: tuple[float, ...]

    @property
    def share_below(self) -> float | None:
        return _share_below(self.random, self.mean.value)

    @property
    def shuffled_share_below(self) -> float | None:
        return _share_below(self.shuffled, self.mean.value)

    @property
    def p(self) -> float | None:
        return float(permutation_p(self.mean.value, np.array(self.random))) if self.random else None


def _share_below(controls: tuple[float, ...], value: float) -> float | None:
    return float((np.array(controls) < value).mean()) if controls else None


def slopes(sweep: SteeringSweep, layer: int, *, n_resamples: int = 10_000) -> Slopes:
    """Each prompt's dose-response as one number, beside the controls'."""
    pushes, chosen = np.array(sweep.pushes), list(sweep.reporting)
    shifts = np.stack([sweep.shifts_at(layer, push) for push in sweep.pushes], axis=-1)
    by_prompt = slope(pushes, shifts)
    controls = sweep.controls_at(layer)

    def mean_slopes(shifts: Float[np.ndarray, "control push prompt"]) -> tuple[float, ...]:
        return tuple(slope(pushes, shifts.mean(axis=-1)).tolist())

    return Slopes(
        by_prompt={i: float(by_prompt[i]) for i in chosen},
        mean=_over_prompts(sweep, by_prompt, n_resamples),
        wrong_share=accuracy_estimate(by_prompt[chosen] < 0, _apart(sweep, chosen, n_resamples)),
        random=mean_slopes(controls.random),
        shuffled=mean_slopes(controls.shuffled),
    )


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
            None if slopes is None else _over_prompts(sweep, slopes, n_resamples)
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
    own = unsteered_perplexity(sweep)
    coherent: dict[tuple[int, float], list[bool]] = {}
    for text in sweep.texts:
        coherent.setdefault(text.setting, []).append(text.coherence.coherent(own))
    points = []
    for layer, alpha in product(sweep.layers, sweep.alphas):
        texts = coherent.get((layer, alpha))
        correct = sweep.damage.correct[layer][sweep.alpha_index(alpha)]
        points.append(
            FrontierPoint(
                layer=layer,
                alpha=alpha,
                effect=effect(sweep, layer, alpha, n_resamples=n_resamples),
                loss_increase=loss_increase(sweep, layer, alpha, n_resamples=n_resamples),
                accuracy=accuracy_estimate(
                    correct, _apart(sweep, range(len(correct)), n_resamples)
                ),
                coherent_share=float(np.mean(texts)) if texts else None,
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
    return _over_prompts(sweep, sweep.instruction, n_resamples)


def unsteered_perplexity(sweep: SteeringSweep) -> float:
    """Median perplexity of the texts at alpha 0: what the model's own texts are like."""
    own = [t.coherence.perplexity for t in sweep.texts if t.completion.alpha == 0]
    known = [perplexity for perplexity in own if perplexity is not None]
    return float(np.median(known)) if known else float("inf")


def slope(
    alphas: Float[np.ndarray, "alpha"], shifts: Float[np.ndarray, "*batch alpha"]
) -> Float[np.ndarray, "*batch"]:
    """Least-squares slope through the origin of shift on alpha."""
    return cast(np.ndarray, (shifts * alphas).sum(axis=-1) / (alphas**2).sum())


def _over_prompts(
    sweep: SteeringSweep,
    values: Float[np.ndarray, "prompt"],
    n_resamples: int,
    prompts: Sequence[int] | None = None,
) -> Estimate:
    """Mean over some prompts (those for reporting), resampled within scenarios."""
    chosen = list(sweep.reporting if prompts is None else prompts)
    scenarios = [sweep.prompts[i].scenario_id for i in chosen]
    groups = [f"{name}/{i}" for name, i in zip(scenarios, chosen, strict=True)]
    design = Design.within(groups, scenarios, seed=sweep.seed, n_resamples=n_resamples)
    return _mean(values[chosen], design)


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


def _mean(values: Float[np.ndarray, "item"], design: Design) -> Estimate:
    centre, spread = float(values.mean()), float(np.ptp(values))
    if spread <= 1e-9 * max(1.0, abs(centre)):
        # Alpha 0 against itself: there is nothing to resample.
        n_groups = len(set(design.groups))
        return Estimate(
            centre, centre, centre, 0.95, len(values), n_groups, "exact", seed=design.seed
        )
    return mean_estimate(values, design)
