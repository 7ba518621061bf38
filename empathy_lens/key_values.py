"""Prompts read once and gone on from many times: keys and values as plain tensors.

``read`` and ``read_last`` run new tokens after what the rows of a batch have read before, and give
their logits and the longer reading, which can be cut back (``keep``). ``read_branches`` scores
several continuations of every row in the same pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .cells import Cell, resumed_pass
from .errors import InputError
from .fused import fused_blocks
from .log_probs import token_log_probs
from .logits import can_resume, check_finite, unembed
from .models import model_device
from .tokens import pad_batch
from .types import HookedModel

__all__ = ["KeyValues", "Reading", "Scored", "read", "read_branches", "read_last"]

LOGIT_CHUNK = 1 << 25
"""Logits that are held at once (128 MB in float32, and once more while they are summed)."""


@dataclass(frozen=True, eq=False)
class KeyValues:
    """What the rows of a batch have read so far: one tensor of keys and of values a layer.

    Keys are as the backend stores them (TransformerLens: before the rotary embedding). ``real``
    is True at tokens and False at padding, which may stand before and after a row's tokens.
    """

    keys: tuple[Float[Tensor, "batch pos head d_head"], ...]
    values: tuple[Float[Tensor, "batch pos head d_head"], ...]
    real: Bool[Tensor, "batch pos"]

    def aligned(self) -> KeyValues:
        """The same with every row's last token in the last place, as reading on needs it."""
        if bool(self.real[:, -1].all()):
            return self
        return self.keep(self.real.sum(dim=1).tolist())

    def keep(self, lengths: Sequence[int], rows: Sequence[int] | None = None) -> KeyValues:
        """The first ``lengths[i]`` tokens of row ``rows[i]`` (default: of each row in order)."""
        chosen = list(range(len(self.real))) if rows is None else list(rows)
        if len(chosen) != len(lengths):
            raise InputError(f"expected a length for each of {len(chosen)} rows, got {lengths}")
        width = max(lengths)
        where = torch.zeros((len(chosen), width), dtype=torch.long)
        real = torch.zeros((len(chosen), width), dtype=torch.bool)
        for i, (row, length) in enumerate(zip(chosen, lengths, strict=True)):
            tokens = self.real[row].nonzero()[:, 0][:length].cpu()
            if len(tokens) < length:
                raise InputError(f"row {row} has read {len(tokens)} tokens, fewer than {length}")
            where[i, width - length :] = tokens
            real[i, width - length :] = True
        at = (torch.tensor(chosen)[:, None], where)
        return KeyValues(
            tuple(k[at] for k in self.keys),
            tuple(v[at] for v in self.values),
            real.to(self.real.device),
        )


@dataclass(frozen=True, eq=False)
class Reading:
    """Float32 logits at the positions that were asked for, in row order, and all that is read."""

    logits: Float[Tensor, "read d_vocab"]
    past: KeyValues


def read(
    model: HookedModel,
    tokens: Int[Tensor, "batch pos"],
    real: Bool[Tensor, "batch pos"],
    at: Bool[Tensor, "batch pos"],
    *,
    past: KeyValues | None = None,
) -> Reading:
    """Reads ``tokens`` (padded on the right, ``real`` marks them) after ``past``.

    ``at`` marks positions whose logits are wanted. Hooks that are on the model act as usual.
    Raises NonFiniteError where a logit is NaN or infinite.
    """
    past = None if past is None else past.aligned()
    cells = [_cell(past, layer) for layer in range(int(model.cfg.n_layers))]
    all_real = real if past is None else torch.cat([past.real, real.to(past.real.device)], dim=1)
    with torch.no_grad():
        if can_resume(model):
            steps = all_real.long()
            logits = unembed(model, _residual(model, tokens, steps, cells)[at])
        else:
            logits = check_finite(model, _bridge_logits(model, tokens, all_real, at, cells))
    keys, values = tuple(c.keys for c in cells), tuple(c.values for c in cells)
    return Reading(logits, KeyValues(keys, values, all_real.to(keys[0].device)))


def read_last(
    model: HookedModel, new: Sequence[Sequence[int]], *, past: KeyValues | None = None
) -> Reading:
    """Reads the ``new`` tokens of every row after ``past``; logits at each row's last token."""
    tokens, real = pad_batch(new, 0)
    last = torch.zeros_like(real)
    last[torch.arange(len(new)), torch.tensor([len(ids) - 1 for ids in new])] = True
    return read(model, tokens, real, last, past=past)


@dataclass(frozen=True, eq=False)
class Scored:
    """Log-probabilities of each row's continuations, token by token, in nats.

    ``log_probs[i][j]`` are those of continuation ``j`` of row ``i``, which is no part of ``past``.
    """

    log_probs: list[list[Float[Tensor, "_"]]]
    past: KeyValues


def read_branches(
    model: HookedModel,
    new: Sequence[Sequence[int]],
    branches: Sequence[Sequence[Sequence[int]]],
    *,
    past: KeyValues | None = None,
) -> Scored:
    """Reads the ``new`` tokens of every row after ``past``, and scores what may follow them.

    ``branches[i]`` are token sequences that may follow row ``i``, read apart from one another. A
    HookedTransformer reads a row's side by side in one sequence, in the pass of the new tokens.
    Raises NonFiniteError where a logit is NaN or infinite.
    """
    if not all(b for row in branches for b in row):
        raise InputError("expected continuations of at least one token")
    past = None if past is None else past.aligned()
    if can_resume(model) and _fits_window(model, new, branches, past):
        flat, after = _side_by_side(model, new, branches, past)
    else:
        flat, after = _one_by_one(model, new, branches, past)
    parts = iter(flat.cpu().split([len(b) for row in branches for b in row]))
    return Scored([[next(parts) for _ in row] for row in branches], after)


