"""Contrastive pairs and scored completions to :class:`Activations`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from ..data import data_hash
from ..engine import (
    BATCH_TOKENS,
    PaddingSide,
    Precision,
    PrecisionChoice,
    Settings,
    check_precision,
    choose_precision,
    computed_provenance,
    encode,
    read_texts,
    resolve_layers,
    unmeasured,
)
from ..errors import InputError
from ..types import (
    Activations,
    Concept,
    ContrastivePair,
    HookedModel,
    Pooling,
    Progress,
    RubricCompletion,
    Site,
    UnpairedTexts,
)
from .shards import read_cached

PARITY_PAIRS = 12
"""Pairs that are read in both precisions before one is chosen."""


def extract_activations(
    model: HookedModel,
    pairs: Sequence[ContrastivePair] | UnpairedTexts,
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

    Unpaired texts (``pairs_from(..., paired=False)``) give all positive ones, then all negative.

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
    pairs: Sequence[ContrastivePair] | UnpairedTexts,
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
    texts = _texts_of(pairs)
    chosen = resolve_layers(model, layers)
    settings = Settings(chosen, tuple(poolings), batch_tokens, padding_side, share_prompts)
    settings = replace(settings, precision=precision_for(model, pairs, settings, precision).used)
    return _activations(
        model,
        texts,
        settings,
        data=data_hash(pairs),
        concept=pairs.concept if isinstance(pairs, UnpairedTexts) else pairs[0].concept,
        paired=not isinstance(pairs, UnpairedTexts),
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
    return extract_completion_poolings(
        model,
        completions,
        poolings=(pooling,),
        layers=layers,
        batch_tokens=batch_tokens,
        cache=cache,
        progress=progress,
    )[pooling]


def extract_completion_poolings(
    model: HookedModel,
    completions: Sequence[RubricCompletion],
    *,
    poolings: Sequence[Pooling] = ("mean", "last"),
    layers: Sequence[int] | Literal["all"] = "all",
    batch_tokens: int = BATCH_TOKENS,
    cache: str | Path | None = None,
    progress: Progress | None = None,
) -> dict[Pooling, Activations]:
    """:func:`extract_completions` under several poolings, by one pass over the texts."""
    if not completions:
        raise InputError("expected at least one completion, got none")
    return _activations(
        model,
        [
            _Text(c.text, c.prompt, c.score == 2, c.completion_id, c.scenario_id, c.group)
            for c in completions
        ],
        Settings(resolve_layers(model, layers), tuple(poolings), batch_tokens),
        data=data_hash(completions),
        concept=Concept(),
        paired=False,
        cache=cache,
        progress=progress,
    )


def precision_for(
    model: HookedModel,
    pairs: Sequence[ContrastivePair] | UnpairedTexts,
    settings: Settings,
    precision: Precision = "auto",
) -> PrecisionChoice:
    """The precision to compute the pairs in: the one asked for, or for ``auto`` the one that fits.

    ``auto`` reads some pairs, spread evenly over all, in both precisions and takes bfloat16 where
    the directions agree. Raises InputError as :func:`extract_activations` does.
    """
    check_precision(model, precision)
    if precision != "auto":
        return PrecisionChoice(precision, "as asked")
    without = unmeasured(model)
    if without is not None:
        return without
    texts = _texts_of(pairs)
    sides = [t for t in texts if t.positive], [t for t in texts if not t.positive]
    step = max(1, len(texts) // 2 // PARITY_PAIRS)
    some = [t for side in sides for t in side[::step]]
    encoded = [encode(model, t.text, t.prompt) for t in some]
    pooling = settings.poolings[0]
    own, low = (
        read_texts(model, encoded, replace(settings, precision=used))[pooling]
        for used in ("model", "bfloat16")
    )
    return choose_precision(own, low, torch.tensor([t.positive for t in some]))


class _Text(NamedTuple):
    """One text to read, and what it belongs to."""

    text: str
    prompt: str
    positive: bool
    pair_id: str
    scenario_id: str
    group: str


def _texts_of(pairs: Sequence[ContrastivePair] | UnpairedTexts) -> list[_Text]:
    """Both sides of each pair in turn; of unpaired texts each by itself."""
    if isinstance(pairs, UnpairedTexts):
        sides = ((True, pairs.positive), (False, pairs.negative))
        named = [
            (text, positive, f"{'positive' if positive else 'negative'}-{i}")
            for positive, texts in sides
            for i, text in enumerate(texts)
        ]
        return [_Text(text, "", positive, name, "", name) for text, positive, name in named]
    if not pairs:
        raise InputError("expected at least one pair, got none")
    concepts = {p.concept.name for p in pairs}
    if len(concepts) > 1:
        raise InputError(f"expected pairs of one concept, got {sorted(concepts)}")
    return [
        _Text(text, p.prompt, positive, p.pair_id, p.scenario_id, p.group)
        for p in pairs
        for positive, text in ((True, p.positive), (False, p.negative))
    ]


def _activations(
    model: HookedModel,
    texts: Sequence[_Text],
    settings: Settings,
    *,
    data: str,
    concept: Concept,
    paired: bool,
    cache: str | Path | None,
    progress: Progress | None,
) -> dict[Pooling, Activations]:
    encoded = [encode(model, t.text, t.prompt) for t in texts]
    if cache is None:
        values = read_texts(model, encoded, settings, progress)
    else:
        values = read_cached(model, encoded, settings, Path(cache), progress)
    return {
        pooling: Activations(
            values=values[pooling],
            sites=tuple(Site(layer) for layer in settings.layers),
            labels=torch.tensor([t.positive for t in texts]),
            pair_ids=tuple(t.pair_id for t in texts),
            scenario_ids=tuple(t.scenario_id for t in texts),
            groups=tuple(t.group for t in texts),
            n_tokens=tuple(e.n_completion for e in encoded),
            pooling=pooling,
            provenance=computed_provenance(model, settings.precision).with_data(data),
            concept=concept,
            paired=paired,
        )
        for pooling in settings.poolings
    }
