"""Are the card's verdicts right, on studies whose truth is known?

    python experiments/check_verdicts.py --draws 200 --json
    python experiments/check_verdicts.py --draws 20 --only "words only,none" --sizes large

Plants studies of ten kinds at two sizes (``planted_studies.py``), makes the evidence card of each
and counts the verdicts on every claim about the study's direction and the selected one. A verdict
is harmful where it supports what is false or refutes what is true. The whole of it, with 200 draws
or more, goes to ``results/reference/verdicts.json``; anything less only where ``--out`` says. Each
kind and size is kept below ``results/runs`` as it is done, and ``--resume`` goes on behind the last
one that the same code made. Exit code 1: some verdict is surely harmful in more than 5%.
"""

from __future__ import annotations

import inspect
import os
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one thread in each worker process

import sklearn
import typer
from check_statistics import JOBS, DrawsOption, FileOption, JobsOption, show
from planted_kinds import KINDS, SIZES, TRUTHS, Kind, Size
from planted_steering import plant_steering
from planted_studies import plant
from scipy.stats import binomtest

from empathy_lens.cli.shared import (
    FROM_LAST_STAGE,
    JsonOption,
    ResumeOption,
    SeedOption,
    clear_errors,
    run_script,
)
from empathy_lens.console import progress_bars
from empathy_lens.errors import InputError
from empathy_lens.evidence import Behaviour, Draws, Evidence, Ruling, evidence_card, select_layer
from empathy_lens.evidence.claims import MOVES
from empathy_lens.files import sha256_file
from empathy_lens.results import from_plain, read_result, to_plain
from empathy_lens.study.runs import RUNS, Run
from empathy_lens.types import Progress

sklearn.set_config(assume_finite=True, skip_parameter_validation=True)  # a tenth of the time

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "results" / "reference" / "verdicts.json"
JUDGING = ("data", "directions", "evidence", "stats", "types")
"""Rooms whose code has a say in a verdict: what other code counted is counted again."""
ESTIMATORS = ("mean_difference", "lda")  # a logistic regression would take twice as long in all
DRAWS = Draws(n_resamples=1000, n_permutations=200, n_random=1000)
"""Fewer resamples and permutations than a card has, for speed. Not so random directions: the
smallest p that 200 could give does not survive Holm over the claims about two directions."""
ENOUGH = 200
"""Studies of each kind for the reference to be written."""
STUDY, SELECTED = "study's", "selected"
HARMLESS = 0.05


@dataclass(frozen=True)
class Rate:
    """A share of planted studies with its exact binomial (Clopper-Pearson) 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class VerdictRates:
    """How often a claim about a configuration gets each verdict, of ``n`` planted studies.

    ``truth`` None: the claim is neither true nor false of the kind, or not asked. ``harmful`` is
    the rate of "supported" where it is false, of "refuted" where it is true.
    """

    kind: str
    size: str
    configuration: str
    claim: str
    truth: bool | None
    n: int
    supported: Rate
    refuted: Rate
    cannot_tell: Rate
    harmful: Rate | None


@dataclass(frozen=True)
class VerdictCheck:
    """The content of ``verdicts.json``. ``cpu_seconds`` are those of a study, on average."""

    draws: int
    n_resamples: int
    n_permutations: int
    n_random: int
    estimators: tuple[str, ...]
    cpu_seconds: float
    rows: tuple[VerdictRates, ...]


@dataclass(frozen=True)
class Judged:
    """The verdicts on a planted study by configuration and claim, and what they cost."""

    kind: str
    size: str
    rulings: dict[tuple[str, str], Ruling]
    cpu_seconds: float


def judge(estimators: Sequence[str], draws: Draws, task: tuple[Kind, Size, int]) -> Judged:
    """Plants the study, and makes its card as a study does: the layer is chosen on train."""
    kind, size, seed = task
    start = time.process_time()
    study = plant(kind, size, seed=seed)
    train = study.data.train
    layer = select_layer(train, estimators[0], seed=seed).layer
    steering = None
    if kind.steered:
        steering = plant_steering(kind.steered, layer, seed=seed, n_resamples=draws.n_resamples)
    card = evidence_card(
        study.data,
        layer,
        estimators[0],
        behaviour=Behaviour(steering=steering),
        token_embed=study.embed,
        estimators=estimators[:1] if kind.steered else estimators,
        draws=replace(draws, seed=seed),
    )
    return Judged(kind.name, size.name, rulings_of(card), time.process_time() - start)


def rulings_of(card: Evidence) -> dict[tuple[str, str], Ruling]:
    """The verdicts by configuration and claim; those about no direction go with the study's."""
    selected = None if card.selected is None else card.selected.configuration
    return {
        (SELECTED if v.configuration == selected else STUDY, v.claim): v.verdict
        for v in card.verdicts
    }


