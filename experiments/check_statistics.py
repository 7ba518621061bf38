"""Do the intervals cover the truth, and do the tests keep their level, at the sizes used here?

    python experiments/check_statistics.py [--draws 1000] [--out FILE.json] [--json]
    python experiments/check_statistics.py --draws 4000 --only AUROC,accuracy --groups 20

Draws data whose truth is known, 20 and 40 groups at a time, and counts how often the 95 %
interval of each estimator holds it. Then it draws data without any effect and counts false
alarms. About twelve minutes on two cores; ``--draws 100`` gives a first look in one or two, and
``--only``, ``--designs`` and ``--groups`` a closer look at the coverage of some figures.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one thread in each worker process

import numpy as np
import typer
from scipy.stats import binomtest, norm

from empathy_lens import stats
from empathy_lens.cli.shared import (
    JsonOption,
    SeedOption,
    clear_errors,
    parse_numbers,
    run_script,
)
from empathy_lens.errors import DegenerateDataError
from empathy_lens.files import write_json
from empathy_lens.results import from_plain, stamped, to_plain
from empathy_lens.types import Estimate

RESAMPLES = 2000  # a fifth of the default, for speed; coverage is lower by up to half a percent
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "plain percentile": {"method": "percentile", "small_sample": False},
}
COMPARED = ("AUROC 0.80", "AUROC 0.95", "mean, normal")
Noise = Callable[[], np.ndarray]
Outcome = dict[str, bool | float]


def gap(area: float) -> float:
    """Distance of two unit normals whose AUROC is ``area``."""
    return float(norm.ppf(area) * np.sqrt(2))


def pairs(rng: np.random.Generator, n: int, icc: float) -> tuple[np.ndarray, np.ndarray, Noise]:
    groups = np.repeat(np.arange(n), 2)
    return np.tile([True, False], n), groups, partial(grouped_noise, rng, groups, icc)


def clusters(
    rng: np.random.Generator, n: int, icc: float, label_of: str = "item"
) -> tuple[np.ndarray, np.ndarray, Noise]:
    groups = np.repeat(np.arange(n), rng.integers(3, 6, size=n))
    labels = rng.random(len(groups)) < 0.5 if label_of == "item" else groups % 2 == 0
    return labels, groups, partial(grouped_noise, rng, groups, icc)


def grouped_noise(rng: np.random.Generator, groups: np.ndarray, icc: float) -> np.ndarray:
    """Standard normal items whose correlation within a group is ``icc``."""
    shared = rng.normal(size=groups.max() + 1)[groups]
    return np.sqrt(icc) * shared + np.sqrt(1 - icc) * rng.normal(size=len(groups))


DESIGNS: dict[str, Callable[..., tuple[np.ndarray, np.ndarray, Noise]]] = {
    "pairs, independent": partial(pairs, icc=0.0),
    "pairs, icc 0.5": partial(pairs, icc=0.5),
    "clusters of 3-5, icc 0.5": partial(clusters, icc=0.5),
    "clusters of 3-5, icc 0.5, label by cluster": partial(clusters, icc=0.5, label_of="cluster"),
}


def estimators(labels: np.ndarray, groups: np.ndarray, noise: Noise) -> Iterator[tuple]:
    """Name, truth, and a function of the design's options that gives the estimate."""

    def of(estimate: Callable[..., Any], *data: np.ndarray) -> Callable[..., Estimate]:
        return lambda **options: estimate(*data, stats.Design(groups, **options))

    e, f = noise(), noise()
    good, other = gap(0.8) * labels + e, gap(0.75) * labels + 0.6 * e + 0.8 * f
    y = 0.5 * e + np.sqrt(0.75) * f
    right = e < norm.ppf(0.85)
    spearman = 6 / np.pi * np.arcsin(0.25)
    yield "AUROC 0.80", 0.8, of(stats.auroc_estimate, good, labels)
    strong = gap(0.95) * labels + e
    yield "AUROC 0.95", 0.95, of(stats.auroc_estimate, strong, labels)
    yield "AUROC 0.80 - 0.75", 0.05, of(stats.auroc_difference, good, other, labels)
    yield "mean, normal", 0.0, of(stats.mean_estimate, e)
    yield "mean, lognormal", np.exp(0.5), of(stats.mean_estimate, np.exp(e))
    yield "accuracy 0.85", 0.85, of(stats.accuracy_estimate, right)
    yield "Cohen's d 1.19", gap(0.8), of(stats.separation_estimate, good, labels)
    yield "Pearson 0.5", 0.5, of(stats.pearson, e, y)
    yield "Spearman 0.48", spearman, of(stats.spearman, e, y)


def judge(estimate: Callable[..., Estimate], truth: float, **options: Any) -> Outcome | None:
    try:
        got = estimate(n_resamples=RESAMPLES, **options)
    except DegenerateDataError:
        return None
    return {"below": got.high < truth, "above": got.low > truth, "width": got.high - got.low}


