"""Does a loaded model compute what it should? On three short texts.

The hub model that it is compared with is loaded by transformers alone, run and let go before the
model under test is loaded: never are there two models in memory.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..activations import resid_post_cache
from ..directions import random_directions
from ..engine.logits import can_resume, last_logits, new_cache
from ..engine.tokens import encode, encode_alone, pad_batch, pad_id
from ..errors import EmpathyLensError, ModelError
from ..models import (
    HubModel,
    ModelSource,
    load_tokenizer,
    model_card,
    model_device,
    not_finite_advice,
    token_rule,
)
from ..steering.hooks import add_direction
from ..types import Direction, HookedModel, Site
from .machine import Check, judged

TEXTS = (
    "D asks for water, and I have one bottle left.",
    "The courier stopped beside the man on the pavement, set the parcel down and called for help; "
    "the parcel would be late.",
    "No.",
)
FLOAT16_MAX = torch.finfo(torch.float16).max
# Above this share of float16's range a longer or stranger text may overflow.
HEADROOM = 0.5
# Rounding errors of whole models, relative to the largest value of a layer: a few thousand
# operations, each within half a unit in the last place.
RELATIVE_BOUNDS = {torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 1e-1}


@dataclass(frozen=True)
class Reference:
    """Block outputs (float32) and last logits of the hub model, text by text (lengths differ)."""

    tokens: tuple[Int[Tensor, "_"], ...]
    blocks: tuple[Float[Tensor, "layer _ d_model"], ...]
    logits: tuple[Float[Tensor, "d_vocab"], ...]


def hub_reference(source: ModelSource, dtype: torch.dtype, device: torch.device) -> Reference:
    """The texts through transformers' own model, which is gone from memory afterwards."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as hf_logging

    tokenizer = load_tokenizer(source)
    rule = token_rule(tokenizer)
    hf_logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(
        source.path,
        dtype=dtype,
        device_map={"": device},
        attn_implementation="eager",
        use_safetensors=True,
        **source.auto_options,
    ).eval()
    tokens, blocks, logits = [], [], []
    for text in TEXTS:
        row = torch.tensor(encode_alone(tokenizer, rule, text).ids)
        with _block_outputs(model) as kept, torch.no_grad():
            row_logits = model(row[None].to(device)).logits
        tokens.append(row)
        blocks.append(torch.stack(kept))
        logits.append(row_logits[0, -1].float().cpu())
    del model, row_logits
    release(device)
    return Reference(tuple(tokens), tuple(blocks), tuple(logits))