@dataclass(frozen=True)
class Counted:
    """The rates of ``n`` studies of one kind and size, and the CPU seconds of a study."""

    n: int
    cpu_seconds: float
    rows: tuple[VerdictRates, ...]


def planned(kinds: Sequence[Kind], sizes: Sequence[Size]) -> list[tuple[Kind, Size]]:
    """Every kind and size; where size plays no part, the first alone."""
    return [
        (kind, size)
        for kind in kinds
        for size in (sizes[:1] if kind.steered or kind.n_test else sizes)
    ]


def count(
    kind: Kind,
    size: Size,
    n: int,
    *,
    seed: int = 0,
    jobs: int = 1,
    estimators: Sequence[str] = ESTIMATORS,
    draws: Draws = DRAWS,
    progress: Progress | None = None,
) -> Counted:
    """The verdicts on ``n`` studies of a kind and size."""
    tasks = [(kind, size, seed + i) for i in range(n)]
    of = partial(judge, estimators, draws)
    judged = []
    with ExitStack() as stack:
        pool = stack.enter_context(ProcessPoolExecutor(jobs)) if jobs > 1 else None
        for one in map(of, tasks) if pool is None else pool.map(of, tasks, chunksize=2):
            judged.append(one)
            if progress is not None:
                progress(len(judged), n)
    return Counted(n, sum(one.cpu_seconds for one in judged) / n, tuple(rates(judged)))


def together(
    counted: Sequence[Counted], estimators: Sequence[str] = ESTIMATORS, draws: Draws = DRAWS
) -> VerdictCheck:
    """The content of ``verdicts.json``."""
    return VerdictCheck(
        draws=counted[0].n,
        n_resamples=draws.n_resamples,
        n_permutations=draws.n_permutations,
        n_random=draws.n_random,
        estimators=tuple(estimators),
        cpu_seconds=round(sum(one.cpu_seconds for one in counted) / len(counted), 2),
        rows=tuple(row for one in counted for row in one.rows),
    )


def code() -> list[str]:
    """Everything that has a say in a verdict: SHA-256 of files, and what this one does itself."""
    files = list(Path(__file__).parent.glob("planted_*.py"))
    files += [path for room in JUDGING for path in (ROOT / "empathy_lens" / room).rglob("*.py")]
    own = [inspect.getsource(one) for one in (judge, rulings_of, rates)]
    return [*map(sha256_file, sorted(files)), *own]


def rates(judged: Sequence[Judged]) -> list[VerdictRates]:
    """The rows of all kinds, sizes, configurations and claims that were judged."""
    counts: dict[tuple[str, str, str, str], Counter[Ruling]] = {}
    for one in judged:
        for (configuration, claim), ruling in one.rulings.items():
            counts.setdefault((one.kind, one.size, configuration, claim), Counter())[ruling] += 1
    order = [*(one.kind for one in judged), *(one.size for one in judged), STUDY, SELECTED]
    rows = []
    for key in sorted(counts, key=lambda key: [order.index(part) for part in key[:3]]):
        kind, _, configuration, claim = key
        counted = counts[key]
        n = counted.total()
        of = {ruling: rate(counted[ruling], n) for ruling in counted.keys() | _RULINGS}
        truth = TRUTHS[kind][claim]
        if (configuration, claim) == (SELECTED, MOVES.name):
            truth = None  # only the study's direction is steered
        rows.append(
            VerdictRates(
                *key,
                truth=truth,
                n=n,
                supported=of["supported"],
                refuted=of["refuted"],
                cannot_tell=of["cannot tell"],
                harmful=None if truth is None else of["refuted" if truth else "supported"],
            )
        )
    return rows


