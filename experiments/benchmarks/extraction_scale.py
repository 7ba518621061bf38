"""Does extraction scale? Time against texts, memory against texts, and kills.

    python experiments/benchmarks/extraction_scale.py --json [--sizes 1000,4000,16000] [--kills 3]

Short sentences of a fixed vocabulary (about 8 tokens; every fourth with a prompt that 16 texts
share), embedded model, all layers, mean pooling, streamed into a store by a process of its own for
each run; every size but the largest three times, medians. Printed: seconds per 1,000 texts of each
size over those of the smallest (wanted: within 10%), peak resident memory over that of the smallest
(within 5%), and whether a store whose process was killed (SIGKILL) at random moments and begun
again has the bytes of one that was not.
"""

import hashlib
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from harness import Json, finish_child, machine_facts, show, start_child

from empathy_lens.cli.shared import clear_errors, parse_numbers

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
    from empathy_lens.activations import stream_activations
    from empathy_lens.models import load_model
    from empathy_lens.study.runs import peak_rss_mb

    model = load_model(model_name, device="cpu", dtype="float32")
    stream_activations(model, sentences(WINDOW), folder / "warm", window=WINDOW)
    start = time.perf_counter(), time.process_time()
    stream_activations(model, sentences(n), folder / "store", window=WINDOW)
    wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
    print(json.dumps({"seconds": wall, "cpu_seconds": cpu, "peak_mb": peak_rss_mb()}))


def fingerprint(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def parts(store: Path) -> set[str]:
    """Names of the files written so far; a folder may go while it is listed."""
    with suppress(FileNotFoundError):
        return {path.name for path in store.rglob("*.safetensors")}
    return set()


def kill_at_random(model_name: str, n: int, folder: Path, kills: int, seed: int) -> list[int]:
    """Kills the extraction ``kills`` times, and lets it end; how many passes were done each time.

    It is killed after a random number of further files, so that every kill falls into the work.
    """
    rng = random.Random(seed)
    store = folder / "store"
    done = []
    for _ in range(kills):
        child = start_child(__file__, model_name, n, folder)
        more = rng.randint(1, 12)
        seen = parts(store)
        new: set[str] = set()
        while len(new) < more and child.poll() is None:
            time.sleep(0.01 * rng.random())
            new |= parts(store) - seen
        time.sleep(0.3 * rng.random())
        child.kill()
        child.communicate()
        done.append(len(new))
    finish_child(start_child(__file__, model_name, n, folder))
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
            measured[n].append(finish_child(start_child(__file__, model_name, n, folder)))
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


def table(found: dict[str, Any]) -> Iterator[str]:
    yield f"{'texts':>8}{'seconds':>10}{'per text':>10}{'peak MB':>10}{'memory':>8}"
    for n, run in found["runs"].items():
        yield (
            f"{n:8}{run['seconds']:10.1f}{found['time_ratio'][n]:10.2f}"
            f"{run['peak_mb']:10.0f}{found['memory_ratio'][n]:8.3f}"
        )
    kills = len(found["killed_after_new_files"])
    yield f"killed {kills} times, bytes identical: {found['byte_identical']}"


def main(
    as_json: Json = False,
    sizes: Annotated[str, typer.Option(help="numbers of texts")] = "1000,4000,16000",
    kills: int = 3,
    seed: int = 0,
    model: str = "embedded",
    child: Annotated[
        tuple[str, int, Path] | None, typer.Option(metavar="MODEL N FOLDER", hidden=True)
    ] = None,
) -> None:
    """Stream texts into stores of growing size, and kill some of the processes."""
    with clear_errors("Run it again."):
        if child:
            extract(*child)
            return
        numbers = sorted(int(n) for n in parse_numbers("--sizes", sizes))
        with tempfile.TemporaryDirectory(prefix="scale-", ignore_cleanup_errors=True) as work:
            found = measure(model, numbers, kills, seed, Path(work))
        show(found, as_json, table(found))


if __name__ == "__main__":
    typer.run(main)
