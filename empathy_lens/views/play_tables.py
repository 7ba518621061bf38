"""The report's tables of the games that a model played itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .runs import get, numbers_of

__all__ = ["play_tables"]

Found = tuple[str, str, tuple[str, ...], Iterable[list[Any]]]


def play_tables(played: Any, steered: Any) -> list[Found]:
    """Name, caption, columns and rows of each table, from ``on_policy`` and ``steered_play``."""
    parts = [
        ("all", played, get(played, "verdicts", "leaning", "all")),
        *(
            (name, row, get(played, "verdicts", "leaning", part, name))
            for part in ("per_scenario", "per_disposition")
            for name, row in numbers_of(played, part).items()
        ),
    ]
    steered_rows = numbers_of(steered, "by_alpha") | {
        "told to be kind": get(steered, "instruction")
    }
    return [
        (
            "own_play",
            "The model's own play: rank correlation of the projection before a choice with what "
            "follows, given game and turn; that it is above 0 with the log-odds of helping",
            (
                "episodes",
                "n",
                "choices",
                "log-odds of helping",
                "above 0",
                "helping or not",
                "helping or not (AUROC)",
                "score, first choice",
            ),
            (
                [
                    name.replace("_", " "),
                    get(row, "n_episodes"),
                    get(row, "every_choice", "n"),
                    get(row, "every_choice", "leaning_partial"),
                    ruling,
                    get(row, "every_choice", "act_partial"),
                    get(row, "every_choice", "auroc"),
                    get(row, "partial"),
                ]
                for name, row, ruling in parts
                if isinstance(row, dict)
            ),
        ),
        (
            "played_scores",
            "The model's own play: scores",
            ("episodes", "n", "mean score"),
            (
                [name.replace("_", " "), get(row, "episodes"), get(row, "mean_score")]
                for part in ("per_scenario", "per_disposition")
                for name, row in numbers_of(played, "played", part).items()
            ),
        ),
        (
            "steered_play",
            "The same episodes under steering",
            ("alpha", "mean score", "probability of helping"),
            (
                [name, get(row, "score"), get(row, "help")]
                for name, row in steered_rows.items()
                if isinstance(row, dict)
            ),
        ),
        (
            "steered_play_slopes",
            "Change for each unit of alpha, beside random directions of equal norm",
            ("of", "slope", "p against random directions"),
            (
                [name, slope, get(steered, "null", name, "p")]
                for name, slope in numbers_of(steered, "slope").items()
                if name in ("score", "help")
            ),
        ),
    ]
