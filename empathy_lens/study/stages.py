"""The stages of a study: each reads what earlier ones wrote and writes its own files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..activations import extract_completion_poolings, extract_poolings
from ..directions import fit_directions
from ..directions.store import load_directions, save_activations, save_directions, save_vectors
from ..engine import mean_token_embedding
from ..errors import DegenerateDataError
from ..evidence import Behaviour, Draws, StudyData, evidence_card
from ..evidence.baselines import best_reader, word_baselines
from ..evidence.contrasts import direction_cosines
from ..evidence.rubric import (
    EiaCorrelation,
    RubricItem,
    RubricResult,
    judge_quality,
    predict_rubric,
    word_judge,
)
from ..evidence.validation import (
    HeldOutProjection,
    LayerResult,
    ValidationResult,
    scores,
    select_layer,
    validate_direction,
)
from ..evidence.words import read_texts, rivals_of
from ..games.behaviour import OnPolicy
from ..results import DataSet, RunConfig, read_result, read_stored, to_plain
from ..steering import SweepSettings, steering_sweep
from ..steering.examples import (
    ALPHAS,
    CONTROL_ALPHAS,
    EXAMPLE_SCENARIOS,
    SteeredExample,
    SteeringResults,
    sweep_summary,
)
from ..types import Activations, Pooling
from .inputs import CONTRASTS, POOLINGS, Study
from .runs import versions
from .token_examples import token_examples


def extract(study: Study, name: str) -> None:
    """Writes the activations of a set of texts: one of ``study.pairs``, or ``rubric``."""
    o, progress = study.options, study.progress(name)
    files = study.activation_files(name)
    asked: dict[str, Any] = {"poolings": POOLINGS, "layers": o.layers, "progress": progress}
    if name == "rubric":
        done = extract_completion_poolings(study.model, study.rubric, **asked)
    else:
        done = extract_poolings(study.model, study.pairs[name], **asked)
    for pooling, activations in done.items():
        save_activations(study.path(files[pooling]), activations, study.run.identity)


def config(study: Study, hashes: Mapping[str, str]) -> None:
    """Writes ``config.json``: what was asked, and the model and data it was asked of."""
    o, read = study.options, study.activations("train")
    provenance = read.provenance
    counts = {name: len(pairs) for name, pairs in study.pairs.items()}
    if study.rubric:
        counts["rubric"] = len(study.rubric)
    config = RunConfig(
        command=o.command,
        model=o.model,
        model_name=provenance.model_name,
        backend=provenance.backend,
        device=str(study.model.cfg.device),
        dtype=provenance.dtype,
        layers=read.layers,
        pooling=read.pooling,
        poolings_compared=POOLINGS,
        embedding=o.embedding,
        seed=o.seed,
        pairs_train=_shown(o.files.pairs_train),
        pairs_test=_shown(o.files.pairs_test),
        rubric=_shown(o.files.rubric) if o.files.rubric else None,
        data={name: DataSet(counts[name], hashes[name]) for name in counts},
        provenance=provenance.with_data(""),
        versions=versions(),
        concept=study.concept,
    )
    study.run.write("config.json", config)


def _shown(path: Path) -> str:
    """The path as a reader elsewhere can use it: relative where it lies in the working folder."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def directions(study: Study) -> None:
    """Writes every layer's direction, and how it does on held-out pairs."""
    train, test = study.activations("train"), study.activations("test")
    chosen = select_layer(train, seed=study.options.seed)
    fitted = fit_directions(train)
    layers: dict[int, LayerResult] = {}
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
        layers[layer] = LayerResult(
            **vars(held_out), cv_auroc=chosen.cv_auroc[layer], raw_norm=direction.raw_norm
        )
    sides = [side for p in study.pairs["test"] for side in (p.positive, p.negative)]
    save_directions(study.path("directions.safetensors"), fitted, study.run.identity)
    save_vectors(study.path("probes"), fitted)
    study.run.write(
        "validation_auroc.json",
        ValidationResult(
            selected_layer=chosen.layer,
            selection=chosen.rule,
            estimator="mean_difference",
            layers=layers,
            projections=tuple(
                HeldOutProjection(pair_id, scenario_id, bool(label), float(score), text[:200])
                for pair_id, scenario_id, label, score, text in zip(
                    test.pair_ids,
                    test.scenario_ids,
                    test.labels.tolist(),
                    scores(fitted[chosen.layer], test),
                    sides,
                    strict=True,
                )
            ),
        ),
    )


