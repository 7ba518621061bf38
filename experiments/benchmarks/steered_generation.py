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

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from harness import (
    DATA,
    Clock,
    CpuTime,
    Json,
    choose_clock,
    embedded_hub_model,
    line,
    machine_facts,
    random_steering,
    seconds,
    show,
    side_by_side,
)

from empathy_lens.cli.shared import clear_errors

if TYPE_CHECKING:
    from empathy_lens.models import Backend
    from empathy_lens.types import HookedModel

PROMPTS = DATA / "eia_scenarios" / "steering_prompts.json"
ALPHAS = (-2.0, -1.0, 1.0, 2.0)
N_PROMPTS, N_SAMPLES, NEW_TOKENS, TEMPERATURE = 3, 3, 40, 0.7
SERIAL_EVERY = 6
RAW_NORM = 100.0


def measure(model: HookedModel, hub: Any, layer: int, repeats: int, clock: Clock) -> dict[str, Any]:
    import torch

    from empathy_lens.data import load_steering_prompts
    from empathy_lens.engine.tokens import encode_prompt, pad_batch, pad_id
    from empathy_lens.steering.generation import SharedRows, sample_rows
    from empathy_lens.steering.hooks import add_direction

    prompts = load_steering_prompts(PROMPTS)[:N_PROMPTS]
    encoded = [encode_prompt(model, p.prompt) for p in prompts]
    plan = [(ids, a, s) for ids in encoded for a in ALPHAS for s in range(N_SAMPLES)]
    row_ids, alphas, seeds = (list(column) for column in zip(*plan, strict=True))
    rows = SharedRows.of(row_ids, alphas, seeds)
    (direction,) = random_steering(model, {layer: RAW_NORM})
    tokens, real = pad_batch(row_ids, pad_id(model), side="left")

    def steered() -> None:
        found = sample_rows(model, rows, direction, NEW_TOKENS, TEMPERATURE)
        assert not all(done for _, done in found), "every row stopped early: nothing to compare"

    def new_tokens() -> None:
        sample_rows(model, rows, direction, NEW_TOKENS, TEMPERATURE, positions="new_tokens")

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

    # The first tokens ever sampled pay for reading the weights from disk.
    sample_rows(model, rows, direction, 1, TEMPERATURE)
    works = (steered, new_tokens, unhooked, hub_batched)
    runs = side_by_side({work.__name__: work for work in works}, repeats, clock)
    n_serial = len(plan[::SERIAL_EVERY])
    alone = seconds(serial, clock) * len(plan) / n_serial
    print(f"serial: {alone:.1f} s for all rows, from {n_serial}", file=sys.stderr)

    return {
        "ratios": {
            "hf_batched": round(runs.ratio("hub_batched", "steered"), 3),
            "serial": round(alone / runs.median("steered"), 3),
            "hook_overhead": round(runs.ratio("new_tokens", "unhooked"), 3),
            "all_positions": round(runs.ratio("steered", "unhooked"), 3),
        },
        "tokens_per_second": {
            name: round(len(plan) * NEW_TOKENS / runs.median(name), 2) for name in runs.seconds
        },
    }


def main(
    as_json: Json = False,
    repeats: int = 5,
    layer: Annotated[int | None, typer.Option(help="steered layer (default: the middle)")] = None,
    cpu_time: CpuTime = False,
    backend: Annotated[
        Literal["hooked", "bridge"] | None, typer.Option(help="one backend alone")
    ] = None,
) -> None:
    """Time steered sampling on each backend beside the other ways."""
    with clear_errors("Run it again."):
        from empathy_lens.models import HOOKED_AVAILABLE, load_model

        found: dict[str, Any] = {"backends": {}, "machine": machine_facts()}
        available: tuple[Backend, ...] = ("hooked", "bridge") if HOOKED_AVAILABLE else ("bridge",)
        hub = embedded_hub_model()
        for name in (backend,) if backend else available:
            model = load_model("embedded", backend=name, device="cpu")
            steered = int(model.cfg.n_layers) // 2 if layer is None else layer
            found["backends"][name] = measure(model, hub, steered, repeats, choose_clock(cpu_time))
            del model
        show(found, as_json, (line(name, of["ratios"]) for name, of in found["backends"].items()))


if __name__ == "__main__":
    typer.run(main)
