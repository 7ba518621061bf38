"""Which device and dtype a model runs with."""

from __future__ import annotations

import torch

from ..errors import InputError

__all__ = ["DTYPES", "available_devices", "resolve_device", "resolve_dtype"]

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def available_devices() -> dict[str, bool]:
    """The kinds of device in order of preference, and whether this machine has them."""
    return {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }


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


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype to use; float16 on CPU is refused because it is hundreds of times slower."""
    if name == "auto":
        return {"mps": torch.float16, "cuda": torch.bfloat16}.get(device.type, torch.float32)
    if name not in DTYPES:
        raise InputError(f"dtype: expected auto, {', '.join(DTYPES)}, got {name!r}")
    if name == "float16" and device.type == "cpu":
        raise InputError(
            "float16 on CPU is hundreds of times slower than float32; "
            "use --dtype float32 (or bfloat16), or a GPU with --device mps or cuda"
        )
    return DTYPES[name]
