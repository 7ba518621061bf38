"""What the games draw their variants with: names, and pools of wording."""

from __future__ import annotations

import random
from collections.abc import Sequence

__all__ = ["cast", "chat", "count", "cycle", "shuffled"]

NAMES = (
    "Ada", "Ben", "Cleo", "Dan", "Eli", "Fay", "Gus", "Ida", "Jon", "Kim",
    "Leo", "Mia", "Ned", "Ola", "Pia", "Ray", "Sam", "Tess", "Uma", "Vic",
)  # fmt: skip


def cast(rng: random.Random, n: int) -> tuple[str, ...]:
    """``n`` different names, all of them short, so that no action is long for its name."""
    return tuple(rng.sample(NAMES, n))


def shuffled(rng: random.Random, pool: Sequence[str]) -> tuple[str, ...]:
    return tuple(rng.sample(pool, len(pool)))


def cycle(pool: Sequence[str], turn: int) -> str:
    """The wording of a turn; the pool starts again when it is used up."""
    return pool[turn % len(pool)]


def chat(name: str, words: str) -> str:
    return f'{name}: "{words}"'


def count(n: int, thing: str) -> str:
    """``n`` things in words: "1 turn", "2 turns"."""
    return f"{n} {thing}{'' if n == 1 else 's'}"
