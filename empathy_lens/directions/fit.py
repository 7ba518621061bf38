"""From activations to a direction, with one estimator or another.

Whatever an estimator returns is normalised, pointed at the positive class, and given a threshold
from the same data. A lambda of yours is as good as those of ``estimators``.
"""

from __future__ import annotations

import warnings
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import InputError
from ..types import Activations, Direction, Provenance, as_unit
from .estimators import ESTIMATORS, Estimator, pca_differences

NEED_PAIRS = (pca_differences,)


def fit_direction(
    activations: Activations, layer: int, estimator: str | Estimator = "mean_difference"
) -> Direction:
    """The direction of one layer, with ``raw_norm`` and ``threshold`` learnt from the same data.

    ``estimator`` is a name in ``ESTIMATORS`` or a function of the two classes' activations that
    returns a tensor, array or list of ``d_model`` numbers. ``threshold`` is the midpoint of the
    classes' mean projections. Raises InputError for an unknown estimator or one that fails, a layer
    that was not extracted, or classes that coincide.
    """
    name, estimate = _resolve(estimator)
    if activations.paired:
        positive, negative = sides(activations, layer)
    elif estimate in NEED_PAIRS:
        raise InputError(f"{name} needs pairs, these activations are of unpaired texts")
    else:
        values = activations.at(layer)
        positive, negative = values[activations.labels], values[~activations.labels]
        if not len(positive) or not len(negative):
            raise InputError(
                f"expected texts of both poles, got {len(positive)} positive and {len(negative)} "
                "negative ones"
            )
    if torch.equal(positive, negative):
        raise InputError(f"layer {layer}: the activations of the two classes coincide")
    vector = _estimated(name, estimate, positive, negative)
    mean_positive, mean_negative = (positive @ vector).mean(), (negative @ vector).mean()
    if mean_positive < mean_negative:
        vector, mean_positive, mean_negative = -vector, -mean_positive, -mean_negative
    raw_norm = float(mean_positive - mean_negative)
    if raw_norm == 0:
        raise InputError(
            f"layer {layer}: the two classes coincide along the {name} direction, so that nothing "
            "can be told apart with it"
        )
    return Direction(
        vector=vector,
        site=activations.sites[activations.layers.index(layer)],
        method=f"{name}, {activations.pooling} pooling",
        raw_norm=raw_norm,
        threshold=float((mean_positive + mean_negative) / 2),
        provenance=activations.provenance,
        concept=activations.concept,
    )


def fit_directions(
    activations: Activations, estimator: str | Estimator = "mean_difference"
) -> dict[int, Direction]:
    """A direction for every extracted layer, by layer."""
    return {layer: fit_direction(activations, layer, estimator) for layer in activations.layers}


def random_directions(n: int, d_model: int, *, seed: int) -> Float[Tensor, "n d_model"]:
    """Unit vectors drawn evenly from the sphere: the null for any direction of that width."""
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randn((n, d_model), generator=generator)
    return draws / draws.norm(dim=1, keepdim=True)


@runtime_checkable
class OfModel(Protocol):
    """Whatever knows the model that it came from: activations, a model's card, recorded play."""

    @property
    def provenance(self) -> Provenance: ...


def check_same_model(
    direction: Direction, other: OfModel, what: str = "the activations from"
) -> None:
    """Raises InputError unless both come from the same weights, and says what differs.

    The one rule is :meth:`.Provenance.differs_in`: dtype and backend may differ. ``what``
    introduces the other's model in the message. Warns where texts become other tokens than those
    that the direction was fitted on.
    """
    own, others = direction.provenance, other.provenance
    if not (differing := own.differs_in(others)):
        if not own.same_tokens(others):
            warnings.warn(_other_tokens(direction, own, what, others), stacklevel=3)
        return
    a, b = (
        f"{p.model_name} ({p.dtype}, {p.weight_basis} weights {p.weights_hash[:8]})"
        for p in (own, others)
    )
    raise InputError(
        f"the direction of layer {direction.site.layer} comes from {a}, {what} {b}; they "
        f"differ in {'; '.join(differing)}. Load the model that the direction was made on, or fit "
        "a direction on this model as it is"
    )


def _other_tokens(direction: Direction, own: Provenance, what: str, others: Provenance) -> str:
    a, b = (
        f"{p.prompt_format!r} (bos rule: {p.bos_rule or 'always, as before there was a choice'})"
        for p in (own, others)
    )
    return (
        f"the direction of layer {direction.site.layer} was fitted on texts read as {a}, {what} "
        f"read as {b}: projections and thresholds may be off; fit a direction anew, or load the "
        "model as then (load_model's bos and date)"
    )


def sides(
    activations: Activations, layer: int
) -> tuple[Float[Tensor, "pair d_model"], Float[Tensor, "pair d_model"]]:
    """The positive and the negative activations of a layer, row i being pair i of both.

    Raises InputError for unpaired texts.
    """
    if not activations.paired:
        raise InputError("expected pairs, these activations are of unpaired texts")
    values = activations.at(layer)
    labels = activations.labels
    labelled = list(zip(activations.pair_ids, labels.tolist(), strict=True))
    positive_ids = [pair_id for pair_id, is_positive in labelled if is_positive]
    negative_ids = [pair_id for pair_id, is_positive in labelled if not is_positive]
    if positive_ids != negative_ids or not positive_ids:
        raise InputError(
            "expected one positive and one negative item of every pair, in the same order; got "
            f"{len(positive_ids)} positive and {len(negative_ids)} negative items"
        )
    return values[labels], values[~labels]


def _estimated(
    name: str,
    estimate: Estimator,
    positive: Float[Tensor, "positive d_model"],
    negative: Float[Tensor, "negative d_model"],
) -> Float[Tensor, "d_model"]:
    """The estimator's vector at norm 1; what goes wrong in a user's function is told by name."""
    try:
        vector = estimate(positive, negative)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"the estimator {name} failed on activations of shape {tuple(positive.shape)} and "
            f"{tuple(negative.shape)}: {type(error).__name__}: {error}"
        ) from error
    d_model = positive.shape[1]
    try:
        vector = torch.as_tensor(vector, dtype=torch.float32, device=positive.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"the estimator {name}: expected {d_model} numbers, got {type(vector).__name__}"
        ) from error
    if vector.shape != (d_model,):
        raise InputError(
            f"the estimator {name}: expected a vector of shape ({d_model},), got "
            f"{tuple(vector.shape)}"
        )
    try:
        return as_unit(vector)
    except InputError as error:
        raise InputError(f"the estimator {name}: {error}") from None


def _resolve(estimator: str | Estimator) -> tuple[str, Estimator]:
    if callable(estimator):
        return getattr(estimator, "__name__", "custom"), estimator
    if estimator not in ESTIMATORS:
        raise InputError(f"estimator: expected one of {', '.join(ESTIMATORS)}, got {estimator!r}")
    return estimator, ESTIMATORS[estimator]
