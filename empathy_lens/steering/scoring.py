"""Log-probabilities of given texts under many steering conditions, and which action they favour.

What lies below the steered layer is the same under every condition: it is computed once for a
prompt and once for its continuations. Above it each condition has its own keys and values for
the prompt, which its continuations share, and the head sees each distinct prefix once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, zip_longest
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, Shaped
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
from ..engine.positions import PlacedHook, TokenPlaces, attached
from ..engine.tokens import encode, pad_batch, pad_id
from ..errors import InputError
from ..types import Direction, HookedModel, SteeringPrompt
from .attach import check_room, check_steering
from .hooks import FwdHook, SteeringMethod, add_direction, by_row

INSTRUCTION = "Be kind: put the needs of others before your task."
"""The prompt baseline: what a plain request does, for comparison with steering."""

T = TypeVar("T")
Hooks = Mapping[int, Sequence[FwdHook | None]]
"""For each steered layer its conditions: a hook of that layer's ``resid_post``, None unsteered."""
Step = Callable[[], None]
"""Called after each item, for a progress bar."""
Ids = tuple[int, ...]
LogProbs = Float[np.ndarray, "condition continuation pos"]
BATCH_TOKENS = 3072
LOGITS = 2**25


def action_log_odds(
    model: HookedModel,
    prompt: SteeringPrompt,
    directions: Sequence[Direction],
    alphas: Sequence[float],
    *,
    method: SteeringMethod = add_direction,
) -> Float[np.ndarray, "condition"]:
    """Log-odds of the positive against the negative actions, in nats per token.

    One value for each condition (a direction with its alpha). It is the mean log-probability per
    token of the positive actions minus that of the negative ones, teacher-forced after the prompt;
    above 0 = the model leans to the positive ones. All directions must share one layer. Raises
    InputError for directions of another model and for lists that do not match.
    """
    if len(directions) != len(alphas):
        raise InputError(
            f"expected an alpha for each direction, got {len(directions)}, {len(alphas)}"
        )
    check_steering(model, directions, alphas, [prompt])
    layers = {d.site.layer for d in directions}
    if len(layers) != 1:
        raise InputError(f"expected directions of one layer, got layers {sorted(layers)}")
    hooks = [method(d, alpha) for d, alpha in zip(directions, alphas, strict=True)]
    (log_odds,) = log_odds_by_layer(model, prompt, {layers.pop(): hooks}).values()
    return log_odds


def log_odds_by_layer(
    model: HookedModel, prompt: SteeringPrompt, hooks: Hooks
) -> dict[int, Float[np.ndarray, "condition"]]:
    """``action_log_odds`` under any hooks, of several layers at once."""
    actions = [*prompt.positive_actions, *prompt.negative_actions]
    n = len(prompt.positive_actions)
    return {
        layer: means[:, :n].mean(axis=1) - means[:, n:].mean(axis=1)
        for layer, means in mean_log_probs(model, prompt.prompt, actions, hooks).items()
    }


def instructed(prompt: SteeringPrompt, instruction: str = INSTRUCTION) -> SteeringPrompt:
    """The same situation with a plain instruction before it: the baseline that steering faces."""
    return replace(prompt, prompt=f"{instruction}\n\n{prompt.prompt}")


def mean_log_probs(
    model: HookedModel, prompt: str, texts: Sequence[str], hooks: Hooks
) -> dict[int, Float[np.ndarray, "condition text"]]:
    """Mean log-probability of each text after the prompt, in nats per token."""
    encoded = [encode(model, text, prompt) for text in texts]
    context = encoded[0].ids[: encoded[0].start]
    log_probs = continuation_log_probs(model, context, [e.completion for e in encoded], hooks)
    return {layer: np.nanmean(of_tokens, axis=2) for layer, of_tokens in log_probs.items()}


