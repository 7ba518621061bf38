"""What the benchmarks share: options, models, times, processes of their own, and how to print."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from empathy_lens.types import Direction, HookedModel

__all__ = [
    "DATA",
    "Clock",
    "CpuTime",
    "Json",
    "Runs",
    "choose_clock",
    "embedded_hub_model",
    "finish_child",
    "line",
    "machine_facts",
    "random_steering",
    "seconds",
    "show",
    "side_by_side",
    "start_child",
]

DATA = Path(__file__).resolve().parents[2] / "data"

Clock = Callable[[], float]
Json = Annotated[bool, typer.Option("--json", help="print JSON alone")]
CpuTime = Annotated[bool, typer.Option("--cpu-time", help="for a machine that others use")]


def machine_facts() -> dict[str, object]:
    """What a benchmark ran on: part of every benchmark's output."""
    import psutil
    import torch

    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": named[0] if named else platform.processor() or platform.machine(),
        "cores": psutil.cpu_count(logical=False) or psutil.cpu_count(),
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load": round(psutil.getloadavg()[0], 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformer_lens": version("transformer-lens"),
        "transformers": version("transformers"),
    }


def choose_clock(cpu_time: bool) -> Clock:
    return time.process_time if cpu_time else time.perf_counter


def seconds(work: Callable[[], object], clock: Clock) -> float:
    start = clock()
    work()
    return clock() - start


@dataclass(frozen=True)
class Runs:
    """Ways timed side by side: seconds of every repeat, and what each way returned last."""

    seconds: dict[str, list[float]]
    values: dict[str, Any]

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def ratio(self, over: str, under: str) -> float:
        """Median over repeats of one way's seconds over another's in the same repeat."""
        pairs = zip(self.seconds[over], self.seconds[under], strict=True)
        return statistics.median(a / b for a, b in pairs)


def side_by_side(
    ways: Mapping[str, Callable[[], object]],
    repeats: int,
    clock: Clock,
    before: Callable[[str], object] = lambda name: None,
) -> Runs:
    """Times every way once a repeat, to and fro: a machine that slows down favours none of them.

    ``before`` is called, untimed, with a way's name in front of each of its runs.
    """
    runs = Runs({name: [] for name in ways}, {})
    for repeat in range(repeats):
        for name in list(ways)[:: -1 if repeat % 2 else 1]:
            before(name)
            start = clock()
            runs.values[name] = ways[name]()
            runs.seconds[name].append(clock() - start)
            print(f"{repeat + 1}/{repeats} {name}: {runs.seconds[name][-1]:.1f} s", file=sys.stderr)
    return runs


def start_child(script: str, *words: object) -> subprocess.Popen[str]:
    """The script's ``--child`` in a process of its own, whose peak memory is the work's alone."""
    command = [sys.executable, script, "--child", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish_child(child: subprocess.Popen[str]) -> dict[str, float]:
    """The figures that a child printed as its last line. Raises ModelError if it failed."""
    from empathy_lens.errors import ModelError

    out, _ = child.communicate()
    if child.returncode:
        raise ModelError(f"{child.args!r} ended with {child.returncode}; its error is above")
    return dict(json.loads(out.splitlines()[-1]))


def embedded_hub_model() -> Any:
    """The embedded model as transformers loads it, in float32."""
    import torch
    from transformers import AutoModelForCausalLM

    from empathy_lens.models.embedded import embedded_folder

    return AutoModelForCausalLM.from_pretrained(
        embedded_folder("gemma3-270m"), dtype=torch.float32, local_files_only=True
    ).eval()


def random_steering(model: HookedModel, raw_norms: Mapping[int, float]) -> list[Direction]:
    """A random direction (seed 0) of the given size for each layer."""
    from empathy_lens.directions import random_directions
    from empathy_lens.models import model_card
    from empathy_lens.types import Direction, Site

    vectors = random_directions(len(raw_norms), int(model.cfg.d_model), seed=0)
    provenance = model_card(model).provenance
    return [
        Direction(vector, Site(layer), "random", norm, 0.0, provenance)
        for (layer, norm), vector in zip(raw_norms.items(), vectors, strict=True)
    ]


def line(label: str, figures: Mapping[str, object]) -> str:
    return "  ".join([label, *(f"{name} {value}" for name, value in figures.items())])


def show(found: Mapping[str, object], as_json: bool, lines: Iterable[str]) -> None:
    """Prints the figures as JSON alone, or else the lines of a table."""
    print(json.dumps(found) if as_json else "\n".join(lines))
