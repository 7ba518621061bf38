"""Prompts read once and gone on from many times: keys and values as plain tensors.

``read`` runs new tokens after what the rows of a batch have read before, and gives their logits and
the longer reading, which can be cut back (``keep``). ``read_branches`` scores several continuations
of every row in the same pass.
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
from .logits import can_resume, check_finite, unembed
from .models import model_device
from .tokens import pad_batch
from .types import HookedModel

__all__ = ["KeyValues", "Reading", "Scored", "read", "read_branches"]

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


@dataclass(frozen=True, eq=False)
class Scored:
    """Float32 logits at each row's last token, and log-probabilities of its continuations.

    ``log_probs[i][j]`` speaks of the second and later tokens of continuation ``j`` of row ``i``;
    ``logits`` speak of the first. The continuations are no part of ``past``.
    """

    logits: Float[Tensor, "row d_vocab"]
    log_probs: list[list[Tensor]]
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
    past = None if past is None else past.aligned()
    longer = [(i, tuple(b)) for i, row in enumerate(branches) for b in row if len(b) > 1]
    targets = torch.tensor([token for _, b in longer for token in b[1:]], dtype=torch.long)
    if can_resume(model) and _fits_window(model, new, branches, past):
        with torch.no_grad():
            logits, flat, after = _side_by_side(model, new, branches, targets, past)
    else:
        tokens, real = pad_batch(new, 0)
        last = torch.zeros_like(real)
        last[torch.arange(len(new)), torch.tensor([len(ids) - 1 for ids in new])] = True
        reading = read(model, tokens, real, last, past=past)
        logits, after = reading.logits, reading.past
        flat = _row_by_row(model, after, longer, targets) if longer else torch.empty(0)
    parts = iter(flat.cpu().split([len(b) - 1 for _, b in longer]) if longer else ())
    found = [[next(parts) if len(b) > 1 else torch.empty(0) for b in row] for row in branches]
    return Scored(logits, found, after)


def _side_by_side(
    model: HookedModel,
    new: Sequence[Sequence[int]],
    branches: Sequence[Sequence[Sequence[int]]],
    targets: Int[Tensor, "read"],
    past: KeyValues | None,
) -> tuple[Float[Tensor, "row d_vocab"], Float[Tensor, "read"], KeyValues]:
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
    residual = _residual(model, tokens, all_steps, cells, hidden)
    ends = torch.tensor([len(ids) - 1 for ids in new])
    # Few rows cost the head as much as many: the rows' ends go with the first continuations.
    wanted = torch.cat([residual[torch.arange(len(new)), ends], residual[at]])
    size = max(len(new), LOGIT_CHUNK // int(model.cfg.d_vocab))
    logits, flat, first = torch.empty(0), [], -len(new)
    for x in wanted.split(size):
        found = unembed(model, x)
        if first < 0:
            logits, found, first = found[: len(new)].clone(), found[len(new) :], 0
        flat.append(_log_probs(found, targets[first : first + len(found)].to(found.device)))
        first += len(found)
    keys, values = tuple(c.keys for c in cells), tuple(c.values for c in cells)
    after = KeyValues(keys, values, torch.cat([*before, real], dim=1))
    return logits, torch.cat(flat), after


def _row_by_row(
    model: HookedModel,
    past: KeyValues,
    longer: Sequence[tuple[int, tuple[int, ...]]],
    targets: Int[Tensor, "read"],
) -> Float[Tensor, "read"]:
    """Each continuation as a row of its own after a copy of its past, a few rows at a time."""
    lengths = past.real.sum(dim=1).tolist()
    size = max(1, LOGIT_CHUNK // (int(model.cfg.d_vocab) * max(len(b) for _, b in longer)))
    found, first = [], 0
    for begin in range(0, len(longer), size):
        chunk = longer[begin : begin + size]
        tokens = torch.zeros(len(chunk), max(len(b) for _, b in chunk) - 1, dtype=torch.long)
        real = torch.zeros_like(tokens, dtype=torch.bool)
        for i, (_, ids) in enumerate(chunk):
            tokens[i, : len(ids) - 1] = torch.tensor(ids[:-1])
            real[i, : len(ids) - 1] = True
        rows = [row for row, _ in chunk]
        copied = past.keep([lengths[row] for row in rows], rows)
        logits = read(model, tokens, real, real, past=copied).logits
        last = first + int(real.sum())
        found.append(_log_probs(logits, targets[first:last].to(logits.device)))
        first = last
    return torch.cat(found)


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


def _log_probs(
    logits: Float[Tensor, "read d_vocab"], targets: Int[Tensor, "read"]
) -> Float[Tensor, "read"]:
    return logits.gather(1, targets[:, None])[:, 0] - logits.logsumexp(dim=1)
