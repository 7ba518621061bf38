"""What a model needs, from its configuration alone, and what this machine has.

Parameters are counted exactly, on torch's meta device. The working memory of a forward pass is
an estimate from the sizes of its largest tensors.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from ..errors import ModelError
from ..models.hub import load_hub_config, parameters_only
from ..models.source import ModelSource
from .checks import Check, Status
from .known_models import KNOWN_MODELS, known_config

__all__ = [
    "MemoryNeed",
    "disk_check",
    "free_memory",
    "gigabytes",
    "memory_check",
    "memory_need",
    "memory_table",
    "model_config",
]

BATCH_TOKENS = 2048
# Python with torch, transformers and TransformerLens imported.
IMPORTS_BYTES = 500_000_000


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes of a model in one dtype: its weights, and at most beside them while it works.

    ``working`` holds the widest tensors of one pass over 2,048 tokens and the imports; loading
    needs less (one piece of 64 MB). ``download`` is what the hub has, in the dtype stored there.
    """

    parameters: int
    dtype: str
    weights: int
    working: int
    download: int
    stored: str

    @property
    def total(self) -> int:
        return self.weights + self.working

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"total": self.total}


def memory_need(config: Any, dtype: torch.dtype) -> MemoryNeed:
    """The need of a model with this hub configuration. No weights are read or made."""
    model = parameters_only(config)
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
    return MemoryNeed(
        parameters=n,
        dtype=_name(dtype),
        weights=n * dtype.itemsize,
        working=widest + attention + logits + IMPORTS_BYTES,
        download=n * stored.itemsize,
        stored=_name(stored),
    )


def model_config(source: ModelSource) -> tuple[Any, Check]:
    """A model's configuration, and a check that says where it is from.

    Of a hub model only the configuration is downloaded; for a well-known one that is out of
    reach or gated, the built-in sizes do. Raises ModelError where there are none.
    """
    try:
        config = load_hub_config(source)
    except ModelError as error:
        if source.local or source.hub_id not in KNOWN_MODELS:
            raise
        config = known_config(source.hub_id)
        figure = f"{config.model_type}, built-in sizes"
        return config, Check("configuration", "warn", figure, remedy=str(error))
    return config, Check("configuration", "ok", f"{config.model_type}, its config.json")


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
    smaller = "a smaller model" if need.dtype != "float32" else "--dtype bfloat16 or float16"
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


def memory_table() -> list[dict[str, Any]]:
    """The need of the models that are named in the documentation, in 16 and in 32 bits."""
    rows = []
    for hub_id in KNOWN_MODELS:
        need = memory_need(known_config(hub_id), torch.bfloat16)
        rows.append(
            {
                "model": hub_id,
                "parameters": need.parameters,
                "download": need.download,
                "stored": need.stored,
                "weights_16_bits": need.weights,
                "weights_float32": need.parameters * torch.float32.itemsize,
                "working": need.working,
                "source": "computed",
            }
        )
    return rows


def gigabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
