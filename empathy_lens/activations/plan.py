"""Which texts are read together: batches of like length, and prompts that are read once for all.

The plan depends on the tokens and the budget alone, so the same texts always meet in the same
batches, and a run that was cut off computes the rest bit for bit as it would have.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ..tokens import EncodedText

__all__ = ["Batch", "distinct_positions", "plan_batches"]

T = TypeVar("T")

WORTH_SHARING = 16
"""Positions that a shared prompt must save: a second pass costs about as much as these."""


@dataclass(frozen=True)
class Batch:
    """Texts that are read together, and what they go on from.

    ``prompts`` are read first, in one pass; ``passes`` are the passes after it, each a tuple of
    text numbers. ``owner`` gives for each text of the batch its prompt. Without prompts every text
    is read whole, from BOS on.
    """

    passes: tuple[tuple[int, ...], ...]
    prompts: tuple[tuple[int, ...], ...] = ()
    owner: tuple[tuple[int, int], ...] = ()


def plan_batches(
    encoded: Sequence[EncodedText], *, batch_tokens: int, n_ctx: int, share_prompts: bool = True
) -> list[Batch]:
    """Batches of the texts, longest first, no pass wider than the budget (or one row)."""
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for i, text in enumerate(encoded):
        groups[text.ids[: text.start]].append(i)
    shared = {
        prompt: texts
        for prompt, texts in groups.items()
        if share_prompts and (len(texts) - 1) * len(prompt) >= WORTH_SHARING
    }
    alone = [i for prompt, texts in groups.items() if prompt not in shared for i in texts]
    batches = [
        Batch(passes=(tuple(rows),))
        for rows in _by_length(alone, lambda i: len(encoded[i].ids), batch_tokens)
    ]
    for prompts in _by_length(list(shared), len, batch_tokens):
        owner = {text: number for number, p in enumerate(prompts) for text in shared[p]}

        def fits(
            rows: list[int],
            prompts: Sequence[tuple[int, ...]] = prompts,
            owner: dict[int, int] = owner,
        ) -> bool:
            # Pads stand before prompts and after texts, so a row may be wider than its own tokens.
            widest = max(len(prompts[owner[i]]) for i in rows)
            return widest + max(encoded[i].n_completion for i in rows) <= n_ctx

        passes = _by_length(list(owner), lambda i: encoded[i].n_completion, batch_tokens, fits)
        batches.append(
            Batch(tuple(map(tuple, passes)), tuple(prompts), tuple(sorted(owner.items())))
        )
    return batches


def distinct_positions(encoded: Sequence[EncodedText], batches: Sequence[Batch]) -> int:
    """Token positions that the plan computes, padding aside."""
    total = 0
    for batch in batches:
        total += sum(map(len, batch.prompts))
        for rows in batch.passes:
            total += sum(
                encoded[i].n_completion if batch.prompts else len(encoded[i].ids) for i in rows
            )
    return total


def _by_length(
    items: Sequence[T],
    length: Callable[[T], int],
    budget: int,
    fits: Callable[[list[T]], bool] = lambda rows: True,
) -> Iterator[list[T]]:
    """Items of like length, longest first, in rows × width within the budget."""
    rows: list[T] = []
    # Sorting is stable: texts of one length stay in the order in which they came.
    for item in sorted(items, key=lambda x: -length(x)):
        if rows and (length(rows[0]) * (len(rows) + 1) > budget or not fits([*rows, item])):
            yield rows
            rows = []
        rows.append(item)
    if rows:
        yield rows