_RULINGS: frozenset[Ruling] = frozenset({"supported", "refuted", "cannot tell"})


def rate(hits: int, n: int) -> Rate:
    """The share with its interval, to four places."""
    interval = binomtest(hits, n).proportion_ci(method="exact")
    return Rate(round(hits / n, 4), round(float(interval.low), 4), round(float(interval.high), 4))


def as_text(plain: dict[str, Any]) -> str:
    result = from_plain(plain, VerdictCheck, "verdicts")
    lines = [f"{result.draws} draws, {result.cpu_seconds} s of one core each"]
    where = None
    for row in result.rows:
        if where != (row.kind, row.size, row.configuration):
            where = row.kind, row.size, row.configuration
            lines += ["", f"{row.kind}; {row.size}; {row.configuration} direction, n = {row.n}"]
            lines += ["  supported  refuted  cannot tell   truth"]
        mark = " HARMFUL" if row.harmful is not None and row.harmful.value > HARMLESS else ""
        lines.append(
            f"  {row.supported.value:9.1%} {row.refuted.value:8.1%} {row.cannot_tell.value:12.1%}"
            f"   {'-' if row.truth is None else str(row.truth).lower():6}{row.claim}{mark}"
        )
    return "\n".join(lines)


def chosen(wanted: str, known: Sequence[str], option: str) -> list[str]:
    """The names that are listed, all where none is. Raises InputError for one that is unknown."""
    names = [name.strip() for name in wanted.split(",") if name.strip()] if wanted else list(known)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(f"{option}: expected some of {', '.join(known)}, got {unknown[0]!r}")
    return names


def main(
    draws: DrawsOption = ENOUGH,
    seed: SeedOption = 0,
    jobs: JobsOption = JOBS,
    only: Annotated[str, typer.Option(metavar="LIST", help="kinds of study, by name")] = "",
    sizes: Annotated[str, typer.Option(metavar="LIST", help="sizes of study: shipped, large")] = "",
    out: FileOption = None,
    resume: ResumeOption = False,
    as_json: JsonOption = False,
) -> None:
    """How often is each verdict right, and how often harmful? On studies whose truth is known."""
    with clear_errors(FROM_LAST_STAGE):
        names = chosen(only, list(KINDS), "--only")
        of = chosen(sizes, list(SIZES), "--sizes")
        cells = planned([KINDS[name] for name in names], [SIZES[name] for name in of])
        with (
            progress_bars() as console,
            Run(ROOT / RUNS / "verdicts", resume, console.announce) as run,
        ):
            run.begin([draws, seed])
            files: list[str] = []
            made_by = [draws, seed, ESTIMATORS, asdict(DRAWS), code()]

            def work(kind: Kind, size: Size, name: str, file: str) -> None:
                bar = console.progress(name)
                run.write(file, count(kind, size, draws, seed=seed, jobs=jobs, progress=bar))

            for kind, size in cells:
                name = f"{kind.name}, {size.name}"
                files.append(f"{name.replace(', ', '-').replace(' ', '_')}.json")
                inputs = [asdict(kind), asdict(size), made_by]
                run.stage(name, inputs, files[-1:], partial(work, kind, size, name, files[-1]))
            result = together([read_result(run.folder / file, Counted) for file in files])
        if out is None and not only and not sizes and draws >= ENOUGH:
            out = REFERENCE
        show(
            [draws, seed, names, of], cast(dict[str, Any], to_plain(result)), as_text, out, as_json
        )
    if any(row.harmful is not None and row.harmful.low > HARMLESS for row in result.rows):
        raise typer.Exit(1)


if __name__ == "__main__":
    run_script(main)