def over_items(
    read: Callable[[T], Mapping[int, Shaped[np.ndarray, "condition"]]],
    items: Sequence[T],
    step: Step = lambda: None,
) -> dict[int, Shaped[np.ndarray, "condition item"]]:
    """What ``read`` gives of each item under every condition, by layer."""
    rows = []
    for item in items:
        rows.append(read(item))
        step()
    return {layer: np.stack([row[layer] for row in rows], axis=1) for layer in rows[0]}


@dataclass(frozen=True)
class _Reads:
    """Which logits are read: distinct prefixes, and the tokens asked for after each.

    Prefix -1 is the prompt; prefix ``a * width + t`` ends with token t of continuation a. What is
    asked: (number of the prefix, token, a, t).
    """

    continuations: tuple[Ids, ...]
    width: int
    prefixes: list[int]
    asked: list[tuple[int, int, int, int]]

    @classmethod
    def of(cls, continuations: tuple[Ids, ...], every: int) -> _Reads:
        width = max(map(len, continuations))
        number_of: dict[Ids, int] = {}
        prefixes: list[int] = []
        asked = []
        for a, ids in enumerate(continuations):
            for t in range(0, len(ids), every):
                number = number_of.setdefault(ids[:t], len(prefixes))
                if number == len(prefixes):
                    prefixes.append(a * width + t - 1 if t else -1)
                asked.append((number, ids[t], a, t))
        return cls(continuations, width, prefixes, asked)

    def arranged(self, log_probs: Float[Tensor, "condition asked"]) -> LogProbs:
        out = np.full((len(log_probs), len(self.continuations), self.width), np.nan)
        for column, (_, _, a, t) in enumerate(self.asked):
            out[:, a, t] = log_probs[:, column].cpu().numpy()
        return out


def continuation_log_probs(
    model: HookedModel,
    prompt: Sequence[int],
    continuations: Sequence[Sequence[int]],
    hooks: Hooks,
    *,
    every: int = 1,
) -> dict[int, LogProbs]:
    """Log-probability in nats of each token of each continuation of the prompt.

    NaN past a continuation's end. ``every`` reads only every n-th token, from the first. Raises
    InputError for an empty prompt or continuation or one too long, NonFiniteError where a logit is
    not finite.
    """
    ids = tuple(tuple(c) for c in continuations)
    if not prompt or not ids or not all(ids) or every < 1:
        raise InputError("expected a prompt, continuations of at least one token, and every >= 1")
    reads = _Reads.of(ids, every)
    check_room(model, len(prompt), reads.width)
    score = _resumed if can_resume(model) else _in_full
    log_probs = dict(score(model, tuple(prompt), reads, hooks))
    return {layer: reads.arranged(log_probs[layer]) for layer in hooks}


