"""The whole study as stages of a run: activations → directions → evidence → behaviour → steering.

Each stage reads what earlier stages wrote and writes its own files, so that a run can be resumed
and a partly finished one can be read. The functions that compute live elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from .activations import Progress, extract_activations, extract_completions
from .artifacts import (
    load_activations,
    load_directions,
    save_activations,
    save_directions,
    save_vectors,
)
from .criteria import seed_criteria
from .data import (
    data_hash,
    load_neutral_texts,
    load_pairs,
    load_plain_questions,
    load_rubric_completions,
    load_scenarios,
    load_steering_prompts,
)
from .directions import ESTIMATORS, fit_directions
from .eia.prediction import predict_rubric
from .errors import InputError
from .evidence import gather_evidence
from .files import read_json, write_json
from .judges import judge_quality, word_judge
from .models import Backend, load_model, model_card
from .runs import Run, versions
from .steering import steering_sweep
from .steering.examples import ALPHAS, CONTROL_ALPHAS, EXAMPLE_SCENARIOS, sweep_summary
from .types import Activations, ContrastivePair, Direction, Estimate, HookedModel
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
    neutral_texts: Path
    plain_questions: Path

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
            neutral_texts=root / "neutral" / "neutral_texts.jsonl",
            plain_questions=root / "neutral" / "plain_questions.jsonl",
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
    the random directions and the permutations of the evidence, ``estimators`` are compared in it;
    ``n_controls`` the random directions that are steered beside the real one.
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
    n_controls: int = 20
    estimators: tuple[str, ...] = tuple(ESTIMATORS)
    command: str = ""


class _Study:
    """The inputs of a study, read and checked once, and its model, loaded when first needed."""

    def __init__(self, options: StudyOptions, run: Run, progress: Callable[[str], Progress]):
        self.options, self.run, self.progress = options, run, progress
        files = options.files
        known = load_scenarios(files.scenarios).keys()
        self.train = load_pairs(files.pairs_train, scenario_ids=known)
        self.test = load_pairs(files.pairs_test, scenario_ids=known)
        self.rubric = load_rubric_completions(files.rubric, scenario_ids=known)
        self.steering_prompts = load_steering_prompts(files.steering_prompts)
        self.hard = load_pairs(files.hard_pairs, scenario_ids=known)
        self.neutral_texts = load_neutral_texts(files.neutral_texts)
        self.questions = load_plain_questions(files.plain_questions)
        self.contrasts = {n: load_pairs(files.contrast_sets / f"{n}.jsonl") for n in CONTRASTS}

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
    hashes = {
        "train": data_hash(study.train),
        "test": data_hash(study.test),
        "rubric": data_hash(study.rubric),
        "hard": data_hash(study.hard),
        **{name: data_hash(pairs) for name, pairs in study.contrasts.items()},
    }
    inputs: list[Any] = [study.model_request, hashes, versions()]
    sets = ["train", "test", "rubric", "hard", *CONTRASTS]
    outputs = [*(f"activations/{name}.safetensors" for name in sets), "config.json"]
    run.stage("activations", inputs, outputs, lambda: _extract(study, hashes))
    inputs += [
        options.seed,
        options.n_resamples,
        options.n_null,
        options.estimators,
    ]
    run.stage(
        "directions",
        inputs,
        ["directions.safetensors", "validation_auroc.json"],
        lambda: _directions(study),
    )
    run.stage("eia_correlation", inputs, ["eia_correlation.json"], lambda: _correlate(study))
    if options.skip_steering:
        study.path("steering_examples.json").unlink(missing_ok=True)
    else:
        used = [vars(p) for p in (*study.steering_prompts, *study.questions)]
        run.stage(
            "steering",
            [inputs, used, study.neutral_texts, ALPHAS, CONTROL_ALPHAS, options.n_controls],
            ["steering_examples.json"],
            lambda: _steer(study),
        )
    run.stage(
        "evidence", [inputs, options.skip_steering], ["evidence.json"], lambda: _evidence(study)
    )
    run.stage("token_views", inputs, ["token_views.json"], lambda: _token_views(study))


def _extract(study: _Study, hashes: dict[str, str]) -> None:
    o, model = study.options, study.model

    def pairs(name: str, items: Sequence[ContrastivePair]) -> None:
        done = extract_activations(model, items, layers=o.layers, progress=study.progress(name))
        save_activations(study.path(f"activations/{name}.safetensors"), done)

    pairs("train", study.train)
    pairs("test", study.test)
    scored = extract_completions(
        model, study.rubric, layers=o.layers, progress=study.progress("rubric")
    )
    save_activations(study.path("activations/rubric.safetensors"), scored)
    pairs("hard", study.hard)
    for name, items in study.contrasts.items():
        pairs(name, items)
    provenance = model_card(model).provenance
    counts = {"train": study.train, "test": study.test, "rubric": study.rubric, "hard": study.hard}
    write_json(
        study.path("config.json"),
        {
            "command": o.command,
            "model": o.model,
            "model_name": provenance.model_name,
            "backend": provenance.backend,
            "device": str(model.cfg.device),
            "dtype": provenance.dtype,
            "layers": list(scored.layers),
            "pooling": scored.pooling,
            "seed": o.seed,
            "pairs_train": str(o.files.pairs_train),
            "pairs_test": str(o.files.pairs_test),
            "rubric": str(o.files.rubric),
            "data": {n: {"n": len(v), "sha256": hashes[n]} for n, v in counts.items()},
            "provenance": provenance.to_dict(),
            "versions": versions(),
        },
    )


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
    sides = [side for p in study.test for side in (p.positive, p.negative)]
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
            "on_policy": None,
        },
    )


def _steer(study: _Study) -> None:
    direction, prompts = study.direction(), study.steering_prompts
    judge, seed = word_judge(study.train), study.options.seed
    n_resamples = study.options.n_resamples
    sweep = steering_sweep(
        study.model,
        [direction],
        ALPHAS,
        prompts,
        neutral_texts=study.neutral_texts,
        questions=study.questions,
        control_alphas=CONTROL_ALPHAS,
        train=study.activations("train"),
        n_random=study.options.n_controls,
        n_shuffled=max(1, study.options.n_controls // 4),
        judge=judge,
        text_scenarios=EXAMPLE_SCENARIOS,
        seed=seed,
        progress=study.progress("steering"),
    )
    quality = judge_quality(judge, study.rubric, seed=seed, n_resamples=n_resamples)
    found = sweep_summary(sweep, direction.site.layer, judge=quality, n_resamples=n_resamples)
    write_json(study.path("steering_examples.json"), found)


def _evidence(study: _Study) -> None:
    layer = study.json("validation_auroc")["selected_layer"]
    spearman = study.json("eia_correlation")["rubric"]["spearman"]
    evidence = gather_evidence(
        study.activations("train"),
        study.activations("test"),
        study.train,
        study.test,
        layer=layer,
        hard=(study.activations("hard"), study.hard),
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


def _token_views(study: _Study) -> None:
    """Per-token projections of the best, the worst and the most wrong test pair."""
    from .token_projections import token_projections

    direction = study.direction()
    test = study.activations("test")
    values = scores(direction, test)
    gap = values[test.labels.numpy()] - values[~test.labels.numpy()]
    wrong = np.abs(values) * ((values > 0) != test.labels.numpy())
    chosen = {
        "largest gap between the sides": int(gap.argmax()),
        "smallest gap between the sides": int(gap.argmin()),
        "text furthest on the wrong side": int(wrong.argmax()) // 2,
    }
    examples = []
    for title, index in chosen.items():
        pair = study.test[index]
        for side, text in (("empathic", pair.positive), ("task-focused", pair.negative)):
            seen = token_projections(study.model, direction, text, pair.prompt)
            shown = (np.asarray(seen.values[0]) - direction.threshold) / direction.raw_norm
            examples.append(
                {
                    "title": title,
                    "pair_id": pair.pair_id,
                    "side": side,
                    "tokens": list(seen.tokens),
                    "values": [round(float(v), 4) for v in shown],
                    "pooled": [bool(p) for p in seen.pooled],
                }
            )
    layer = direction.site.layer
    write_json(study.path("token_views.json"), {"layer": layer, "examples": examples})


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
