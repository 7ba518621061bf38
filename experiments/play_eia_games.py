"""What do players score in the five Empathy-in-Action games?

    python experiments/play_eia_games.py --policy task|delayed|empathic|random --episodes 20 --json

Prints ``{"policy", "games": {id: {"episodes", "mean_score", "counts"}}, "seconds", "ratios"}``,
where ``counts`` says how often each score was reached; the same seed prints the same bytes,
apart from ``seconds``. Without ``--json``, a table.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

from empathy_lens.eia import (
    GAMES,
    SCRIPTED,
    Policy,
    new_game,
    play_episode,
    scripted_policy,
    summarise_scores,
)
from empathy_lens.errors import EmpathyLensError

PolicyFor = Callable[[str, int], Policy]


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see --help\n")


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", choices=SCRIPTED, required=True, help="who plays")
    parser.add_argument("--episodes", type=int, default=20, help="episodes per game (20)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first episode (0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(argv)
    if args.episodes < 1:
        parser.error(f"--episodes: expected 1 or more, got {args.episodes}")
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


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    started = time.perf_counter()
    try:
        games = play(
            args.policy,
            lambda game_id, seed: scripted_policy(args.policy, game_id, seed),
            args.episodes,
            args.seed,
        )
    except EmpathyLensError as error:
        print(f"play_eia_games: {error}", file=sys.stderr)
        return 2
    seconds = round(time.perf_counter() - started, 3)
    if args.json:
        out = {"policy": args.policy, "games": games, "seconds": seconds, "ratios": {}}
        print(json.dumps(out, indent=2))
        return 0
    for game_id, result in games.items():
        print(f"{game_id:14} mean {result['mean_score']:.2f}  scores {result['counts']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
