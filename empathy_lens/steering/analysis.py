"""What a sweep says: dose-response, place among controls, slopes, asymmetry, frontier, success.

All effects are shifts of the action log-odds in nats per token, over the prompts for reporting
unless others are named; intervals resample situations within scenarios.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from jaxtyping import Float

from ..stats import Design, accuracy_estimate, mean_estimate, permutation_p
from ..types import Estimate
from .sweep import SteeredText, SteeringSweep

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
]


def effect(
    sweep: SteeringSweep,
    layer: int,
    alpha: float,
    *,
    prompts: Sequence[int] | None = None,
    n_resamples: int = 10_000,
) -> Estimate:
    """Mean shift of the log-odds at one strength."""
    chosen = list(sweep.reporting if prompts is None else prompts)
    shifts = sweep.shifts[sweep.layer_index(layer), sweep.alpha_index(alpha)]
    return _over_prompts(sweep, shifts[chosen], chosen, n_resamples)


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
    row, chosen = sweep.layer_index(layer), list(sweep.reporting)
    pushes = np.array(sweep.pushes)
    pushed = [sweep.alpha_index(a) for a in sweep.pushes]
    ours = slope(pushes, sweep.shifts[row][pushed][:, chosen].T)
    controls = sweep.controls_at(layer)

    def mean_slopes(shifts: Float[np.ndarray, "control push prompt"]) -> tuple[float, ...]:
        return tuple(slope(pushes, shifts.mean(axis=-1)).tolist())

    return Slopes(
        by_prompt=dict(zip(chosen, ours.tolist(), strict=True)),
        mean=_over_prompts(sweep, ours, chosen, n_resamples),
        wrong_share=accuracy_estimate(
            ours < 0,
            Design([f"prompt {i}" for i in chosen], seed=sweep.seed, n_resamples=n_resamples),
        ),
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
    chosen, alphas = list(sweep.reporting), np.array(sweep.alphas)
    shifts = sweep.shifts[sweep.layer_index(layer)][:, chosen]
    found = [
        slope(alphas[side], shifts[side].T) if side.any() else None
        for side in (alphas > 0, alphas < 0)
    ]

    def estimate(values: Float[np.ndarray, "prompt"] | None) -> Estimate | None:
        return None if values is None else _over_prompts(sweep, values, chosen, n_resamples)

    adding, removing = found
    both = None if adding is None or removing is None else adding - removing
    return Asymmetry(estimate(adding), estimate(removing), estimate(both))


@dataclass(frozen=True)
class FrontierPoint:
    """Effect and damage of one setting: what is gained, and what it costs.

    ``loss_increase`` in nats per token of neutral text; ``accuracy`` the share of plain questions
    answered rightly; ``coherent_share`` of the texts written (None: none were).
    """

    layer: int
    alpha: float
    effect: Estimate
    loss_increase: Estimate
    accuracy: Estimate
    coherent_share: float | None


def frontier(sweep: SteeringSweep, *, n_resamples: int = 10_000) -> list[FrontierPoint]:
    """Every setting with its effect and its damage."""
    points = []
    for layer in sweep.layers:
        for alpha in sweep.alphas:
            texts = [t for t in sweep.texts if setting_of(t) == (layer, alpha)]
            coherent = [t.coherence.coherent(unsteered_perplexity(sweep)) for t in texts]
            correct = sweep.damage.correct[layer][sweep.alpha_index(alpha)]
            points.append(
                FrontierPoint(
                    layer=layer,
                    alpha=alpha,
                    effect=effect(sweep, layer, alpha, n_resamples=n_resamples),
                    loss_increase=loss_increase(sweep, layer, alpha, n_resamples=n_resamples),
                    accuracy=accuracy_estimate(
                        correct,
                        Design(
                            [f"question {i}" for i in range(len(correct))],
                            seed=sweep.seed,
                            n_resamples=n_resamples,
                        ),
                    ),
                    coherent_share=float(np.mean(coherent)) if coherent else None,
                )
            )
    return points


def loss_increase(
    sweep: SteeringSweep,
    layer: int,
    alpha: float,
    *,
    texts: Sequence[int] | None = None,
    n_resamples: int = 10_000,
) -> Estimate:
    """Mean increase of the loss on neutral text against no steering, nats per token."""
    losses = sweep.damage.losses[layer]
    increase = losses[sweep.alpha_index(alpha)] - losses[sweep.zero]
    chosen = list(range(len(increase)) if texts is None else texts)
    groups = [f"text {i}" for i in chosen]
    return _mean(increase[chosen], Design(groups, seed=sweep.seed, n_resamples=n_resamples))


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
    change = correct[sweep.alpha_index(alpha)] - correct[sweep.zero]
    chosen = list(range(len(change)) if questions is None else questions)
    groups = [f"question {i}" for i in chosen]
    return _mean(change[chosen], Design(groups, seed=sweep.seed, n_resamples=n_resamples))


def instruction_effect(sweep: SteeringSweep, *, n_resamples: int = 10_000) -> Estimate:
    """Mean shift by a plain instruction instead of steering: the prompt baseline."""
    chosen = list(sweep.reporting)
    return _over_prompts(sweep, sweep.instruction[chosen], chosen, n_resamples)


def setting_of(text: SteeredText) -> tuple[int, float]:
    """The layer and strength that a text was written under."""
    return text.completion.layer, text.completion.alpha


def unsteered_perplexity(sweep: SteeringSweep) -> float:
    """Median perplexity of the texts at alpha 0: what the model's own texts are like."""
    own = [t.coherence.perplexity for t in sweep.texts if t.completion.alpha == 0]
    found = [p for p in own if p is not None]
    return float(np.median(found)) if found else float("inf")


def slope(
    alphas: Float[np.ndarray, "alpha"], shifts: Float[np.ndarray, "*batch alpha"]
) -> Float[np.ndarray, "*batch"]:
    """Least-squares slope through the origin of shift on alpha."""
    return cast(np.ndarray, (shifts * alphas).sum(axis=-1) / (alphas**2).sum())


def _over_prompts(
    sweep: SteeringSweep,
    values: Float[np.ndarray, "prompt"],
    chosen: Sequence[int],
    n_resamples: int,
) -> Estimate:
    scenarios = [sweep.prompts[i].scenario_id for i in chosen]
    groups = [f"{name}/{i}" for name, i in zip(scenarios, chosen, strict=True)]
    return _mean(values, Design.within(groups, scenarios, seed=sweep.seed, n_resamples=n_resamples))


def _mean(values: Float[np.ndarray, "item"], design: Design) -> Estimate:
    centre, spread = float(values.mean()), float(np.ptp(values))
    if spread <= 1e-9 * max(1.0, abs(centre)):
        # Alpha 0 against itself: there is nothing to resample.
        n_groups = len(set(design.groups))
        return Estimate(
            centre, centre, centre, 0.95, len(values), n_groups, "exact", seed=design.seed
        )
    return mean_estimate(values, design)
