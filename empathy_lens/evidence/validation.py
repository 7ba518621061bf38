"""Choosing a layer on training pairs, and testing the chosen direction once on held-out pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from sklearn.model_selection import StratifiedGroupKFold

from .. import stats
from ..directions import Estimator, check_same_model, fit_direction
from ..errors import DegenerateDataError, InputError
from ..types import Activations, Direction, Estimate
from ..types.activations import NEWER

FEW = 12
"""Below so many situations a figure is said to rest on few."""


@dataclass(frozen=True)
class LayerValidation:
    """How well a direction tells the classes apart on given items.

    ``auroc`` in [0, 1] (0.5 = chance), ``accuracy`` in [0, 1] at the direction's own threshold,
    ``separation`` as Cohen's d between the classes' projections. ``fitted_on_these``: the direction
    was fitted on these very texts, so that none of the figures says anything of others.
    """

    auroc: Estimate
    accuracy: Estimate
    separation: Estimate
    fitted_on_these: Annotated[bool, NEWER] = field(default=False, kw_only=True)

    def __repr__(self) -> str:
        n = self.auroc.n_groups
        doubts = ["fitted on these very texts"] * self.fitted_on_these
        doubts += [f"only {n} situations"] * (n < FEW)
        return (
            f"{type(self).__name__}(AUROC {self.auroc}, accuracy {self.accuracy}, "
            f"Cohen's d {self.separation}{''.join(f'; {doubt}' for doubt in doubts)})"
        )


@dataclass(frozen=True, repr=False)
class LayerResult(LayerValidation):
    """A layer's held-out figures beside its cross-validated AUROC on train and its raw norm."""

    cv_auroc: float
    raw_norm: float


@dataclass(frozen=True)
class HeldOutProjection:
    """Where a held-out text lies on the selected layer's direction (:func:`scores`)."""

    pair_id: str
    scenario_id: str
    label: bool
    projection: float
    text: str


@dataclass(frozen=True)
class ValidationResult:
    """The content of ``validation_auroc.json``: every layer on held-out pairs, and the choice."""

    selected_layer: int
    selection: str
    estimator: str
    layers: Mapping[int, LayerResult]
    projections: tuple[HeldOutProjection, ...]

    def __post_init__(self) -> None:
        if self.selected_layer not in self.layers:
            raise InputError(
                f"selected_layer: expected one of the layers {list(self.layers)}, got "
                f"{self.selected_layer}"
            )

    def __repr__(self) -> str:
        chosen = f"layer {self.selected_layer} of {len(self.layers)}"
        return f"ValidationResult({chosen}, AUROC {self.selected.auroc})"

    @property
    def selected(self) -> LayerResult:
        return self.layers[self.selected_layer]


@dataclass(frozen=True)
class LayerSelection:
    """The chosen layer and what each layer scored in cross-validation on training pairs."""

    layer: int
    rule: str
    cv_auroc: dict[int, float]
    cv_separation: dict[int, float]

    def __repr__(self) -> str:
        return (
            f"LayerSelection(layer {self.layer} of {len(self.cv_auroc)}, cross-validated AUROC "
            f"{self.cv_auroc[self.layer]:.3f}, Cohen's d {self.cv_separation[self.layer]:.2f})"
        )


def group_folds(
    groups: Sequence[str], strata: Sequence[str], *, n_folds: int = 5, seed: int = 0
) -> Int[np.ndarray, "item"]:
    """Fold number of each item: a group never spans folds, strata are spread over them.

    Raises DegenerateDataError with fewer groups than two folds need.
    """
    return _group_folds(tuple(groups), tuple(strata), n_folds, seed).copy()


