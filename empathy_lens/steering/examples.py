"""Steering's results as they are stored: side-by-side texts, and what the sweep shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..evidence.rubric import JudgeQuality
from ..types import Concept, Estimate, Optionally
from .analysis import (
    Asymmetry,
    ControlSlopes,
    FrontierPoint,
    RandomSlopes,
    asymmetry,
    dose_response,
    frontier,
    instruction_effect,
    slopes,
)
from .controls import MAX_PERPLEXITY_RATIO, MAX_REPETITION, MIN_WORDS, Coherence
from .measured import SteeredText, SteeringSweep
from .movement import Movement, movement
from .recommend import ENOUGH_BEYOND, Recommendation, Side, recommendations
from .scoring import INSTRUCTION

ALPHAS = (-8.0, -4.0, -2.0, 0.0, 2.0, 4.0, 8.0)
CONTROL_ALPHAS: Literal["furthest"] = "furthest"
"""Controls cost most of a sweep, and beyond the damage bound nothing is claimed of them."""
EXAMPLE_SCENARIOS = ("food_delivery", "the_listener", "the_protector")
COHERENT = (
    f"at least {MIN_WORDS} words, at most {100 * MAX_REPETITION:.0f}% of its word triples "
    "repeated, and a perplexity under the unsteered model at most "
    f"{MAX_PERPLEXITY_RATIO:g} times that of unsteered texts"
)
RULE = (
    "The action log-odds move the way alpha points, further than under 95% of random directions of "
    f"equal norm with the same alpha, and the text is coherent: {COHERENT}."
)


def moved_rule(concept: Concept) -> str:
    """What counts as moved, in the words of the concept's data."""
    return (
        f"The local judge finds the text more (alpha > 0) or less (alpha < 0) {concept.positive} "
        "than the unsteered one of the same prompt and seed. The stricter count also wants it "
        "coherent."
    )


@dataclass(frozen=True)
class SteeredExample:
    """A text written under steering. ``shift`` of the action log-odds in nats per token;
    ``judged`` 0 (the concept's negative pole) to 1, ``moved`` whether that moved the way alpha
    points, ``success`` by :data:`RULE`; None where it does not apply."""

    scenario_id: str
    prompt: str
    alpha: float
    seed: int
    completion: str
    finished: bool
    coherence: Coherence
    repetition: float
    coherent: bool
    judged: float | None
    moved: bool | None
    action_log_odds: float
    shift: float
    success: bool | None


@dataclass(frozen=True)
class DosePoint:
    """The mean shift of the log-odds at one strength."""

    alpha: float
    shift: Estimate


@dataclass(frozen=True)
class PromptSlope:
    """Shift per unit of alpha of one prompt, by its index."""

    scenario_id: str
    prompt: int
    slope: float


@dataclass(frozen=True)
class Instruction:
    """A plain instruction instead of steering, and what it shifts."""

    text: str
    shift: Estimate


@dataclass(frozen=True)
class PromptCounts:
    """Prompts that settings are chosen on, and those that they are reported on."""

    choosing: int
    reporting: int


@dataclass(frozen=True)
class SteeringResults:
    """The content of ``steering_examples.json`` and ``steering_sweep.json``.

    ``examples``, ``dose_response`` and the slopes are those of ``layer``; ``frontier`` and
    ``recommendation`` (by "adding" and "removing") speak of all layers swept. Whether the direction
    moves behaviour is judged by ``moves``, prompt by prompt (None in files older than it, and where
    the damage bound leaves no strength on one side); ``successes`` of ``out_of`` describe the
    texts written, several to a prompt, and test nothing.
    """

    layer: int
    raw_norm: float
    layers: tuple[int, ...]
    alphas: tuple[float, ...]
    prompts: PromptCounts
    examples: tuple[SteeredExample, ...]
    dose_response: tuple[DosePoint, ...]
    prompt_slopes: tuple[PromptSlope, ...]
    log_odds_slope: Mapping[str, float]
    mean_slope: float
    slope: Estimate
    wrong_share: Estimate
    random: RandomSlopes
    shuffled: ControlSlopes
    instruction: Instruction
    asymmetry: Asymmetry
    frontier: tuple[FrontierPoint, ...]
    recommendation: Mapping[Side, Recommendation | None]
    judge: JudgeQuality | None
    judged: int
    moved: int
    moved_and_coherent: int
    moved_rule: str
    successes: int
    out_of: int
    rule: str
    moves: Optionally[Movement] = None


