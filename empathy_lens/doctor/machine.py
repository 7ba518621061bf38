"""What this machine has, what a model needs from its configuration alone, and the two compared.

Parameters are counted exactly, on torch's meta device. The working memory of a forward pass is
an estimate from the sizes of its largest tensors.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import psutil
import torch

from ..models import HOOKED_AVAILABLE, HubConfig, parameters_only
from ..models.devices import available_devices, bfloat16_instructions
from ..models.embedded import embedded_state
from ..models.zoo import EMBEDDED_MODELS

PACKAGES = ("torch", "transformers", "safetensors", "numpy")
KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "HF_TOKEN")
# Its MPS kernels give wrong numbers in places without an error; mended in 2.9.
BROKEN_ON_MPS = "2.8"
BATCH_TOKENS = 2048
# Python with torch, transformers and TransformerLens imported.
IMPORTS_BYTES = 500_000_000


Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """What was looked at, how it stands, the figure with its bound, and the remedy if any.

    ``warn`` is for what may hurt or could not be looked at, ``fail`` for what will not work.
    """

    name: str
    status: Status
    figure: str
    bound: str = ""
    remedy: str = ""


def judged(name: str, value: float, bound: float, unit: str, remedy: str) -> Check:
    """A check of a figure that must not exceed its bound; NaN exceeds every bound."""
    holds = value <= bound
    figure, limit = f"{value:.2g} {unit}".rstrip(), f"at most {bound:.2g}"
    return Check(name, "ok" if holds else "fail", figure, limit, "" if holds else remedy)


def worst(checks: Iterable[Check]) -> Status:
    """The gravest status of all."""
    order: tuple[Status, ...] = ("ok", "warn", "fail")
    return max((c.status for c in checks), key=order.index, default="ok")


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
    classes, remedy = "HookedTransformer and TransformerBridge", ""
    if not HOOKED_AVAILABLE:
        classes = "TransformerBridge only"
        remedy = "for HookedTransformer: pip install 'transformer-lens>=3.9,<4'"
    figure = f"{version('transformer-lens')}: {classes}"
    return Check("transformer-lens", "ok", figure, remedy=remedy)


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
    states = (f"{name} {'yes' if os.environ.get(name) else 'no'}" for name in KEYS)
    return Check("keys", "ok", ", ".join(states))


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes of a model in one dtype: its weights, and at most beside them while it works.

    ``working`` holds the widest tensors of one pass over 2,048 tokens and the imports; loading
    needs less (one piece of 64 MB). ``download`` is what the hub has, in the dtype stored there;
    ``total`` the weights and what is needed beside them.
    """

    parameters: int
    dtype: str
    weights: int
    working: int
    download: int
    stored: str
    total: int


def memory_need(
    config: HubConfig, dtype: torch.dtype, *, trust_remote_code: bool = False
) -> MemoryNeed:
    """The need of a model with this hub configuration. No weights are read or made."""
    model = parameters_only(config, trust_remote_code=trust_remote_code)
    n = sum(p.numel() for p in model.parameters())
    text = config.get_text_config()
    stored = getattr(config, "dtype", None) or torch.float32
    heads, d_model = text.num_attention_heads, text.hidden_size
    d_mlp = getattr(text, "intermediate_size", None) or 4 * d_model
    # MLP (gate, in, their product, float32 copy) and residual stream with its norms; attention
    # scores and their softmax of the longest text; logits of one position each of 64 rows.
    widest = BATCH_TOKENS * (4 * d_mlp + 8 * d_model) * 4
    attention = heads * BATCH_TOKENS**2 * 8
    logits = 64 * text.vocab_size * 4
    weights, working = n * dtype.itemsize, widest + attention + logits + IMPORTS_BYTES
    return MemoryNeed(
        parameters=n,
        dtype=_name(dtype),
        weights=weights,
        working=working,
        download=n * stored.itemsize,
        stored=_name(stored),
        total=weights + working,
    )


def free_memory(device: torch.device) -> int:
    """Bytes that a model on the device may still take."""
    free = int(psutil.virtual_memory().available)
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        # One memory for both; beyond the recommended size macOS begins to swap and to fail.
        recommended = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
        return min(free, int(recommended))
    return free


def memory_check(need: MemoryNeed, device: torch.device) -> Check:
    """Whether the weights fit, and whether there is room to work with them."""
    free = free_memory(device)
    status: Status = "ok" if need.total <= free else "warn" if need.weights <= free else "fail"
    # float16 is refused on the CPU.
    halves = "--dtype bfloat16" if device.type == "cpu" else "--dtype bfloat16 or float16"
    smaller = "a smaller model" if need.dtype != "float32" else halves
    remedy = {
        "ok": "",
        "warn": "close other programs, or give fewer tokens a batch",
        "fail": f"close other programs, or take {smaller}",
    }[status]
    if status != "ok" and device.type == "mps":
        megabytes = (need.total >> 20) + 1024
        remedy += (
            f"; macOS gives more to the GPU after: sudo sysctl iogpu.wired_limit_mb={megabytes}"
        )
    figure = (
        f"{gigabytes(need.weights)} weights ({need.parameters:,} parameters in {need.dtype}) "
        f"+ about {gigabytes(need.working)} to work"
    )
    return Check(f"memory on {device}", status, figure, f"free: {gigabytes(free)}", remedy)


def disk_check(need: MemoryNeed, folder: Path) -> Check:
    """Whether the download fits on the disk of the folder (or of its nearest parent)."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    fits = need.download <= free
    remedy = ""
    if not fits:
        remedy = "free some space, or name another disk's folder in HF_HOME"
    elif need.stored == "float32" and need.download > 10e9:
        remedy = "stored in float32: a sibling in bfloat16 (such as the -it model) is half of it"
    return Check(
        "download",
        "ok" if fits else "fail",
        f"{gigabytes(need.download)} ({need.stored})",
        f"free: {gigabytes(free)}",
        remedy,
    )


def gigabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