def one_draw(
    design: str, n_groups: int, only: list[str], seed: int
) -> dict[tuple[str, str], Outcome | None]:
    rng = np.random.default_rng([seed, n_groups])
    return {
        (name, variant): judge(estimate, truth, seed=seed, **options)
        for name, truth, estimate in estimators(*DESIGNS[design](rng, n_groups))
        if any(part in name for part in only)
        for variant, options in VARIANTS.items()
        if variant == "default" or name in COMPARED
    }


def nested_draw(scenario_sd: float, seed: int) -> dict[tuple[str, str], Outcome | None]:
    """The mean of 8 scenarios x 6 situations x 2 items, grouped in three ways."""
    rng = np.random.default_rng([seed, 8])
    scenario, situation = np.repeat(np.arange(8), 12), np.repeat(np.arange(48), 2)
    shift = scenario_sd * rng.normal(size=8)
    values = shift[scenario] + grouped_noise(rng, situation, 0.5)

    def mean(groups: Any, **options: Any) -> Estimate:
        return stats.mean_estimate(values, stats.Design(groups, seed=seed, **options))

    within = float(shift.mean())
    return {
        ("mean over all scenarios", "scenario"): judge(partial(mean, scenario), 0.0),
        ("mean over all scenarios", "scenario, then situation"): judge(
            partial(mean, [scenario, situation]), 0.0
        ),
        ("mean over all scenarios", "situation"): judge(partial(mean, situation), 0.0),
        ("mean over these 8", "situation, strata=scenario"): judge(
            partial(mean, situation, strata=scenario), within
        ),
    }


def null_draw(seed: int) -> dict[str, bool]:
    """False alarms at 5 % where nothing is to be found."""
    rng = np.random.default_rng([seed, 18])
    labels, pair_ids = np.tile([True, False], 40), np.repeat(np.arange(40), 2)
    layers = 0.7 * rng.normal(size=80) + 0.7 * rng.normal(size=(18, 80))
    test = stats.auroc_permutation(
        layers, labels, pair_ids, n_permutations=RESAMPLES - 1, seed=seed
    )
    groups = np.repeat(np.arange(40), rng.integers(3, 6, size=40))
    x, y = grouped_noise(rng, groups, 0.5), grouped_noise(rng, groups, 0.5)
    options: dict[str, Any] = {"seed": seed, "n_resamples": RESAMPLES}
    pearson, spearman = (
        f(x, y, stats.Design(groups, **options)) for f in (stats.pearson, stats.spearman)
    )
    kind = stats.dummies(groups % 4)
    partial_rank = stats.partial_correlation(
        x + 2 * kind[:, 0], y + 2 * kind[:, 0], kind, stats.Design(groups, **options)
    )
    a, b = (gap(0.8) * labels + 0.8 * e for e in rng.normal(size=(2, 80)))
    difference = stats.auroc_difference(a, b, labels, stats.Design(pair_ids, **options))
    p_values = {
        "best of 18 layers, uncorrected": test.p.min(),
        "best of 18 layers, maxT": test.p_max.min(),
        "one layer": test.p[0],
        "Pearson, clustered": pearson.p,
        "Spearman, clustered": spearman.p,
        "partial Spearman, clustered": partial_rank.p,
        "AUROC difference": difference.p,
    }
    return {name: p is not None and p <= 0.05 for name, p in p_values.items()}


def share(hits: list[bool], seed: int) -> Estimate:
    test = binomtest(sum(hits), len(hits))
    ci = test.proportion_ci(method="wilson")
    n = len(hits)
    return Estimate(float(np.mean(hits)), ci.low, ci.high, 0.95, n, n, "wilson", seed)


def coverage_rows(
    where: dict[str, Any], drawn: list[dict[tuple[str, str], Outcome | None]], seed: int
) -> list[dict[str, Any]]:
    rows = []
    for name, variant in drawn[0]:
        outcomes = [draw[name, variant] for draw in drawn]
        kept = [one for one in outcomes if one is not None]
        covered = share([not (one["below"] or one["above"]) for one in kept], seed)
        rows.append(
            where
            | {
                "statistic": name,
                "variant": variant,
                "coverage": to_plain(covered),
                "interval_too_low": float(np.mean([one["below"] for one in kept])),
                "interval_too_high": float(np.mean([one["above"] for one in kept])),
                "mean_width": float(np.mean([one["width"] for one in kept])),
                "refused": len(outcomes) - len(kept),
            }
        )
    return rows


