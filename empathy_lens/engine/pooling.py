"""Pooled ``resid_post`` of many texts through ``run_with_cache``, one pass for all layers.

The language-model head is never computed, the pass stops after the deepest layer asked for, a
prompt that several texts share is read once, and each layer is pooled inside its hook.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import InputError, NonFiniteError
from ..models import model_card, model_device, not_finite_advice
from ..types import HookedModel, Pooling, Progress, Site
from .fused import fused_blocks
from .key_values import LayerKeyValues, layer_caches, resumed_pass
from .logits import is_finite, stopping_after
from .precision import computing_in
from .tokens import EncodedText, encode, pad_batch, pad_id, plan_batches

BATCH_TOKENS = 2048
PaddingSide = Literal["left", "right"]
Hook = Callable[..., None]
Read = tuple[tuple[int, ...], dict[Pooling, Float[Tensor, "batch layer d_model"]]]
"""Text numbers of one pass, and their pooled values, float32 on the CPU."""


class Span(NamedTuple):
    """Where a row's completion stands: batch columns ``first`` to ``end`` (exclusive).

    ``text`` is the text's number and ``start`` the completion's place in it, for messages.
    """

    first: int
    end: int
    text: int
    start: int


@dataclass(frozen=True)
class Settings:
    """How texts are read; none of it changes a result beyond rounding but ``precision``.

    ``layers`` in rising order. ``batch_tokens`` bounds the positions of one pass, and so memory.
    ``padding_side`` is that of texts read whole; texts that share a prompt are padded on the
    right. ``fused`` False keeps TransformerLens's own arithmetic throughout.
    """

    layers: tuple[int, ...]
    poolings: tuple[Pooling, ...] = ("mean",)
    batch_tokens: int = BATCH_TOKENS
    padding_side: PaddingSide = "right"
    share_prompts: bool = True
    precision: Literal["model", "bfloat16"] = "model"
    fused: bool = True

    def __post_init__(self) -> None:
        wrong = [p for p in self.poolings if p not in ("mean", "last")]
        if wrong or not self.poolings:
            raise InputError(f"pooling: expected mean or last, got {wrong or 'none'}")


def pooled_resid_post(
    model: HookedModel,
    texts: Sequence[tuple[str, str]],
    *,
    layers: Sequence[int],
    pooling: Pooling = "mean",
    batch_tokens: int = BATCH_TOKENS,
    padding_side: PaddingSide = "right",
    share_prompts: bool = True,
    progress: Progress | None = None,
) -> tuple[Float[Tensor, "item layer d_model"], tuple[int, ...]]:
    """Pooled activations of (prompt, completion) texts, float32, and the tokens pooled in each."""
    settings = Settings(
        tuple(layers), (pooling,), batch_tokens, padding_side, share_prompts=share_prompts
    )
    encoded = [encode(model, text, prompt) for prompt, text in texts]
    values = read_texts(model, encoded, settings, progress)[pooling]
    return values, tuple(e.n_completion for e in encoded)


def read_texts(
    model: HookedModel,
    encoded: Sequence[EncodedText],
    settings: Settings,
    progress: Progress | None = None,
) -> dict[Pooling, Float[Tensor, "item layer d_model"]]:
    """Pooled values of all texts in their order, in float32. Raises NonFiniteError."""
    shape = (len(encoded), len(settings.layers), model.cfg.d_model)
    out = {pooling: torch.empty(shape) for pooling in settings.poolings}
    done = 0
    for rows, pooled in pooled_batches(model, encoded, settings):
        for pooling, values in pooled.items():
            out[pooling][list(rows)] = values
        done += len(rows)
        if progress is not None:
            progress(done, len(encoded))
    return out


def pooled_batches(
    model: HookedModel,
    encoded: Sequence[EncodedText],
    settings: Settings,
    *,
    skip: int = 0,
    called: Sequence[int] | None = None,
) -> Iterator[Read]:
    """The texts pass by pass, in an order that depends on their tokens and the settings alone.

    ``skip`` leaves out the first passes, which were computed before; the rest is what it would
    have been, bit for bit. ``called`` are the texts' numbers in error messages.
    """
    batches = plan_batches(
        encoded,
        batch_tokens=settings.batch_tokens,
        n_ctx=model_card(model).n_ctx,
        share_prompts=settings.share_prompts,
    )
    for batch in batches:
        wanted = batch.passes[skip:]
        skip = max(0, skip - len(batch.passes))
        if not wanted:
            continue
        past = _read_prompts(model, batch.prompts, settings) if batch.prompts else None
        owner = dict(batch.owner)
        for rows in wanted:
            texts = [encoded[i] for i in rows]
            numbers = rows if called is None else [called[i] for i in rows]
            if past is None:
                yield rows, _read_whole(model, numbers, texts, settings)
            else:
                owners = [owner[i] for i in rows]
                yield rows, _read_on(model, numbers, texts, settings, past, owners)


def _run(
    model: HookedModel,
    tokens: Int[Tensor, "batch pos"],
    settings: Settings,
    hooks: Sequence[tuple[str, Hook]],
    options: Mapping[str, object],
) -> None:
    """One pass whose hooks keep what is wanted of it: the cache itself stays empty."""
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(computing_in(settings.precision))
        if settings.fused:
            stack.enter_context(fused_blocks(model))
        stack.enter_context(model.hooks(fwd_hooks=hooks))
        model.run_with_cache(
            tokens.to(model_device(model)),
            names_filter=lambda name: False,
            **stopping_after(model, settings.layers),
            **options,
        )


def _pooled(
    model: HookedModel,
    tokens: Int[Tensor, "batch pos"],
    spans: Sequence[Span],
    settings: Settings,
    options: Mapping[str, object],
) -> dict[Pooling, Float[Tensor, "batch layer d_model"]]:
    pooler = Pooler(spans, settings.layers, settings.poolings)
    _run(model, tokens, settings, pooler.hooks(), options)
    return pooler.pooled()


def _read_whole(
    model: HookedModel, numbers: Sequence[int], texts: Sequence[EncodedText], settings: Settings
) -> dict[Pooling, Float[Tensor, "batch layer d_model"]]:
    tokens, mask = pad_batch([t.ids for t in texts], pad_id(model), settings.padding_side)
    right = settings.padding_side == "right"
    spans = []
    for number, text in zip(numbers, texts, strict=True):
        offset = 0 if right else tokens.shape[1] - len(text.ids)
        spans.append(Span(offset + text.start, offset + text.end, number, text.start))
    # Causal attention never looks right, so pads on the right need no mask.
    options = {} if right else {"attention_mask": mask.long().to(model_device(model))}
    return _pooled(model, tokens, spans, settings, options)


def _read_prompts(
    model: HookedModel, prompts: Sequence[tuple[int, ...]], settings: Settings
) -> list[LayerKeyValues]:
    # Padded on the right, where no token sees a pad: no mask, and no pad that sees nothing.
    tokens, _ = pad_batch(prompts, pad_id(model))
    caches = layer_caches(model, None)
    _run(model, tokens, settings, [], resumed_pass(model, torch.ones_like(tokens), caches))
    return caches


def _read_on(
    model: HookedModel,
    numbers: Sequence[int],
    texts: Sequence[EncodedText],
    settings: Settings,
    past: Sequence[LayerKeyValues],
    owners: Sequence[int],
) -> dict[Pooling, Float[Tensor, "batch layer d_model"]]:
    tokens, _ = pad_batch([t.completion for t in texts], pad_id(model))
    # A prompt ends where its text begins, so that no gap opens inside a sliding window.
    columns, before = pad_batch([range(t.start) for t in texts], 0, "left")
    device = model_device(model)
    gather = (torch.tensor(owners)[:, None].to(device), columns.to(device))
    caches = [
        LayerKeyValues(c.keys, c.values, gather=gather, keep=False)
        if c.keys.numel()
        else LayerKeyValues()
        for c in past
    ]
    spans = [Span(0, t.n_completion, n, t.start) for n, t in zip(numbers, texts, strict=True)]
    # Pads on the right count as read: nothing sees them, and a pad that saw nothing would be NaN.
    mask = torch.cat([before, torch.ones_like(tokens, dtype=torch.bool)], dim=1)
    return _pooled(model, tokens, spans, settings, resumed_pass(model, mask, caches))


class Pooler:
    """Collects pooled ``resid_post`` of the rows of one pass, layer by layer, in float32.

    Pooling happens inside the hooks: what leaves a layer is one vector a text, never its
    positions. Only the rows' own columns are read: what stands at pads, NaN included, cannot leak.
    """

    def __init__(
        self, spans: Sequence[Span], layers: Sequence[int], poolings: Sequence[Pooling]
    ) -> None:
        self._spans, self._layers, self._poolings = spans, tuple(layers), tuple(poolings)
        self._by_layer: dict[int, Float[Tensor, "pooling batch d_model"]] = {}

    def hooks(self) -> list[tuple[str, Hook]]:
        """Forward hooks that read and change nothing, one a layer."""
        return [(Site(layer).hook_name, self._hook(layer)) for layer in self._layers]

    def pooled(self) -> dict[Pooling, Float[Tensor, "batch layer d_model"]]:
        """What was collected, on the CPU, once the pass is over."""
        together = torch.stack([self._by_layer[layer] for layer in self._layers], dim=2).cpu()
        return dict(zip(self._poolings, together, strict=True))

    def _hook(self, layer: int) -> Hook:
        def pool(value: Float[Tensor, "batch pos d_model"], hook: object = None) -> None:
            rows = [value[row, span.first : span.end] for row, span in enumerate(self._spans)]
            by = {
                "mean": lambda: torch.stack([r.float().mean(dim=0) for r in rows]),
                "last": lambda: torch.stack([r[-1].float() for r in rows]),
            }
            pooled = torch.stack([by[pooling]() for pooling in self._poolings])
            if not is_finite(pooled):
                self._complain(Site(layer).hook_name, rows)
            self._by_layer[layer] = pooled

        return pool

    def _complain(self, name: str, rows: Sequence[Float[Tensor, "pos d_model"]]) -> None:
        """Raises NonFiniteError for the first bad value that a text holds."""
        for row, span in zip(rows, self._spans, strict=True):
            bad = ~torch.isfinite(row)
            if bad.any():
                at = int(bad.any(dim=1).nonzero()[0, 0])
                what = "NaN" if row[at].isnan().any() else "an infinity"
                column = f"batch column {span.first + at}"
                where = f"position {span.start + at} of text {span.text} ({column})"
                break
        else:
            what, where = "values whose mean overflows", f"text {self._spans[0].text} or after"
        raise NonFiniteError(
            f"{name} holds {what} at {where} in {rows[0].dtype}; {not_finite_advice(rows[0].dtype)}"
        )
