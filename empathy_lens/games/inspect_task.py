"""The five games as an Inspect task, for any model that Inspect reaches, with logs in its viewer.

    inspect eval empathy_lens/eia_games --model openai/gpt-4o-mini
    inspect eval empathy_lens/eia_games --model openai-api/local/my-model -T games=the_duel

The second asks any server that speaks the OpenAI protocol, at ``LOCAL_BASE_URL`` with
``LOCAL_API_KEY``. Needs the extra ``inspect``. An episode is a sample with id ``game/seed``. Each
turn's reply goes to ``Game.step``, so a reply that names no legal action counts as waiting. The
mark comes from a replay of the actions, never from a judge.
"""

# Inspect may load this file by its path, outside the package: hence no relative imports.
from __future__ import annotations

from collections.abc import Sequence

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageUser
from inspect_ai.scorer import (
    Metric,
    SampleScore,
    Score,
    Scorer,
    Target,
    Value,
    grouped,
    mean,
    metric,
    scorer,
    stderr,
)
from inspect_ai.solver import Generate, Solver, TaskState, solver

from empathy_lens.errors import InputError
from empathy_lens.games import GAMES, Episode, Trajectory, new_game
from empathy_lens.results import from_plain, to_plain

REPLY_RULE = (
    "You play a game by text. Answer every turn with one of the listed actions, in its words, and "
    "nothing else; only the first line is read."
)
FLAGS = ("half_replaced", "no_valid_action")


@task
def eia_games(
    games: str | Sequence[str] = tuple(GAMES),
    episodes: int = 20,
    seed: int = 0,
    disposition: str | Sequence[str] | None = None,
) -> Task:
    """``episodes`` of each game at consecutive seeds from ``seed``.

    ``disposition`` is an instruction put before the first turn, such as "Be kind."; Inspect's
    ``-T`` cuts a text at its commas, so parts are joined by commas again. Repetitions with the
    same seed are Inspect's ``--epochs``. Raises InputError for a value that is none of these.
    """
    game_ids = (games,) if isinstance(games, str) else tuple(dict.fromkeys(games))
    if not game_ids:
        raise InputError(f"games: expected one or more of {', '.join(GAMES)}, got none")
    for name, value, least in (("episodes", episodes, 1), ("seed", seed, 0)):
        # Inspect's -T passes on whatever was written.
        if not isinstance(value, int) or value < least:
            raise InputError(f"{name}: expected a whole number from {least}, got {value!r}")
    instruction = _joined(disposition)
    return Task(
        dataset=MemoryDataset(
            [_sample(g, s, instruction) for g in game_ids for s in range(seed, seed + episodes)],
            name="eia_games",
        ),
        solver=play_game(),
        scorer=[rubric_score(), replaced_replies()],
    )


def _joined(disposition: str | Sequence[str] | None) -> str | None:
    if disposition is None or isinstance(disposition, str):
        return disposition
    # A text with a colon comes from -T as a mapping, which would lose words if joined.
    if isinstance(disposition, list | tuple) and all(isinstance(p, str) for p in disposition):
        return ",".join(disposition)
    raise InputError(
        f"disposition: expected a text, got {disposition!r}; one that YAML reads otherwise needs "
        "quotes of its own: -T 'disposition=\"Rule: be kind.\"'"
    )


def _sample(game_id: str, seed: int, disposition: str | None) -> Sample:
    opening = new_game(game_id).reset(seed).prompt
    return Sample(
        id=f"{game_id}/{seed}",
        input="\n\n".join(part for part in (disposition, REPLY_RULE, opening) if part),
        metadata={"game_id": game_id, "seed": seed},
    )


@solver
def play_game() -> Solver:
    """Plays the sample's game to its end.

    The conversation's first message is the history with the state and the choices; each later one
    holds only what has happened since, and the new state and choices.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        game = new_game(state.metadata["game_id"])
        observation = game.reset(state.metadata["seed"])
        while not observation.done:
            state = await generate(state)
            n_known = len(observation.history)
            observation = game.step(state.output.completion)
            state.messages.append(ChatMessageUser(content=observation.prompt[n_known:]))
            # After every turn: a limit of Inspect's may end the sample at any of them.
            state.store.set("trajectory", to_plain(game.trajectory))
            state.store.set("finished", observation.done)
        return state

    return solve


def _episode(state: TaskState) -> Episode:
    """What was played, by a replay of the stored trajectory."""
    played = Trajectory(state.metadata["game_id"], state.metadata["seed"], ())
    if (kept := state.store.get("trajectory")) is not None:
        played = from_plain(kept, Trajectory, "trajectory")
    return Episode.of(played, new_game(played.game_id).score(played), str(state.model))


@metric(scores="unreduced")
def total() -> Metric:
    """The sum over all episodes, every epoch's own included."""

    def compute(scores: list[SampleScore]) -> Value:
        return sum(score.score.as_float() for score in scores)

    return compute


@scorer(
    metrics=[
        mean(),
        stderr(),
        grouped(mean(), "game_id", all=False, name_template="mean_{group_name}"),
    ]
)
def rubric_score() -> Scorer:
    """The rubric's 0, 1 or 2. Its metadata is an ``Episode``.

    An episode that a limit cut short is left unscored: it might yet have gone either way.
    """

    async def score(state: TaskState, target: Target) -> Score:
        episode = _episode(state)
        actions, metadata = ", ".join(episode.action_ids), to_plain(episode)
        if not state.store.get("finished", False):
            return Score.unscored(
                reason="unfinished",
                answer=actions,
                explanation="The game was cut short before its end.",
                metadata=metadata,
            )
        why = "; ".join(episode.flags) or None
        return Score(value=episode.score, answer=actions, explanation=why, metadata=metadata)

    return score


@scorer(metrics={key: [total()] for key in ("illegal", "unparsable", *FLAGS)})
def replaced_replies() -> Scorer:
    """Replies that became a wait, and 0 or 1 for each flag that this raised on the episode."""

    async def score(state: TaskState, target: Target) -> Score:
        episode = _episode(state)
        flags = {flag: int(flag in episode.flags) for flag in FLAGS}
        value = {"illegal": episode.illegal, "unparsable": episode.unparsable, **flags}
        return Score(value=value)

    return score
