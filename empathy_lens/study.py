"""The whole study as stages of a run: activations → directions → evidence → behaviour → steering.

Each stage reads what earlier stages wrote and writes its own files, so that a run can be resumed
and a partly finished one can be read. The functions that compute live elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, cast

from .activations import Progress, extract_activations, extract_completions
from .artifacts import (
    load_activations,
    load_directions,
    save_activations,
    save_directions,
    save_vectors,
)
from .cosines import direction_cosines
from .criteria import seed_criteria
from .data import (
    data_hash,
    load_pairs,
    load_rubric_completions,
    load_scenarios,
    load_steering_prompts,
)
from .directions import ESTIMATORS, fit_directions
from .eia.prediction import predict_rubric
from .errors import InputError
from .evidence import gather_evidence
from .files import read_json, write_json
from .models import Backend, load_model
from .runs import Run, versions
from .steering_examples import ALPHAS, steering_examples
from .token_examples import token_examples
from .types import Activations, Direction, Estimate, HookedModel
from .validation import scores, select_layer, validate_direction

__all__ = ["DataFiles", "StudyOptions", "parse_layers", "run_study", "summarise"]

CONTRASTS = ("sentiment", "politeness", "verbosity", "refusal", "task_focus")


@dataclass(frozen=True)
class DataFiles:
    """The files a study reads."""

    pairs_train: Path
    pairs_test: Path
    scenarios: Path
    rubric: Path
    steering_prompts: Path
    hard_pairs: Path
    contrast_sets: Path

    @classmethod
    def shipped(cls, root: Path) -> DataFiles:
        """The files of this repository, given its ``data`` folder."""
        return cls(
            pairs_train=root / "contrastive_pairs" / "train_pairs.jsonl",
            pairs_test=root / "contrastive_pairs" / "test_pairs.jsonl",
            scenarios=root / "eia_scenarios" / "scenarios.json",
            rubric=root / "rubric_completions" / "rubric_completions.jsonl",
            steering_prompts=root / "eia_scenarios" / "steering_prompts.json",
            hard_pairs=root / "hard_pairs" / "hard_pairs.jsonl",
            contrast_sets=root / "contrast_sets",
        )


def parse_layers(text: str) -> tuple[int, ...] | Literal["all"]:
    """``all``, or layer numbers as in ``8,12,16``. Raises InputError for anything else."""
    if text.strip() == "all":
        return "all"
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"layers: expected all or numbers such as 8,12,16, got {text!r}") from None


@dataclass(frozen=True)
class StudyOptions:
    """What is asked of a study.

    ``layers`` is "all" or layer numbers; ``n_resamples`` counts bootstrap resamples, ``n_null``
    the random directions and the permutations of the evidence, ``estimators`` are compared in it.
    """

    files: DataFiles
    model: str = "embedded"
    backend: Backend = "auto"
    device: str = "auto"
    dtype: str = "auto"
    revision: str | None = None
    layers: tuple[int, ...] | Literal["all"] = "all"
    seed: int = 0
    skip_steering: bool = False
    n_resamples: int = 10_000
    n_null: int = 1000
    estimators: tuple[str, ...] = tuple(ESTIMATORS)
    command: str = ""


class _Study:
    """The inputs of a study, read and checked once, and its model, loaded when first needed."""

    def __init__(self, options: StudyOptions, run: Run, progress: Callable[[str], Progress]):
        self.options, self.run, self.progress = options, run, progress
        files = options.files
        known = load_scenarios(files.scenarios).keys()
        self.pairs = {
            "train": load_pairs(files.pairs_train, scenario_ids=known),
            "test": load_pairs(files.pairs_test, scenario_ids=known),
            "hard": load_pairs(files.hard_pairs, scenario_ids=known),
            **{name: load_pairs(files.contrast_sets / f"{name}.jsonl") for name in CONTRASTS},
        }
        self.rubric = load_rubric_completions(files.rubric, scenario_ids=known)
        self.steering_prompts = load_steering_prompts(files.steering_prompts)

    @cached_property
    def model(self) -> HookedModel:
        o = self.options
        self.run.announce(f"loading {o.model}")
        return load_model(
            o.model, backend=o.backend, device=o.device, dtype=o.dtype, revision=o.revision
        )

    @property
    def model_request(self) -> list[Any]:
        """What decides the model, known without loading it."""
        o = self.options
        folder = Path(o.model)
        stamp = (
            [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(folder.iterdir())]
            if folder.is_dir()
            else []
        )
        return [o.model, o.backend, o.device, o.dtype, o.revision, list(o.layers), stamp]

    def json(self, name: str) -> Any:
        return read_json(self.run.folder / f"{name}.json")

    def path(self, name: str) -> Path:
        return self.run.folder / name

    def activations(self, name: str) -> Activations:
        return load_activations(self.path(f"activations/{name}.safetensors"))

    def direction(self) -> Direction:
        layer = self.json("validation_auroc")["selected_layer"]
        return load_directions(self.path("directions.safetensors"))[layer]


def run_study(
    options: StudyOptions,
    run: Run,
    progress: Callable[[str], Progress] = lambda _: lambda done, total: None,
) -> None:
    """Runs every stage of the study into ``run.folder``; ``progress(name)`` makes a progress bar.

    Raises what the stages raise; files of finished stages stay and serve ``resume``.
    """
    study = _Study(options, run, progress)
    hashes = {name: data_hash(pairs) for name, pairs in study.pairs.items()}
    hashes["rubric"] = data_hash(study.rubric)
    inputs: list[Any] = [study.model_request, hashes, versions()]
    for name in hashes:
        run.stage(
            f"activations_{name}",
            [study.model_request, hashes[name], versions()],
            [f"activations/{name}.safetensors"],
            partial(_extract, study, name),
        )
    run.stage("config", inputs, ["config.json"], lambda: _config(study, hashes))
    inputs += [options.seed, options.n_resamples, options.n_null, options.estimators]
    run.stage(
        "directions",
        inputs,
        ["directions.safetensors", "validation_auroc.json"],
        lambda: _directions(study),
    )
    run.stage("eia_correlation", inputs, ["eia_correlation.json"], lambda: _correlate(study))
    run.stage("cosines", inputs, ["cosines.json"], lambda: _cosines(study))
    prompts = [vars(p) for p in study.steering_prompts]
    if options.skip_steering:
        study.path("steering_examples.json").unlink(missing_ok=True)
    else:
        run.stage(
            "steering", [inputs, prompts, ALPHAS], ["steering_examples.json"], lambda: _steer(study)
        )
    run.stage(
        "evidence", [inputs, options.skip_steering], ["evidence.json"], lambda: _evidence(study)
    )
    steered = None if options.skip_steering else [prompts, ALPHAS]
    run.stage("token_views", [inputs, steered], ["token_views.json"], lambda: _token_views(study))


def _extract(study: _Study, name: str) -> None:
    o, progress = study.options, study.progress(name)
    if name == "rubric":
        done = extract_completions(study.model, study.rubric, layers=o.layers, progress=progress)
    else:
        pairs = study.pairs[name]
        done = extract_activations(study.model, pairs, layers=o.layers, progress=progress)
    save_activations(study.path(f"activations/{name}.safetensors"), done)


def _config(study: _Study, hashes: dict[str, str]) -> None:
    o, scored = study.options, study.activations("rubric")
    provenance = scored.provenance
    counts = {name: len(pairs) for name, pairs in study.pairs.items()}
    counts["rubric"] = len(study.rubric)
    write_json(
        study.path("config.json"),
        {
            "command": o.command,
            "model": o.model,
            "model_name": provenance.model_name,
            "backend": provenance.backend,
            "device": str(study.model.cfg.device),
            "dtype": provenance.dtype,
            "layers": list(scored.layers),
            "pooling": scored.pooling,
            "seed": o.seed,
            "pairs_train": _shown(o.files.pairs_train),
            "pairs_test": _shown(o.files.pairs_test),
            "rubric": _shown(o.files.rubric),
            "data": {name: {"n": counts[name], "sha256": hashes[name]} for name in counts},
            "provenance": provenance.with_data("").to_dict(),
            "versions": versions(),
        },
    )


def _shown(path: Path) -> str:
    """The path as a reader elsewhere can use it: relative where it lies in the working folder."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _directions(study: _Study) -> None:
    train, test = study.activations("train"), study.activations("test")
    chosen = select_layer(train, seed=study.options.seed)
    directions = fit_directions(train)
    layers = {}
    for layer, direction in directions.items():
        held_out = validate_direction(
            direction, test, seed=study.options.seed, n_resamples=study.options.n_resamples
        )
        layers[str(layer)] = held_out.to_dict() | {
            "cv_auroc": chosen.cv_auroc[layer],
            "raw_norm": direction.raw_norm,
        }
    sides = [side for p in study.pairs["test"] for side in (p.positive, p.negative)]
    save_directions(study.path("directions.safetensors"), directions)
    save_vectors(study.path("probes"), directions)
    write_json(
        study.path("validation_auroc.json"),
        {
            "selected_layer": chosen.layer,
            "selection": chosen.rule,
            "estimator": "mean_difference",
            "layers": layers,
            "projections": [
                {
                    "pair_id": pair_id,
                    "scenario_id": scenario_id,
                    "label": bool(label),
                    "projection": float(score),
                    "text": text[:200],
                }
                for pair_id, scenario_id, label, score, text in zip(
                    test.pair_ids,
                    test.scenario_ids,
                    test.labels.tolist(),
                    scores(directions[chosen.layer], test),
                    sides,
                    strict=True,
                )
            ],
        },
    )


