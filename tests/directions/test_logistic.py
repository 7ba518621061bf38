"""The fast logistic regression beside scikit-learn's."""

import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV

from empathy_lens.directions.estimators import CS, _minimise, fit_logistic


def data(n=40, width=60, gap=1.0, seed=0):
    """Centred items with orthogonal columns of falling variance, labels, folds of pairs."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([True, False], n // 2)
    x = rng.normal(size=(n, width)) * np.logspace(0, -1.5, width)
    x[:, 0] += gap * labels
    left, singular, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    kept = singular > 1e-9
    x = left[:, kept] * singular[kept]
    return x / x.std(), labels, np.tile(np.arange(n // 2) % 5, 2)


@pytest.mark.parametrize("c", CS)
def test_every_subset_has_scikit_learns_optimum(c):
    x, labels, fold = data()
    fitted_on = fold != np.arange(3)[:, None]
    design = np.column_stack([x, np.ones(len(x))])
    found = _minimise(design, labels, fitted_on, float(c), np.zeros((3, design.shape[1])))
    for row, items in zip(found, fitted_on, strict=True):
        theirs = LogisticRegression(C=c, tol=1e-8, max_iter=10_000).fit(x[items], labels[items])
        expected = np.append(theirs.coef_[0], theirs.intercept_)
        assert np.abs(row - expected).max() < 2e-3 * np.abs(expected).max()


@pytest.mark.parametrize("gap", [0.0, 0.5, 3.0])
def test_the_penalty_is_the_one_that_scikit_learn_chooses(gap):
    for seed in range(3):
        x, labels, fold = data(gap=gap, seed=seed)
        splits = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(5)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            theirs = LogisticRegressionCV(
                Cs=CS, cv=splits, scoring="neg_log_loss", max_iter=10_000, tol=1e-8
            ).fit(x, labels)
        ours = fit_logistic(x, labels, fold)
        assert np.abs(ours - theirs.coef_[0]).max() < 2e-3 * np.abs(theirs.coef_).max()
