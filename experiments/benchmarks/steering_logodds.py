"""How fast are steered log-odds, and are they right? Against one full hooked pass for each.

    python experiments/benchmarks/steering_logodds.py --json [--every N] [--cpu-time]

5 scenarios x 2 actions x 9 alphas x 3 layers on the embedded model, float32. ``full_passes`` is the
time of one full forward pass under a hook for each of the 270 texts over the time of the shared
computation; ``max_abs_diff`` the largest difference between the two in the log-probability of any
action token. ``--every`` makes only every N-th full pass and scales the time.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import machine_facts

from empathy_lens.command_line import clear_errors
from empathy_lens.data import load_steering_prompts
from empathy_lens.directions import random_directions
from empathy_lens.models import load_model, model_card
from empathy_lens.steering.hooks import FwdHook, add_direction
from empathy_lens.steering.scoring import continuation_log_probs
from empathy_lens.steering.sweep import first_of_each
from empathy_lens.tokens import encode
from empathy_lens.types import Direction, HookedModel, Site

PROMPTS = Path(__file__).resolve().parents[2] / "data" / "eia_scenarios" / "steering_prompts.json"
ALPHAS = (-8.0, -4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0, 8.0)
# The mean class gap of the embedded model's layers grows about like this.
RAW_NORMS = {5: 50.0, 10: 250.0, 15: 1500.0}


def measure(model: HookedModel, every: int, clock: Callable[[], float]) -> dict[str, Any]:
    prompts = load_steering_prompts(PROMPTS)
    encoded = [
        [
            encode(model, action, prompts[i].prompt)
            for action in (prompts[i].empathic_actions[0], prompts[i].task_actions[0])
        ]
        for i in first_of_each(prompts)
    ]
    vectors = random_directions(len(RAW_NORMS), int(model.cfg.d_model), seed=0)
    provenance = model_card(model).provenance
    hooks: dict[int, list[FwdHook]] = {}
    for (layer, norm), vector in zip(RAW_NORMS.items(), vectors, strict=True):
        direction = Direction(vector, Site(layer), "random", norm, 0.0, provenance)
        hooks[layer] = [add_direction(direction, alpha) for alpha in ALPHAS]

    def shared() -> list[dict[int, np.ndarray]]:
        return [
            continuation_log_probs(
                model, a.ids[: a.start], [a.ids[a.start :], b.ids[b.start :]], dict(hooks)
            )
            for a, b in encoded
        ]

    shared()  # Reads the weights from disk.
    start = clock()
    found = shared()
    fast = clock() - start
    print(f"shared: {fast:.1f} s", file=sys.stderr)

    largest, slow, made, total = 0.0, 0.0, 0, 0
    for scenario, texts in enumerate(encoded):
        for side, text in enumerate(texts):
            tokens = torch.tensor([text.ids])
            for layer, of_layer in hooks.items():
                for row, hook in enumerate(of_layer):
                    total += 1
                    if total % every:
                        continue
                    start = clock()
                    with torch.no_grad(), model.hooks(fwd_hooks=[hook]):
                        logits = model(tokens)[0, text.start - 1 : -1]
                    wanted = tokens[0, text.start :, None]
                    log_probs = logits.log_softmax(dim=-1).gather(-1, wanted)[:, 0]
                    slow += clock() - start
                    made += 1
                    mine = found[scenario][layer][row, side, : text.n_completion]
                    largest = max(largest, float(np.abs(mine - log_probs.numpy()).max()))
        print(f"full passes: {made} in {slow:.1f} s", file=sys.stderr)
    return {
        "ratios": {"full_passes": round(slow * total / made / fast, 3)},
        "max_abs_diff": largest,
        "full_passes_made": made,
        "machine": machine_facts(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    parser.add_argument("--every", type=int, default=1, help="make every N-th full pass")
    parser.add_argument("--backend", choices=("auto", "hooked", "bridge"), default="auto")
    parser.add_argument("--cpu-time", action="store_true", help="for a machine that others use")
    args = parser.parse_args()
    clock = time.process_time if args.cpu_time else time.perf_counter
    with clear_errors():
        model = load_model("embedded", backend=args.backend, device="cpu", dtype="float32")
        found = measure(model, max(1, args.every), clock)
    if args.json:
        print(json.dumps(found))
    else:
        print(f"{found['ratios']['full_passes']}x, max difference {found['max_abs_diff']:.2e}")


if __name__ == "__main__":
    main()