def _correlate(study: _Study) -> None:
    direction = study.direction()
    projected = scores(direction, study.activations("rubric"))
    prediction = predict_rubric(
        projected,
        study.rubric,
        seed=study.options.seed,
        n_resamples=study.options.n_resamples,
    )
    items = [
        {
            "completion_id": c.completion_id,
            "scenario_id": c.scenario_id,
            "score": c.score,
            "projection": float(x),
        }
        for c, x in zip(study.rubric, projected, strict=True)
    ]
    write_json(
        study.path("eia_correlation.json"),
        {
            "selected_layer": direction.site.layer,
            "rubric": prediction.to_dict() | {"items": items},
            "on_policy": _on_policy(study),
        },
    )


def _on_policy(study: _Study) -> Any:
    """What predict_behaviour.py measured in this folder, if it was run."""
    return study.json("on_policy") if study.path("on_policy.json").is_file() else None


def _steer(study: _Study) -> None:
    found = steering_examples(
        study.model,
        study.direction(),
        study.steering_prompts,
        seed=study.options.seed,
        progress=study.progress("steering"),
    )
    write_json(study.path("steering_examples.json"), found)


def _evidence(study: _Study) -> None:
    layer = study.json("validation_auroc")["selected_layer"]
    spearman = study.json("eia_correlation")["rubric"]["spearman"]
    evidence = gather_evidence(
        study.activations("train"),
        study.activations("test"),
        study.pairs["train"],
        study.pairs["test"],
        layer=layer,
        hard=(study.activations("hard"), study.pairs["hard"]),
        contrasts={name: study.activations(name) for name in CONTRASTS},
        rubric=Estimate.from_dict(spearman),
        steering=None if study.options.skip_steering else study.json("steering_examples"),
        seed=study.options.seed,
        estimators=study.options.estimators,
        n_random=study.options.n_null,
        n_permutations=study.options.n_null,
        n_resamples=study.options.n_resamples,
    )
    write_json(study.path("evidence.json"), evidence.to_dict())


