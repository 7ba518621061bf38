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

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer
from harness import (
    DATA,
    Clock,
    CpuTime,
    Json,
    choose_clock,
    embedded_hub_model,
    machine_facts,
    show,
    side_by_side,
)

from empathy_lens.cli.shared import clear_errors

if TYPE_CHECKING:
    from torch import Tensor

    from empathy_lens.engine.pooling import Settings
    from empathy_lens.engine.tokens import EncodedText
    from empathy_lens.types import HookedModel

PAIRS = DATA / "contrastive_pairs"
WANTED = {"peers": 4.0, "seed": 10.0, "plain": 2.5, "gemm_fraction": 0.65}
PEERS_BATCH = 8
N_SEED_LAYERS, SEED_TEXTS = 5, 4
GEMM_SECONDS = 1.0

Texts = list["EncodedText"]


def engine(model: HookedModel, texts: Texts, settings: Settings) -> Tensor:
    from empathy_lens.engine.pooling import read_texts

    return read_texts(model, texts, settings)[settings.poolings[0]]


def peers(hub: Any, texts: Texts, pad: int) -> Tensor:
    import torch

    from empathy_lens.engine.tokens import pad_batch

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
    import torch

    for layer in layers:
        for text in texts:
            with torch.no_grad():
                out = hub(torch.tensor([text.ids]), output_hidden_states=True)
            out.hidden_states[layer + 1][0, text.start :].mean(dim=0)


def plain(model: HookedModel, texts: Texts) -> Tensor:
    import torch

    from empathy_lens.types import Site

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
    from empathy_lens.engine.pooling import BATCH_TOKENS
    from empathy_lens.engine.tokens import distinct_positions, plan_batches
    from empathy_lens.models import model_card

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
    import torch

    from empathy_lens.engine.pooling import BATCH_TOKENS

    pairs = [(torch.randn(BATCH_TOKENS // 2, a), torch.randn(b, a)) for a, b in matrix_shapes(cfg)]
    operations, start = 0.0, clock()
    while clock() - start < GEMM_SECONDS:
        for x, w in pairs:
            torch.nn.functional.linear(x, w)
            operations += 2.0 * x.numel() * len(w)
    return operations / (clock() - start)


def measure(n_pairs: int | None, every: int, repeats: int, clock: Clock) -> dict[str, Any]:
    import torch

    from empathy_lens.data import load_pairs
    from empathy_lens.engine.pooling import Settings
    from empathy_lens.engine.precision import choose_precision, unmeasured
    from empathy_lens.engine.tokens import encode, pad_id
    from empathy_lens.models import load_model

    model = load_model("embedded", device="cpu", dtype="float32")
    hub = embedded_hub_model()
    shipped = load_pairs(PAIRS / "train_pairs.jsonl") + load_pairs(PAIRS / "test_pairs.jsonl")
    pairs = shipped[:n_pairs]
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
    ways: dict[str, Callable[[], object]] = {
        "engine": partial(engine, model, texts, settings),
        "peers": partial(peers, hub, some, pad_id(model)),
        "seed": partial(seed, hub, some[:SEED_TEXTS], seed_layers),
        "plain": partial(plain, model, some),
    }
    tokens = {"engine": n_tokens, "peers": n_some, "seed": n_seed, "plain": n_some}
    without = unmeasured(model)
    if without is None:
        ways["bfloat16"] = partial(engine, model, texts, low)
        tokens["bfloat16"] = n_tokens
    gemm: dict[str, list[float]] = {"engine": [], "bfloat16": []}

    def beside(name: str) -> None:
        if name in gemm:
            gemm[name].append(gemm_rate(model.cfg, clock))

    engine(model, texts[:4], settings)  # Reads the weights from disk.
    runs = side_by_side(ways, repeats, clock, beside)

    def ratios(name: str) -> dict[str, float]:
        out = {
            way: runs.ratio(way, name) * tokens[name] / tokens[way]
            for way in ("peers", "seed", "plain")
        }
        out["gemm_fraction"] = statistics.median(
            flops / seconds / rate
            for seconds, rate in zip(runs.seconds[name], gemm[name], strict=True)
        )
        return {way: round(value, 3) for way, value in out.items()}

    index = [i for i, _ in enumerate(texts) if (i // 2) % every == 0]
    ours = runs.values["engine"][index]

    def off(other: Tensor, layers: slice = slice(None)) -> float:
        """Largest distance over texts and layers, as a part of the activation's norm."""
        return float(((ours - other).norm(dim=2) / ours.norm(dim=2))[:, layers].max())

    found: dict[str, Any] = {
        "ratios": ratios("engine"),
        "wanted": WANTED,
        "tokens_per_s": {name: round(n / runs.median(name), 1) for name, n in tokens.items()},
        "gemm_gflops": round(statistics.median(gemm["engine"]) / 1e9, 1),
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
            "plain": off(runs.values["plain"]),
            "peers": off(runs.values["peers"], slice(-1)),
        },
    }
    if without is not None:
        found["bfloat16"] = {"parity": False, "reason": without.reason}
    else:
        labels = torch.tensor([True, False] * len(pairs))
        parity = choose_precision(runs.values["engine"], runs.values["bfloat16"], labels)
        found["bfloat16"] = {
            **ratios("bfloat16"),
            "over_float32": round(runs.ratio("engine", "bfloat16"), 3),
            "parity": parity.used == "bfloat16",
            "min_cosine": parity.min_cosine,
            "max_auroc_gap": parity.max_auroc_gap,
        }
    return {**found, "machine": machine_facts()}


def table(found: dict[str, Any]) -> Iterator[str]:
    low = found["bfloat16"]
    yield f"{'':16}{'float32':>10}{'wanted':>10}{'bfloat16':>10}"
    for name, value in found["ratios"].items():
        yield f"{name:16}{value:10.2f}{WANTED[name]:10.2f}{low.get(name, float('nan')):10.2f}"
    yield f"tokens/s: {found['tokens_per_s']}"
    yield from (f"{name}: {found[name]}" for name in ("tokens", "bfloat16", "machine"))


def main(
    as_json: Json = False,
    repeats: int = 3,
    every: Annotated[int, typer.Option(help="time the slow ways on every N-th pair")] = 6,
    pairs: Annotated[
        int | None, typer.Option(help="only the first N pairs, to try the script out")
    ] = None,
    cpu_time: CpuTime = False,
) -> None:
    """Time the engine beside three usual ways, and compare what they find."""
    with clear_errors("Run it again."):
        found = measure(pairs, max(1, every), max(1, repeats), choose_clock(cpu_time))
        show(found, as_json, table(found))


if __name__ == "__main__":
    typer.run(main)
