"""Contrastive pairs and scored completions to :class:`Activations`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..data import data_hash
from ..errors import InputError
from ..tokens import EncodedText, encode
from ..types import (
    Activations,
    ContrastivePair,
    HookedModel,
    Pooling,
    Progress,
    RubricCompletion,
    Site,
)
from .cache import read_cached
from .engine import BATCH_TOKENS, PaddingSide, Settings, read_texts, resolve_layers
from .precision import (
    Precision,
    PrecisionChoice,
    check_precision,
    choose_precision,
    computed_provenance,
    unmeasured,
)

__all__ = ["extract_activations", "extract_completions", "extract_poolings", "precision_for"]

PARITY_PAIRS = 12
"""Pairs that are read in both precisions before one is chosen."""


def extract_activations(
    model: HookedModel,
    pairs: Sequence[ContrastivePair],
    *,
    layers: Sequence[int] | Literal["all"] = "all",
    pooling: Pooling = "mean",
    batch_tokens: int = BATCH_TOKENS,
    padding_side: PaddingSide = "right",
    share_prompts: bool = True,
    precision: Precision = "model",
    cache: str | Path | None = None,
    progress: Progress | None = None,
) -> Activations:
    """Pooled ``resid_post`` of both sides of every pair, positive before negative.

    Only completion tokens are pooled: never BOS, the prompt or pads.

    Parameters
    ----------
    batch_tokens, padding_side, share_prompts
        How texts meet in a pass: speed and memory, not the result, which is the same up to
        rounding.
    precision
        ``model`` computes in the model's dtype; ``bfloat16`` (CPU, float32 models) is faster where
        the CPU has it; ``auto`` takes it where it has and a check on some pairs passes. The
        provenance says what was used.
    cache
        A folder in which activations are looked up by model, precision, pooling and tokens, and to
        which new ones are added.

    Raises
    ------
    InputError
        A bad layer, pooling or precision, or a damaged file in the cache.
    NonFiniteError
        An activation is NaN or infinite.
    """
    return extract_poolings(
        model,
        pairs,
        poolings=(pooling,),
        layers=layers,
        batch_tokens=batch_tokens,
        padding_side=padding_side,
        share_prompts=share_prompts,
        precision=precision,
        cache=cache,
        progress=progress,
    )[pooling]


def extract_poolings(
    model: HookedModel,
    pairs: Sequence[ContrastivePair],
    *,
    poolings: Sequence[Pooling] = ("mean", "last"),
    layers: Sequence[int] | Literal["all"] = "all",
    batch_tokens: int = BATCH_TOKENS,
    padding_side: PaddingSide = "right",
    share_prompts: bool = True,
    precision: Precision = "model",
    cache: str | Path | None = None,
    progress: Progress | None = None,
) -> dict[Pooling, Activations]:
    """:func:`extract_activations` under several poolings, by one pass over the texts."""
    if not pairs:
        raise InputError("expected at least one pair, got none")
    chosen = resolve_layers(model, layers)
    settings = Settings(chosen, tuple(poolings), batch_tokens, padding_side, share_prompts)
    settings = replace(settings, precision=precision_for(model, pairs, settings, precision).used)
    return _activations(
        model,
        [encode(model, side, p.prompt) for p in pairs for side in (p.positive, p.negative)],
        settings,
        labels=torch.tensor([True, False] * len(pairs)),
        ids=[p.pair_id for p in pairs for _ in range(2)],
        scenarios=[p.scenario_id for p in pairs for _ in range(2)],
        groups=[p.group for p in pairs for _ in range(2)],
        data=data_hash(pairs),
        cache=cache,
        progress=progress,
    )


def extract_completions(
    model: HookedModel,
    completions: Sequence[RubricCompletion],
    *,
    layers: Sequence[int] | Literal["all"] = "all",
    pooling: Pooling = "mean",
    batch_tokens: int = BATCH_TOKENS,
    cache: str | Path | None = None,
    progress: Progress | None = None,
) -> Activations:
    """Pooled ``resid_post`` of scored completions, one item each; labels are True for score 2."""
    if not completions:
        raise InputError("expected at least one completion, got none")
    return _activations(
        model,
        [encode(model, c.text, c.prompt) for c in completions],
        Settings(resolve_layers(model, layers), (pooling,), batch_tokens),
        labels=torch.tensor([c.score == 2 for c in completions]),
        ids=[c.completion_id for c in completions],
        scenarios=[c.scenario_id for c in completions],
        groups=[c.group for c in completions],
        data=data_hash(completions),
        cache=cache,
        progress=progress,
    )[pooling]


def precision_for(
    model: HookedModel,
    pairs: Sequence[ContrastivePair],
    settings: Settings,
    precision: Precision = "auto",
) -> PrecisionChoice:
    """What to compute the pairs in: as asked, or for ``auto`` as some of them, read twice, say.

    The pairs of the check are spread evenly over all. Raises InputError as
    :func:`extract_activations` does.
    """
    check_precision(model, precision)
    if precision != "auto":
        return PrecisionChoice(precision, "as asked")
    without = unmeasured(model)
    if without is not None:
        return without
    some = pairs[:: max(1, len(pairs) // PARITY_PAIRS)]
    encoded = [encode(model, side, p.prompt) for p in some for side in (p.positive, p.negative)]
    pooling = settings.poolings[0]
    own, low = (
        read_texts(model, encoded, replace(settings, precision=used))[pooling]
        for used in ("model", "bfloat16")
    )
    return choose_precision(own, low, torch.tensor([True, False] * len(some)))


def _activations(
    model: HookedModel,
    encoded: Sequence[EncodedText],
    settings: Settings,
    *,
    labels: Bool[Tensor, "item"],
    ids: Sequence[str],
    scenarios: Sequence[str],
    groups: Sequence[str],
    data: str,
    cache: str | Path | None,
    progress: Progress | None,
) -> dict[Pooling, Activations]:
    values: Mapping[Pooling, Float[Tensor, "item layer d_model"]]
    if cache is None:
        values = read_texts(model, encoded, settings, progress)
    else:
        values = read_cached(model, encoded, settings, Path(cache), progress)
    return {
        pooling: Activations(
            values=values[pooling],
            sites=tuple(Site(layer) for layer in settings.layers),
            labels=labels,
            pair_ids=tuple(ids),
            scenario_ids=tuple(scenarios),
            groups=tuple(groups),
            n_tokens=tuple(e.n_completion for e in encoded),
            pooling=pooling,
            provenance=computed_provenance(model, settings.precision).with_data(data),
        )
        for pooling in settings.poolings
    }