@contextmanager
def _block_outputs(model: HubModel) -> Iterator[list[Tensor]]:
    kept: list[Tensor] = []

    def keep(_module: object, _inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
        kept.append((output[0] if isinstance(output, tuple) else output)[0].float().cpu())

    layers = getattr(model.get_decoder(), "layers", None)
    if layers is None:
        raise ModelError(
            f"{type(model).__name__} keeps its blocks where doctor does not know; "
            "leave the comparison out with --no-run"
        )
    handles = [block.register_forward_hook(keep) for block in layers]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


def release(device: torch.device) -> None:
    """Gives memory that is no longer used back to the device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def model_checks(
    model: HookedModel, reference: Reference | None, cpu_logits: Reference | None = None
) -> list[Check]:
    """All checks of a loaded model, each with its figure and bound.

    ``reference`` is the hub model on the same device in the same dtype, ``cpu_logits`` the hub
    model on the CPU; without them their checks are left out. A check that raises has failed.
    """
    rows = _rows(model) if reference is None else [row.tolist() for row in reference.tokens]
    checks: list[tuple[str, Callable[[], Check]]] = [
        ("finite, with room", lambda: _finite(model, rows)),
        ("batched = single", lambda: _batched(model, rows)),
        ("cached = uncached", lambda: _cached(model, rows)),
        ("alpha 0 = untouched", lambda: _alpha_zero(model, rows)),
    ]
    if reference is not None:
        checks.insert(0, ("blocks = hub model", lambda: _blocks(model, reference)))
    if cpu_logits is not None:
        checks.append(("device = CPU", lambda: _device_and_cpu(model, cpu_logits)))
    return [_run(model, name, check) for name, check in checks]


def residual_maxima(model: HookedModel) -> list[float]:
    """The largest absolute value of each layer's ``resid_post`` over the texts; NaN counts."""
    layers = range(int(model.cfg.n_layers))
    residuals = [_residuals(model, [row]) for row in _rows(model)]
    return [max(float(r[layer].abs().max()) for r in residuals) for layer in layers]


def _run(model: HookedModel, name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except EmpathyLensError as error:
        return Check(name, "fail", str(error), "runs", _otherwise(model))


def _other_backend(model: HookedModel) -> str:
    other = "hooked" if model_card(model).provenance.backend == "bridge" else "bridge"
    return f"take the other (--backend {other})"


def _otherwise(model: HookedModel) -> str:
    """Another way to load the model, which tells what the cause was."""
    if model.cfg.dtype == torch.float32:
        return _other_backend(model)
    return "load it with --dtype float32; where that helps, rounding was the cause"


def _rows(model: HookedModel) -> list[list[int]]:
    return [list(encode(model, text).ids) for text in TEXTS]


def _residuals(
    model: HookedModel, rows: list[list[int]]
) -> dict[int, Float[Tensor, "batch pos d_model"]]:
    tokens, real = pad_batch(rows, pad_id(model), side="left")
    device = model_device(model)
    mask = real.long().to(device) if not real.all() else None
    layers = range(int(model.cfg.n_layers))
    cache = resid_post_cache(model, tokens.to(device), layers, mask)
    return {layer: values.float().cpu() for layer, values in cache.items()}


def _bound(model: HookedModel) -> float:
    return RELATIVE_BOUNDS[model.cfg.dtype]


def _relative(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference over the largest value; NaN where either has one."""
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-12))


def _blocks(model: HookedModel, reference: Reference) -> Check:
    errors = []
    for row, blocks in zip(reference.tokens, reference.blocks, strict=True):
        residuals = _residuals(model, [row.tolist()])
        errors.append([_relative(ours[0], blocks[layer]) for layer, ours in residuals.items()])
    by_layer = torch.tensor(errors).amax(dim=0)
    layer = int(by_layer.nan_to_num(nan=torch.inf).argmax())
    return judged(
        f"blocks = hub model, {len(by_layer)} layers",
        float(by_layer[layer]),
        _bound(model),
        f"relative, worst at layer {layer}",
        f"this backend does not compute what the hub model does: {_other_backend(model)}",
    )


def _batched(model: HookedModel, rows: list[list[int]]) -> Check:
    together = _residuals(model, rows)
    errors = []
    for i, row in enumerate(rows):
        alone = _residuals(model, [row])
        errors += [_relative(together[k][i, -len(row) :], alone[k][0]) for k in alone]
    return judged(
        "batched = single",
        float(torch.tensor(errors).max()),
        _bound(model),
        "relative, padded on the left",
        "read texts one at a time (batch_tokens=1): padding changes what the model computes",
    )


def _cached(model: HookedModel, rows: list[list[int]]) -> Check:
    ids = torch.tensor([max(rows, key=len)])
    mask, half = torch.ones_like(ids), ids.shape[1] // 2
    whole = last_logits(model, ids, mask)
    cache = new_cache(model, 1)
    last_logits(model, ids[:, :half], mask[:, :half], cache=cache)
    resumed = last_logits(model, ids[:, half:], mask, cache=cache)
    kind = "keys and values" if can_resume(model) else "the hub's cache"
    return judged(
        "cached = uncached",
        _relative(resumed.cpu(), whole.cpu()),
        _bound(model),
        f"relative, {kind}",
        _otherwise(model),
    )


def _alpha_zero(model: HookedModel, rows: list[list[int]]) -> Check:
    ids = torch.tensor([rows[0]])
    layer = int(model.cfg.n_layers) // 2
    vector = random_directions(1, int(model.cfg.d_model), seed=0)[0]
    direction = Direction(vector, Site(layer), "random", 1.0, 0.0, model_card(model).provenance)
    before = last_logits(model, ids, torch.ones_like(ids))
    with model.hooks(fwd_hooks=[add_direction(direction, 0.0)]):
        after = last_logits(model, ids, torch.ones_like(ids))
    same = torch.equal(before, after)
    return Check(
        "alpha 0 = untouched",
        "ok" if same else "fail",
        "bit for bit" if same else f"differs by {float((after - before).abs().max()):.2g}",
        "bit for bit",
        "" if same else "this device repeats no sum exactly: read small effects with care",
    )


def _finite(model: HookedModel, rows: list[list[int]]) -> Check:
    name, dtype = "finite, with room", model.cfg.dtype
    largest, where = 0.0, ""
    for row in rows:
        for layer, values in _residuals(model, [row]).items():
            peaks = values[0].abs().amax(dim=-1)
            if not torch.isfinite(peaks).all():
                pos = int((~torch.isfinite(peaks)).nonzero()[0])
                at = f"{Site(layer).hook_name}, position {pos}"
                return Check(
                    name,
                    "fail",
                    f"NaN or infinity at {at} in {dtype}",
                    "finite",
                    not_finite_advice(dtype),
                )
            if float(peaks.max()) > largest:
                largest = float(peaks.max())
                where = f"layer {layer}, position {int(peaks.argmax())}"
    share = largest / FLOAT16_MAX
    tight = dtype == torch.float16 and share > HEADROOM
    return Check(
        name,
        "warn" if tight else "ok",
        f"max |resid_post| {largest:,.0f} at {where}: {share:.0%} of float16's range",
        f"at most {HEADROOM:.0%} in float16" if dtype == torch.float16 else "finite",
        "other texts may overflow: --dtype bfloat16 has the range" if tight else "",
    )


def _device_and_cpu(model: HookedModel, reference: Reference) -> Check:
    errors = []
    for row, expected in zip(reference.tokens, reference.logits, strict=True):
        logits = last_logits(model, row[None], torch.ones_like(row)[None])[0, -1].cpu()
        errors.append(_relative(logits, expected))
    return judged(
        f"{model.cfg.device} = CPU",
        float(torch.tensor(errors).max()),
        max(_bound(model), RELATIVE_BOUNDS[torch.bfloat16]),
        "relative, last logits",
        "this device computes wrongly: update torch, or use --device cpu",
    )
