"""Is choosing among layers and estimators paid for, and is a direction that is there found?

    python experiments/check_selection.py [--draws 1000] [--out FILE.json] [--json]

Draws activations without any effect, fits every estimator at 18 layers on train pairs and counts
how often each p-value calls the best of them an effect at the 5 % level; ``the card's p`` is
``permutation_p_corrected``, for which the directions are fitted again under swapped labels. Then
it plants a direction and measures the cosine with it, and compares AUROC with scikit-learn's on
scores with ties. About three minutes on two cores; ``--draws 100`` gives a first look.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one thread in each worker process

import numpy as np
import torch
from check_statistics import JOBS, DrawsOption, FileOption, JobsOption, share, show
from sklearn.metrics import roc_auc_score

from empathy_lens import stats
from empathy_lens.cli.shared import JsonOption, SeedOption, clear_errors, run_script
from empathy_lens.directions import ESTIMATORS, fit_direction
from empathy_lens.evidence import Draws, label_swap_null
from empathy_lens.evidence.validation import scores
from empathy_lens.results import from_plain, to_plain
from empathy_lens.types import Activations, Estimate, Provenance, Site

N_LAYERS, WIDTH, N_PAIRS, N_PERMUTATIONS = 18, 32, 24, 499
PROVENANCE = Provenance("simulated", "0", "float32", "none", "none")


def simulated(
    rng: np.random.Generator, n_pairs: int, n_layers: int, gap: float = 0.0
) -> tuple[Activations, torch.Tensor]:
    """Unit noise that layers and the sides of a pair share in part, and the axis of the gap."""
    shape = (n_pairs, 2, n_layers, WIDTH)
    noise = 0.5 * rng.normal(size=(n_pairs, 1, 1, WIDTH)) + 0.5 * rng.normal(
        size=(n_pairs, 2, 1, WIDTH)
    )
    noise = noise + np.sqrt(0.5) * rng.normal(size=shape)
    axis = rng.normal(size=WIDTH)
    axis /= np.linalg.norm(axis)
    noise += gap / 2 * np.array([1.0, -1.0])[:, None, None] * axis
    pair_ids = tuple(f"p{i}" for i in range(n_pairs) for _ in range(2))
    activations = Activations(
        values=torch.from_numpy(noise.reshape(2 * n_pairs, n_layers, WIDTH)).float(),
        sites=tuple(Site(layer) for layer in range(n_layers)),
        labels=torch.tensor([True, False] * n_pairs),
        pair_ids=pair_ids,
        scenario_ids=("s",) * (2 * n_pairs),
        groups=pair_ids,
        n_tokens=(1,) * (2 * n_pairs),
        pooling="mean",
        provenance=PROVENANCE,
    )
    return activations, torch.from_numpy(axis).float()


def null_draw(seed: int) -> dict[str, bool]:
    """Which p-values find something where there is nothing."""
    rng = np.random.default_rng([seed, 77])
    (train, _), (test, _) = (simulated(rng, N_PAIRS, N_LAYERS) for _ in range(2))
    options: dict[str, Any] = {"n_permutations": N_PERMUTATIONS, "seed": seed}
    on_train = label_swap_null(train, Draws(seed, n_permutations=N_PERMUTATIONS))
    rows = np.stack(
        [
            scores(fit_direction(train, layer, name), test)
            for name in ESTIMATORS
            for layer in train.layers
        ]
    )
    labels, pair_ids = test.labels.numpy(), list(test.pair_ids)
    every = stats.auroc_permutation(rows, labels, pair_ids, **options)
    layers = stats.auroc_permutation(rows[:N_LAYERS], labels, pair_ids, **options)
    p_values = {
        "best of 18 layers on test, uncorrected": layers.p.min(),
        "best of 18 layers on test, maxT": layers.p_max.min(),
        "best of 18 layers x 4 estimators on test, uncorrected": every.p.min(),
        "best of 18 layers x 4 estimators on test, maxT": every.p_max.min(),
        "best of 18 layers on train, the card's p": on_train.p_corrected,
    }
    return {name: bool(p <= 0.05) for name, p in p_values.items()}


def planted_draw(seed: int) -> dict[str, float]:
    """Cosine of each estimator's direction with the planted one: 4,000 pairs, 3 sd apart."""
    rng = np.random.default_rng([seed, 78])
    train, axis = simulated(rng, 4000, 1, gap=3.0)
    return {name: float(fit_direction(train, 0, name).vector @ axis) for name in ESTIMATORS}


def auroc_error(seed: int) -> float:
    """Difference to scikit-learn's AUROC on scores with many ties."""
    rng = np.random.default_rng([seed, 79])
    labels = rng.permutation(np.arange(60) < rng.integers(5, 55))
    values = np.round(rng.normal(size=60), 1)
    return abs(float(stats.auroc(values, labels)) - float(roc_auc_score(labels, values)))


def check(draws: int, seed: int, jobs: int) -> dict[str, Any]:
    seeds = range(seed, seed + draws)
    with ProcessPoolExecutor(jobs) as pool:
        alarms = list(pool.map(null_draw, seeds, chunksize=5))
        cosines = list(pool.map(planted_draw, seeds[: max(1, draws // 20)]))
    errors = list(map(auroc_error, seeds))
    return {
        "draws": draws,
        "n_pairs": N_PAIRS,
        "n_permutations": N_PERMUTATIONS,
        "false_alarms": {
            name: to_plain(share([alarm[name] for alarm in alarms], seed)) for name in alarms[0]
        },
        "smallest_cosine": {name: min(c[name] for c in cosines) for name in ESTIMATORS},
        "largest_auroc_error": max(errors),
    }


def as_text(result: dict[str, Any]) -> str:
    lines = [f"{result['draws']} draws without effect: false alarms at 5 %"]
    lines += [
        f"  {from_plain(e, Estimate, 'false_alarms')}  {name}"
        for name, e in result["false_alarms"].items()
    ]
    lines += ["smallest cosine with a planted direction"]
    lines += [f"  {value:.4f}  {name}" for name, value in result["smallest_cosine"].items()]
    lines += [f"largest difference to scikit-learn's AUROC: {result['largest_auroc_error']:.1e}"]
    return "\n".join(lines)


def main(
    draws: DrawsOption = 1000,
    seed: SeedOption = 0,
    jobs: JobsOption = JOBS,
    out: FileOption = None,
    as_json: JsonOption = False,
) -> None:
    """How often does choosing among layers and estimators find what is not there?"""
    with clear_errors("Run it again: nothing is kept."):
        show([draws, seed], check(draws, seed, jobs), as_text, out, as_json)


if __name__ == "__main__":
    run_script(main)