def timing() -> dict[str, float]:
    """Seconds for 10,000 resamples or permutations of 100 pairs."""
    rng = np.random.default_rng(0)
    labels, groups = np.tile([True, False], 100), np.repeat(np.arange(100), 2)
    layers = rng.normal(size=(30, 200)) + labels
    x, kinds = layers[0], stats.dummies(groups % 5)
    tasks: dict[str, Callable[[], Any]] = {
        "auroc_estimate, 30 layers": lambda: stats.auroc_estimate(
            layers, labels, stats.Design(groups, seed=0)
        ),
        "auroc_permutation, 30 layers": lambda: stats.auroc_permutation(
            layers, labels, groups, seed=0
        ),
        "auroc_difference": lambda: stats.auroc_difference(
            x, layers[1], labels, stats.Design(groups, seed=0)
        ),
        "pearson": lambda: stats.pearson(x, layers[1], stats.Design(groups, seed=0)),
        "spearman": lambda: stats.spearman(x, layers[1], stats.Design(groups, seed=0)),
        "kendall": lambda: stats.kendall(x, layers[1], stats.Design(groups, seed=0)),
        "partial_correlation, 4 dummies": lambda: stats.partial_correlation(
            x, layers[1], kinds, stats.Design(groups, seed=0)
        ),
    }
    seconds = {}
    for name, task in tasks.items():
        start = time.perf_counter()
        task()
        seconds[name] = round(time.perf_counter() - start, 3)
    return seconds


def check(
    draws: int, seed: int, jobs: int, only_names: str, designs: str, groups: Sequence[int]
) -> dict[str, Any]:
    seeds = range(seed, seed + draws)
    only, part = only_names.split(","), bool(only_names or designs)
    result: dict[str, Any] = {"draws": draws, "n_resamples": RESAMPLES}
    with ProcessPoolExecutor(jobs) as pool:
        result["coverage"] = [
            row
            for n_groups in groups
            for design in DESIGNS
            if designs in design
            for row in coverage_rows(
                {"design": design, "n_groups": n_groups},
                list(pool.map(partial(one_draw, design, n_groups, only), seeds, chunksize=10)),
                seed,
            )
        ]
        if part:
            return result
        result["nested"] = [
            row
            for sd in (0.0, 0.5)
            for row in coverage_rows(
                {"design": f"8 scenarios of sd {sd}", "n_groups": 8},
                list(pool.map(partial(nested_draw, sd), seeds, chunksize=10)),
                seed,
            )
        ]
        alarms = list(pool.map(null_draw, seeds, chunksize=10))
    result["false_alarms"] = {
        name: to_plain(share([alarm[name] for alarm in alarms], seed)) for name in alarms[0]
    }
    return result | {"timing_s": timing()}


def as_text(result: dict[str, Any]) -> str:
    lines = [f"{result['draws']} draws, {result['n_resamples']} resamples each"]
    where = None
    for row in result["coverage"] + result.get("nested", []):
        if where != (row["design"], row["n_groups"]):
            where = row["design"], row["n_groups"]
            lines += ["", f"{where[1]} groups: {where[0]}", "  covered  too low  too high  width"]
        lines.append(
            f"  {row['coverage']['value']:7.1%} {row['interval_too_low']:8.1%}"
            f" {row['interval_too_high']:9.1%} {row['mean_width']:6.2f}"
            f"  {row['statistic']} ({row['variant']})"
        )
    if "nested" in result:
        lines += ["", "false alarms at 5 %"]
        lines += [
            f"  {from_plain(e, Estimate, 'false_alarms')}  {n}"
            for n, e in result["false_alarms"].items()
        ]
        lines += ["", "seconds for 10,000 resamples, 200 items"]
        lines += [f"  {seconds:6.2f}  {name}" for name, seconds in result["timing_s"].items()]
    return "\n".join(lines)


DrawsOption = Annotated[int, typer.Option(min=1, metavar="N", help="simulated studies")]
JobsOption = Annotated[int, typer.Option(min=1, metavar="N", help="processes")]
FileOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="also write the figures to this JSON file")
]
JOBS = min(2, os.cpu_count() or 1)


def show(
    asked: list[Any],
    result: dict[str, Any],
    as_text: Callable[[Any], str],
    out: Path | None,
    as_json: bool,
) -> None:
    """A check's figures, shown and kept as asked."""
    if out:
        from empathy_lens.study.identity import new_identity

        write_json(out, stamped(result, new_identity(asked)))
    print(json.dumps(result) if as_json else as_text(result))


def main(
    draws: DrawsOption = 1000,
    seed: SeedOption = 0,
    jobs: JobsOption = JOBS,
    only: Annotated[
        str, typer.Option(metavar="LIST", help="figures whose name contains one of these")
    ] = "",
    designs: Annotated[
        str, typer.Option(metavar="NAME", help="designs whose name contains this")
    ] = "",
    groups: Annotated[str, typer.Option(metavar="LIST", help="numbers of groups")] = "20,40",
    out: FileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Do the intervals cover what they should? On data whose truth is known."""
    with clear_errors("Run it again: nothing is kept."):
        sizes = [int(n) for n in parse_numbers("--groups", groups)]
        result = check(draws, seed, jobs, only, designs, sizes)
        show([draws, seed, only, designs, sizes], result, as_text, out, as_json)


if __name__ == "__main__":
    run_script(main)