def correlate(study: Study) -> None:
    """Writes ``eia_correlation.json``: projections beside rubric scores."""
    direction = study.direction()
    projected = scores(direction, study.activations("rubric"))
    prediction = predict_rubric(
        projected,
        study.rubric,
        word_scores=_word_scores(study),
        seed=study.options.seed,
        n_resamples=study.options.n_resamples,
    )
    items = tuple(
        RubricItem(c.completion_id, c.scenario_id, c.score, float(x))
        for c, x in zip(study.rubric, projected, strict=True)
    )
    rubric, played = RubricResult(**vars(prediction), items=items), _on_policy(study)
    study.run.write(
        "eia_correlation.json",
        EiaCorrelation(direction.site.layer, rubric, to_plain(played) if played else None),
    )


def _word_scores(study: Study) -> Any:
    """The rubric's texts by the readers of words that a probe must beat; None without any."""
    train = study.pairs["train"]
    readers = word_baselines(study.embed, mean_token_embedding(study.model))
    try:
        rivals = rivals_of(best_reader(readers, train, seed=study.options.seed), readers)
        return np.stack([read_texts(readers[n], train, study.rubric) for n in rivals], axis=1)
    except DegenerateDataError:
        return None


def _on_policy(study: Study) -> OnPolicy | None:
    """What predict_behaviour.py measured with this run's directions, if it was run."""
    path = study.path("on_policy.json")
    if study.run.identity is None or not path.is_file():
        return None
    played, stamp = read_stored(path, OnPolicy)
    same = stamp.run is not None and stamp.run.id == study.run.identity.id
    return played if same else None


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
        train=study.activations("train"),
        judge=judge,
        settings=SweepSettings(
            control_alphas=CONTROL_ALPHAS,
            n_random=study.options.n_controls,
            n_shuffled=max(1, study.options.n_controls // 4),
            text_scenarios=EXAMPLE_SCENARIOS,
            seed=seed,
        ),
        progress=study.progress("steering"),
    )
    quality = judge_quality(judge, study.rubric, seed=seed, n_resamples=n_resamples)
    summary = sweep_summary(sweep, direction.site.layer, judge=quality, n_resamples=n_resamples)
    study.run.write("steering_examples.json", summary)


def evidence(study: Study) -> None:
    """Writes ``evidence.json``: baselines, nulls, transfer and verdicts."""
    o, behaviour = study.options, Behaviour()
    if study.steers:
        steered = read_result(study.path("steering_examples.json"), SteeringResults)
        behaviour = replace(behaviour, steering=to_plain(steered))
    played = _on_policy(study)
    if played is not None:
        behaviour = replace(behaviour, own_acts=played.every_choice.act_partial)
    data, *others = (_data(study, pooling) for pooling in POOLINGS)
    card = evidence_card(
        replace(data, other_poolings=others),
        study.selected_layer,
        behaviour=behaviour,
        embed=study.embed,
        token_embed=mean_token_embedding(study.model),
        estimators=o.estimators,
        draws=Draws(o.seed, o.n_resamples, n_permutations=o.n_null, n_random=o.n_null),
    )
    study.run.write("evidence.json", card)


def _data(study: Study, pooling: Pooling) -> StudyData:
    """Everything that the study read, under one pooling."""

    def read(name: str) -> Activations:
        return study.activations(name, pooling)

    pairs = study.pairs
    return StudyData(
        read("train"),
        read("test"),
        pairs["train"],
        pairs["test"],
        hard=(read("hard"), pairs["hard"]) if "hard" in pairs else None,
        contrasts={name: read(name) for name in CONTRASTS},
        masked=(read("masked_test"), study.options.n_masked) if "masked_test" in pairs else None,
        rubric=(read("rubric"), study.rubric) if study.rubric else None,
    )


def cosines(study: Study) -> None:
    """Writes ``cosines.json``: directions across layers, and beside the contrasts' own."""
    fitted = load_directions(study.path("directions.safetensors"))
    contrasts = {name: study.activations(name) for name in CONTRASTS}
    study.run.write(
        "cosines.json",
        direction_cosines(fitted, contrasts, seed=study.options.seed),
    )


def token_views(study: Study) -> None:
    """Writes ``token_views.json``: texts worth reading token by token."""
    fitted = load_directions(study.path("directions.safetensors"))
    layer = study.selected_layer
    steered: Sequence[SteeredExample] = ()
    if study.steers:
        steered = read_result(study.path("steering_examples.json"), SteeringResults).examples
    examples = token_examples(
        study.model,
        fitted,
        layer,
        study.pairs["test"],
        scores(fitted[layer], study.activations("test")),
        steered=steered,
    )
    study.run.write("token_views.json", examples)
