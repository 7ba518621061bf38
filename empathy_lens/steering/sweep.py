"""Everything that steering does, measured over layers x strengths x situations x samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

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
from .checks import check_alphas, check_direction, check_prompts
from .coherence import Coherence, coherence
from .controls import random_controls, shuffled_controls
from .damage import Damage, measure_damage
from .generation import generate_steered
from .hooks import FwdHook, SteeringMethod, add_direction
from .log_odds import instructed, log_odds_by_layer

__all__ = [
    "Controls",
    "SteeredText",
    "SteeringSweep",
    "SweepSettings",
    "add_controls",
    "first_of_each",
    "steering_sweep",
]


@dataclass(frozen=True)
class SteeredText:
    """A text that was written under steering, and how it reads.

    ``judged`` is the judge's score, 0 (negative pole) to 1 (positive pole), None without a judge.
    """

    prompt_index: int
    completion: Completion
    coherence: Coherence
    judged: float | None


@dataclass(frozen=True, eq=False)
class Controls:
    """Shifts of the log-odds by directions without meaning, on the prompts for reporting."""

    random: Float[np.ndarray, "control push reporting_prompt"]
    shuffled: Float[np.ndarray, "shuffled push reporting_prompt"]


@dataclass(frozen=True, eq=False)
class SteeringSweep:
    """What was measured, before any statistics.

    ``log_odds`` (nats per token) are absolute; ``controls`` and ``instruction`` are shifts against
    no steering. Controls are measured on the prompts ``reporting`` alone, at ``pushes``, strengths
    other than 0, in rising order, and at the layers that have any. The prompts ``choosing`` are
    the others.
    """

    directions: Mapping[int, Direction]
    alphas: tuple[float, ...]
    pushes: tuple[float, ...]
    prompts: tuple[SteeringPrompt, ...]
    choosing: tuple[int, ...]
    reporting: tuple[int, ...]
    log_odds: Float[np.ndarray, "layer alpha prompt"]
    controls: Mapping[int, Controls]
    instruction: Float[np.ndarray, "prompt"]
    damage: Damage
    texts: tuple[SteeredText, ...]
    seed: int
    method: SteeringMethod = add_direction

    @property
    def layers(self) -> tuple[int, ...]:
        return tuple(self.directions)

    @property
    def zero(self) -> int:
        return self.alphas.index(0.0)

    @property
    def shifts(self) -> Float[np.ndarray, "layer alpha prompt"]:
        """Shift of the log-odds against no steering, nats per token."""
        return self.log_odds - self.log_odds[:, self.zero : self.zero + 1]

    def controls_at(self, layer: int) -> Controls:
        """The controls of a layer, empty where it has none."""
        none = np.empty((0, len(self.pushes), len(self.reporting)))
        return self.controls.get(layer, Controls(none, none))

    def layer_index(self, layer: int) -> int:
        """Where a layer stands. Raises InputError for one that was not swept."""
        if layer not in self.layers:
            raise InputError(f"layer {layer} was not swept; swept layers: {list(self.layers)}")
        return self.layers.index(layer)

    def alpha_index(self, alpha: float) -> int:
        """Where a strength stands. Raises InputError for one that was not swept."""
        if alpha not in self.alphas:
            raise InputError(f"alpha {alpha} was not swept; swept alphas: {list(self.alphas)}")
        return self.alphas.index(alpha)


@dataclass(frozen=True)
class SweepSettings:
    """How a sweep is made.

    ``control_alphas``: strengths at which control directions are measured (None: all but 0).
    ``n_random`` random directions at every layer, and ``n_shuffled`` from shuffled labels where
    train activations are given; 0 random ones leave all controls to :func:`add_controls`.
    ``text_scenarios``: scenarios whose first prompt for reporting texts are written for (None:
    all), ``n_samples`` each of up to ``max_new_tokens``. Neutral loss is read on every
    ``every``-th token. ``method`` makes the hook from a direction and an alpha.
    """

    control_alphas: tuple[float, ...] | None = None
    n_random: int = 20
    n_shuffled: int = 20
    text_scenarios: tuple[str, ...] | None = None
    n_samples: int = 1
    max_new_tokens: int = 60
    every: int = 8
    seed: int = 0
    method: SteeringMethod = add_direction


SETTINGS = SweepSettings()


@dataclass(frozen=True)
class SplitPrompts:
    """Indices of the prompts that settings are chosen on, are reported on, and write texts for."""

    choosing: tuple[int, ...]
    reporting: tuple[int, ...]
    written: tuple[int, ...]


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
    split = split_prompts(prompts, settings.text_scenarios)
    n_steps = len(prompts) + len(neutral_texts) + len(questions) + 1
    step = _Steps(progress, n_steps + (len(split.reporting) if settings.n_random else 0))

    hooks = {k: [settings.method(d, a) for a in alphas] for k, d in by_layer.items()}
    log_odds, instruction = _log_odds(model, prompts, hooks, list(alphas).index(0.0), step)
    damage = measure_damage(model, neutral_texts, questions, hooks, every=settings.every, step=step)
    texts = _write(model, by_layer, alphas, prompts, split.written, settings, judge)
    step()
    sweep = SteeringSweep(
        directions=by_layer,
        alphas=tuple(float(a) for a in alphas),
        pushes=pushes,
        prompts=tuple(prompts),
        choosing=split.choosing,
        reporting=split.reporting,
        log_odds=log_odds,
        controls={},
        instruction=instruction,
        damage=damage,
        texts=tuple(texts),
        seed=settings.seed,
        method=settings.method,
    )
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


def split_prompts(
    prompts: Sequence[SteeringPrompt], text_scenarios: Sequence[str] | None = None
) -> SplitPrompts:
    """The first prompt of each scenario for choosing, the others for reporting.

    Texts are written for the first prompt for reporting of each scenario in ``text_scenarios``.
    Raises InputError where fewer than three are left to report on.
    """
    choosing = first_of_each(prompts)
    reporting = [i for i in range(len(prompts)) if i not in choosing] or choosing
    if len(reporting) < 3:
        raise InputError(
            f"prompts: expected at least three to report on, got {len(reporting)} besides the "
            "first of each scenario; add situations"
        )
    firsts = first_of_each(prompts, reporting)
    named = [i for i in firsts if prompts[i].scenario_id in (text_scenarios or ())]
    return SplitPrompts(tuple(choosing), tuple(reporting), tuple(named or firsts))


def _check(
    model: HookedModel,
    directions: Mapping[int, Direction],
    alphas: Sequence[float],
    prompts: Sequence[SteeringPrompt],
    settings: SweepSettings,
) -> tuple[float, ...]:
    """The strengths of the controls in rising order, once everything is as it must be."""
    check_prompts(prompts)
    check_alphas(alphas)
    if 0.0 not in alphas or len(set(alphas)) < max(2, len(alphas)):
        raise InputError(f"alphas: expected 0 and at least one other, all new, got {list(alphas)}")
    for direction in directions.values():
        check_direction(model, direction)
    asked = alphas if settings.control_alphas is None else settings.control_alphas
    pushes = sorted({float(a) for a in asked} - {0.0})
    if not pushes or not set(pushes) <= set(alphas):
        raise InputError(f"control_alphas: expected some of {list(alphas)}, got {list(asked)}")
    return tuple(pushes)


def _log_odds(
    model: HookedModel,
    prompts: Sequence[SteeringPrompt],
    hooks: Mapping[int, Sequence[FwdHook]],
    zero: int,
    step: Callable[[], None],
) -> tuple[Float[np.ndarray, "layer alpha prompt"], Float[np.ndarray, "prompt"]]:
    """Log-odds under every hook, and what an instruction instead shifts them by."""
    odds, instructed_shift = [], []
    for prompt in prompts:
        by_layer = log_odds_by_layer(model, prompt, hooks)
        odds.append(np.stack(list(by_layer.values())))
        plain = by_layer[next(iter(hooks))][zero]
        asked = log_odds_by_layer(model, instructed(prompt), {0: [None]})[0][0]
        instructed_shift.append(asked - plain)
        step()
    return np.stack(odds, axis=-1), np.array(instructed_shift)


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
    step = _Steps(progress, len(sweep.reporting))
    hooks = {}
    for layer in layers:
        direction = list(sweep.directions.values())[sweep.layer_index(layer)]
        check_direction(model, direction)
        drawn = random_controls(direction, n_random, seed=sweep.seed + layer)
        if train is not None:
            drawn += shuffled_controls(direction, train, n_shuffled, seed=sweep.seed + layer)
        hooks[layer] = [sweep.method(d, a) for d in drawn for a in sweep.pushes]
    shifts: dict[int, list[np.ndarray]] = {layer: [] for layer in layers}
    for index in sweep.reporting:
        for layer, odds in log_odds_by_layer(model, sweep.prompts[index], hooks).items():
            plain = sweep.log_odds[sweep.layer_index(layer), sweep.zero, index]
            shifts[layer].append((odds - plain).reshape(-1, len(sweep.pushes)))
        step()
    null = {layer: np.stack(found, axis=-1) for layer, found in shifts.items()}
    found = {
        layer: Controls(values[:n_random], values[n_random:]) for layer, values in null.items()
    }
    return replace(sweep, controls={**sweep.controls, **found})


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
    chosen: Sequence[int],
    settings: SweepSettings,
    judge: Judge | None,
) -> list[SteeredText]:
    """Texts of each prompt, sample, layer and alpha; a sample has one seed under all of them."""
    rows = [(i, s, a) for i in chosen for s in range(settings.n_samples) for a in alphas]
    made: list[Completion] = []
    for direction in directions.values():
        made += generate_steered(
            model,
            [prompts[i].prompt for i, _, _ in rows],
            direction,
            [a for _, _, a in rows],
            seeds=[settings.seed + 1000 * s + i for i, s, _ in rows],
            scenario_ids=[prompts[i].scenario_id for i, _, _ in rows],
            max_new_tokens=settings.max_new_tokens,
            method=settings.method,
        )
    judged = [None] * len(made) if judge is None else judge([c.text for c in made]).tolist()
    indices = [i for i, _, _ in rows] * len(directions)
    return [
        SteeredText(i, c, k, j)
        for i, c, k, j in zip(indices, made, coherence(model, made), judged, strict=True)
    ]


def _by_layer(directions: Mapping[int, Direction] | Sequence[Direction]) -> dict[int, Direction]:
    found = list(directions.values()) if isinstance(directions, Mapping) else list(directions)
    layers = [d.site.layer for d in found]
    if not found or len(set(layers)) < len(layers):
        raise InputError(f"directions: expected at least one, each of another layer, got {layers}")
    return {d.site.layer: d for d in sorted(found, key=lambda d: d.site.layer)}


class _Steps:
    """Counts steps towards a total for a progress bar."""

    def __init__(self, progress: Progress | None, total: int):
        self.progress, self.total, self.done = progress, total, 0

    def __call__(self) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(min(self.done, self.total), self.total)
