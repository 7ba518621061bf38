"""Which device and dtype a model runs with."""

from __future__ import annotations

import torch

from ..errors import InputError
from ..types import HookedModel

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
# Gemma-3-270M reaches 104,000 at its first position (layer 14); float16 ends at 65,504.
BEYOND_FLOAT16 = ("gemma3", "gemma3_text")
BFLOAT16_PROBES = {"AVX-512 BF16": "_is_avx512_bf16_supported", "AMX": "_is_amx_tile_supported"}


def available_devices() -> dict[str, bool]:
    """The kinds of device in order of preference, and whether this machine has them."""
    return {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }


def bfloat16_instructions() -> tuple[str, ...]:
    """What this CPU multiplies bfloat16 matrices with, by name; none: slowly, if at all."""
    # Private in torch, so an older or newer one may lack them.
    return tuple(
        name
        for name, probe in BFLOAT16_PROBES.items()
        if getattr(torch.cpu, probe, lambda: False)()
    )


def not_finite_advice(dtype: torch.dtype | None) -> str:
    """What to do where a model in this dtype computed a NaN or infinity."""
    if dtype in (torch.bfloat16, torch.float32):
        return f"{dtype} has room for large values: get a new copy of the weights"
    return "load the model with --dtype bfloat16 or float32"


def model_device(model: HookedModel) -> torch.device:
    """Where a model's inputs must be."""
    return torch.device(model.cfg.device or "cpu")


def resolve_device(name: str = "auto") -> torch.device:
    """The device to use. Raises InputError for one that this machine does not have."""
    has = available_devices()
    if name == "auto":
        return torch.device(next(kind for kind, there in has.items() if there))
    kind = name.split(":")[0]
    if kind not in has:
        raise InputError(f"device: expected auto, cpu, mps or cuda, got {name!r}")
    if not has[kind]:
        there = ", ".join(d for d, ok in has.items() if ok)
        raise InputError(f"device {name} is not available here; available: {there}")
    try:
        return torch.device(name)
    except RuntimeError:
        raise InputError(f"device: expected auto, cpu, mps or cuda, got {name!r}") from None


def resolve_dtype(name: str, device: torch.device, model_type: str = "") -> torch.dtype:
    """The dtype to use; float16 on CPU is refused because it is hundreds of times slower.

    ``auto``: bfloat16 on CUDA, float16 on MPS, float32 on CPU; bfloat16 instead of float16 for a
    ``model_type`` (of a hub configuration) whose residual stream exceeds float16's range.
    """
    if name == "auto":
        half = torch.bfloat16 if model_type in BEYOND_FLOAT16 else torch.float16
        return {"mps": half, "cuda": torch.bfloat16}.get(device.type, torch.float32)
    if name not in DTYPES:
        raise InputError(f"dtype: expected auto, {', '.join(DTYPES)}, got {name!r}")
    if name == "float16" and device.type == "cpu":
        gpus = [kind for kind, there in available_devices().items() if there and kind != "cpu"]
        gpu = f", or the GPU with --device {gpus[0]}" if gpus else ""
        raise InputError(
            "float16 on CPU is hundreds of times slower than float32; "
            f"use --dtype float32 (or bfloat16){gpu}"
        )
    return DTYPES[name]
