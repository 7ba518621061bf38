"""How fast are steered log-odds, and are they right? Against one full hooked pass for each.

    python experiments/benchmarks/steering_logodds.py --json [--every N] [--cpu-time]

5 scenarios x 2 actions x 9 alphas x 3 layers on the embedded model, float32. ``full_passes`` is the
time of one full forward pass under a hook for each of the 270 texts over the time of the shared
computation; ``max_abs_diff`` the largest difference between the two in the log-probability of any
action token. ``--every`` makes only every N-th full pass and scales the time.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from harness import DATA, Clock, CpuTime, Json, choose_clock, machine_facts, random_steering, show

from empathy_lens.cli.shared import clear_errors

if TYPE_CHECKING:
    import numpy as np

    from empathy_lens.types import HookedModel

PROMPTS = DATA / "eia_scenarios" / "steering_prompts.json"
ALPHAS = (-8.0, -4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0, 8.0)
# The mean class gap of the embedded model's layers grows about like this.
RAW_NORMS = {5: 50.0, 10: 250.0, 15: 1500.0}


def measure(model: HookedModel, every: int, clock: Clock) -> dict[str, object]:
    import numpy as np
    import torch

    from empathy_lens.data import load_steering_prompts
    from empathy_lens.engine.tokens import encode
    from empathy_lens.steering.hooks import add_direction
    from empathy_lens.steering.scoring import continuation_log_probs
    from empathy_lens.steering.sweep import first_of_each

    prompts = load_steering_prompts(PROMPTS)
    encoded = [
        [
            encode(model, action, prompts[i].prompt)
            for action in (prompts[i].positive_actions[0], prompts[i].negative_actions[0])
        ]
        for i in first_of_each(prompts)
    ]
    hooks = {
        direction.site.layer: [add_direction(direction, alpha) for alpha in ALPHAS]
        for direction in random_steering(model, RAW_NORMS)
    }

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


def main(
    as_json: Json = False,
    every: Annotated[int, typer.Option(help="make every N-th full pass")] = 1,
    backend: Annotated[Literal["auto", "hooked", "bridge"], typer.Option()] = "auto",
    cpu_time: CpuTime = False,
) -> None:
    """Time the shared computation, and a full pass for each text; compare what they say."""
    with clear_errors("Run it again."):
        from empathy_lens.models import load_model

        model = load_model("embedded", backend=backend, device="cpu", dtype="float32")
        found = measure(model, max(1, every), choose_clock(cpu_time))
        table = "{ratios[full_passes]}x, max difference {max_abs_diff:.2e}"
        show(found, as_json, [table.format(**found)])


if __name__ == "__main__":
    typer.run(main)
