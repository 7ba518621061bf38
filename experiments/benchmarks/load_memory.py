"""How much memory does a model take to load? Against HookedTransformer.from_pretrained.

    python experiments/benchmarks/load_memory.py --json [--stored float32] [--dtype bfloat16]

A random Gemma-2 with the layers of Gemma-2-2B, 8 of 26, and a quarter of its vocabulary (so that
the embedding has about its share of the weights): 1.54 GB in 16 bits, in shards of at most 400 MB,
in a temporary folder that is removed. Every measurement is the peak resident memory (VmHWM) of a
process of its own, less that of one that only imports, over the weights in the wanted dtype:

    peak_over_weights                  load_model, the worse backend (wanted: 1.25 + 400 MB)
    from_pretrained_peak_over_weights  HookedTransformer.from_pretrained_no_processing. It knows
                                       Gemma-2 by name with sizes typed in, so it is told the sizes
                                       of this one; all else is its own way, and without folding
                                       and centring, which would take more
    max_abs_logit_diff                 between load_model, the worse backend, and the hub model, in
                                       the wanted dtype; float32 beside it. In 16 bits every
                                       operation rounds: the hub model's own distance to float32
                                       is given as the measure
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast
from unittest import mock

import typer
from harness import Json, finish_child, line, machine_facts, show, start_child

from empathy_lens.cli.shared import clear_errors

if TYPE_CHECKING:
    import numpy as np
    from transformers import Gemma2Config

    from empathy_lens.models import Backend

ALLOWANCE = 0.4e9
N_TOKENS = 10


def load(way: str, folder: str, dtype: str, logits_file: str) -> None:
    """The child's whole work: loads in one way, prints the peaks in bytes; logits to a file."""
    import numpy as np
    import torch

    from empathy_lens.models import load_model
    from empathy_lens.study.runs import peak_rss_mb

    import_everything()
    model: Any = None
    if way in ("hooked", "bridge"):
        model = load_model(folder, backend=cast("Backend", way), device="cpu", dtype=dtype)
    elif way == "transformers":
        model = hub_model(folder, dtype)
    elif way == "from_pretrained":
        model = from_pretrained(folder, dtype)
    peaks = {"load": peak_rss_mb() * 1e6}
    if model is not None:
        tokens = torch.arange(1, 1 + N_TOKENS)[None]
        with torch.no_grad():
            found = model(tokens)
        np.save(logits_file, getattr(found, "logits", found).float().numpy())
        peaks["with_a_pass"] = peak_rss_mb() * 1e6
    print(json.dumps(peaks))


def import_everything() -> None:
    """What any of the ways imports, so that the baseline has it as well."""
    import accelerate  # noqa: F401
    from transformer_lens.model_bridge import TransformerBridge  # noqa: F401
    from transformers.models.gemma2 import modeling_gemma2  # noqa: F401

    from empathy_lens.models import HOOKED_AVAILABLE

    if HOOKED_AVAILABLE:
        from transformer_lens import HookedTransformer  # noqa: F401


def hub_model(folder: str, dtype: str) -> Any:
    from transformers import AutoModelForCausalLM

    from empathy_lens.models.devices import DTYPES

    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=DTYPES[dtype], attn_implementation="eager", local_files_only=True
    )


def from_pretrained(folder: str, dtype: str) -> Any:
    """TransformerLens's own loading of google/gemma-2-2b, told this checkpoint's sizes."""
    import torch
    from transformer_lens import HookedTransformer
    from transformer_lens import loading_from_pretrained as loading
    from transformers import AutoConfig, AutoTokenizer

    from empathy_lens.models.checkpoint import locate_model
    from empathy_lens.models.devices import DTYPES
    from empathy_lens.models.hooked import hooked_config

    source = locate_model(folder)
    cfg = hooked_config(
        source, AutoConfig.from_pretrained(folder), DTYPES[dtype], 2048, torch.device("cpu")
    )
    with mock.patch.object(loading, "get_pretrained_model_config", return_value=cfg):
        return HookedTransformer.from_pretrained_no_processing(
            "google/gemma-2-2b",
            hf_model=hub_model(folder, dtype),
            tokenizer=AutoTokenizer.from_pretrained(folder),
            dtype=DTYPES[dtype],
            device="cpu",
        )


