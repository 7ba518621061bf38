"""Which layer, which strength? Chosen on some prompts and texts, reported on others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from math import inf
from typing import Literal

import numpy as np

from ..errors import InputError
from ..types import Estimate
from .analysis import (
    MAX_ACCURACY_DROP,
    MAX_LOSS_INCREASE,
    accuracy_change,
    effect,
    instruction_effect,
    loss_increase,
    within_bounds,
)
from .measured import SteeringSweep

Side = Literal["adding", "removing"]
SIGNS: dict[Side, float] = {"adding": 1.0, "removing": -1.0}

ENOUGH_BEYOND = 0.95


@dataclass(frozen=True)
class Recommendation:
    """The setting to use, and what to expect of it on prompts it was not chosen on.

    ``alphas`` is the range (nearest to 0, furthest) in which damage stayed within bounds and the
    effect was at least half of that at ``alpha``, the best. ``effect`` and ``instruction`` (a
    plain request instead) are shifts in nats per token, ``loss_increase`` nats per token of
    neutral text, ``accuracy_change`` a difference of shares. ``share_beyond`` is the share of
    random directions at that setting that move the choice less far the way asked (None where
    the layer has no controls). ``works``: the effect excludes 0 the way asked and exceeds 95% of
    random directions; ``text`` says all of it in words.
    """

    layer: int
    alpha: float
    alphas: tuple[float, float]
    effect: Estimate
    loss_increase: Estimate
    accuracy_change: Estimate
    share_beyond: float | None
    shuffled_share_beyond: float | None
    instruction: Estimate
    n_choosing: int
    n_reporting: int
    held_out: bool
    works: bool
    text: str

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why it is not shown to work; empty where it is."""
        certain = self.effect.low if self.alpha > 0 else -self.effect.high
        doubts = [] if certain > 0 else ["the interval does not exclude 0"]
        if self.share_beyond is None:
            doubts.append("it was not compared with random directions")
        elif self.share_beyond < ENOUGH_BEYOND:
            share = 100 * (1 - self.share_beyond)
            doubts.append(f"{share:.0f}% of random directions of equal norm do as much")
        return tuple(doubts)

    def __str__(self) -> str:
        return self.text


def _in_words(r: Recommendation) -> str:
    low, high = sorted(r.alphas)
    strengths = f"{low:g}" if low == high else f"{low:g} to {high:g} (best {r.alpha:g})"
    verdict = (
        f"Not shown to work: {' and '.join(r.doubts)}."
        if r.doubts
        else f"It works by these measures, beyond {100 * (r.share_beyond or 0):.0f}% of "
        "random directions."
    )
    return (
        f"layer {r.layer}, alpha {strengths}: the log-odds shift by {r.effect} nats per "
        f"token (a plain instruction instead: {r.instruction}); the loss on neutral text "
        f"changes by {r.loss_increase}, the share of plain questions answered rightly by "
        f"{r.accuracy_change}. {verdict}"
    )


def recommend(
    sweep: SteeringSweep,
    *,
    towards: Side = "adding",
    max_loss_increase: float = MAX_LOSS_INCREASE,
    max_accuracy_drop: float = MAX_ACCURACY_DROP,
    n_resamples: int = 10_000,
) -> Recommendation | None:
    """The setting with the largest effect whose damage stays within bounds, or None.

    Chosen on the sweep's prompts for choosing and every second neutral text and question; all
    figures come from the others. ``towards`` "adding" looks at positive alphas and wants a
    positive shift, "removing" the opposite; strengths without controls are not considered. None
    where no setting within the bounds moves the choice the way asked. Raises InputError where no
    such alpha was swept.
    """
    if towards not in SIGNS:
        raise InputError(f"towards: expected adding or removing, got {towards!r}")
    sign = SIGNS[towards]
    alphas = sorted((a for a in sweep.pushes if sign * a > 0), key=abs)
    if not alphas:
        raise InputError(f"no alpha for {towards} was swept; swept: {list(sweep.pushes)}")
    within = partial(
        within_bounds,
        sweep,
        max_loss_increase=max_loss_increase,
        max_accuracy_drop=max_accuracy_drop,
    )
    moved: dict[tuple[int, float], float] = {}
    for layer in sweep.layers:
        for alpha in takewhile(partial(within, layer), alphas):
            shifts = sweep.shifts_at(layer, alpha)[list(sweep.choosing)]
            moved[layer, alpha] = sign * float(shifts.mean())
    best = max(moved, key=moved.__getitem__, default=None)
    if best is None or moved[best] <= 0:
        return None
    useful = [a for a in alphas if moved.get((best[0], a), -inf) >= moved[best] / 2]
    return _report(sweep, *best, (useful[0], useful[-1]), sign, n_resamples)


def recommendations(
    sweep: SteeringSweep, *, n_resamples: int = 10_000
) -> dict[Side, Recommendation | None]:
    """:func:`recommend` for each side that was swept."""
    return {
        towards: recommend(sweep, towards=towards, n_resamples=n_resamples)
        for towards, sign in SIGNS.items()
        if any(sign * push > 0 for push in sweep.pushes)
    }


def _report(
    sweep: SteeringSweep,
    layer: int,
    alpha: float,
    alphas: tuple[float, float],
    sign: float,
    n_resamples: int,
) -> Recommendation:
    push, controls = sweep.pushes.index(alpha), sweep.controls_at(layer)
    shift = effect(sweep, layer, alpha, n_resamples=n_resamples)
    n_texts = sweep.damage.losses[layer].shape[1]
    n_questions = sweep.damage.correct[layer].shape[1]

    def beyond(shifts: np.ndarray) -> float | None:
        if not len(shifts):
            return None
        return float((sign * shifts[:, push].mean(axis=-1) < sign * shift.value).mean())

    answer = Recommendation(
        layer=layer,
        alpha=alpha,
        alphas=alphas,
        effect=shift,
        loss_increase=loss_increase(
            sweep, layer, alpha, texts=range(1, n_texts, 2), n_resamples=n_resamples
        ),
        accuracy_change=accuracy_change(
            sweep, layer, alpha, questions=range(1, n_questions, 2), n_resamples=n_resamples
        ),
        share_beyond=beyond(controls.random),
        shuffled_share_beyond=beyond(controls.shuffled),
        instruction=instruction_effect(sweep, n_resamples=n_resamples),
        n_choosing=len(sweep.choosing),
        n_reporting=len(sweep.reporting),
        held_out=not set(sweep.choosing) & set(sweep.reporting),
        works=False,
        text="",
    )
    return replace(answer, works=not answer.doubts, text=_in_words(answer))
