"""What do players score in the five Empathy-in-Action games?

    python experiments/play_eia_games.py --policy task|delayed|empathic|random --episodes 20 --json
    python experiments/play_eia_games.py --model embedded --episodes 100 --json

``--episodes`` counts episodes of each game for a scripted policy, and episodes in all, spread
evenly over the games, for a model. Prints
``{"policy", "games": {id: {"episodes", "mean_score", "counts"}}, "seconds", "ratios"}``, where
``counts`` says how often each score was reached; the same seed prints the same bytes, apart from
``seconds`` and ``ratios``. For a model, ``seconds`` is the time of play with projections recorded
at every layer (loading apart), and ``ratios.full_passes`` says how many times longer scoring each
action with its own full forward pass takes (logits at the action's tokens alone, so that the head
flatters nobody), measured on a sample of the same decisions in the same run. Without ``--json``, a
table.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from json import dumps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from empathy_lens.cli.shared import (
    BackendOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    SeedOption,
    TrustOption,
    clear_errors,
    run_script,
)
from empathy_lens.errors import InputError, did_you_mean
from empathy_lens.games import (
    GAMES,
    SCRIPTED,
    Policy,
    new_game,
    play_episode,
    scripted_policy,
    summarise_scores,
)

if TYPE_CHECKING:
    from empathy_lens.games import Choice
    from empathy_lens.types import HookedModel

PolicyFor = Callable[[str, int], Policy]
N_TIMED = 6
"""Decisions that are scored again with full passes."""


def play(name: str, policy_for: PolicyFor, n_episodes: int, seed: int) -> dict[str, Any]:
    """Scores by game of ``n_episodes`` each, at consecutive seeds."""
    games = {}
    for game_id in GAMES:
        game = new_game(game_id)
        episodes = (
            play_episode(game, policy_for(game_id, s), s, name=name)
            for s in range(seed, seed + n_episodes)
        )
        games[game_id] = vars(summarise_scores(episodes))
    return games


def play_scripted(policy: str, n_episodes: int, seed: int) -> dict[str, Any]:
    started = time.perf_counter()
    games = play(policy, lambda game_id, s: scripted_policy(policy, game_id, s), n_episodes, seed)
    seconds = round(time.perf_counter() - started, 3)
    return {"policy": policy, "games": games, "seconds": seconds, "ratios": {}}


def play_model(
    name: str, n_episodes: int, seed: int, choice: Choice, load: Callable[[str], HookedModel]
) -> dict[str, Any]:
    from empathy_lens.console import progress_bars
    from empathy_lens.games import play_games
    from empathy_lens.games.language_model import time_full_passes
    from empathy_lens.study.runs import peak_rss_mb

    with progress_bars() as console:
        console.announce(f"loading {name}")
        model = load(name)
        console.announce("playing")
        started = time.perf_counter()
        each, left = divmod(n_episodes, len(GAMES))
        episodes = [
            (game_id, seed + i)
            for place, game_id in enumerate(GAMES)
            for i in range(each + (place < left))
        ]
        done = play_games(
            model,
            episodes,
            choice=choice,
            seed=seed,
            name=name,
            progress=console.progress("episodes"),
        )
        seconds = time.perf_counter() - started
        ratios = {}
        if choice.how == "score" and not choice.calibrated:
            console.announce(f"timing full passes on {N_TIMED} decisions")
            full = time_full_passes(model, done, n=N_TIMED, seed=seed)
            ratios["full_passes"] = round(
                full.seconds_per_decision * len(done.decisions) / seconds, 2
            )
            ratios["max_abs_score_diff"] = full.max_abs_diff
    return {
        "policy": name,
        "games": {
            game_id: vars(summarise_scores(e for e in done.episodes if e.game_id == game_id))
            for game_id in GAMES
        },
        "seconds": round(seconds, 3),
        "ratios": ratios,
        "decisions": len(done.decisions),
        "tokens_read": done.n_tokens,
        "projections": list(done.resid_post.shape[:2]),
        "flagged": sum(bool(e.flags) for e in done.episodes),
        "peak_rss_mb": round(peak_rss_mb(), 1),
    }


def main(
    policy: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"a scripted player: {', '.join(SCRIPTED)}")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="embedded, a hub id or a folder")
    ] = None,
    episodes: Annotated[
        int | None, typer.Option(metavar="N", help="20 a game; 100 in all for a model")
    ] = None,
    seed: SeedOption = 0,
    temperature: Annotated[float, typer.Option(metavar="X", help="of a model's choice")] = 1.0,
    generate: Annotated[bool, typer.Option("--generate", help="a model writes its action")] = False,
    calibrated: Annotated[
        bool, typer.Option("--calibrated", help="against an empty context")
    ] = False,
    backend: BackendOption = "auto",
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    trust_remote_code: TrustOption = False,
    json: JsonOption = False,
) -> None:
    """What do players score in the five Empathy-in-Action games?"""
    with clear_errors("Run it again: nothing is kept."):
        if (policy is None) == (model is None):
            given = "neither" if model is None else "both"
            raise InputError(f"expected either --policy or --model, got {given}")
        if policy is not None and policy not in SCRIPTED:
            hint = did_you_mean(policy, SCRIPTED)
            listed = ", ".join(SCRIPTED)
            raise InputError(f"--policy: expected one of {listed}, got {policy!r}{hint}")
        least = len(GAMES) if model else 1
        n_episodes = (100 if model else 20) if episodes is None else episodes
        if n_episodes < least:
            least_of_all = f"{least} or more" + (" (one of each game)" if model else "")
            raise InputError(f"--episodes: expected {least_of_all}, got {n_episodes}")
        if policy is not None and (generate or calibrated or temperature != 1.0):
            raise InputError(
                "--temperature, --generate and --calibrated say how a model chooses; "
                "give --model, or leave them out"
            )
        if model is None:
            out = play_scripted(str(policy), n_episodes, seed)
        else:
            from empathy_lens.games import Choice
            from empathy_lens.models import load_model

            choice = Choice("generate" if generate else "score", temperature, calibrated)
            load = partial(
                load_model,
                backend=backend,
                device=device,
                dtype=dtype,
                trust_remote_code=trust_remote_code,
            )
            out = play_model(model, n_episodes, seed, choice, load)
    if json:
        print(dumps(out, indent=2))
        return
    for game_id, result in out["games"].items():
        print(f"{game_id:14} mean {result['mean_score']:.2f}  scores {result['counts']}")
    for name, ratio in out["ratios"].items():
        print(f"{name}: {ratio:.3g}")


if __name__ == "__main__":
    run_script(main)
