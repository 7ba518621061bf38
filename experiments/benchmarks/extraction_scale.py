"""Does extraction scale? Time against texts, memory against texts, and kills.

    python experiments/benchmarks/extraction_scale.py --json [--sizes 1000 4000 16000] [--kills 3]

Short sentences of a fixed vocabulary (about 8 tokens; every fourth with a prompt that 16 texts
share), embedded model, all layers, mean pooling, streamed into a store by a process of its own for
each run; every size but the largest three times, medians. Printed: seconds per 1,000 texts of each
size over those of the smallest (wanted: within 10%), peak resident memory over that of the smallest
(within 5%), and whether a store whose process was killed (SIGKILL) at random moments and begun
again has the bytes of one that was not.
"""

import argparse
import hashlib
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from machine import machine_facts

from empathy_lens.activations import stream_activations
from empathy_lens.command_line import clear_errors
from empathy_lens.errors import InputError
from empathy_lens.models import load_model
from empathy_lens.runs import peak_rss_mb

WORDS = ("I", "you", "we", "they", "give", "take", "keep", "share", "leave", "stay", "wait", "help")
PER_PROMPT = 16
WINDOW = 256
REPEATS = 3
MIN_TIME_RATIO, MAX_TIME_RATIO, MAX_MEMORY_RATIO = 0.9, 1.1, 1.05


def sentences(n: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    """(prompt, text) pairs, one after the other: never held together."""
    rng = random.Random(seed)
    prompt = ""
    for i in range(n):
        if i % PER_PROMPT == 0:
            shared = (i // PER_PROMPT) % 4 == 0
            prompt = " ".join(rng.choices(WORDS, k=12)) + "." if shared else ""
        yield prompt, " ".join(rng.choices(WORDS, k=rng.randint(4, 10))) + "."


def extract(model_name: str, n: int, folder: Path) -> None:
    """The child's whole work; prints seconds of extraction and its peak memory."""
    model = load_model(model_name, device="cpu", dtype="float32")
    stream_activations(model, sentences(WINDOW), folder / "warm", window=WINDOW)
    start = time.perf_counter(), time.process_time()
    stream_activations(model, sentences(n), folder / "store", window=WINDOW)
    wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
    print(json.dumps({"seconds": wall, "cpu_seconds": cpu, "peak_mb": peak_rss_mb()}))


def begin(model_name: str, n: int, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--child", model_name, str(n), str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish(child: subprocess.Popen[str]) -> dict[str, float]:
    out, _ = child.communicate()
    if child.returncode:
        raise InputError(
            f"the extracting process ended with {child.returncode}; its error is above"
        )
    return dict(json.loads(out.splitlines()[-1]))


def fingerprint(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def kill_at_random(model_name: str, n: int, folder: Path, kills: int, seed: int) -> list[int]:
    """Kills the extraction ``kills`` times, and lets it end; how many passes were done each time.

    It is killed after a random number of further files, so that every kill falls into the work.
    """
    rng = random.Random(seed)
    store = folder / "store"
    done = []
    for _ in range(kills):
        child = begin(model_name, n, folder)
        more = rng.randint(1, 12)
        seen: set[str] = {p.name for p in store.rglob("*.safetensors")}
        new: set[str] = set()
        while len(new) < more and child.poll() is None:
            time.sleep(0.01 * rng.random())
            new |= {p.name for p in store.rglob("*.safetensors")} - seen
        time.sleep(0.3 * rng.random())
        child.kill()
        child.communicate()
        done.append(len(new))
    finish(begin(model_name, n, folder))
    return done


def measure(model_name: str, sizes: list[int], kills: int, seed: int, work: Path) -> dict[str, Any]:
    measured: dict[int, list[dict[str, float]]] = {n: [] for n in sizes}
    for repeat in range(REPEATS):
        for n in sizes:
            # The longest run needs no repetition: noise averages out within it.
            if repeat and n == sizes[-1]:
                continue
            folder = work / str(n)
            shutil.rmtree(folder, ignore_errors=True)
            measured[n].append(finish(begin(model_name, n, folder)))
            print(f"{n} texts: {measured[n][-1]}", file=sys.stderr)
    runs = {
        n: {k: statistics.median(run[k] for run in found) for k in found[0]}
        for n, found in measured.items()
    }
    small = sizes[0]
    whole = fingerprint(work / str(small) / "store")
    killed_after = kill_at_random(model_name, small, work / "killed", kills, seed)
    base = runs[small]
    per_text = {n: run["cpu_seconds"] / n for n, run in runs.items()}
    time_ratio = {n: round(per_text[n] / per_text[small], 3) for n in sizes}
    memory_ratio = {n: round(run["peak_mb"] / base["peak_mb"], 3) for n, run in runs.items()}
    identical = fingerprint(work / "killed" / "store") == whole
    return {
        "model": model_name,
        "runs": {n: {k: round(v, 2) for k, v in run.items()} for n, run in runs.items()},
        "time_ratio": time_ratio,
        "wall_ratio": {
            n: round(run["seconds"] / n / (base["seconds"] / small), 3) for n, run in runs.items()
        },
        "memory_ratio": memory_ratio,
        "linear_within_10_percent": all(
            MIN_TIME_RATIO <= r <= MAX_TIME_RATIO for r in time_ratio.values()
        ),
        "flat_within_5_percent": all(r <= MAX_MEMORY_RATIO for r in memory_ratio.values()),
        "killed_after_new_files": killed_after,
        "byte_identical": identical,
        "machine": machine_facts(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 4000, 16000])
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="embedded")
    parser.add_argument(
        "--child", nargs=3, metavar=("MODEL", "N", "FOLDER"), help=argparse.SUPPRESS
    )
    args = parser.parse_args()
    with clear_errors("Run it again."):
        if args.child:
            model_name, n, folder = args.child
            extract(model_name, int(n), Path(folder))
            return
        work = Path(tempfile.mkdtemp(prefix="extraction-scale-"))
        try:
            found = measure(args.model, sorted(args.sizes), args.kills, args.seed, work)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        print(f"{'texts':>8}{'seconds':>10}{'per text':>10}{'peak MB':>10}{'memory':>8}")
        for n, run in found["runs"].items():
            print(
                f"{n:8}{run['seconds']:10.1f}{found['time_ratio'][n]:10.2f}"
                f"{run['peak_mb']:10.0f}{found['memory_ratio'][n]:8.3f}"
            )
        print(f"killed {args.kills} times, bytes identical: {found['byte_identical']}")


if __name__ == "__main__":
    main()
