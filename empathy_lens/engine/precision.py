"""bfloat16 arithmetic on CPUs that have it, and the check that it changes nothing that matters.

Under autocast the matrix products run in bfloat16 while the residual stream and the weights stay
in float32, so no second copy of the model is needed and large residual norms lose nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import InputError
from ..models import current_provenance, model_device
from ..models.devices import bfloat16_instructions
from ..stats import auroc
from ..types import HookedModel, Provenance

Precision = Literal["model", "bfloat16", "auto"]
"""``model``: the model's own dtype. ``auto``: bfloat16 where the CPU has it and parity holds."""

MIN_COSINE = 0.999
MAX_AUROC_GAP = 0.01


@dataclass(frozen=True)
class PrecisionChoice:
    """What to compute in and why, with the parity that was measured (None: not measured).

    ``min_cosine`` is the smallest cosine over layers between the mean-difference directions of
    both precisions, ``max_auroc_gap`` the largest difference over layers in AUROC along them.
    """

    used: Literal["model", "bfloat16"]
    reason: str
    min_cosine: float | None = None
    max_auroc_gap: float | None = None


def has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 matrices in hardware (AVX512-BF16 or AMX)."""
    return bool(bfloat16_instructions())


@contextmanager
def computing_in(precision: Literal["model", "bfloat16"]) -> Iterator[None]:
    """Matrix products of a pass in bfloat16, or as the model is."""
    if precision == "model":
        yield
        return
    with torch.autocast("cpu", dtype=torch.bfloat16):
        yield


def computed_provenance(model: HookedModel, precision: Literal["model", "bfloat16"]) -> Provenance:
    """The model's provenance, saying so where less than the model's dtype was computed in."""
    provenance = current_provenance(model)
    return provenance if precision == "model" else replace(provenance, precision=precision)


def check_precision(model: HookedModel, precision: str) -> None:
    """Raises InputError for a precision that does not exist or does not fit the model."""
    if precision not in ("model", "bfloat16", "auto"):
        raise InputError(f"precision: expected model, bfloat16 or auto, got {precision!r}")
    if precision == "bfloat16" and not _fits(model):
        raise InputError(
            f"precision bfloat16 is for a float32 model on a CPU, this one is {model.cfg.dtype} on "
            f"{model.cfg.device}; leave precision at 'model' and choose with --dtype at loading"
        )


def choose_precision(
    own: Float[Tensor, "item layer d_model"],
    low: Float[Tensor, "item layer d_model"],
    labels: Bool[Tensor, "item"],
) -> PrecisionChoice:
    """bfloat16 if the directions it gives and what they tell apart are those of float32.

    ``own`` and ``low`` are the same labelled texts read in the model's precision and in bfloat16.
    """
    cosines, gaps = [], []
    for layer in range(own.shape[1]):
        a, b = own[:, layer].double(), low[:, layer].double()
        u = a[labels].mean(dim=0) - a[~labels].mean(dim=0)
        v = b[labels].mean(dim=0) - b[~labels].mean(dim=0)
        cosines.append(float(torch.cosine_similarity(u, v, dim=0)))
        gaps.append(abs(_auroc(a @ u, labels) - _auroc(b @ v, labels)))
    cosine, gap = min(cosines), max(gaps)
    holds = cosine > MIN_COSINE and gap <= MAX_AUROC_GAP
    reason = (
        f"over {len(labels)} texts the cosine of directions is at least {cosine:.5f} and AUROC "
        f"differs by at most {gap:.4f} at any layer; wanted: above {MIN_COSINE} and at most "
        f"{MAX_AUROC_GAP}"
    )
    return PrecisionChoice("bfloat16" if holds else "model", reason, cosine, gap)


def unmeasured(model: HookedModel) -> PrecisionChoice | None:
    """The choice where there is nothing to measure: bfloat16 cannot be had or would not help."""
    if not _fits(model):
        return PrecisionChoice("model", "only a float32 model on a CPU gains from bfloat16")
    if not has_bfloat16():
        return PrecisionChoice("model", "this CPU has no bfloat16 instructions")
    return None


def _fits(model: HookedModel) -> bool:
    return model_device(model).type == "cpu" and model.cfg.dtype == torch.float32


def _auroc(scores: Tensor, labels: Tensor) -> float:
    return float(auroc(scores.numpy(), labels.numpy()))
