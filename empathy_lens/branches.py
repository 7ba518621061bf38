"""Continuations of what was read: scored apart from one another, in one pass where possible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .errors import InputError
from .key_values import KeyValues, past_cells, read, read_last, read_residual
from .log_probs import token_log_probs
from .logits import can_resume
from .models import model_device
from .tokens import pad_batch
from .types import HookedModel

__all__ = ["Scored", "read_branches"]

LOGIT_CHUNK = 1 << 25
"""Logits that are held at once (128 MB in float32, and once more while they are summed)."""


@dataclass(frozen=True, eq=False)
class Scored:
    """Log-probabilities of each row's continuations, token by token, in nats.

    ``log_probs[i][j]`` are those of continuation ``j`` of row ``i``, which is no part of ``past``.
    ``n_read`` counts the tokens of continuations that were read.
    """

    log_probs: list[list[Float[Tensor, "_"]]]
    past: KeyValues
    n_read: int


def read_branches(
    model: HookedModel,
    new: Sequence[Sequence[int]],
    branches: Sequence[Sequence[Sequence[int]]],
    *,
    past: KeyValues | None = None,
) -> Scored:
    """Reads the ``new`` tokens of every row after ``past``, and scores what may follow them.

    ``branches[i]`` are token sequences that may follow row ``i``, read apart from one another. A
    HookedTransformer reads a row's side by side in one sequence, in the pass of the new tokens,
    and what several begin with once.
    Raises NonFiniteError where a logit is NaN or infinite.
    """
    if not all(b for row in branches for b in row):
        raise InputError("expected continuations of at least one token")
    past = None if past is None else past.aligned()
    if can_resume(model) and _fits_window(model, new, branches, past):
        flat, after, n_read = _side_by_side(model, new, branches, past)
    else:
        flat, after, n_read = _one_by_one(model, new, branches, past)
    parts = iter(flat.cpu().split([len(b) for row in branches for b in row]))
    return Scored([[next(parts) for _ in row] for row in branches], after, n_read)


def _side_by_side(
    model: HookedModel,
    new: Sequence[Sequence[int]],
    branches: Sequence[Sequence[Sequence[int]]],
    past: KeyValues | None,
) -> tuple[Float[Tensor, "read"], KeyValues, int]:
    """A row's new tokens and the tree of its continuations as one sequence.

    TransformerLens takes positions from the running sum of its attention mask, and hides keys
    where the mask is 0: the tree's entries are steps from one depth to another, none of them 0.
    """
    trees = [_Tree.of(row) for row in branches]
    width = max(len(ids) + len(tree.tokens) for ids, tree in zip(new, trees, strict=True))
    tokens = torch.zeros((len(new), width), dtype=torch.long)
    steps = torch.zeros_like(tokens)
    real, at = torch.zeros(2, len(new), width, dtype=torch.bool)
    # Places of the trees see what they go on from, and no other place of a tree.
    theirs = torch.zeros(len(new), 1, width, width, dtype=torch.bool)
    for i, (ids, tree) in enumerate(zip(new, trees, strict=True)):
        start, stop = len(ids), len(ids) + len(tree.tokens)
        tokens[i, :stop] = torch.tensor([*ids, *tree.tokens])
        steps[i, :start], real[i, :start] = 1, True
        steps[i, start:stop] = torch.tensor(tree.steps, dtype=torch.long)
        at[i, start:stop] = tree.read
        theirs[i, :, :, start:] = True
        theirs[i, 0, start:stop, start:stop] = ~tree.seen
        # Padding sees itself, as seeing nothing would make it NaN.
        theirs[i, 0].fill_diagonal_(False)
    device = model_device(model)
    real, at, theirs = real.to(device), at.to(device), theirs.to(device)

    cells = past_cells(model, past)
    before = [] if past is None else [past.real]
    all_steps = torch.cat([*(b.long() for b in before), steps.to(device)], dim=1)
    hidden = torch.nn.functional.pad(theirs, (all_steps.shape[1] - width, 0))
    with torch.no_grad():
        residual = read_residual(model, tokens, all_steps, cells, real | at, hidden)
    # A continuation's first token follows its row's last, and the others those before them.
    ends = torch.tensor([len(ids) - 1 for ids in new])
    sources: list[int] = []
    n = len(new)
    for i, (row, tree) in enumerate(zip(branches, trees, strict=True)):
        for tail in row:
            sources += [i, *(n + tree.number[tuple(tail[:k])] for k in range(1, len(tail)))]
        n += len(tree.number)
    flat = token_log_probs(
        model,
        torch.cat([residual[torch.arange(len(new)), ends], residual[at]]),
        torch.tensor(sources, dtype=torch.long),
        torch.tensor([t for row in branches for tail in row for t in tail], dtype=torch.long),
    )
    return flat, KeyValues.of(cells, torch.cat([*before, real], dim=1)), n - len(new)


@dataclass(frozen=True, eq=False)
class _Tree:
    """Continuations of one row, what several begin with once; last tokens are never read.

    ``steps[p]`` leads from the depth of place ``p - 1`` to that of ``p``. Two neighbours of one
    depth have a filler between them, which is not ``read``. ``seen[p]`` are the places that ``p``
    goes on from, itself included, and ``number`` counts the places that are read.
    """

    tokens: tuple[int, ...]
    steps: tuple[int, ...]
    read: Bool[Tensor, "place"]
    seen: Bool[Tensor, "place place"]
    number: dict[tuple[int, ...], int]

    @classmethod
    def of(cls, continuations: Sequence[Sequence[int]]) -> _Tree:
        tokens: list[int] = []
        depths = [0]
        place: dict[tuple[int, ...], int] = {}
        for tail in continuations:
            for depth in range(1, len(tail)):
                beginning = tuple(tail[:depth])
                if beginning in place:
                    continue
                if depth == depths[-1]:
                    tokens.append(tokens[-1])
                    depths.append(depth + 1)
                place[beginning] = len(tokens)
                tokens.append(tail[depth - 1])
                depths.append(depth)
        seen = torch.eye(len(tokens), dtype=torch.bool)
        for beginning, here in place.items():
            if len(beginning) > 1:
                seen[here] |= seen[place[beginning[:-1]]]
        read = torch.zeros(len(tokens), dtype=torch.bool)
        read[list(place.values())] = True
        steps = tuple(b - a for a, b in pairwise(depths))
        return cls(tuple(tokens), steps, read, seen, {b: n for n, b in enumerate(place)})


def _one_by_one(
    model: HookedModel,
    new: Sequence[Sequence[int]],
    branches: Sequence[Sequence[Sequence[int]]],
    past: KeyValues | None,
) -> tuple[Float[Tensor, "read"], KeyValues, int]:
    """Each continuation as a row of its own after a copy of its past, a few rows at a time."""
    reading = read_last(model, new, past=past)
    after, first = reading.past, reading.logits.log_softmax(dim=-1)
    lengths = after.real.sum(dim=1).tolist()
    longest = max((len(b) for row in branches for b in row), default=1)
    size = max(1, LOGIT_CHUNK // (int(model.cfg.d_vocab) * longest))
    later: dict[tuple[int, int], Tensor] = {}
    longer = [(i, j) for i, row in enumerate(branches) for j, b in enumerate(row) if len(b) > 1]
    for begin in range(0, len(longer), size):
        chunk = longer[begin : begin + size]
        fed = [branches[i][j][:-1] for i, j in chunk]
        tokens, real = pad_batch(fed, 0)
        rows = [i for i, _ in chunk]
        copied = after.keep([lengths[i] for i in rows], rows)
        logits = read(model, tokens, real, real, past=copied).logits
        for (i, j), x in zip(chunk, logits.split([len(ids) for ids in fed]), strict=True):
            steps = torch.arange(len(x)), list(branches[i][j][1:])
            later[i, j] = x[steps] - x.logsumexp(dim=-1)
    parts = [
        torch.cat([first[i, b[0]][None], *(x for x in [later.get((i, j))] if x is not None)])
        for i, row in enumerate(branches)
        for j, b in enumerate(row)
    ]
    n_read = sum(len(branches[i][j]) - 1 for i, j in longer)
    return torch.cat(parts) if parts else torch.empty(0), after, n_read


def _fits_window(
    model: HookedModel,
    new: Sequence[Sequence[int]],
    branches: Sequence[Sequence[Sequence[int]]],
    past: KeyValues | None,
) -> bool:
    """Whether no key falls out of a sliding window by standing further back in the sequence."""
    if not getattr(model.cfg, "use_local_attn", False):
        return True
    n_past = 0 if past is None else past.real.shape[1]
    widths = [
        len(ids) + sum(len(b) + 1 for b in row) for ids, row in zip(new, branches, strict=True)
    ]
    return bool(n_past + max(widths) <= model.cfg.window_size)
