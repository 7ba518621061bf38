"""The stages of a study: each reads what earlier ones wrote and writes its own files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..activations import extract_completions, extract_poolings
from ..artifacts import load_directions, save_activations, save_directions, save_vectors
from ..cosines import direction_cosines
from ..directions import fit_directions
from ..eia.prediction import predict_rubric
from ..errors import DegenerateDataError
from ..evidence import gather_evidence
from ..files import write_json
from ..judges import judge_quality, word_judge
from ..runs import versions
from ..steering import steering_sweep
from ..steering.examples import ALPHAS, CONTROL_ALPHAS, EXAMPLE_SCENARIOS, sweep_summary
from ..token_examples import token_examples
from ..types import Estimate
from ..validation import scores, select_layer, validate_direction
from .inputs import CONTRASTS, POOLINGS, Study

__all__ = [
    "config",
    "correlate",
    "cosines",
    "directions",
    "evidence",
    "extract",
    "steer",
    "token_views",
]


def extract(study: Study, name: str) -> None:
    """Writes the activations of a set of texts: one of ``study.pairs``, or ``rubric``."""
    o, progress = study.options, study.progress(name)
    files = study.activation_files(name)
    if name == "rubric":
        scored = extract_completions(study.model, study.rubric, layers=o.layers, progress=progress)
        save_activations(study.path(files["mean"]), scored)
        return
    done = extract_poolings(
        study.model,
        study.pairs[name],
        poolings=study.poolings(name),
        layers=o.layers,
        progress=progress,
    )
    for pooling, activations in done.items():
        save_activations(study.path(files[pooling]), activations)


def config(study: Study, hashes: Mapping[str, str]) -> None:
    """Writes ``config.json``: what was asked, and the model and data it was asked of."""
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
            "poolings_compared": list(study.poolings("train")),
            "embedding": o.embedding,
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


def directions(study: Study) -> None:
    """Writes every layer's direction, and how it does on held-out pairs."""
    train, test = study.activations("train"), study.activations("test")
    chosen = select_layer(train, seed=study.options.seed)
    fitted = fit_directions(train)
    layers = {}
    for layer, direction in fitted.items():
        try:
            held_out = validate_direction(
                direction, test, seed=study.options.seed, n_resamples=study.options.n_resamples
            )
        except DegenerateDataError as error:
            n = len(study.pairs["test"])
            raise DegenerateDataError(
                f"{n} held-out pairs cannot test the direction of layer {layer}: {error}"
            ) from error
        layers[str(layer)] = held_out.to_dict() | {
            "cv_auroc": chosen.cv_auroc[layer],
            "raw_norm": direction.raw_norm,
        }
    sides = [side for p in study.pairs["test"] for side in (p.positive, p.negative)]
    save_directions(study.path("directions.safetensors"), fitted)
    save_vectors(study.path("probes"), fitted)
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
                    scores(fitted[chosen.layer], test),
                    sides,
                    strict=True,
                )
            ],
        },
    )


def correlate(study: Study) -> None:
    """Writes ``eia_correlation.json``: projections beside rubric scores."""
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


def _on_policy(study: Study) -> Any:
    """What predict_behaviour.py measured in this folder, if it was run."""
    return study.json("on_policy") if study.path("on_policy.json").is_file() else None


def steer(study: Study) -> None:
    """Writes ``steering_examples.json``: the chosen layer's sweep over alpha, with controls."""
    direction, prompts = study.direction(), study.steering_prompts
    judge, seed = word_judge(study.pairs["train"]), study.options.seed
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


def evidence(study: Study) -> None:
    """Writes ``evidence.json``: baselines, nulls, transfer and verdicts."""
    layer = study.json("validation_auroc")["selected_layer"]
    rubric = study.json("eia_correlation")["rubric"]
    o = study.options
    masked = None
    if "masked_test" in study.pairs:
        masked = (study.activations("masked_test"), o.n_masked)
    found = gather_evidence(
        study.activations("train"),
        study.activations("test"),
        study.pairs["train"],
        study.pairs["test"],
        layer=layer,
        hard=(study.activations("hard"), study.pairs["hard"]),
        contrasts={name: study.activations(name) for name in CONTRASTS},
        ablated=masked,
        other_poolings=[
            (study.activations("train", pooling), study.activations("test", pooling))
            for pooling in POOLINGS[1:]
        ],
        rubric=Estimate.from_dict(rubric["spearman"]),
        rubric_partial=rubric["partial"] and Estimate.from_dict(rubric["partial"]),
        steering=None if o.skip_steering else study.json("steering_examples"),
        embed=study.embed,
        estimators=o.estimators,
        seed=o.seed,
        n_random=o.n_null,
        n_permutations=o.n_null,
        n_resamples=o.n_resamples,
    )
    write_json(study.path("evidence.json"), found.to_dict())


def cosines(study: Study) -> None:
    """Writes ``cosines.json``: directions across layers, and beside the contrasts' own."""
    fitted = load_directions(study.path("directions.safetensors"))
    contrasts = {name: study.activations(name) for name in CONTRASTS}
    found = direction_cosines(fitted, contrasts, seed=study.options.seed)
    write_json(study.path("cosines.json"), found)


def token_views(study: Study) -> None:
    """Writes ``token_views.json``: texts worth reading token by token."""
    fitted = load_directions(study.path("directions.safetensors"))
    layer = study.json("validation_auroc")["selected_layer"]
    examples = token_examples(
        study.model,
        fitted,
        layer,
        study.pairs["test"],
        scores(fitted[layer], study.activations("test")),
        steering=None if study.options.skip_steering else study.json("steering_examples"),
    )
    write_json(study.path("token_views.json"), examples)
