"""From activations to directions: estimators, fitting, files.

In: ``Activations`` of labelled texts. Out: a ``Direction`` a layer, which is a unit vector with
``raw_norm``, ``threshold`` and the model and data that it comes from; safetensors files of both.
An estimator is any function ``(positive, negative) -> vector``.

>>> direction = fit_direction(activations, 12, "logistic")
>>> direction.project(activations.at(12)) > direction.threshold
"""

from .estimators import ESTIMATORS, Estimator, lda, logistic, mean_difference, pca_differences
from .fit import check_same_model, fit_direction, fit_directions, random_directions, sides
from .store import (
    load_activations,
    load_directions,
    save_activations,
    save_directions,
    save_vectors,
)

__all__ = [
    "ESTIMATORS",
    "Estimator",
    "check_same_model",
    "fit_direction",
    "fit_directions",
    "lda",
    "load_activations",
    "load_directions",
    "logistic",
    "mean_difference",
    "pca_differences",
    "random_directions",
    "save_activations",
    "save_directions",
    "save_vectors",
    "sides",
]
