"""Everything that steering does, measured over layers x strengths x situations x samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Literal

import numpy as np

from ..engine.tokens import encode, encode_prompt
from ..errors import InputError
from ..evidence.rubric import Judge
from ..types import (
    Activations,
    Completion,
    Direction,
    HookedModel,
    PlainQuestion,
    Progress,
    SteeringPrompt,
)
from .attach import check_directions, check_room, check_steering
from .controls import coherence, measure_damage, random_controls, shuffled_controls
from .generation import generate_steered
from .hooks import SteeringMethod, add_direction
from .measured import Controls, SteeredText, SteeringSweep
from .movement import furthest_within
from .scoring import Step, instructed, log_odds_by_layer, over_items


@dataclass(frozen=True)
class SweepSettings:
    """How a sweep is made.

    ``control_alphas``: strengths at which control directions are measured (None: all but 0;
    "furthest": on each side the furthest within the damage bound, :func:`~.furthest_within`).
    ``n_random`` random directions at every layer, and ``n_shuffled`` from shuffled labels where
    train activations are given; 0 random ones leave all controls to :func:`add_controls`.
    ``text_scenarios``: scenarios whose first prompt for reporting texts are written for (None:
    all), ``n_samples`` each of up to ``max_new_tokens``. Neutral loss is read on every
    ``every``-th token. ``method`` makes the hook from a direction and an alpha.
    """

    control_alphas: tuple[float, ...] | Literal["furthest"] | None = None
    n_random: int = 20
    n_shuffled: int = 20
    text_scenarios: tuple[str, ...] | None = None
    n_samples: int = 1
    max_new_tokens: int = 60
    every: int = 8
    seed: int = 0
    method: SteeringMethod = add_direction


SETTINGS = SweepSettings()


def steering_sweep(
    model: HookedModel,
    directions: Mapping[int, Direction] | Sequence[Direction],
    alphas: Sequence[float],
    prompts: Sequence[SteeringPrompt],
    *,
    neutral_texts: Sequence[str],
    questions: Sequence[PlainQuestion],
    train: Activations | None = None,
    judge: Judge | None = None,
    settings: SweepSettings = SETTINGS,
    progress: Progress | None = None,
) -> SteeringSweep:
    """Log-odds, controls, damage and texts under every direction (one a layer) and alpha.

    ``alphas`` are strengths in multiples of ``raw_norm``; 0 must be among them. The first prompt
    of each scenario is for choosing settings, the others are for reporting what they do; where no
    scenario has two, all serve for both. ``train``: activations whose shuffled labels give control
    directions. Raises InputError for an empty list, alphas without 0, a direction of another
    model, or a prompt longer than the context.
    """
    by_layer = _by_layer(directions)
    pushes = _check(model, by_layer, alphas, prompts, settings)
    choosing, reporting = _split(prompts)
    n_steps = len(prompts) + len(neutral_texts) + len(questions) + 1
    step = _steps(progress, n_steps + (len(reporting) if settings.n_random else 0))

    hooks = {k: [settings.method(d, a) for a in alphas] for k, d in by_layer.items()}
    odds = over_items(lambda prompt: log_odds_by_layer(model, prompt, hooks), prompts, step)
    log_odds = np.stack(list(odds.values()))
    asked = over_items(
        lambda prompt: log_odds_by_layer(model, instructed(prompt), {0: [None]}), prompts
    )
    damage = measure_damage(model, neutral_texts, questions, hooks, every=settings.every, step=step)
    texts = _write(model, by_layer, alphas, prompts, reporting, settings, judge)
    step()
    sweep = SteeringSweep(
        directions=by_layer,
        alphas=tuple(float(a) for a in alphas),
        pushes=pushes,
        prompts=tuple(prompts),
        choosing=choosing,
        reporting=reporting,
        log_odds=log_odds,
        controls={},
        instruction=asked[0][0] - log_odds[0, list(alphas).index(0.0)],
        damage=damage,
        texts=texts,
        seed=settings.seed,
        method=settings.method,
    )
    if settings.control_alphas == "furthest":
        sweep = replace(sweep, pushes=furthest_within(sweep))
    if not settings.n_random:
        return sweep
    return add_controls(
        model,
        sweep,
        list(by_layer),
        train=train,
        n_random=settings.n_random,
        n_shuffled=settings.n_shuffled,
        progress=lambda done, total: step(),
    )


def _split(prompts: Sequence[SteeringPrompt]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The first prompt of each scenario for choosing, the others for reporting, as indices.

    Raises InputError where fewer than three are left to report on.
    """
    choosing = first_of_each(prompts)
    reporting = [i for i in range(len(prompts)) if i not in choosing] or choosing
    if len(reporting) < 3:
        raise InputError(
            f"prompts: expected at least three to report on, got {len(reporting)} besides the "
            "first of each scenario; add situations"
        )
    return tuple(choosing), tuple(reporting)


