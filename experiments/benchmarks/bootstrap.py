"""How long do 10,000 cluster-bootstrap resamples of AUROC take, and against the obvious way?

    python experiments/benchmarks/bootstrap.py --json [--cpu-time] [--every N]

100 pairs (200 items) at 30 layers. ``seconds`` is the time of ``stats.auroc_estimate`` for all
layers, intervals included; ``per_resample`` the time of scikit-learn's ``roc_auc_score`` called for
each resample and layer, over that. ``--every`` makes only every N-th of those calls and scales the
time. ``max_abs_diff`` is the largest difference between the two in any AUROC that both computed.
"""

from typing import Annotated

import typer
from harness import Clock, CpuTime, Json, choose_clock, machine_facts, show

from empathy_lens.cli.shared import clear_errors

N_PAIRS, N_LAYERS, N_RESAMPLES = 100, 30, 10_000


def measure(every: int, clock: Clock) -> dict[str, object]:
    import numpy as np
    from sklearn.metrics import roc_auc_score

    from empathy_lens import stats

    rng = np.random.default_rng(0)
    labels, groups = np.tile([True, False], N_PAIRS), np.repeat(np.arange(N_PAIRS), 2)
    layers = rng.normal(size=(N_LAYERS, 2 * N_PAIRS)) + labels
    start = clock()
    stats.auroc_estimate(layers, labels, stats.Design(groups, n_resamples=N_RESAMPLES, seed=0))
    seconds = clock() - start

    drawn = range(0, N_RESAMPLES * N_LAYERS, every)
    weights = stats.cluster_weights(stats.Design(groups, n_resamples=N_RESAMPLES, seed=0))
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


def main(
    as_json: Json = False,
    every: Annotated[int, typer.Option(help="make every N-th single call")] = 301,
    cpu_time: CpuTime = False,
) -> None:
    """Time the resamples, and scikit-learn's call for each of them."""
    with clear_errors("Run it again."):
        found = measure(max(1, every), choose_clock(cpu_time))
        table = "{seconds} s; one call a resample takes {ratios[per_resample]} times as long"
        show(found, as_json, [table.format(**found)])


if __name__ == "__main__":
    typer.run(main)
