"""Do projections predict Empathy-in-Action scores? Correlation with rubric scores 0, 1, 2."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from .. import stats
from ..errors import DegenerateDataError, InputError
from ..types import Estimate, RubricCompletion
from ..validation import usable_strata

__all__ = ["RubricPrediction", "ScenarioPrediction", "predict_rubric"]


@dataclass(frozen=True)
class ScenarioPrediction:
    """One scenario: rank correlation (None where it cannot be had) and mean score by rubric."""

    spearman: Estimate | None
    n: int
    mean_by_score: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        spearman = None if self.spearman is None else self.spearman.to_dict()
        return {"spearman": spearman, "n": self.n, "mean_by_score": self.mean_by_score}


@dataclass(frozen=True)
class RubricPrediction:
    """Correlations in [-1, 1] (positive = more empathic acts project higher), each with p.

    ``partial`` is the rank correlation given the text's length in words and its scenario, None
    where those leave nothing to correlate.
    ``binary_accuracy`` is the share of score-2 and score-0 completions on their own side of the
    direction's training threshold; score-1 completions take no part in it.
    """

    pearson: Estimate
    spearman: Estimate
    kendall: Estimate
    partial: Estimate | None
    binary_accuracy: Estimate
    per_scenario: dict[str, ScenarioPrediction]

    def to_dict(self) -> dict[str, Any]:
        return {
            "pearson": self.pearson.to_dict(),
            "spearman": self.spearman.to_dict(),
            "kendall": self.kendall.to_dict(),
            "partial": self.partial and self.partial.to_dict(),
            "binary_accuracy": self.binary_accuracy.to_dict(),
            "per_scenario": {k: v.to_dict() for k, v in self.per_scenario.items()},
        }


def predict_rubric(
    scores: Float[np.ndarray, "item"],
    completions: Sequence[RubricCompletion],
    *,
    seed: int = 0,
    n_resamples: int = 10_000,
) -> RubricPrediction:
    """How well ``validation.scores`` of completions (0 = on the threshold) follow the rubric.

    Situations are resampled whole, within scenarios; p-values permute scores among the
    completions of a situation, so that differences between situations cannot make an effect.
    Raises DegenerateDataError with fewer than three situations or constant scores.
    """
    if len(scores) != len(completions):
        raise InputError(f"expected a score for each of {len(completions)} completions")
    rubric = np.array([c.score for c in completions], dtype=np.float64)
    groups = [c.group for c in completions]
    scenario_ids = [c.scenario_id for c in completions]
    several = len(set(groups)) < len(groups)
    options: dict[str, Any] = {"seed": seed, "n_resamples": n_resamples}
    strata = usable_strata(groups, scenario_ids)
    exchange: dict[str, Any] = {"exchange": "within" if several else "groups"}
    extreme = rubric != 1
    kept = [g for g, keep in zip(groups, extreme, strict=True) if keep]
    kept_scenarios = [s for s, keep in zip(scenario_ids, extreme, strict=True) if keep]
    return RubricPrediction(
        pearson=stats.pearson(scores, rubric, groups, strata=strata, **exchange, **options),
        spearman=stats.spearman(scores, rubric, groups, strata=strata, **exchange, **options),
        kendall=stats.kendall(scores, rubric, groups, strata=strata, **exchange, **options),
        partial=_given_length_and_scenario(
            scores, rubric, completions, groups, strata=strata, **exchange, **options
        ),
        binary_accuracy=stats.accuracy_estimate(
            (scores[extreme] > 0) == (rubric[extreme] == 2),
            kept,
            strata=usable_strata(kept, kept_scenarios),
            **options,
        ),
        per_scenario={
            scenario_id: _scenario(
                np.array([s == scenario_id for s in scenario_ids]),
                scores,
                rubric,
                groups,
                exchange | options,
            )
            for scenario_id in dict.fromkeys(scenario_ids)
        },
    )


def _given_length_and_scenario(
    scores: Float[np.ndarray, "item"],
    rubric: Float[np.ndarray, "item"],
    completions: Sequence[RubricCompletion],
    groups: Sequence[str],
    **options: Any,
) -> Estimate | None:
    length = np.array([len(c.text.split()) for c in completions], dtype=np.float64)
    given = np.column_stack([length, stats.dummies([c.scenario_id for c in completions])])
    try:
        return stats.partial_correlation(scores, rubric, given, groups, **options)
    except DegenerateDataError:
        return None


def _scenario(
    mask: np.ndarray,
    scores: np.ndarray,
    rubric: np.ndarray,
    groups: Sequence[str],
    options: dict[str, Any],
) -> ScenarioPrediction:
    x, y = scores[mask], rubric[mask]
    inside = [g for g, keep in zip(groups, mask, strict=True) if keep]
    try:
        spearman = stats.spearman(x, y, inside, **options)
    except DegenerateDataError:
        spearman = None
    means = {str(int(s)): float(x[y == s].mean()) for s in np.unique(y)}
    return ScenarioPrediction(spearman=spearman, n=int(mask.sum()), mean_by_score=means)
