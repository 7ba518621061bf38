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

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from machine import machine_facts
from random_gemma2 import gemma2_config, save_random_gemma2

from empathy_lens.activations import pooled_resid_post
from empathy_lens.command_line import clear_errors
from empathy_lens.directions import random_directions
from empathy_lens.doctor.parity import release
from empathy_lens.models import load_model, model_card, resolve_device
from empathy_lens.models.devices import DTYPES
from empathy_lens.runs import peak_rss_mb
from empathy_lens.steering.generation import SharedRows, sample_rows
from empathy_lens.types import Direction, Site

DIGITS = "0123456789"


def synchronise(device: torch.device) -> None:
    if device.type in ("cuda", "mps"):
        getattr(torch, device.type).synchronize()


def device_bytes(device: torch.device) -> int:
    """The most that was allocated on a GPU; on the CPU, what the process has taken."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    return int(peak_rss_mb() * 1e6)


def measure(folder: Path, dtype: str, device: torch.device, args: Any) -> dict[str, float]:
    start = time.perf_counter()
    model = load_model(folder, device=str(device), dtype=dtype)
    synchronise(device)
    load_seconds = time.perf_counter() - start
    peak = device_bytes(device)
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))

    def seconds(work: Any) -> float:
        work()  # Once to warm up.
        synchronise(device)
        start = time.perf_counter()
        work()
        synchronise(device)
        return time.perf_counter() - start

    layers = range(int(model.cfg.n_layers))
    texts = [("", (DIGITS * args.text_tokens)[i : i + args.text_tokens]) for i in range(args.texts)]
    extraction = seconds(lambda: pooled_resid_post(model, texts, layers=list(layers)))
    middle = Site(len(layers) // 2)
    vector = random_directions(1, int(model.cfg.d_model), seed=0)[0]
    direction = Direction(vector, middle, "random", 1.0, 0.0, model_card(model).provenance)
    ids = (1, *range(3, 13))
    rows = SharedRows.of([ids] * args.rows, [1.0] * args.rows, list(range(args.rows)))
    new: list[int] = []

    def generate() -> None:
        found = sample_rows(model, rows, direction, args.new_tokens, 1.0)
        new[:] = [len(row) for row, _ in found]

    generation = seconds(generate)
    return {
        "peak_over_weights": round(peak / weights, 3),
        "host_peak_gigabytes": round(peak_rss_mb() / 1e3, 2),
        "load_seconds": round(load_seconds, 1),
        "extraction": round(args.texts * args.text_tokens / extraction, 1),
        "steered_generation": round(sum(new) / generation, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtypes", nargs="+", default=["float16", "bfloat16"])
    parser.add_argument("--folder", type=Path, help="where the checkpoint is made (default: /tmp)")
    parser.add_argument("--d-model", type=int, default=3584)
    parser.add_argument("--layers", type=int, default=42)
    parser.add_argument("--heads", type=int, default=16)
    parser.add_argument("--d-head", type=int, default=256)
    parser.add_argument("--vocabulary", type=int, default=256_000)
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--text-tokens", type=int, default=256)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--new-tokens", type=int, default=64)
    args = parser.parse_args()
    with clear_errors(), tempfile.TemporaryDirectory(dir=args.folder) as scratch:
        device = resolve_device(args.device)
        config = gemma2_config(
            d_model=args.d_model,
            d_mlp=4 * args.d_model,
            n_layers=args.layers,
            n_heads=args.heads,
            d_head=args.d_head,
            d_vocab=args.vocabulary,
        )
        found: dict[str, Any] = {"dtypes": {}}
        for dtype in args.dtypes:
            folder = Path(scratch) / dtype
            found["gigabytes"] = save_random_gemma2(config, folder, dtype=DTYPES[dtype]) / 1e9
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            found["dtypes"][dtype] = measure(folder, dtype, device, args)
            release(device)
            for file in folder.iterdir():
                file.unlink()
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        found["machine"] = {"device": name, **machine_facts()}
    if args.json:
        print(json.dumps(found))
        return
    for dtype, figures in found["dtypes"].items():
        print(dtype, *(f"{name} {value}" for name, value in figures.items()), sep="  ")


if __name__ == "__main__":
    main()
