"""The real size on a GPU: Gemma-2-9B's shape with random weights, in float16 and bfloat16.

    python experiments/benchmarks/full_size.py --json [--folder DIR] [--device cuda]

Writes a random checkpoint of 18.5 GB (42 layers, d_model 3584) into a temporary folder, removes it
afterwards, and measures for each dtype, with load_model, on the named device:

    peak_over_weights     the device's peak after loading over the weights (wanted: 1.25)
    host_peak_gigabytes   resident memory of the process on the CPU's side, imports included
    load_seconds          from disk to ready
    extraction            tokens/s of pooled resid_post of all layers, 64 texts of 256 tokens
    steered_generation    new tokens/s under a steering hook, 16 rows of 64 new tokens

Random weights take the time of trained ones. ``--layers``, ``--d-model`` and ``--vocabulary`` make
it small enough for any machine.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from harness import Json, line, machine_facts, random_steering, seconds, show

from empathy_lens.cli.shared import clear_errors

if TYPE_CHECKING:
    import torch

DIGITS = "0123456789"


@dataclass(frozen=True)
class Work:
    """How much is read and how much is sampled."""

    texts: int
    text_tokens: int
    rows: int
    new_tokens: int


def synchronise(device: torch.device) -> None:
    import torch

    if device.type in ("cuda", "mps"):
        getattr(torch, device.type).synchronize()


def device_bytes(device: torch.device) -> int:
    """The most that was allocated on a GPU; on the CPU, what the process has taken."""
    import torch

    from empathy_lens.study.runs import peak_rss_mb

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    return int(peak_rss_mb() * 1e6)


def measure(folder: Path, dtype: str, device: torch.device, work: Work) -> dict[str, float]:
    from empathy_lens.activations import pooled_resid_post
    from empathy_lens.models import load_model
    from empathy_lens.steering.generation import SharedRows, sample_rows
    from empathy_lens.study.runs import peak_rss_mb

    start = time.perf_counter()
    model = load_model(folder, device=str(device), dtype=dtype)
    synchronise(device)
    load_seconds = time.perf_counter() - start
    peak = device_bytes(device)
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))

    def timed(run: Callable[[], object]) -> float:
        def to_the_end() -> None:
            run()
            synchronise(device)

        to_the_end()  # Once to warm up.
        return seconds(to_the_end, time.perf_counter)

    layers = range(int(model.cfg.n_layers))
    texts = [("", (DIGITS * work.text_tokens)[i : i + work.text_tokens]) for i in range(work.texts)]
    extraction = timed(lambda: pooled_resid_post(model, texts, layers=list(layers)))
    (direction,) = random_steering(model, {len(layers) // 2: 1.0})
    ids = (1, *range(3, 13))
    rows = SharedRows.of([ids] * work.rows, [1.0] * work.rows, list(range(work.rows)))
    new: list[int] = []

    def generate() -> None:
        found = sample_rows(model, rows, direction, work.new_tokens, 1.0)
        new[:] = [len(row) for row, _ in found]

    generation = timed(generate)
    return {
        "peak_over_weights": round(peak / weights, 3),
        "host_peak_gigabytes": round(peak_rss_mb() / 1e3, 2),
        "load_seconds": round(load_seconds, 1),
        "extraction": round(work.texts * work.text_tokens / extraction, 1),
        "steered_generation": round(sum(new) / generation, 1),
    }


def main(
    as_json: Json = False,
    device: str = "auto",
    dtypes: Annotated[str, typer.Option(help="one or several")] = "float16,bfloat16",
    folder: Annotated[
        Path | None, typer.Option(help="where the checkpoint is made (default: /tmp)")
    ] = None,
    d_model: int = 3584,
    layers: int = 42,
    heads: int = 16,
    d_head: int = 256,
    vocabulary: int = 256_000,
    texts: int = 64,
    text_tokens: int = 256,
    rows: int = 16,
    new_tokens: int = 64,
) -> None:
    """Load a random checkpoint of the size in each dtype, read with it and sample from it."""
    with clear_errors("Run it again."), tempfile.TemporaryDirectory(dir=folder) as scratch:
        import torch
        from random_gemma2 import gemma2_config, save_random_gemma2

        from empathy_lens.doctor.parity import release
        from empathy_lens.models import resolve_device
        from empathy_lens.models.devices import DTYPES

        where = resolve_device(device)
        config = gemma2_config(
            d_model=d_model,
            n_layers=layers,
            n_heads=heads,
            d_head=d_head,
            d_vocab=vocabulary,
        )
        work = Work(texts, text_tokens, rows, new_tokens)
        found: dict[str, Any] = {"dtypes": {}}
        for dtype in dtypes.split(","):
            made = Path(scratch) / dtype
            found["gigabytes"] = save_random_gemma2(config, made, dtype=DTYPES[dtype]) / 1e9
            if where.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            found["dtypes"][dtype] = measure(made, dtype, where, work)
            release(where)
            for file in made.iterdir():
                file.unlink()
        name = torch.cuda.get_device_name(where) if where.type == "cuda" else where.type
        found["machine"] = {"device": name, **machine_facts()}
        show(found, as_json, (line(dtype, of) for dtype, of in found["dtypes"].items()))


if __name__ == "__main__":
    typer.run(main)
