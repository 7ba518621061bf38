"""Side-by-side steered texts with a success rule that chance and gibberish do not meet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from jaxtyping import Float

from .activations import Progress
from .errors import InputError
from .generate import generate_steered, repetition
from .steering import action_log_odds, random_shift_null
from .types import Direction, HookedModel, SteeringPrompt

__all__ = ["ALPHAS", "EXAMPLE_SCENARIOS", "MAX_REPETITION", "steering_examples"]

ALPHAS = (-2.0, -1.0, 0.0, 1.0, 2.0)
EXAMPLE_SCENARIOS = ("food_delivery", "the_listener", "the_protector")
MAX_REPETITION = 0.3
RULE = (
    "The action log-odds move the way alpha points, further than under 95% of random directions of "
    "equal norm with the same alpha, and the text has at least 10 words and repeats at most 30% of "
    "its word triples."
)


def steering_examples(
    model: HookedModel,
    direction: Direction,
    prompts: Sequence[SteeringPrompt],
    *,
    alphas: Sequence[float] = ALPHAS,
    scenario_ids: Sequence[str] = EXAMPLE_SCENARIOS,
    n_random: int = 20,
    max_new_tokens: int = 60,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Texts and action log-odds of each scenario and alpha, beside random directions.

    All alphas of a scenario share one sampling seed, so that texts differ by alpha alone. Gives
    the content of ``steering_examples.json``; ``RULE`` says what counts as a success.
    """
    if 0.0 not in alphas or len(alphas) < 2:
        raise InputError(f"alphas: expected 0 and at least one other, got {list(alphas)}")
    chosen = [p for p in prompts if p.scenario_id in scenario_ids] or list(prompts)
    pushes = [a for a in alphas if a != 0]
    ours, nulls = [], []
    for number, prompt in enumerate(chosen):
        odds = action_log_odds(model, prompt, [direction] * len(alphas), alphas)
        null = random_shift_null(model, prompt, direction, pushes, n=n_random, seed=seed + number)
        ours.append(odds)
        nulls.append(null - odds[list(alphas).index(0.0)])
        if progress is not None:
            progress(number + 1, len(chosen) + 1)
    rows = [(p, a, seed + i) for i, p in enumerate(chosen) for a in alphas]
    texts = generate_steered(
        model,
        [p.prompt for p, _, _ in rows],
        direction,
        [a for _, a, _ in rows],
        seeds=[s for _, _, s in rows],
        scenario_ids=[p.scenario_id for p, _, _ in rows],
        max_new_tokens=max_new_tokens,
    )
    if progress is not None:
        progress(len(chosen) + 1, len(chosen) + 1)
    odds_matrix = np.stack(ours)
    shifts = odds_matrix - odds_matrix[:, [list(alphas).index(0.0)]]
    examples = []
    for index, completion in enumerate(texts):
        row, column = divmod(index, len(alphas))
        alpha = alphas[column]
        example: dict[str, Any] = {
            "scenario_id": completion.scenario_id,
            "prompt": completion.prompt,
            "alpha": float(alpha),
            "seed": completion.seed,
            "completion": completion.text,
            "finished": completion.finished,
            "repetition": round(repetition(completion.text), 4),
            "action_log_odds": float(odds_matrix[row, column]),
            "shift": float(shifts[row, column]),
            "success": None,
        }
        if alpha != 0:
            null_shifts = nulls[row][:, pushes.index(alpha)]
            example["success"] = _succeeds(alpha, example, null_shifts)
        examples.append(example)
    slopes = _slopes(np.asarray(alphas), shifts)
    # The random shift at alpha 0 is 0 by definition; put it back before fitting slopes.
    null_shifts = np.stack([_with_zero(null, alphas) for null in nulls], axis=1)
    null_slopes = _slopes(np.asarray(alphas), null_shifts).mean(axis=1)
    judged = [e["success"] for e in examples if e["success"] is not None]
    return {
        "layer": direction.site.layer,
        "raw_norm": direction.raw_norm,
        "alphas": [float(a) for a in alphas],
        "examples": examples,
        "log_odds_slope": {p.scenario_id: float(s) for p, s in zip(chosen, slopes, strict=True)},
        "mean_slope": float(slopes.mean()),
        "random": {
            "n": n_random,
            "mean_slopes": [float(s) for s in null_slopes],
            "share_below": float((null_slopes < slopes.mean()).mean()),
            "by_alpha": {
                str(float(a)): {"low": float(low), "high": float(high)}
                for a, low, high in zip(
                    alphas,
                    *np.quantile(null_shifts.mean(axis=1), (0.025, 0.975), axis=0),
                    strict=True,
                )
            },
            "shifts": {
                p.scenario_id: {
                    str(float(a)): [float(x) for x in null[:, i]] for i, a in enumerate(pushes)
                }
                for p, null in zip(chosen, nulls, strict=True)
            },
        },
        "successes": sum(judged),
        "out_of": len(judged),
        "rule": RULE,
    }


def _succeeds(alpha: float, example: dict[str, Any], null_shifts: Float[np.ndarray, "n"]) -> bool:
    sign = np.sign(alpha)
    beyond_random = (sign * null_shifts < sign * example["shift"]).mean() >= 0.95
    coherent = example["repetition"] <= MAX_REPETITION and len(example["completion"].split()) >= 10
    return bool(sign * example["shift"] > 0 and beyond_random and coherent)


def _with_zero(
    shifts: Float[np.ndarray, "n push"], alphas: Sequence[float]
) -> Float[np.ndarray, "n alpha"]:
    return np.insert(shifts, list(alphas).index(0.0), 0.0, axis=1)


def _slopes(
    alphas: Float[np.ndarray, "alpha"], shifts: Float[np.ndarray, "*batch alpha"]
) -> Float[np.ndarray, "*batch"]:
    """Least-squares slope through the origin of shift on alpha."""
    return cast(np.ndarray, (shifts * alphas).sum(axis=-1) / (alphas**2).sum())