@lru_cache(maxsize=256)  # a card asks for the same folds at every layer, estimator and pooling
def _group_folds(
    groups: tuple[str, ...], strata: tuple[str, ...], n_folds: int, seed: int
) -> Int[np.ndarray, "item"]:
    n_groups = len(set(groups))
    if n_groups < 4:
        raise DegenerateDataError(
            f"cross-validation needs at least 4 groups (situations), got {n_groups}"
        )
    n_folds = min(n_folds, n_groups // 2)
    fold = np.empty(len(groups), dtype=np.int64)
    splitter = StratifiedGroupKFold(n_splits=n_folds, shuffle=True, random_state=seed)
    smallest = min(np.unique(np.asarray(strata), return_counts=True)[1])
    # sklearn refuses strata smaller than the number of folds; balance matters less than running.
    labels = np.asarray(strata) if smallest >= n_folds else np.zeros(len(groups), dtype=np.int64)
    for number, (_, held_out) in enumerate(splitter.split(fold, labels, np.asarray(groups))):
        fold[held_out] = number
    return fold


def scores(direction: Direction, activations: Activations) -> Float[np.ndarray, "item"]:
    """Projection above the direction's threshold, in multiples of ``raw_norm``.

    Zero lies on the threshold and one unit is the training gap between the classes, so scores
    of different layers, folds and models share a scale.
    """
    check_same_model(direction, activations)
    projection = direction.project(activations.at(direction.site.layer)).double().numpy()
    return cast(np.ndarray, (projection - direction.threshold) / direction.raw_norm)


def out_of_fold_scores(
    activations: Activations,
    folds: Int[np.ndarray, "item"],
    estimator: str | Estimator = "mean_difference",
) -> Float[np.ndarray, "layer item"]:
    """Scores of every item at every layer from directions fitted without the item's fold."""
    out = np.full((len(activations.sites), len(folds)), np.nan)
    for number in np.unique(folds):
        held_out = torch.from_numpy(folds == number)
        train, test = activations.select(~held_out), activations.select(held_out)
        for row, layer in enumerate(activations.layers):
            out[row, held_out.numpy()] = scores(fit_direction(train, layer, estimator), test)
    return out


def select_layer(
    activations: Activations,
    estimator: str | Estimator = "mean_difference",
    *,
    n_folds: int = 5,
    seed: int = 0,
) -> LayerSelection:
    """The layer with the best cross-validated AUROC on training pairs; ties go to separation.

    Folds keep situations together. The test set plays no part.
    """
    folds = group_folds(activations.groups, activations.strata, n_folds=n_folds, seed=seed)
    held_out = out_of_fold_scores(activations, folds, estimator)
    labels = activations.labels.numpy()
    auroc = np.asarray(stats.auroc(held_out, labels))
    separation = _cohens_d(held_out, labels)
    best = max(range(len(auroc)), key=lambda row: (round(float(auroc[row]), 6), separation[row]))
    return LayerSelection(
        layer=activations.layers[best],
        rule=(
            f"highest AUROC in {len(np.unique(folds))}-fold cross-validation on training pairs, "
            "folds by situation, ties by separation"
        ),
        cv_auroc=dict(zip(activations.layers, auroc.tolist(), strict=True)),
        cv_separation=dict(zip(activations.layers, separation.tolist(), strict=True)),
    )


def validate_direction(
    direction: Direction,
    activations: Activations,
    *,
    seed: int = 0,
    n_resamples: int = 10_000,
) -> LayerValidation:
    """AUROC, accuracy and separation on given items, with cluster-bootstrap intervals.

    Whole situations are resampled, within scenarios where each has several, so the intervals
    speak of new situations of the same scenarios. Raises DegenerateDataError for fewer than
    three situations.
    """
    values = scores(direction, activations)
    labels = activations.labels.numpy()
    design = stats.Design.within(
        activations.groups, activations.strata, seed=seed, n_resamples=n_resamples
    )
    return LayerValidation(
        auroc=cast(Estimate, stats.auroc_estimate(values, labels, design)),
        accuracy=stats.accuracy_estimate((values > 0) == labels, design),
        separation=cast(Estimate, stats.separation_estimate(values, labels, design)),
        fitted_on_these=bool(direction.provenance.data_hash)
        and direction.provenance.data_hash == activations.provenance.data_hash,
    )


def _cohens_d(
    values: Float[np.ndarray, "layer item"], labels: Bool[np.ndarray, "item"]
) -> Float[np.ndarray, "layer"]:
    positive, negative = values[:, labels], values[:, ~labels]
    pooled = np.sqrt((positive.var(axis=1, ddof=1) + negative.var(axis=1, ddof=1)) / 2)
    gap = positive.mean(axis=1) - negative.mean(axis=1)
    # Undefined without spread: 0, so that such a layer wins no tie.
    return np.divide(gap, pooled, out=np.zeros_like(gap), where=pooled > 0)
