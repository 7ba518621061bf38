"""The whole study as stages of a run: activations → directions → evidence → behaviour → steering.

Each stage reads what earlier stages wrote and writes its own files, so that a run can be resumed
and a partly finished one can be read. The functions that compute live elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ..data import data_hash
from ..evidence.rubric import EiaCorrelation
from ..evidence.validation import ValidationResult
from ..results import RunSummary, read_result
from ..steering.examples import ALPHAS, CONTROL_ALPHAS, SteeringResults
from ..types import Progress
from . import stages
from .criteria import seed_criteria
from .inputs import CONTRASTS, POOLINGS, DataFiles, Study, StudyOptions, parse_layers
from .runs import Run, versions

__all__ = ["CONTRASTS", "DataFiles", "StudyOptions", "parse_layers", "run_study", "summarise"]


def run_study(
    options: StudyOptions,
    run: Run,
    progress: Callable[[str], Progress] = lambda _: lambda done, total: None,
) -> None:
    """Runs every stage of the study into ``run.folder``; ``progress(name)`` makes a progress bar.

    Raises what the stages raise; files of finished stages stay and serve ``resume``.
    """
    study = Study(options, run, progress)
    hashes = {name: data_hash(pairs) for name, pairs in study.pairs.items()}
    if study.rubric:
        hashes["rubric"] = data_hash(study.rubric)
    run.begin([study.asked, hashes])
    inputs: list[Any] = [study.model_request, hashes, versions()]
    for name in hashes:
        run.stage(
            f"activations_{name}",
            [study.model_request, hashes[name], POOLINGS, versions()],
            list(study.activation_files(name).values()),
            partial(stages.extract, study, name),
        )
    run.stage("config", inputs, ["config.json"], lambda: stages.config(study, hashes))
    inputs += [options.seed, options.n_resamples, options.n_null, options.estimators]
    run.stage(
        "directions",
        inputs,
        ["directions.safetensors", "validation_auroc.json"],
        lambda: stages.directions(study),
    )
    if study.rubric:
        run.stage(
            "eia_correlation", inputs, ["eia_correlation.json"], lambda: stages.correlate(study)
        )
    else:
        study.path("eia_correlation.json").unlink(missing_ok=True)
    run.stage("cosines", inputs, ["cosines.json"], lambda: stages.cosines(study))
    steered = None
    if not study.steers:
        study.path("steering_examples.json").unlink(missing_ok=True)
    else:
        used = [vars(p) for p in (*study.steering_prompts, *study.questions)]
        steered = [used, study.neutral_texts, ALPHAS, CONTROL_ALPHAS, options.n_controls]
        run.stage(
            "steering", [inputs, steered], ["steering_examples.json"], lambda: stages.steer(study)
        )
    run.stage(
        "evidence",
        [inputs, steered, options.n_masked, options.embedding],
        ["evidence.json"],
        lambda: stages.evidence(study),
    )
    run.stage(
        "token_views", [inputs, steered], ["token_views.json"], lambda: stages.token_views(study)
    )


def summarise(run: Run, wall_seconds: float) -> RunSummary:
    """Writes ``summary.json`` of a finished run: criteria, time and memory by stage, versions."""
    folder = run.folder
    validation = read_result(folder / "validation_auroc.json", ValidationResult)
    rubric, steered = folder / "eia_correlation.json", folder / "steering_examples.json"
    steering = read_result(steered, SteeringResults) if steered.is_file() else None
    criteria = seed_criteria(
        validation.layers[validation.selected_layer],
        read_result(rubric, EiaCorrelation).rubric if rubric.is_file() else None,
        (steering.successes, steering.out_of) if steering else None,
    )
    summary = RunSummary(
        selected_layer=validation.selected_layer,
        criteria=criteria,
        stages=tuple(record.summary() for record in run.records),
        wall_seconds=round(wall_seconds, 1),
        peak_rss_mb=round(max(r.peak_rss_mb for r in run.records), 1),
        versions=versions(),
    )
    run.write("summary.json", summary)
    return summary
