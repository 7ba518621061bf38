"""The mean difference, and stronger estimators beside it.

An estimator is a function ``(positive, negative) -> vector`` on the activations of one layer, row
i of each being the two sides of pair i where the texts are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.special import expit
from torch import Tensor

from ..errors import InputError

CS = np.logspace(-4, 2, 7)
"""Candidates for C, the inverse of the penalty, as in scikit-learn."""

N_STEPS, TOLERANCE = 2000, 1e-6

Estimator = Callable[
    [Float[Tensor, "positive d_model"], Float[Tensor, "negative d_model"]],
    Float[Tensor, "d_model"],
]


def mean_difference(
    positive: Float[Tensor, "positive d_model"], negative: Float[Tensor, "negative d_model"]
) -> Float[Tensor, "d_model"]:
    """Difference of the class means (Marks & Tegmark 2024, arXiv 2310.06824)."""
    return positive.mean(dim=0) - negative.mean(dim=0)


def lda(
    positive: Float[Tensor, "positive d_model"], negative: Float[Tensor, "negative d_model"]
) -> Float[Tensor, "d_model"]:
    """Mean difference whitened by the within-class covariance, shrunk after Ledoit & Wolf (2004).

    Fisher's linear discriminant: it discounts coordinates that vary a lot within a class. Solved
    on the principal axes of the texts, since off them the shrunk covariance is a multiple of the
    identity.
    """
    gap = mean_difference(positive, negative).double()
    centred = torch.cat([positive - positive.mean(dim=0), negative - negative.mean(dim=0)]).double()
    if not centred.any():
        raise InputError(
            f"lda needs activations that vary within the classes, got {len(positive)} pairs that "
            "do not; use mean_difference"
        )
    shrinkage, mean_variance = _ledoit_wolf(centred)
    floor = max(shrinkage, 1e-9) * mean_variance
    coordinates, axes = _principal_axes(centred)
    variances = (1 - shrinkage) * coordinates.square().mean(dim=0) + floor
    inside = axes @ gap
    return (gap / floor + (inside / variances - inside / floor) @ axes).float()


def logistic(
    positive: Float[Tensor, "positive d_model"], negative: Float[Tensor, "negative d_model"]
) -> Float[Tensor, "d_model"]:
    """Weights of L2-regularised logistic regression; C by 5-fold cross-validation over pairs.

    The fit runs on the principal axes of the data, where it has the same solution at a fraction
    of the cost: the ridge penalty puts no weight off them. The data are scaled to unit variance
    over all axes first, so that C means the same at every layer.
    """
    fewest = min(len(positive), len(negative))
    if fewest < 2:
        raise InputError(f"logistic needs at least 2 pairs, got {fewest}; use mean_difference")
    x = torch.cat([positive, negative]).double()
    coordinates, axes = _principal_axes(x - x.mean(dim=0))
    labels = np.repeat([True, False], (len(positive), len(negative)))
    n_folds = min(5, len(positive), len(negative))
    fold = np.concatenate([np.arange(len(side)) % n_folds for side in (positive, negative)])
    weights = fit_logistic((coordinates / coordinates.std(correction=0)).numpy(), labels, fold)
    return (torch.from_numpy(weights) @ axes).float()


def pca_differences(
    positive: Float[Tensor, "pair d_model"], negative: Float[Tensor, "pair d_model"]
) -> Float[Tensor, "d_model"]:
    """First right singular vector of the *uncentred* pair differences (Zou et al. 2023, RepE).

    Centring the differences first would remove exactly the mean difference that is sought.
    """
    _, _, right = torch.linalg.svd((positive - negative).double(), full_matrices=False)
    return right[0].float()


ESTIMATORS: Mapping[str, Estimator] = MappingProxyType(
    {
        "mean_difference": mean_difference,
        "lda": lda,
        "logistic": logistic,
        "pca_differences": pca_differences,
    }
)


def fit_logistic(
    x: Float[np.ndarray, "item axis"],
    labels: Bool[np.ndarray, "item"],
    fold: Int[np.ndarray, "item"],
) -> Float[np.ndarray, "axis"]:
    """Weights at the C of ``CS`` whose log loss on held-out folds is smallest on average.

    ``x`` must be centred and its columns orthogonal, as the scores of a singular value
    decomposition are. The intercept is fitted, not penalised, and not returned. C rises from its
    smallest value until two in a row do worse than the best: beyond, the fit only turns surer of
    the items it knows, and takes long.
    """
    folds = np.unique(fold)
    design = np.column_stack([x, np.ones(len(x))])
    fitted_on = np.concatenate([fold != folds[:, None], np.ones((1, len(fold)), dtype=bool)])
    solution = np.zeros((len(fitted_on), design.shape[1]))
    best, least, worse = solution, np.inf, 0
    for c in CS:
        solution = _minimise(design, labels, fitted_on, c, solution)
        loss = np.logaddexp(0.0, np.where(labels, -1, 1) * (solution @ design.T))
        held_out = np.mean([loss[k, fold == number].mean() for k, number in enumerate(folds)])
        if held_out < least:
            best, least, worse = solution, held_out, 0
        else:
            worse += 1
        if worse == 2:
            break
    return np.asarray(best[-1, :-1])


def _minimise(
    design: Float[np.ndarray, "item column"],
    labels: Bool[np.ndarray, "item"],
    fitted_on: Bool[np.ndarray, "subset item"],
    c: float,
    start: Float[np.ndarray, "subset column"],
) -> Float[np.ndarray, "subset column"]:
    """Weights and, in the last column, the intercept for every subset of the items.

    Accelerated gradient steps (Nesterov 1983) with restarts (O'Donoghue & Candes 2015), scaled by
    the bound X'X / 4 on the curvature of the log loss (Boehning & Lindsay 1988), which is diagonal
    for orthogonal columns. The last column is of ones.
    """
    penalty = np.append(np.full(design.shape[1] - 1, 1 / c), 0.0)
    step = 1 / ((design**2).sum(axis=0) / 4 + penalty)
    point, ahead, momentum = start, start, np.ones((len(start), 1))
    for _ in range(N_STEPS):
        residual = fitted_on * (expit(ahead @ design.T) - labels)
        gradient = residual @ design + penalty * ahead
        following = ahead - step * gradient
        forward = following - point
        if np.abs(following - ahead).max() <= TOLERANCE * np.abs(following).max():
            return following
        restart = (gradient * forward).sum(axis=1, keepdims=True) > 0
        momentum = np.where(restart, 1.0, momentum)
        later = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = following + (momentum - 1) / later * forward
        point, momentum = following, later
    return point


def _principal_axes(
    centred: Float[Tensor, "text d_model"],
) -> tuple[Float[Tensor, "text axis"], Float[Tensor, "axis d_model"]]:
    """Coordinates of the rows on their principal axes, and those unit axes.

    By way of the smaller Gram matrix: for 140 texts of width 640 four times as fast as a singular
    value decomposition. It halves the digits of the smallest axes, and those below a millionth of
    the largest, less than float32 resolves, are left out.
    """
    wide = centred.shape[0] <= centred.shape[1]
    squares, vectors = torch.linalg.eigh(centred @ centred.T if wide else centred.T @ centred)
    kept = squares > 1e-12 * squares[-1]
    lengths, vectors = squares[kept].sqrt(), vectors[:, kept]
    if wide:
        return vectors * lengths, (vectors / lengths).T @ centred
    return centred @ vectors, vectors.T


def _ledoit_wolf(centred: Float[Tensor, "text d_model"]) -> tuple[float, float]:
    """Shrinkage towards ``mean variance * identity``, in [0, 1], and that mean variance.

    Ledoit & Wolf (2004), as scikit-learn computes it, from the smaller Gram matrix: time grows
    with the width, not with its square.
    """
    n_texts, d_model = centred.shape
    wide = n_texts <= d_model
    gram = centred @ centred.T if wide else centred.T @ centred
    mean_variance = float(centred.square().sum()) / (n_texts * d_model)
    of_covariance = float(gram.square().sum()) / n_texts**2
    of_texts = float(centred.square().sum(dim=1).square().mean())
    off_target = of_covariance - d_model * mean_variance**2
    noise = min((of_texts - of_covariance) / n_texts, off_target)
    return (noise / off_target if noise > 0 else 0.0), mean_variance
