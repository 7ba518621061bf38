"""The content of ``steering_examples.json``: side-by-side texts, and what the sweep shows."""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import Any

import numpy as np

from ..judges import JudgeQuality
from ..types import Estimate
from .analysis import (
    asymmetry,
    dose_response,
    frontier,
    instruction_effect,
    setting_of,
    slopes,
    unsteered_perplexity,
)
from .coherence import MAX_PERPLEXITY_RATIO, MAX_REPETITION, MIN_WORDS
from .log_odds import INSTRUCTION
from .recommend import Recommendation, recommendations, within_bounds
from .sweep import SteeredText, SteeringSweep

__all__ = ["ALPHAS", "CONTROL_ALPHAS", "EXAMPLE_SCENARIOS", "sweep_summary"]

ALPHAS = (-8.0, -4.0, -2.0, 0.0, 2.0, 4.0, 8.0)
CONTROL_ALPHAS = (-8.0, -4.0, 4.0, 8.0)
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
MOVED_RULE = (
    "The local judge finds the text more (alpha > 0) or less (alpha < 0) empathic than the "
    "unsteered one of the same prompt and seed. The stricter count also wants it coherent."
)


def sweep_summary(
    sweep: SteeringSweep,
    layer: int,
    *,
    judge: JudgeQuality | None = None,
    n_resamples: int = 10_000,
) -> dict[str, Any]:
    """Figures and texts of a sweep, JSON-like, with the details of one layer.

    ``examples`` holds that layer's texts; ``frontier`` and ``recommendation`` speak of all layers
    swept. The EIA score of steered play has a file of its own (``eia.steered_play``).
    """
    options: dict[str, Any] = {"n_resamples": n_resamples}
    controls = sweep.controls_at(layer)
    examples = [_example(sweep, t) for t in sweep.texts if setting_of(t)[0] == layer]
    found = slopes(sweep, layer, **options)
    judged = [e for e in examples if e["success"] is not None]
    moved = [e for e in examples if e["moved"] is not None]
    return {
        "layer": layer,
        "raw_norm": sweep.directions[layer].raw_norm,
        "layers": list(sweep.layers),
        "alphas": list(sweep.alphas),
        "prompts": {"choosing": len(sweep.choosing), "reporting": len(sweep.reporting)},
        "examples": examples,
        "dose_response": [
            {"alpha": alpha, "shift": shift.to_dict()}
            for alpha, shift in dose_response(sweep, layer, **options).items()
        ],
        "prompt_slopes": [
            {"scenario_id": sweep.prompts[i].scenario_id, "prompt": i, "slope": s}
            for i, s in found.by_prompt.items()
        ],
        "log_odds_slope": _by_scenario(sweep, found.by_prompt),
        "mean_slope": found.mean.value,
        "slope": found.mean.to_dict(),
        "wrong_share": found.wrong_share.to_dict(),
        "random": _controls(sweep, controls.random, found.random)
        | {"share_below": found.share_below, "p": found.p},
        "shuffled": _controls(sweep, controls.shuffled, found.shuffled)
        | {"share_below": found.shuffled_share_below},
        "instruction": {
            "text": INSTRUCTION,
            "shift": instruction_effect(sweep, **options).to_dict(),
        },
        "asymmetry": _plain(asymmetry(sweep, layer, **options)),
        "frontier": [
            _plain(point) | {"within": within_bounds(sweep, point.layer, point.alpha)}
            for point in frontier(sweep, **options)
        ],
        "recommendation": {
            towards: _recommended(answer)
            for towards, answer in recommendations(sweep, **options).items()
        },
        "judge": None if judge is None else judge.to_dict(),
        "judged": len(moved),
        "moved": sum(e["moved"] for e in moved),
        "moved_and_coherent": sum(e["moved"] and e["coherent"] for e in moved),
        "moved_rule": MOVED_RULE,
        "successes": sum(e["success"] for e in judged),
        "out_of": len(judged),
        "rule": RULE,
    }


def _by_scenario(sweep: SteeringSweep, slopes: dict[int, float]) -> dict[str, float]:
    gathered: dict[str, list[float]] = {}
    for prompt, value in slopes.items():
        gathered.setdefault(sweep.prompts[prompt].scenario_id, []).append(value)
    return {name: float(np.mean(values)) for name, values in gathered.items()}


def _example(sweep: SteeringSweep, text: SteeredText) -> dict[str, Any]:
    completion, controls = text.completion, sweep.controls_at(text.completion.layer)
    row, at = sweep.layer_index(completion.layer), sweep.alpha_index(completion.alpha)
    shift = float(sweep.shifts[row, at, text.prompt_index])
    coherent = text.coherence.coherent(unsteered_perplexity(sweep))
    sign = float(np.sign(completion.alpha))
    success = None
    if (
        completion.alpha in sweep.pushes
        and text.prompt_index in sweep.reporting
        and len(controls.random)
    ):
        push = sweep.pushes.index(completion.alpha)
        null = controls.random[:, push, sweep.reporting.index(text.prompt_index)]
        beyond_random = (sign * null < sign * shift).mean() >= 0.95
        success = bool(sign * shift > 0 and beyond_random and coherent)
    return {
        "scenario_id": completion.scenario_id,
        "prompt": completion.prompt,
        "alpha": completion.alpha,
        "seed": completion.seed,
        "completion": completion.text,
        "finished": completion.finished,
        "coherence": text.coherence.to_dict(),
        "repetition": round(text.coherence.repetition, 4),
        "coherent": coherent,
        "judged": text.judged,
        "moved": _moved(sweep, text, sign),
        "action_log_odds": float(sweep.log_odds[row, at, text.prompt_index]),
        "shift": shift,
        "success": success,
    }


def _moved(sweep: SteeringSweep, text: SteeredText, sign: float) -> bool | None:
    """Whether the judge finds the text moved from its unsteered twin the way alpha points."""
    if not sign or text.judged is None:
        return None
    mine = text.completion
    twin = next(
        t
        for t in sweep.texts
        if setting_of(t) == (mine.layer, 0.0)
        and (t.prompt_index, t.completion.seed) == (text.prompt_index, mine.seed)
    )
    assert twin.judged is not None
    return bool(sign * (text.judged - twin.judged) > 0)


def _controls(
    sweep: SteeringSweep, shifts: np.ndarray, mean_slopes: tuple[float, ...]
) -> dict[str, Any]:
    """Mean slopes of control directions, and the band that holds 95% of their mean shifts."""
    if not len(shifts):
        return {"n": 0, "mean_slopes": [], "by_alpha": {}}
    low, high = np.quantile(shifts.mean(axis=-1), (0.025, 0.975), axis=0)
    return {
        "n": len(shifts),
        "mean_slopes": list(mean_slopes),
        "by_alpha": {
            str(a): {"low": float(x), "high": float(y)}
            for a, x, y in sorted(
                [*zip(sweep.pushes, low, high, strict=True), (0.0, 0.0, 0.0)],
            )
        },
    }


def _recommended(found: Recommendation | None) -> dict[str, Any] | None:
    return None if found is None else _plain(found) | {"works": found.works, "text": str(found)}


def _plain(value: Any) -> Any:
    """Dataclasses and Estimates as dictionaries."""
    if isinstance(value, Estimate):
        return value.to_dict()
    if is_dataclass(value) and not isinstance(value, type):
        return {name: _plain(item) for name, item in vars(value).items()}
    return list(value) if isinstance(value, tuple) else value