def _resumed(
    model: HookedModel, prompt: Ids, reads: _Reads, hooks: Hooks
) -> Iterator[tuple[int, Float[Tensor, "condition asked"]]]:
    tokens = torch.tensor([prompt])
    texts, _ = pad_batch(reads.continuations, pad_id(model))
    n = len(texts)
    cache = new_cache(model, 1)
    layers = sorted(hooks)
    first = early_residual(model, tokens, torch.ones_like(tokens), layer=layers[0], cache=cache)
    prompts = {layers[0]: first}
    for low, high in pairwise(layers):
        prompts[high] = resumed_residual(model, prompts[low], layer=low, stop=high, cache=cache)
    take_rows(cache, torch.zeros(n, dtype=torch.long))
    ones = torch.ones((n, len(prompt) + texts.shape[1]), dtype=torch.long)
    states = early_residual(model, texts, ones, layer=layers[0], cache=cache)
    step = max(1, BATCH_TOKENS // max(len(prompt), texts.numel()))
    for layer, above in zip_longest(layers, layers[1:]):
        conditions = [hooks[layer][i : i + step] for i in range(0, len(hooks[layer]), step)]
        yield (
            layer,
            torch.cat(
                [_above(model, prompts[layer], states, some, layer, reads) for some in conditions]
            ),
        )
        if above is not None:
            states = resumed_residual(model, states, layer=layer, stop=above, cache=cache)


def _above(
    model: HookedModel,
    prompt: Float[Tensor, "1 prompt_pos d_model"],
    texts: Float[Tensor, "continuation pos d_model"],
    hooks: Sequence[FwdHook | None],
    layer: int,
    reads: _Reads,
) -> Float[Tensor, "condition asked"]:
    """The layers above the steered one, and the head, for a batch of conditions."""

    n, width, _ = texts.shape
    n_prompt = prompt.shape[1]

    def steered(residual: Tensor, n_past: int) -> Tensor:
        rows, n_new, _ = residual.shape
        places = TokenPlaces(rows, n_past, n_new, n_prompt=(n_prompt,))
        return torch.cat(
            [residual if h is None else h[1](residual, PlacedHook(h[0], places)) for h in hooks]
        )

    cache = new_cache(model, len(hooks))
    last = resumed_residual(model, steered(prompt, 0), layer=layer, cache=cache)[:, -1:]
    take_rows(cache, torch.arange(len(hooks)).repeat_interleave(n))
    above = resumed_residual(model, steered(texts, n_prompt), layer=layer, cache=cache)
    flat = torch.cat([above.reshape(len(hooks), n * width, -1), last], dim=1)
    rows = flat[:, reads.prefixes].reshape(-1, flat.shape[-1])
    offsets = torch.arange(len(hooks))[:, None] * len(reads.prefixes)
    wanted_rows = (offsets + torch.tensor([r for r, _, _, _ in reads.asked])).reshape(-1)
    wanted = torch.tensor([token for _, token, _, _ in reads.asked]).repeat(len(hooks))
    return token_log_probs(model, rows, wanted_rows, wanted).reshape(len(hooks), -1)


def _in_full(
    model: HookedModel, prompt: Ids, reads: _Reads, hooks: Hooks
) -> Iterator[tuple[int, Float[Tensor, "condition asked"]]]:
    """For backends that cannot start in the middle: the prompt's pass is shared, no more."""
    texts, _ = pad_batch(reads.continuations, pad_id(model))
    n, width = texts.shape
    columns = torch.tensor([a * width + t for _, _, a, t in reads.asked])
    wanted = torch.tensor([token for _, token, _, _ in reads.asked])
    step = max(1, LOGITS // (n * width * int(model.cfg.d_vocab)))
    for layer, conditions in hooks.items():
        log_probs = []
        for start in range(0, len(conditions), step):
            some = conditions[start : start + step]
            cache = new_cache(model, len(some))
            tokens = torch.tensor([prompt] * len(some))
            with attached(model, _rows(some, 1), n_prompt=len(prompt)):
                first = last_logits(model, tokens, torch.ones_like(tokens), cache=cache)
            take_rows(cache, torch.arange(len(some)).repeat_interleave(n))
            rows = texts.repeat(len(some), 1)
            logits = first.repeat_interleave(n, dim=0)
            if width > 1:
                mask = torch.ones((len(rows), len(prompt) + width - 1), dtype=torch.long)
                with attached(model, _rows(some, n), n_prompt=len(prompt)):
                    later = last_logits(model, rows[:, :-1], mask, keep=width - 1, cache=cache)
                logits = torch.cat([logits, later], dim=1)
            at = logits.reshape(len(some), n * width, -1)[:, columns]
            picked = at.gather(-1, wanted.to(at.device).expand(len(some), -1)[..., None])[..., 0]
            log_probs.append((picked - at.logsumexp(dim=-1)).cpu())
        yield layer, torch.cat(log_probs)


def _rows(hooks: Sequence[FwdHook | None], repeats: int) -> list[FwdHook]:
    name = next((hook[0] for hook in hooks if hook is not None), None)
    if name is None:
        return []
    keep: FwdHook = (name, lambda resid, hook=None: resid)
    return [by_row([keep if hook is None else hook for hook in hooks], repeats=repeats)]