def _cosines(study: _Study) -> None:
    directions = load_directions(study.path("directions.safetensors"))
    contrasts = {name: study.activations(name) for name in CONTRASTS}
    found = direction_cosines(directions, contrasts, seed=study.options.seed)
    write_json(study.path("cosines.json"), found)


def _token_views(study: _Study) -> None:
    directions = load_directions(study.path("directions.safetensors"))
    layer = study.json("validation_auroc")["selected_layer"]
    examples = token_examples(
        study.model,
        directions,
        layer,
        study.pairs["test"],
        scores(directions[layer], study.activations("test")),
        steering=None if study.options.skip_steering else study.json("steering_examples"),
    )
    write_json(study.path("token_views.json"), examples)


def summarise(run: Run, wall_seconds: float) -> dict[str, Any]:
    """Writes ``summary.json`` of a finished run: criteria, time and memory by stage, versions."""

    def part(name: str) -> Any:
        path = run.folder / f"{name}.json"
        return read_json(path) if path.is_file() else None

    validation = cast(dict[str, Any], part("validation_auroc"))
    summary = {
        "selected_layer": validation["selected_layer"],
        "criteria": seed_criteria(validation, part("eia_correlation"), part("steering_examples")),
        "stages": [record.summary() for record in run.records],
        "wall_seconds": round(wall_seconds, 1),
        "peak_rss_mb": round(max(r.peak_rss_mb for r in run.records), 1),
        "versions": versions(),
    }
    write_json(run.folder / "summary.json", summary)
    return summary