def sweep_summary(
    sweep: SteeringSweep,
    layer: int,
    *,
    judge: JudgeQuality | None = None,
    n_resamples: int = 10_000,
) -> SteeringResults:
    """Figures and texts of a sweep, with the details of one layer.

    The score of steered play has a file of its own (``games.steered_play``).
    """
    examples = tuple(_example(sweep, t) for t in sweep.texts if t.completion.layer == layer)
    fitted = slopes(sweep, layer, n_resamples=n_resamples)
    tried = [e for e in examples if e.success is not None]
    judged = [e for e in examples if e.moved is not None]
    doses = dose_response(sweep, layer, n_resamples=n_resamples)
    return SteeringResults(
        layer=layer,
        raw_norm=sweep.directions[layer].raw_norm,
        layers=sweep.layers,
        alphas=sweep.alphas,
        prompts=PromptCounts(len(sweep.choosing), len(sweep.reporting)),
        examples=examples,
        dose_response=tuple(DosePoint(alpha, shift) for alpha, shift in doses.items()),
        prompt_slopes=tuple(
            PromptSlope(sweep.prompts[i].scenario_id, i, s) for i, s in fitted.by_prompt.items()
        ),
        log_odds_slope=_by_scenario(sweep, fitted.by_prompt),
        mean_slope=fitted.mean.value,
        slope=fitted.mean,
        wrong_share=fitted.wrong_share,
        random=fitted.random,
        shuffled=fitted.shuffled,
        instruction=Instruction(INSTRUCTION, instruction_effect(sweep, n_resamples=n_resamples)),
        asymmetry=asymmetry(sweep, layer, n_resamples=n_resamples),
        frontier=tuple(frontier(sweep, n_resamples=n_resamples)),
        recommendation=recommendations(sweep, n_resamples=n_resamples),
        judge=judge,
        judged=len(judged),
        moved=sum(e.moved is True for e in judged),
        moved_and_coherent=sum(e.moved is True and e.coherent for e in judged),
        moved_rule=moved_rule(sweep.directions[layer].concept),
        successes=sum(e.success is True for e in tried),
        out_of=len(tried),
        rule=RULE,
        moves=movement(sweep, layer, n_resamples=n_resamples),
    )


def _by_scenario(sweep: SteeringSweep, slopes: Mapping[int, float]) -> dict[str, float]:
    of_scenario: dict[str, list[float]] = {}
    for prompt, value in slopes.items():
        of_scenario.setdefault(sweep.prompts[prompt].scenario_id, []).append(value)
    return {name: float(np.mean(values)) for name, values in of_scenario.items()}


def _example(sweep: SteeringSweep, text: SteeredText) -> SteeredExample:
    completion, (layer, alpha) = text.completion, text.setting
    log_odds = sweep.log_odds[sweep.layer_index(layer), sweep.alpha_index(alpha)]
    shift = float(sweep.shifts_at(layer, alpha)[text.prompt_index])
    coherent = sweep.coherent(text)
    sign = float(np.sign(alpha))
    random = sweep.controls_at(layer).random
    success = None
    if alpha in sweep.pushes and text.prompt_index in sweep.reporting and len(random):
        null = random[:, sweep.pushes.index(alpha), sweep.reporting.index(text.prompt_index)]
        beyond_random = (sign * null < sign * shift).mean() >= ENOUGH_BEYOND
        success = bool(sign * shift > 0 and beyond_random and coherent)
    return SteeredExample(
        scenario_id=completion.scenario_id,
        prompt=completion.prompt,
        alpha=alpha,
        seed=completion.seed,
        completion=completion.text,
        finished=completion.finished,
        coherence=text.coherence,
        repetition=round(text.coherence.repetition, 4),
        coherent=coherent,
        judged=text.judged,
        moved=_moved(sweep, text, sign),
        action_log_odds=float(log_odds[text.prompt_index]),
        shift=shift,
        success=success,
    )


def _moved(sweep: SteeringSweep, text: SteeredText, sign: float) -> bool | None:
    """Whether the judge finds the text moved from its unsteered twin the way alpha points."""
    if not sign or text.judged is None:
        return None
    twin = (text.prompt_index, text.completion.seed, (text.completion.layer, 0.0))
    (unsteered,) = (
        t.judged for t in sweep.texts if (t.prompt_index, t.completion.seed, t.setting) == twin
    )
    assert unsteered is not None
    return bool(sign * (text.judged - unsteered) > 0)