def _check(
    model: HookedModel,
    directions: Mapping[int, Direction],
    alphas: Sequence[float],
    prompts: Sequence[SteeringPrompt],
    settings: SweepSettings,
) -> tuple[float, ...]:
    """The strengths of the controls in rising order, once everything is as it must be."""
    check_steering(model, directions.values(), alphas, prompts)
    if 0.0 not in alphas or len(set(alphas)) < max(2, len(alphas)):
        raise InputError(f"alphas: expected 0 and at least one other, all new, got {list(alphas)}")
    named = settings.control_alphas
    asked = alphas if named is None or named == "furthest" else named
    pushes = sorted({float(a) for a in asked} - {0.0})
    if not pushes or not set(pushes) <= set(alphas):
        raise InputError(f"control_alphas: expected some of {list(alphas)}, got {list(asked)}")
    for prompt in prompts:
        check_room(model, len(encode_prompt(model, prompt.prompt)), settings.max_new_tokens)
        asked_kindly = instructed(prompt).prompt
        for action in (*prompt.positive_actions, *prompt.negative_actions):
            encode(model, action, asked_kindly)  # raises where the longest of it has no room
    return tuple(pushes)


def add_controls(
    model: HookedModel,
    sweep: SteeringSweep,
    layers: Sequence[int],
    *,
    train: Activations | None = None,
    n_random: int = 20,
    n_shuffled: int = 20,
    progress: Progress | None = None,
) -> SteeringSweep:
    """The sweep with control directions measured at some of its layers as well.

    They cost several times what the direction itself does, and no setting is chosen by them
    (``recommend``), so a sweep over many layers can add them where its answer lies. Options as
    for :func:`steering_sweep`. Raises InputError for a layer that was not swept.
    """
    hooks = {}
    for layer in layers:
        sweep.layer_index(layer)
    check_directions(model, [sweep.directions[layer] for layer in layers])
    for layer in layers:
        direction = sweep.directions[layer]
        drawn = random_controls(direction, n_random, seed=sweep.seed + layer)
        if train is not None:
            drawn += shuffled_controls(direction, train, n_shuffled, seed=sweep.seed + layer)
        hooks[layer] = [sweep.method(d, a) for d in drawn for a in sweep.pushes]
    odds = over_items(
        lambda prompt: log_odds_by_layer(model, prompt, hooks),
        [sweep.prompts[i] for i in sweep.reporting],
        _steps(progress, len(sweep.reporting)),
    )
    controls = dict(sweep.controls)
    for layer, of_directions in odds.items():
        plain = sweep.log_odds[sweep.layer_index(layer), sweep.zero, list(sweep.reporting)]
        shifts = (of_directions - plain).reshape(-1, len(sweep.pushes), len(plain))
        controls[layer] = Controls(shifts[:n_random], shifts[n_random:])
    return replace(sweep, controls=controls)


def first_of_each(
    prompts: Sequence[SteeringPrompt], among: Sequence[int] | None = None
) -> list[int]:
    """Index of the first prompt of each scenario, in order."""
    firsts: dict[str, int] = {}
    for i in range(len(prompts)) if among is None else among:
        firsts.setdefault(prompts[i].scenario_id, i)
    return list(firsts.values())


def _write(
    model: HookedModel,
    directions: Mapping[int, Direction],
    alphas: Sequence[float],
    prompts: Sequence[SteeringPrompt],
    reporting: Sequence[int],
    settings: SweepSettings,
    judge: Judge | None,
) -> tuple[SteeredText, ...]:
    """Texts of each prompt, sample, layer and alpha; a sample has one seed under all of them.

    They are written for the first prompt for reporting of each scenario asked for.
    """
    firsts = first_of_each(prompts, reporting)
    asked = [i for i in firsts if prompts[i].scenario_id in (settings.text_scenarios or ())]
    rows = [(i, s, a) for i in asked or firsts for s in range(settings.n_samples) for a in alphas]
    completions: list[Completion] = []
    for direction in directions.values():
        completions += generate_steered(
            model,
            [prompts[i].prompt for i, _, _ in rows],
            direction,
            [a for _, _, a in rows],
            seeds=[settings.seed + 1000 * s + i for i, s, _ in rows],
            scenario_ids=[prompts[i].scenario_id for i, _, _ in rows],
            max_new_tokens=settings.max_new_tokens,
            method=settings.method,
        )
    written = [c.text for c in completions]
    judged = [None] * len(written) if judge is None else judge(written).tolist()
    indices = [i for i, _, _ in rows] * len(directions)
    rows_written = zip(indices, completions, coherence(model, completions), judged, strict=True)
    return tuple(SteeredText(*row) for row in rows_written)


def _by_layer(directions: Mapping[int, Direction] | Sequence[Direction]) -> dict[int, Direction]:
    listed = list(directions.values()) if isinstance(directions, Mapping) else list(directions)
    layers = [d.site.layer for d in listed]
    if not listed or len(set(layers)) < len(layers):
        raise InputError(f"directions: expected at least one, each of another layer, got {layers}")
    return {d.site.layer: d for d in sorted(listed, key=lambda d: d.site.layer)}


def _steps(progress: Progress | None, total: int) -> Step:
    """Tells the progress one more step, of so many, each time it is called."""
    done = count(1)
    return lambda: None if progress is None else progress(next(done), total)
