"""Candidate continuations of what was read, scored apart from one another, in one pass if it can.

The tokens before them stay in the key-value cache; the continuations leave no trace in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import InputError
from ..models import model_device
from ..types import HookedModel
from .key_values import KeyValues, layer_caches, read, read_last, read_residual
from .logits import can_resume, token_log_probs
from .tokens import pad_batch

LOGIT_CHUNK = 1 << 25
"""Logits that are held at once (128 MB in float32, and once more while they are summed)."""


@dataclass(frozen=True, eq=False)
class Scored:
    """Log-probabilities of each row's continuations, token by token, in nats.

    ``log_probs[i][j][t]`` is that of token ``t`` of continuation ``j`` of row ``i``. ``past`` ends
    before the continuations. ``n_read`` counts the tokens of continuations that were read.
    """

    log_probs: list[list[Float[Tensor, "_"]]]
    past: KeyValues
    n_read: int


def read_continuations(
    model: HookedModel,
    new: Sequence[Sequence[int]],
    continuations: Sequence[Sequence[Sequence[int]]],
    *,
    past: KeyValues | None = None,
) -> Scored:
    """Reads the ``new`` tokens of every row after ``past``, and scores what may follow them.

    ``continuations[i]`` are token sequences that may follow row ``i``; none of them sees another.
    A HookedTransformer reads those of a row side by side in one sequence, in the pass of the new
    tokens, and a beginning that several share once.
    Raises NonFiniteError where a logit is NaN or infinite.
    """
    if not all(b for row in continuations for b in row):
        raise InputError("expected continuations of at least one token")
    past = None if past is None else past.aligned()
    if can_resume(model) and _fits_window(model, new, continuations, past):
        flat, after, n_read = _side_by_side(model, new, continuations, past)
    else:
        flat, after, n_read = _one_by_one(model, new, continuations, past)
    parts = iter(flat.cpu().split([len(b) for row in continuations for b in row]))
    return Scored([[next(parts) for _ in row] for row in continuations], after, n_read)


def _side_by_side(
    model: HookedModel,
    new: Sequence[Sequence[int]],
    continuations: Sequence[Sequence[Sequence[int]]],
    past: KeyValues | None,
) -> tuple[Float[Tensor, "read"], KeyValues, int]:
    """A row's new tokens and the tree of its continuations as one sequence.

    TransformerLens takes a token's position from the running sum of the attention mask, and hides
    keys where the mask is 0. So the tree's entries in the mask are the (non-zero) steps from the
    depth of one token to that of the next.
    """
    trees = [_Tree.of(row) for row in continuations]
    width = max(len(ids) + len(tree.tokens) for ids, tree in zip(new, trees, strict=True))
    tokens = torch.zeros((len(new), width), dtype=torch.long)
    steps = torch.zeros_like(tokens)
    mask, at = torch.zeros(2, len(new), width, dtype=torch.bool)
    # A token of a tree attends to those it goes on from, and to no other token of a tree.
    blocked = torch.zeros(len(new), 1, width, width, dtype=torch.bool)
    for i, (ids, tree) in enumerate(zip(new, trees, strict=True)):
        start, stop = len(ids), len(ids) + len(tree.tokens)
        tokens[i, :stop] = torch.tensor([*ids, *tree.tokens])
        steps[i, :start], mask[i, :start] = 1, True
        steps[i, start:stop] = torch.tensor(tree.steps, dtype=torch.long)
        at[i, start:stop] = tree.read
        blocked[i, :, :, start:] = True
        blocked[i, 0, start:stop, start:stop] = ~tree.ancestors
        # Padding attends to itself: attending to nothing would make it NaN.
        blocked[i, 0].fill_diagonal_(False)
    device = model_device(model)
    mask, at, blocked = mask.to(device), at.to(device), blocked.to(device)

    caches = layer_caches(model, past)
    before = [] if past is None else [past.mask]
    attention_mask = torch.cat([*(b.long() for b in before), steps.to(device)], dim=1)
    blocked = torch.nn.functional.pad(blocked, (attention_mask.shape[1] - width, 0))
    with torch.no_grad():
        residual = read_residual(model, tokens, attention_mask, caches, mask | at, blocked)
    # A continuation's first token follows its row's last, and the others those before them.
    ends = torch.tensor([len(ids) - 1 for ids in new])
    sources: list[int] = []
    n = len(new)
    for i, (row, tree) in enumerate(zip(continuations, trees, strict=True)):
        for tail in row:
            sources += [i, *(n + tree.number[tuple(tail[:k])] for k in range(1, len(tail)))]
        n += len(tree.number)
    flat = token_log_probs(
        model,
        torch.cat([residual[torch.arange(len(new)), ends], residual[at]]),
        torch.tensor(sources, dtype=torch.long),
        torch.tensor([t for row in continuations for tail in row for t in tail], dtype=torch.long),
    )
    return flat, KeyValues.of(caches, torch.cat([*before, mask], dim=1)), n - len(new)


@dataclass(frozen=True, eq=False)
class _Tree:
    """A row's continuations as a tree laid out in one sequence, a shared beginning once.

    The last token of a continuation is scored but never read, so it has no place here.
    ``steps[p]`` is the depth of place ``p`` less that of ``p - 1``; since it must not be 0, two
    neighbours of one depth have a filler between them, where ``read`` is False.
    ``ancestors[p, q]``: place ``p`` goes on from place ``q`` (itself included).
    ``number`` maps each beginning to its index among the places that are read.
    """

    tokens: tuple[int, ...]
    steps: tuple[int, ...]
    read: Bool[Tensor, "place"]
    ancestors: Bool[Tensor, "place place"]
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
        ancestors = torch.eye(len(tokens), dtype=torch.bool)
        for beginning, here in place.items():
            if len(beginning) > 1:
                ancestors[here] |= ancestors[place[beginning[:-1]]]
        read = torch.zeros(len(tokens), dtype=torch.bool)
        read[list(place.values())] = True
        steps = tuple(b - a for a, b in pairwise(depths))
        return cls(tuple(tokens), steps, read, ancestors, {b: n for n, b in enumerate(place)})


def _one_by_one(
    model: HookedModel,
    new: Sequence[Sequence[int]],
    continuations: Sequence[Sequence[Sequence[int]]],
    past: KeyValues | None,
) -> tuple[Float[Tensor, "read"], KeyValues, int]:
    """Each continuation as a row of its own after a copy of its past, a few rows at a time."""
    reading = read_last(model, new, past=past)
    after, first = reading.past, reading.logits.log_softmax(dim=-1)
    lengths = after.mask.sum(dim=1).tolist()
    longest = max((len(b) for row in continuations for b in row), default=1)
    size = max(1, LOGIT_CHUNK // (model.cfg.d_vocab * longest))
    later: dict[tuple[int, int], Tensor] = {}
    longer = [
        (i, j) for i, row in enumerate(continuations) for j, b in enumerate(row) if len(b) > 1
    ]
    for begin in range(0, len(longer), size):
        chunk = longer[begin : begin + size]
        fed = [continuations[i][j][:-1] for i, j in chunk]
        tokens, mask = pad_batch(fed, 0)
        rows = [i for i, _ in chunk]
        copied = after.keep([lengths[i] for i in rows], rows)
        logits = read(model, tokens, mask, mask, past=copied).logits
        for (i, j), x in zip(chunk, logits.split([len(ids) for ids in fed]), strict=True):
            steps = torch.arange(len(x)), list(continuations[i][j][1:])
            later[i, j] = x[steps] - x.logsumexp(dim=-1)
    parts = [
        torch.cat([first[i, b[0]][None], *(x for x in [later.get((i, j))] if x is not None)])
        for i, row in enumerate(continuations)
        for j, b in enumerate(row)
    ]
    n_read = sum(len(continuations[i][j]) - 1 for i, j in longer)
    return torch.cat(parts) if parts else torch.empty(0), after, n_read


def _fits_window(
    model: HookedModel,
    new: Sequence[Sequence[int]],
    continuations: Sequence[Sequence[Sequence[int]]],
    past: KeyValues | None,
) -> bool:
    """Whether no key falls out of a sliding window by standing further back in the sequence."""
    if not getattr(model.cfg, "use_local_attn", False):
        return True
    n_past = 0 if past is None else past.mask.shape[1]
    widths = [
        len(ids) + sum(len(b) + 1 for b in row) for ids, row in zip(new, continuations, strict=True)
    ]
    return n_past + max(widths) <= model.cfg.window_size
