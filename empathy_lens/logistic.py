"""L2-regularised logistic regression of few items, on all folds at once.

The optimum of scikit-learn's ``LogisticRegressionCV`` (a test holds the two together) in a
fraction of its time: nested cross-validation over layers and poolings fits it tens of thousands
of times.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit

__all__ = ["CS", "fit_logistic"]

CS = np.logspace(-4, 2, 7)
"""Candidates for C, the inverse of the penalty, as in scikit-learn."""

N_STEPS, TOLERANCE = 2000, 1e-6


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
