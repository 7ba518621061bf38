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

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

from empathy_lens.command_line import clear_errors
from empathy_lens.eia import (
    GAMES,
    SCRIPTED,
    Policy,
    new_game,
    play_episode,
    scripted_policy,
    summarise_scores,
)

PolicyFor = Callable[[str, int], Policy]
N_TIMED = 6
"""Decisions that are scored again with full passes."""


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see --help\n")


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--policy", choices=SCRIPTED, help="a scripted player")
    who.add_argument("--model", help="a language model: embedded, a hub id, a folder")
    parser.add_argument("--episodes", type=int, help="episodes (20 a game; 100 for a model)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first episode (0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--temperature", type=float, default=1.0, help="of a model's choice (1)")
    parser.add_argument("--generate", action="store_true", help="a model writes its action")
    parser.add_argument("--calibrated", action="store_true", help="against an empty context")
    for name in ("backend", "device", "dtype"):
        parser.add_argument(f"--{name}", default="auto", help="as for run_full_pipeline.py")
    args = parser.parse_args(argv)
    least = len(GAMES) if args.model else 1
    args.episodes = (100 if args.model else 20) if args.episodes is None else args.episodes
    if args.episodes < least:
        parser.error(f"--episodes: expected {least} or more, got {args.episodes}")
    if args.seed < 0:
        parser.error(f"--seed: expected 0 or more, got {args.seed}")
    return args


def play(name: str, policy_for: PolicyFor, n_episodes: int, seed: int) -> dict[str, Any]:
    """Scores by game of ``n_episodes`` each, at consecutive seeds."""
    games = {}
    for game_id in GAMES:
        game = new_game(game_id)
        games[game_id] = summarise_scores(
            play_episode(game, policy_for(game_id, s), s, name=name)
            for s in range(seed, seed + n_episodes)
        )
    return games


def play_scripted(args: argparse.Namespace) -> dict[str, Any]:
    started = time.perf_counter()
    games = play(
        args.policy,
        lambda game_id, seed: scripted_policy(args.policy, game_id, seed),
        args.episodes,
        args.seed,
    )
    seconds = round(time.perf_counter() - started, 3)
    return {"policy": args.policy, "games": games, "seconds": seconds, "ratios": {}}


def play_model(args: argparse.Namespace) -> dict[str, Any]:
    from empathy_lens.console import progress_bars
    from empathy_lens.eia.decisions import Choice
    from empathy_lens.eia.full_passes import time_full_passes
    from empathy_lens.eia.language_model import play_games
    from empathy_lens.models import load_model
    from empathy_lens.runs import peak_rss_mb

    choice = Choice("generate" if args.generate else "score", args.temperature, args.calibrated)
    with progress_bars() as console:
        console.announce(f"loading {args.model}")
        model = load_model(args.model, backend=args.backend, device=args.device, dtype=args.dtype)
        console.announce("playing")
        started = time.perf_counter()
        each, left = divmod(args.episodes, len(GAMES))
        episodes = [
            (game_id, args.seed + i)
            for place, game_id in enumerate(GAMES)
            for i in range(each + (place < left))
        ]
        done = play_games(
            model,
            episodes,
            choice=choice,
            seed=args.seed,
            name=args.model,
            progress=console.progress("episodes"),
        )
        seconds = time.perf_counter() - started
        ratios = {}
        if choice.how == "score" and not choice.calibrated:
            console.announce(f"timing full passes on {N_TIMED} decisions")
            full = time_full_passes(model, done, n=N_TIMED, seed=args.seed)
            ratios["full_passes"] = round(
                full.seconds_per_decision * len(done.decisions) / seconds, 2
            )
            ratios["max_abs_score_diff"] = full.max_abs_diff
    return {
        "policy": args.model,
        "games": {
            game_id: summarise_scores(e for e in done.episodes if e.game_id == game_id)
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


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    with clear_errors():
        out = play_model(args) if args.model else play_scripted(args)
    if args.json:
        print(json.dumps(out, indent=2))
        return 0
    for game_id, result in out["games"].items():
        print(f"{game_id:14} mean {result['mean_score']:.2f}  scores {result['counts']}")
    for name, ratio in out["ratios"].items():
        print(f"{name}: {ratio:.3g}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
