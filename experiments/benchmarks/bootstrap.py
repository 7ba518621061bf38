"""How long do 10,000 cluster-bootstrap resamples of AUROC take, and against the obvious way?

    python experiments/benchmarks/bootstrap.py --json [--cpu-time] [--every N]

100 pairs (200 items) at 30 layers. ``seconds`` is the time of ``stats.auroc_estimate`` for all
layers, intervals included; ``per_resample`` the time of scikit-learn's ``roc_auc_score`` called for
each resample and layer, over that. ``--every`` makes only every N-th of those calls and scales the
time. ``max_abs_diff`` is the largest difference between the two in any AUROC that both computed.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from machine import machine_facts
from sklearn.metrics import roc_auc_score

from empathy_lens import stats

N_PAIRS, N_LAYERS, N_RESAMPLES = 100, 30, 10_000


def measure(every: int, clock: Callable[[], float]) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    labels, groups = np.tile([True, False], N_PAIRS), np.repeat(np.arange(N_PAIRS), 2)
    layers = rng.normal(size=(N_LAYERS, 2 * N_PAIRS)) + labels
    start = clock()
    stats.auroc_estimate(layers, labels, groups, n_resamples=N_RESAMPLES, seed=0)
    seconds = clock() - start

    drawn = range(0, N_RESAMPLES * N_LAYERS, every)
    weights = stats.cluster_weights(groups, n_resamples=N_RESAMPLES, seed=0)
    slow, largest = 0.0, 0.0
    for number in drawn:
        resample, layer = divmod(number, N_LAYERS)
        counts = weights[resample].astype(int)
        start = clock()
        items = np.repeat(np.arange(2 * N_PAIRS), counts)
        theirs = roc_auc_score(labels[items], layers[layer, items])
        slow += clock() - start
        ours = float(stats.auroc(layers[layer, items], labels[items]))
        largest = max(largest, abs(theirs - ours))
    return {
        "seconds": round(seconds, 3),
        "ratios": {"per_resample": round(slow * every / seconds, 1)},
        "max_abs_diff": largest,
        "calls_made": len(drawn),
        "machine": machine_facts(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    parser.add_argument("--every", type=int, default=301, help="make every N-th single call")
    parser.add_argument("--cpu-time", action="store_true", help="for a machine that others use")
    args = parser.parse_args()
    clock = time.process_time if args.cpu_time else time.perf_counter
    found = measure(max(1, args.every), clock)
    if args.json:
        print(json.dumps(found))
    else:
        ratio = found["ratios"]["per_resample"]
        print(f"{found['seconds']} s; one call a resample takes {ratio} times as long")


if __name__ == "__main__":
    main()