def run(way: str, folder: Path, dtype: str) -> tuple[dict[str, float], np.ndarray | None]:
    import numpy as np

    logits = folder.parent / f"{way}-{dtype}.npy"
    peaks = finish_child(start_child(__file__, way, folder, dtype, logits))
    print(f"{way} in {dtype}: done", file=sys.stderr)
    return peaks, np.load(logits) if logits.is_file() else None


def measure(config: Gemma2Config, stored: str, dtype: str, shard_bytes: int) -> dict[str, Any]:
    from random_gemma2 import save_random_gemma2

    from empathy_lens.models import HOOKED_AVAILABLE
    from empathy_lens.models.devices import DTYPES

    backends = ("hooked", "bridge") if HOOKED_AVAILABLE else ("bridge",)
    ways = (*backends, "transformers", *(("from_pretrained",) if HOOKED_AVAILABLE else ()))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "checkpoint"
        n_bytes = save_random_gemma2(config, folder, dtype=DTYPES[stored], shard_bytes=shard_bytes)
        weights = n_bytes * DTYPES[dtype].itemsize / DTYPES[stored].itemsize
        shards = len(list(folder.glob("*.safetensors")))
        baseline = run("imports", folder, dtype)[0]["load"]
        peaks, logits = {}, {}
        for way in ways:
            peaks[way], logits[way] = run(way, folder, dtype)
        exact = {way: run(way, folder, "float32")[1] for way in (*backends, "transformers")}
    over = {
        way: {when: round((peak - baseline) / weights, 3) for when, peak in found.items()}
        for way, found in peaks.items()
    }
    worst = max(over[backend]["load"] for backend in backends)
    allowed = 1.25 + ALLOWANCE / weights

    def difference(found: dict[str, Any], reference: dict[str, Any]) -> float:
        return max(largest(found[b], reference["transformers"]) for b in backends)

    return {
        "peak_over_weights": worst,
        "from_pretrained_peak_over_weights": over.get("from_pretrained", {}).get("load"),
        "max_abs_logit_diff": difference(logits, logits),
        "max_abs_logit_diff_float32": difference(exact, exact),
        "hub_model_rounding": largest(logits["transformers"], exact["transformers"]),
        "max_abs_logit": largest(exact["transformers"], 0.0),
        "allowed_peak_over_weights": round(allowed, 3),
        "within_bound": worst <= allowed,
        "over_weights": over,
        "checkpoint": {
            "stored": stored,
            "loaded": dtype,
            "gigabytes_loaded": round(weights / 1e9, 3),
            "shards": shards,
            "parameters": n_bytes // DTYPES[stored].itemsize,
        },
        "imports_gigabytes": round(baseline / 1e9, 3),
        "machine": machine_facts(),
    }


def largest(a: Any, b: Any) -> float:
    return float(abs(a - b).max())


def table(found: dict[str, Any]) -> Iterator[str]:
    for way, ratios in found["over_weights"].items():
        yield line(f"{way:16}", {when: f"{ratio:.2f}" for when, ratio in ratios.items()})
    for name in ("allowed_peak_over_weights", "max_abs_logit_diff", "max_abs_logit_diff_float32"):
        yield f"{name:28}  {found[name]:.3g}"


def main(
    as_json: Json = False,
    stored: Annotated[Literal["float16", "bfloat16", "float32"], typer.Option()] = "bfloat16",
    dtype: Annotated[Literal["bfloat16", "float32"], typer.Option()] = "bfloat16",
    d_model: int = 2304,
    layers: int = 8,
    vocabulary: int = 64_000,
    shard_bytes: int = 400_000_000,
    child: Annotated[
        tuple[str, str, str, str] | None,
        typer.Option(metavar="WAY FOLDER DTYPE LOGITS", hidden=True),
    ] = None,
) -> None:
    """Load a random checkpoint in every way, each in a process of its own."""
    with clear_errors("Run it again."):
        if child:
            load(*child)
            return
        from random_gemma2 import gemma2_config

        config = gemma2_config(
            d_model=d_model,
            n_layers=layers,
            n_heads=8,
            d_head=d_model // 9,
            d_vocab=vocabulary,
        )
        found = measure(config, stored, dtype, shard_bytes)
        show(found, as_json, table(found))


if __name__ == "__main__":
    typer.run(main)
