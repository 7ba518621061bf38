"""How fast are activations extracted? Against three usual ways, and against the machine's limit.

    python experiments/benchmarks/extraction.py --json [--repeats 3] [--every 6] [--cpu-time]

The shipped pairs (train and test, both sides), embedded model, ``resid_post`` of all layers, mean
over the completion's tokens. Each ratio is tokens/s of ``extract_activations`` over tokens/s of the
other way, tokens being those of the texts in full (BOS and prompt of each side included); runs are
interleaved and the median over repeats is printed:

    peers   Hugging Face model, batches of 8 in the order given, padded, ``output_hidden_states``
            and full logits, pooled with the mask (wanted: at least 4)
    seed    one text and one of five layers at a time, a full forward pass for each (at least 10)
    plain   ``run_with_cache`` one text at a time, every ``resid_post`` cached, logits too (2.5)
    gemm_fraction  floating-point operations of the positions that must be computed (a shared prompt
            once; linear layers, and attention over the keys that each position sees) per second,
            over those of float32 matrix products of the model's shapes, measured beside (0.65)

The slow ways are timed on every N-th pair (``--every``) and compared by rate. ``bfloat16`` has the
same ratios with matrix products in bfloat16, its speed over float32, and whether parity holds over
all pairs (cosine of directions, AUROC).
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

from empathy_lens.activations.engine import BATCH_TOKENS, Settings, read_texts
from empathy_lens.activations.plan import distinct_positions, plan_batches
from empathy_lens.activations.precision import choose_precision, unmeasured
from empathy_lens.command_line import clear_errors
from empathy_lens.data import load_pairs
from empathy_lens.embedded import embedded_folder
from empathy_lens.models import load_model, model_card
from empathy_lens.tokens import EncodedText, encode, pad_batch, pad_id
from empathy_lens.types import HookedModel, Site

DATA = Path(__file__).resolve().parents[2] / "data" / "contrastive_pairs"
WANTED = {"peers": 4.0, "seed": 10.0, "plain": 2.5, "gemm_fraction": 0.65}
PEERS_BATCH = 8
N_SEED_LAYERS, SEED_TEXTS = 5, 4
GEMM_SECONDS = 1.0

Clock = Callable[[], float]
Texts = list[EncodedText]
Pooled = torch.Tensor


def engine(model: HookedModel, texts: Texts, settings: Settings) -> Pooled:
    return read_texts(model, texts, settings)[settings.poolings[0]]


def peers(hub: Any, texts: Texts, pad: int) -> Pooled:
    found = []
    for start in range(0, len(texts), PEERS_BATCH):
        some = texts[start : start + PEERS_BATCH]
        tokens, real = pad_batch([t.ids for t in some], pad)
        with torch.no_grad():
            out = hub(tokens, attention_mask=real.long(), output_hidden_states=True)
        pooled = torch.zeros_like(real)
        for row, text in enumerate(some):
            pooled[row, text.start : len(text.ids)] = True
        mask = pooled[..., None].float()
        states = [(h * mask).sum(dim=1) / mask.sum(dim=1) for h in out.hidden_states[1:]]
        found.append(torch.stack(states, dim=1))
    return torch.cat(found)


def seed(hub: Any, texts: Texts, layers: list[int]) -> None:
    for layer in layers:
        for text in texts:
            with torch.no_grad():
                out = hub(torch.tensor([text.ids]), output_hidden_states=True)
            out.hidden_states[layer + 1][0, text.start :].mean(dim=0)


def plain(model: HookedModel, texts: Texts) -> Pooled:
    names = [Site(layer).hook_name for layer in range(int(model.cfg.n_layers))]
    wanted = set(names)
    found = []
    for text in texts:
        with torch.no_grad():
            _, cache = model.run_with_cache(
                torch.tensor([text.ids]), names_filter=lambda name: name in wanted
            )
        found.append(torch.stack([cache[name][0, text.start :].mean(dim=0) for name in names]))
    return torch.stack(found)


def matrix_shapes(cfg: Any) -> list[tuple[int, int]]:
    """(in, out) of the linear layers of one block."""
    heads, kv = cfg.n_heads * cfg.d_head, (cfg.n_key_value_heads or cfg.n_heads) * cfg.d_head
    d, mlp = cfg.d_model, cfg.d_mlp
    return [(d, heads), (d, kv), (d, kv), (heads, d), (d, mlp), (d, mlp), (mlp, d)]


def needed_flops(model: HookedModel, texts: Texts) -> tuple[float, int]:
    """Operations and positions of what must be computed, each distinct position once."""
    cfg = model.cfg
    batches = plan_batches(
        texts, batch_tokens=BATCH_TOKENS, n_ctx=model_card(model).n_ctx, share_prompts=True
    )
    keys = 0

    def seen(first: int, last: int) -> int:
        return sum(range(first + 1, last + 1))

    for batch in batches:
        keys += sum(seen(0, len(prompt)) for prompt in batch.prompts)
        for rows in batch.passes:
            for text in (texts[i] for i in rows):
                keys += seen(text.start if batch.prompts else 0, len(text.ids))
    positions = distinct_positions(texts, batches)
    linear = sum(2 * a * b for a, b in matrix_shapes(cfg)) * positions
    attention = 4 * cfg.n_heads * cfg.d_head * keys
    return float(cfg.n_layers * (linear + attention)), positions


def gemm_rate(cfg: Any, clock: Clock) -> float:
    """Float32 matrix products of a block's shapes over a batch of positions, operations/s."""
    pairs = [(torch.randn(BATCH_TOKENS // 2, a), torch.randn(b, a)) for a, b in matrix_shapes(cfg)]
    operations, start = 0.0, clock()
    while clock() - start < GEMM_SECONDS:
        for x, w in pairs:
            torch.nn.functional.linear(x, w)
            operations += 2.0 * x.numel() * len(w)
    return operations / (clock() - start)


def measure(n_pairs: int | None, every: int, repeats: int, clock: Clock) -> dict[str, Any]:
    from transformers import AutoModelForCausalLM

    model = load_model("embedded", device="cpu", dtype="float32")
    hub = AutoModelForCausalLM.from_pretrained(
        embedded_folder("gemma3-270m"), dtype=torch.float32, local_files_only=True
    ).eval()
    pairs = load_pairs(DATA / "train_pairs.jsonl") + load_pairs(DATA / "test_pairs.jsonl")
    encoded = [[encode(model, side, p.prompt) for side in (p.positive, p.negative)] for p in pairs]
    texts = [text for both in encoded for text in both]
    some = [text for both in encoded[::every] for text in both]
    n_layers = int(model.cfg.n_layers)
    seed_layers = [
        round(i * (n_layers - 1) / (N_SEED_LAYERS + 1)) for i in range(1, N_SEED_LAYERS + 1)
    ]
    settings = Settings(tuple(range(n_layers)))
    low = Settings(tuple(range(n_layers)), precision="bfloat16")
    flops, positions = needed_flops(model, texts)
    n_tokens, n_some = (sum(len(t.ids) for t in which) for which in (texts, some))
    n_seed = sum(len(t.ids) for t in some[:SEED_TEXTS])
    ways: dict[str, tuple[Callable[[], Any], int]] = {
        "engine": (lambda: engine(model, texts, settings), n_tokens),
        "peers": (lambda: peers(hub, some, pad_id(model)), n_some),
        "seed": (lambda: seed(hub, some[:SEED_TEXTS], seed_layers), n_seed),
        "plain": (lambda: plain(model, some), n_some),
    }
    without = unmeasured(model)
    if without is None:
        ways["bfloat16"] = (lambda: engine(model, texts, low), n_tokens)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    beside: dict[str, list[float]] = {name: [] for name in ("engine", "bfloat16")}
    values: dict[str, Any] = {}
    engine(model, texts[:4], settings)  # Reads the weights from disk.
    for repeat in range(repeats):
        for name, (run, n) in ways.items():
            if name in beside:
                beside[name].append(gemm_rate(model.cfg, clock))
            start = clock()
            values[name] = run()
            rates[name].append(n / (clock() - start))
            print(f"{repeat + 1}/{repeats} {name}: {rates[name][-1]:.1f} tokens/s", file=sys.stderr)

    def ratios(name: str) -> dict[str, float]:
        out = {
            way: statistics.median(a / b for a, b in zip(rates[name], rates[way], strict=True))
            for way in ("peers", "seed", "plain")
        }
        out["gemm_fraction"] = statistics.median(
            flops * rate / n_tokens / gemm
            for rate, gemm in zip(rates[name], beside[name], strict=True)
        )
        return {way: round(value, 3) for way, value in out.items()}

    index = [i for i, _ in enumerate(texts) if (i // 2) % every == 0]
    ours = values["engine"][index]

    def off(other: Pooled) -> float:
        """Largest distance over texts and layers, as a part of the activation's norm."""
        return float(((ours - other).norm(dim=2) / ours.norm(dim=2)).max())

    found: dict[str, Any] = {
        "ratios": ratios("engine"),
        "wanted": WANTED,
        "tokens_per_s": {k: round(statistics.median(v), 1) for k, v in rates.items()},
        "gemm_gflops": round(statistics.median(beside["engine"]) / 1e9, 1),
        "tokens": {
            "texts": len(texts),
            "text_tokens": n_tokens,
            "positions_needed": positions,
            "timed_slow_ways": n_some,
            "timed_seed": n_seed,
            "layers": n_layers,
            "seed_layers": seed_layers,
        },
        # The hub's last hidden state is after the final norm: the other layers are compared.
        "max_relative_difference": {
            "plain": off(values["plain"]),
            "peers": float(
                ((ours - values["peers"])[:, :-1].norm(dim=2) / ours[:, :-1].norm(dim=2)).max()
            ),
        },
    }
    if without is not None:
        found["bfloat16"] = {"parity": False, "reason": without.reason}
    else:
        labels = torch.tensor([True, False] * len(pairs))
        parity = choose_precision(values["engine"], values["bfloat16"], labels)
        found["bfloat16"] = {
            **ratios("bfloat16"),
            "over_float32": round(
                statistics.median(
                    a / b for a, b in zip(rates["bfloat16"], rates["engine"], strict=True)
                ),
                3,
            ),
            "parity": parity.used == "bfloat16",
            "min_cosine": parity.min_cosine,
            "max_auroc_gap": parity.max_auroc_gap,
        }
    return {**found, "machine": machine_facts()}


def table(found: dict[str, Any]) -> str:
    low = found["bfloat16"]
    lines = [f"{'':16}{'float32':>10}{'wanted':>10}{'bfloat16':>10}"]
    for name, value in found["ratios"].items():
        lines.append(
            f"{name:16}{value:10.2f}{WANTED[name]:10.2f}{low.get(name, float('nan')):10.2f}"
        )
    lines.append(f"tokens/s: {found['tokens_per_s']}")
    lines.append(f"tokens: {found['tokens']}")
    lines.append(f"bfloat16: {low}")
    lines.append(f"machine: {found['machine']}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--every", type=int, default=6, help="time the slow ways on every N-th pair"
    )
    parser.add_argument("--pairs", type=int, help="only the first N pairs, to try the script out")
    parser.add_argument("--cpu-time", action="store_true", help="for a machine that others use")
    args = parser.parse_args()
    clock = time.process_time if args.cpu_time else time.perf_counter
    with clear_errors("Run it again."):
        found = measure(args.pairs, max(1, args.every), max(1, args.repeats), clock)
    print(json.dumps(found, indent=2) if args.json else table(found))


if __name__ == "__main__":
    main()
