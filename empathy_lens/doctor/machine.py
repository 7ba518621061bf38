"""What this machine has: versions, devices, dtypes, embedded models, keys."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version

import psutil
import torch

from ..embedded import EMBEDDED_MODELS, embedded_state
from ..models import HOOKED_AVAILABLE
from ..models.devices import available_devices, bfloat16_instructions
from .checks import Check
from .memory import gigabytes

__all__ = ["machine_checks"]

PACKAGES = ("torch", "transformers", "safetensors", "numpy")
KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "HF_TOKEN")
# Its MPS kernels give wrong numbers in places without an error; mended in 2.9.
BROKEN_ON_MPS = "2.8"


def machine_checks() -> list[Check]:
    """Facts of the machine and of what is installed; nothing is downloaded or prepared."""
    memory = psutil.virtual_memory()
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return [
        Check("python", "ok", f"{platform.python_version()} on {platform.platform()}"),
        Check("packages", "ok", packages),
        _transformer_lens(),
        Check(
            "memory",
            "ok",
            f"{gigabytes(memory.total)}, {psutil.cpu_count(logical=False)} cores",
            f"free: {gigabytes(memory.available)}",
        ),
        *_devices(),
        *(_embedded(name) for name in EMBEDDED_MODELS),
        _keys(),
    ]


def _transformer_lens() -> Check:
    found = version("transformer-lens")
    if HOOKED_AVAILABLE:
        return Check("transformer-lens", "ok", f"{found}: HookedTransformer and TransformerBridge")
    return Check(
        "transformer-lens",
        "ok",
        f"{found}: TransformerBridge only",
        remedy="for HookedTransformer: pip install 'transformer-lens>=3.9,<4'",
    )


def _devices() -> list[Check]:
    there = available_devices()
    checks = []
    if there["cuda"]:
        name = torch.cuda.get_device_name()
        half = "bfloat16 (auto), float16" if torch.cuda.is_bf16_supported() else "float16"
        checks.append(Check("device cuda", "ok", f"{name}: {half}, float32"))
    if there["mps"]:
        broken = torch.__version__.startswith(BROKEN_ON_MPS)
        checks.append(
            Check(
                "device mps",
                "fail" if broken else "ok",
                "float16 (auto), bfloat16, float32",
                f"recommended: {gigabytes(torch.mps.recommended_max_memory())}",
                "torch 2.8 computes wrongly on MPS: pip install 'torch>=2.9'" if broken else "",
            )
        )
    native = bfloat16_instructions()
    bfloat16 = f"bfloat16 ({', '.join(native)})" if native else "bfloat16 (no instructions: slow)"
    checks.append(Check("device cpu", "ok", f"float32 (auto), {bfloat16}; float16 is refused"))
    chosen = next(kind for kind, has in there.items() if has)
    checks.append(Check("device auto", "ok", chosen))
    return checks


def _embedded(name: str) -> Check:
    state, command = embedded_state(name)
    optional = EMBEDDED_MODELS[name].fetched and "damaged" not in state
    return Check(
        f"embedded:{name}", "ok" if not command or optional else "warn", state, remedy=command
    )


def _keys() -> Check:
    """Whether keys are set; no part of one is ever shown."""
    found = (f"{name} {'yes' if os.environ.get(name) else 'no'}" for name in KEYS)
    return Check("keys", "ok", ", ".join(found))