def _side_by_side(
    model: HookedModel,
    new: Sequence[Sequence[int]],
    branches: Sequence[Sequence[Sequence[int]]],
    past: KeyValues | None,
) -> tuple[Float[Tensor, "read"], KeyValues]:
    """A row's new tokens and its continuations as one sequence; these do not see one another.

    TransformerLens takes positions from the running sum of its attention mask, and hides keys
    where the mask is 0. The mask's entry at the start of a continuation steps back to the last new
    token; as 0 would hide the token, one read from a single token is made two tokens long.
    """
    fed = [[[*b[:-1], b[-1]][: max(2, len(b) - 1)] for b in row if len(b) > 1] for row in branches]
    width = max(len(ids) + sum(map(len, row)) for ids, row in zip(new, fed, strict=True))
    tokens = torch.zeros((len(new), width), dtype=torch.long)
    steps, owner = torch.zeros_like(tokens), torch.full_like(tokens, -1)
    real, at = (
        torch.zeros_like(tokens, dtype=torch.bool),
        torch.zeros_like(tokens, dtype=torch.bool),
    )
    for i, (ids, row) in enumerate(zip(new, fed, strict=True)):
        start = len(ids)
        tokens[i, :start], steps[i, :start], real[i, :start] = torch.tensor(ids), 1, True
        n_read = [len(b) - 1 for b in branches[i] if len(b) > 1]
        for j, branch in enumerate(row):
            here = slice(start, start + len(branch))
            tokens[i, here], steps[i, here], owner[i, here] = torch.tensor(branch), 1, j
            steps[i, start] = 1 - len(row[j - 1]) if j else 1
            at[i, start : start + n_read[j]] = True
            start += len(branch)
    device = model_device(model)
    owner, real = owner.to(device), real.to(device)
    theirs = ~real[:, None, None, :] & (owner[:, None, :, None] != owner[:, None, None, :])

    cells = [_cell(past, layer) for layer in range(int(model.cfg.n_layers))]
    before = [] if past is None else [past.real]
    all_steps = torch.cat([*(b.long() for b in before), steps.to(device)], dim=1)
    hidden = torch.nn.functional.pad(theirs, (all_steps.shape[1] - width, 0))
    with torch.no_grad():
        residual = _residual(model, tokens, all_steps, cells, hidden)
    # A continuation's first token follows its row's last, and the others those before them.
    ends = torch.tensor([len(ids) - 1 for ids in new])
    sources: list[int] = []
    wanted: list[int] = []
    n = len(new)
    for i, continuations in enumerate(branches):
        for tail in continuations:
            sources += [i, *range(n, n + len(tail) - 1)]
            wanted += tail
            n += len(tail) - 1
    places = torch.cat([residual[torch.arange(len(new)), ends], residual[at]])
    flat = token_log_probs(
        model,
        places,
        torch.tensor(sources, dtype=torch.long),
        torch.tensor(wanted, dtype=torch.long),
    )
    keys, values = tuple(c.keys for c in cells), tuple(c.values for c in cells)
    after = KeyValues(keys, values, torch.cat([*before, real], dim=1))
    return flat, after


def _one_by_one(
    model: HookedModel,
    new: Sequence[Sequence[int]],
    branches: Sequence[Sequence[Sequence[int]]],
    past: KeyValues | None,
) -> tuple[Float[Tensor, "read"], KeyValues]:
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
    return torch.cat(parts) if parts else torch.empty(0), after


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
        len(ids) + sum(max(2, len(b)) for b in row) for ids, row in zip(new, branches, strict=True)
    ]
    return bool(n_past + max(widths) <= model.cfg.window_size)


def _residual(
    model: HookedModel,
    tokens: Int[Tensor, "batch pos"],
    steps: Int[Tensor, "batch all"],
    cells: list[Cell],
    hidden: Bool[Tensor, "batch 1 pos all"] | None = None,
) -> Float[Tensor, "batch pos d_model"]:
    """Residual stream after the last block; ``steps`` is the attention mask, past included."""
    device = model_device(model)
    with fused_blocks(model, hidden):
        residual: Tensor = model(
            tokens.to(device),
            stop_at_layer=int(model.cfg.n_layers),
            **resumed_pass(model, steps, cells),
        )
    return residual


def _bridge_logits(
    model: HookedModel,
    tokens: Int[Tensor, "batch pos"],
    all_real: Bool[Tensor, "batch all"],
    at: Bool[Tensor, "batch pos"],
    cells: list[Cell],
) -> Float[Tensor, "read d_vocab"]:
    device = model_device(model)
    columns = at.any(dim=0).nonzero()[:, 0].to(device)
    logits: Tensor = model(
        tokens.to(device), logits_to_keep=columns, **resumed_pass(model, all_real, cells)
    )
    return logits[at.to(device)[:, columns]].float()


def _cell(past: KeyValues | None, layer: int) -> Cell:
    return Cell() if past is None else Cell(past.keys[layer], past.values[layer])
