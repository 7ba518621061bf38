"""How fast is steered sampling? Against batched unsteered `generate`, and the usual serial way.

    python experiments/benchmarks/steered_generation.py --json [--repeats 5] [--cpu-time]

36 rows (3 prompts x 4 alphas x 3 samples) x 40 new tokens on the embedded model. Ratios are medians
over repeats of runs made side by side, in turns forwards and backwards:

    hf_batched     tokens/s of steered sampling over those of Hugging Face's own batched generate on
                   the same rows, unsteered (wanted: at least 0.9)
    serial         the same over the backend's own generate, one row at a time under a hook, with
                   its cache; timed on every 6th row (wanted: at least 5)
    hook_overhead  seconds with the hook at every new token over seconds without a hook, the same
                   prompts read unsteered in both (wanted: at most 1.05)
    all_positions  seconds of steering prompts and new tokens over seconds without a hook: above the
                   steered layer a prompt is read once for each alpha, otherwise once
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from machine import machine_facts

from empathy_lens.command_line import clear_errors
from empathy_lens.data import load_steering_prompts
from empathy_lens.directions import random_directions
from empathy_lens.embedded import embedded_folder
from empathy_lens.models import HOOKED_AVAILABLE, Backend, load_model, model_card
from empathy_lens.steering.generation import SharedRows, sample_rows
from empathy_lens.steering.hooks import add_direction
from empathy_lens.tokens import encode_prompt, pad_batch, pad_id
from empathy_lens.types import Direction, HookedModel, Site

PROMPTS = Path(__file__).resolve().parents[2] / "data" / "eia_scenarios" / "steering_prompts.json"
ALPHAS = (-2.0, -1.0, 1.0, 2.0)
N_PROMPTS, N_SAMPLES, NEW_TOKENS, TEMPERATURE = 3, 3, 40, 0.7
SERIAL_EVERY = 6
RAW_NORM = 100.0


Clock = Callable[[], float]


def measure(model: HookedModel, hub: Any, layer: int, repeats: int, clock: Clock) -> dict[str, Any]:
    prompts = load_steering_prompts(PROMPTS)[:N_PROMPTS]
    encoded = [encode_prompt(model, p.prompt) for p in prompts]
    plan = [(ids, a, s) for ids in encoded for a in ALPHAS for s in range(N_SAMPLES)]
    row_ids, alphas, seeds = (list(column) for column in zip(*plan, strict=True))
    rows = SharedRows.of(row_ids, alphas, seeds)
    direction = Direction(
        vector=random_directions(1, int(model.cfg.d_model), seed=0)[0],
        site=Site(layer),
        method="random",
        raw_norm=RAW_NORM,
        threshold=0.0,
        provenance=model_card(model).provenance,
    )
    tokens, real = pad_batch(row_ids, pad_id(model), side="left")

    def seconds(work: Callable[[], Any]) -> float:
        start = clock()
        work()
        return clock() - start

    def steered() -> None:
        found = sample_rows(model, rows, direction, NEW_TOKENS, TEMPERATURE)
        assert not all(done for _, done in found), "every row stopped early: nothing to compare"

    def new_tokens() -> None:
        sample_rows(model, rows, direction, NEW_TOKENS, TEMPERATURE, new_tokens_only=True)

    def unhooked() -> None:
        sample_rows(model, rows, None, NEW_TOKENS, TEMPERATURE)

    def hub_batched() -> None:
        with torch.no_grad():
            hub.generate(
                tokens,
                attention_mask=real.long(),
                max_new_tokens=NEW_TOKENS,
                min_new_tokens=NEW_TOKENS,
                do_sample=True,
                temperature=TEMPERATURE,
                top_k=0,
                top_p=1.0,
            )

    def serial() -> None:
        for ids, alpha, _ in plan[::SERIAL_EVERY]:
            hooks = [add_direction(direction, alpha)]
            with torch.no_grad(), model.hooks(fwd_hooks=hooks):
                model.generate(  # type: ignore[attr-defined]
                    torch.tensor([ids]),
                    max_new_tokens=NEW_TOKENS,
                    temperature=TEMPERATURE,
                    stop_at_eos=False,
                    verbose=False,
                )

    runs: dict[str, list[float]] = {}
    # The first tokens ever sampled pay for reading the weights from disk.
    sample_rows(model, rows, direction, 1, TEMPERATURE)
    works = [steered, new_tokens, unhooked, hub_batched]
    for number in range(repeats):
        # To and fro, so that a machine that slows down favours none of them.
        for work in works[:: -1 if number % 2 else 1]:
            found = runs.setdefault(work.__name__, [])
            found.append(seconds(work))
            print(f"{work.__name__}: {found[-1]:.1f} s", file=sys.stderr)
    n_serial = len(plan[::SERIAL_EVERY])
    alone = seconds(serial) * len(plan) / n_serial
    print(f"serial: {alone:.1f} s for all rows, from {n_serial}", file=sys.stderr)

    def ratio(over: str, under: str) -> float:
        pairs = zip(runs[over], runs[under], strict=True)
        return round(statistics.median(a / b for a, b in pairs), 3)

    return {
        "ratios": {
            "hf_batched": ratio("hub_batched", "steered"),
            "serial": round(alone / statistics.median(runs["steered"]), 3),
            "hook_overhead": ratio("new_tokens", "unhooked"),
            "all_positions": ratio("steered", "unhooked"),
        },
        "tokens_per_second": {
            name: round(len(plan) * NEW_TOKENS / statistics.median(found), 2)
            for name, found in runs.items()
        },
    }


def main() -> None:
    from transformers import AutoModelForCausalLM

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--layer", type=int, help="steered layer (default: the middle one)")
    parser.add_argument("--cpu-time", action="store_true", help="for a machine that others use")
    parser.add_argument("--backend", choices=("hooked", "bridge"), help="one backend alone")
    args = parser.parse_args()
    clock = time.process_time if args.cpu_time else time.perf_counter
    found: dict[str, Any] = {"backends": {}, "machine": machine_facts()}
    with clear_errors():
        available: tuple[Backend, ...] = ("hooked", "bridge") if HOOKED_AVAILABLE else ("bridge",)
        hub = AutoModelForCausalLM.from_pretrained(
            embedded_folder("gemma3-270m"), dtype=torch.float32, local_files_only=True
        ).eval()
        asked: tuple[Backend, ...] = (args.backend,) if args.backend else available
        for backend in asked:
            model = load_model("embedded", backend=backend, device="cpu")
            layer = int(model.cfg.n_layers) // 2 if args.layer is None else args.layer
            found["backends"][backend] = measure(model, hub, layer, args.repeats, clock)
            del model
    if args.json:
        print(json.dumps(found))
        return
    for backend, result in found["backends"].items():
        print(backend, *(f"{name} {value}" for name, value in result["ratios"].items()), sep="  ")


if __name__ == "__main__":
    main()
