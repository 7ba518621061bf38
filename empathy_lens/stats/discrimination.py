"""How well scores tell two classes apart: AUROC, Cohen's d, accuracy, and a plain mean."""

from collections.abc import Callable
from typing import cast

import numpy as np
from jaxtyping import Bool, Float, Real
from scipy.stats import rankdata

from ..errors import DegenerateDataError, InputError
from ..types import Estimate
from .groups import Design, Groups, as_labels, as_scores, nested_codes
from .resampling import bootstrap


def auroc(
    scores: Real[np.ndarray, "*batch item"], labels: Bool[np.ndarray, "item"]
) -> Float[np.ndarray, "*batch"]:
    """Probability that a random positive item scores above a random negative one, in [0, 1].

    Ties count half (Mann-Whitney U / (n_pos n_neg); Hanley & McNeil 1982), so the value
    equals ``sklearn.metrics.roc_auc_score``. 0.5 is chance; below it the sign is reversed.
    Raises DegenerateDataError where a class is absent, InputError on NaN or infinity.
    """
    values = as_scores(scores)
    positive = as_labels(labels, values.shape[-1])
    n_pos = int(positive.sum())
    ranks = rankdata(values, axis=-1)
    u = ranks[..., positive].sum(axis=-1) - n_pos * (n_pos + 1) / 2
    return np.asarray(u / (n_pos * (len(positive) - n_pos)))


def auroc_estimate(
    scores: Real[np.ndarray, "*layer item"],
    labels: Bool[np.ndarray, "item"],
    design: Design,
    *,
    null: float | None = None,
) -> Estimate | list[Estimate]:
    """AUROC with its cluster-bootstrap interval; a list, one a layer, for 2-D scores.

    All layers see the same resamples. Where all
    resamples agree (AUROC 1.0 or 0.0) the interval is the exact bound for as many
    independent comparisons as can be formed from distinct groups: 40 perfect pairs allow
    20, and say [0.83, 1.00]. One pair with its sides exchanged spoils two comparisons,
    which is why it is not 40. With ``null`` (0.5 is chance) each estimate has a two-sided ``p``,
    the interval inverted.

    Raises DegenerateDataError for one class, constant scores or fewer than three groups.
    """
    values, positive = _scored(scores, labels, design.groups)
    return bootstrap(
        _weighted_auroc(values, positive),
        design,
        bounds=(0.0, 1.0),
        n_trials=_n_disjoint_comparisons(positive, design.groups),
        null=null,
    )


def auroc_difference(
    scores_a: Real[np.ndarray, "item"],
    scores_b: Real[np.ndarray, "item"],
    labels: Bool[np.ndarray, "item"],
    design: Design,
) -> Estimate:
    """AUROC of a minus AUROC of b on the same items, in [-1, 1]; positive = a is better.

    Both see the same resamples, so what they share cancels. ``p`` tests "no difference",
    two-sided, by inverting the bootstrap interval. DeLong et al. (1988) give the variance
    for independent items; here items come in groups, for which it would be too small.
    """
    values_a, positive = _scored(scores_a, labels, design.groups, "scores_a")
    values_b, _ = _scored(scores_b, labels, design.groups, "scores_b")
    if values_a.ndim != 1 or values_b.ndim != 1:
        raise InputError(
            f"auroc_difference: expected one score an item, got shapes {values_a.shape} and "
            f"{values_b.shape}"
        )
    both = _weighted_auroc(np.stack([values_a, values_b]), positive)

    def difference(weights: np.ndarray) -> np.ndarray:
        pair = both(weights)
        return pair[:, 0] - pair[:, 1]

    estimate = bootstrap(
        difference,
        design,
        bounds=(-1.0, 1.0),
        n_trials=_n_disjoint_comparisons(positive, design.groups),
        null=0.0,
    )
    return cast(Estimate, estimate)


