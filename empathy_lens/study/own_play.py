"""The model's own play in a run's folder: episodes kept as they are played, so that it resumes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from ..games.behaviour import Assignment
from ..games.language_model import play_games
from ..games.play import Choice, Play, join_plays, load_play, save_play
from ..games.steered_play import Condition, Outcome, play_condition
from ..models import model_card
from ..results import read_result, to_plain
from ..types import Direction, HookedModel, Progress
from .runs import Run, versions

FOLDER = "plays"


def play_under_instructions(
    run: Run,
    model: HookedModel,
    plan: Sequence[Assignment],
    choice: Choice,
    layers: Sequence[int],
    *,
    seed: int,
    progress: Callable[[str], Progress],
) -> Play:
    """The play of a plan; each game under each disposition is a stage of the run."""
    parts: dict[str, list[Assignment]] = {}
    for assignment in plan:
        parts.setdefault(f"{assignment.game_id}-{assignment.disposition}", []).append(assignment)

    def play(name: str, part: Sequence[Assignment]) -> None:
        played = play_games(
            model,
            [(a.game_id, a.seed) for a in part],
            preambles=[a.preamble for a in part],
            choice=choice,
            layers=layers,
            seed=seed,
            progress=progress(name),
        )
        save_play(run.folder / _play_file(name), played, run.identity)

    for name, part in parts.items():
        inputs = [_setting(model, choice, seed), list(layers), [to_plain(a) for a in part]]
        run.stage(f"{FOLDER}/{name}", inputs, [_play_file(name)], partial(play, name, part))
    return join_plays([load_play(run.folder / _play_file(name)) for name in parts])


def play_under_steering(
    run: Run,
    model: HookedModel,
    direction: Direction,
    todo: Mapping[Condition, Sequence[tuple[str, int]]],
    choice: Choice,
    *,
    seed: int,
    progress: Callable[[str], Progress],
) -> dict[Condition, Outcome]:
    """What came of the episodes of each condition; each condition is a stage of the run."""

    def play(condition: Condition, episodes: Sequence[tuple[str, int]]) -> None:
        outcome = play_condition(
            model,
            direction,
            condition,
            episodes,
            choice=choice,
            seed=seed,
            progress=progress(str(condition)),
        )
        run.write(_outcome_file(condition), outcome)

    vector = [direction.site.layer, direction.raw_norm, direction.vector.tolist()]
    outcomes = {}
    for condition, episodes in todo.items():
        file = _outcome_file(condition)
        inputs = [_setting(model, choice, seed), vector, to_plain(condition), list(episodes)]
        run.stage(f"{FOLDER}/{condition}", inputs, [file], partial(play, condition, episodes))
        outcomes[condition] = read_result(run.folder / file, Outcome)
    return outcomes


def _setting(model: HookedModel, choice: Choice, seed: int) -> list[object]:
    return [to_plain(model_card(model).provenance), to_plain(choice), seed, versions()]


def _play_file(name: str) -> str:
    return f"{FOLDER}/{name}.safetensors"


def _outcome_file(condition: Condition) -> str:
    return f"{FOLDER}/steered-{condition}.json"
