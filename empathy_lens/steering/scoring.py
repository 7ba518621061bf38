"""Log-probabilities of given texts under many steering conditions, with everything shared.

What lies below the steered layer is the same under every condition: it is computed once for a
prompt and once for its continuations. Above it each condition has its own keys and values for
the prompt, which its continuations share, and the head sees each distinct prefix once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..engine.logits import (
    can_resume,
    early_residual,
    last_logits,
    new_cache,
    resumed_residual,
    take_rows,
    token_log_probs,
)
from ..engine.tokens import pad_batch, pad_id
from ..errors import InputError
from ..types import HookedModel
from .checks import check_room
from .hooks import FwdHook, by_row

__all__ = ["LogProbs", "continuation_log_probs"]

Ids = tuple[int, ...]
LogProbs = Float[np.ndarray, "condition continuation pos"]
BATCH_TOKENS = 3072
LOGITS = 2**25


@dataclass(frozen=True)
class _Reads:
    """Which logits are read: distinct prefixes, and the tokens asked for after each.

    Prefix -1 is the prompt; prefix ``a * width + t`` ends with token t of continuation a.
    """

    continuations: tuple[Ids, ...]
    every: int
    prefixes: list[int] = field(init=False)
    asked: list[tuple[int, int, int, int]] = field(init=False)

    def __post_init__(self) -> None:
        seen: dict[Ids, int] = {}
        prefixes: list[int] = []
        asked = []
        for a, ids in enumerate(self.continuations):
            for t in range(0, len(ids), self.every):
                at = seen.setdefault(ids[:t], len(prefixes))
                if at == len(prefixes):
                    prefixes.append(a * self.width + t - 1 if t else -1)
                asked.append((at, ids[t], a, t))
        object.__setattr__(self, "prefixes", prefixes)
        object.__setattr__(self, "asked", asked)

    @property
    def width(self) -> int:
        return max(map(len, self.continuations))

    def arranged(self, found: Float[Tensor, "condition asked"]) -> LogProbs:
        shape = (len(found), len(self.continuations), self.width)
        out = np.full(shape, np.nan)
        for column, (_, _, a, t) in enumerate(self.asked):
            out[:, a, t] = found[:, column].cpu().numpy()
        return out


def continuation_log_probs(
    model: HookedModel,
    prompt: Sequence[int],
    continuations: Sequence[Sequence[int]],
    hooks: Mapping[int, Sequence[FwdHook | None]],
    *,
    every: int = 1,
) -> dict[int, LogProbs]:
    """Log-probability in nats of each token of each continuation of the prompt.

    ``hooks`` gives for each steered layer its conditions, one hook of that layer's ``resid_post``
    each (None: unsteered); the result has one row for each of them, NaN past a continuation's
    end. ``every`` reads only every n-th token, from the first. Raises InputError for an empty
    prompt or continuation or one too long, NonFiniteError where a logit is not finite.
    """
    ids = tuple(tuple(c) for c in continuations)
    if not prompt or not ids or not all(ids) or every < 1:
        raise InputError("expected a prompt, continuations of at least one token, and every >= 1")
    check_room(model, len(prompt), max(map(len, ids)))
    reads = _Reads(ids, every)
    score = _resumed if can_resume(model) else _in_full
    found = dict(score(model, tuple(prompt), reads, {k: list(v) for k, v in hooks.items()}))
    return {layer: reads.arranged(found[layer]) for layer in hooks}


def _resumed(
    model: HookedModel, prompt: Ids, reads: _Reads, hooks: Mapping[int, list[FwdHook | None]]
) -> Iterator[tuple[int, Float[Tensor, "condition asked"]]]:
    tokens = torch.tensor([prompt])
    texts, _ = pad_batch(reads.continuations, pad_id(model))
    n = len(texts)
    cache = new_cache(model, 1)
    layers = sorted(hooks)
    mask = torch.ones_like(tokens)
    before = early_residual(model, tokens, mask, layer=layers[0], cache=cache)
    prompts = {layers[0]: before}
    for low, high in pairwise(layers):
        prompts[high] = resumed_residual(model, prompts[low], layer=low, stop=high, cache=cache)
    take_rows(cache, torch.zeros(n, dtype=torch.long))
    ones = torch.ones((n, len(prompt) + texts.shape[1]), dtype=torch.long)
    states = early_residual(model, texts, ones, layer=layers[0], cache=cache)
    for position, layer in enumerate(layers):
        found = []
        step = max(1, BATCH_TOKENS // max(len(prompt), texts.numel()))
        for start in range(0, len(hooks[layer]), step):
            some = hooks[layer][start : start + step]
            found.append(_above(model, prompts[layer], states, some, layer, reads))
        yield layer, torch.cat(found)
        if position + 1 < len(layers):
            states = resumed_residual(
                model, states, layer=layer, stop=layers[position + 1], cache=cache
            )


def _above(
    model: HookedModel,
    prompt: Float[Tensor, "1 prompt_pos d_model"],
    texts: Float[Tensor, "continuation pos d_model"],
    hooks: Sequence[FwdHook | None],
    layer: int,
    reads: _Reads,
) -> Float[Tensor, "condition asked"]:
    """The layers above the steered one, and the head, for a batch of conditions."""

    def steered(residual: Tensor) -> Tensor:
        return torch.cat([residual if h is None else h[1](residual) for h in hooks])

    n, width, _ = texts.shape
    cache = new_cache(model, len(hooks))
    last = resumed_residual(model, steered(prompt), layer=layer, cache=cache)[:, -1:]
    take_rows(cache, torch.arange(len(hooks)).repeat_interleave(n))
    above = resumed_residual(model, steered(texts), layer=layer, cache=cache)
    flat = torch.cat([above.reshape(len(hooks), n * width, -1), last], dim=1)
    rows = flat[:, reads.prefixes].reshape(-1, flat.shape[-1])
    offsets = torch.arange(len(hooks))[:, None] * len(reads.prefixes)
    wanted_rows = (offsets + torch.tensor([r for r, _, _, _ in reads.asked])).reshape(-1)
    wanted = torch.tensor([token for _, token, _, _ in reads.asked]).repeat(len(hooks))
    return token_log_probs(model, rows, wanted_rows, wanted).reshape(len(hooks), -1)


def _in_full(
    model: HookedModel, prompt: Ids, reads: _Reads, hooks: Mapping[int, list[FwdHook | None]]
) -> Iterator[tuple[int, Float[Tensor, "condition asked"]]]:
    """For backends that cannot start in the middle: the prompt's pass is shared, no more."""
    texts, _ = pad_batch(reads.continuations, pad_id(model))
    n, width = texts.shape
    columns = torch.tensor([a * width + t for _, _, a, t in reads.asked])
    wanted = torch.tensor([token for _, token, _, _ in reads.asked])
    step = max(1, LOGITS // (n * width * int(model.cfg.d_vocab)))
    for layer, conditions in hooks.items():
        found = []
        for start in range(0, len(conditions), step):
            some = conditions[start : start + step]
            cache = new_cache(model, len(some))
            tokens = torch.tensor([prompt] * len(some))
            with model.hooks(fwd_hooks=_rows(some, 1)):
                first = last_logits(model, tokens, torch.ones_like(tokens), cache=cache)
            take_rows(cache, torch.arange(len(some)).repeat_interleave(n))
            rows = texts.repeat(len(some), 1)
            logits = first.repeat_interleave(n, dim=0)
            if width > 1:
                mask = torch.ones((len(rows), len(prompt) + width - 1), dtype=torch.long)
                with model.hooks(fwd_hooks=_rows(some, n)):
                    later = last_logits(model, rows[:, :-1], mask, keep=width - 1, cache=cache)
                logits = torch.cat([logits, later], dim=1)
            at = logits.reshape(len(some), n * width, -1)[:, columns]
            picked = at.gather(-1, wanted.to(at.device).expand(len(some), -1)[..., None])[..., 0]
            found.append((picked - at.logsumexp(dim=-1)).cpu())
        yield layer, torch.cat(found)


def _rows(hooks: Sequence[FwdHook | None], repeats: int) -> list[FwdHook]:
    names = {hook[0] for hook in hooks if hook is not None}
    if not names:
        return []
    keep: FwdHook = (names.copy().pop(), lambda resid, hook=None: resid)
    return [by_row([keep if hook is None else hook for hook in hooks], repeats=repeats)]