def separation_estimate(
    scores: Real[np.ndarray, "*layer item"],
    labels: Bool[np.ndarray, "item"],
    design: Design,
) -> Estimate | list[Estimate]:
    """Cohen's d: positive mean minus negative mean, in pooled standard deviations.

    Unbounded; positive = positives score higher; the pooled variance has n - 2 in its
    denominator (Cohen 1988, sec. 2.5). Resampled by group; a list for 2-D scores.
    Raises DegenerateDataError where no class varies.
    """
    values, positive = _scored(scores, labels, design.groups)
    rows = np.atleast_2d(values)
    centred = rows - rows.mean(axis=-1, keepdims=True)

    def cohens_d(weights: np.ndarray) -> np.ndarray:
        means, squares, total = [], 0.0, 0.0
        for side in (positive, ~positive):
            w, x = weights[:, side], centred[:, side].T
            n = w.sum(axis=1, keepdims=True)
            with np.errstate(invalid="ignore", divide="ignore"):
                mean = (w @ x) / n
            means.append(mean)
            squares = squares + w @ x**2 - n * mean**2
            total = total + n
        with np.errstate(invalid="ignore", divide="ignore"):
            pooled = np.sqrt(np.maximum(squares, 0) / (total - 2))
            d = (means[0] - means[1]) / pooled
        d = np.where(pooled > 1e-12 * np.abs(centred).max(axis=-1), d, np.nan)
        return d if values.ndim == 2 else d[:, 0]

    return bootstrap(cohens_d, design)


def accuracy_estimate(
    correct: Bool[np.ndarray, "item"] | Real[np.ndarray, "item"],
    design: Design,
) -> Estimate:
    """Share of correct items (True/False or 1/0), in [0, 1], resampled by group.

    Where every item is right (or wrong) the interval is Clopper-Pearson's with groups as
    trials. Raises InputError for other values than 0 and 1.
    """
    values = as_scores(correct, "correct")
    if not np.isin(values, (0.0, 1.0)).all():
        raise InputError(f"correct: expected True/False, got {np.unique(values)[:5].tolist()}")
    return mean_estimate(values, design, bounds=(0.0, 1.0))


def mean_estimate(
    values: Real[np.ndarray, "item"],
    design: Design,
    *,
    bounds: tuple[float, float] | None = None,
    null: float | None = None,
) -> Estimate:
    """Mean over items, in the units of ``values``, resampled by group; ``null`` sets p.

    With 20 to 40 groups of strongly skewed values (lognormal) a nominal 95 % covers 90 to 94 %.
    Constant values have an interval only if ``bounds=(lowest, highest possible)`` is given;
    otherwise DegenerateDataError.
    """
    array = as_scores(values, "values")
    if array.ndim != 1:
        raise InputError(f"values: expected one value an item, got shape {array.shape}")
    nested_codes(design.groups, len(array))
    centre = float(array.mean())

    def mean(weights: np.ndarray) -> np.ndarray:
        return centre + (weights @ (array - centre)) / weights.sum(axis=1)

    return cast(Estimate, bootstrap(mean, design, bounds=bounds, null=null))


def _scored(
    scores: object, labels: object, groups: Groups, name: str = "scores"
) -> tuple[np.ndarray, np.ndarray]:
    values = as_scores(scores, name)
    if values.ndim > 2:
        raise InputError(f"{name}: expected 'item' or 'layer item', got shape {values.shape}")
    constant = np.flatnonzero(np.ptp(np.atleast_2d(values), axis=-1) == 0)
    if len(constant):
        where = f" in row {constant[0]}" if values.ndim == 2 else ""
        raise DegenerateDataError(f"{name}: expected scores that vary, got a constant{where}")
    nested_codes(groups, values.shape[-1])
    return values, as_labels(labels, values.shape[-1])


def _weighted_auroc(
    scores: Float[np.ndarray, "*layer item"], positive: Bool[np.ndarray, "item"]
) -> Callable[[np.ndarray], np.ndarray]:
    """AUROC of weighted items as a matrix product; exact for whole weights."""

    rows = np.atleast_2d(scores)

    def statistic(weights: np.ndarray) -> np.ndarray:
        w_pos, w_neg = weights[:, positive], weights[:, ~positive]
        n_comparisons = w_pos.sum(axis=1) * w_neg.sum(axis=1)
        out = np.empty((len(weights), len(rows)))
        for k, row in enumerate(rows):
            above, below = row[positive][:, None], row[~positive]
            wins = (above > below) + 0.5 * (above == below)
            out[:, k] = np.einsum("rj,rj->r", w_pos @ wins, w_neg)
        with np.errstate(invalid="ignore", divide="ignore"):
            out /= n_comparisons[:, None]
        return out if scores.ndim == 2 else out[:, 0]

    return statistic


def _n_disjoint_comparisons(positive: np.ndarray, groups: Groups) -> int:
    """Most positive-negative comparisons in which no group takes part twice."""
    outer = nested_codes(groups, len(positive))[0]
    with_positive, with_negative = set(outer[positive]), set(outer[~positive])
    either = with_positive | with_negative
    return max(1, min(len(with_positive), len(with_negative), len(either) // 2))
