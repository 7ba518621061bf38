"""Sampling from a steered model: batched, cached, and the same whatever the batch.

Every row has its own alpha and its own seed, so a condition gives the same text alone or beside
others (up to rounding of the logits), and all conditions of a prompt are sampled at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .errors import InputError
from .logits import last_logits, new_cache
from .models import model_card
from .steering import add_direction, check_direction
from .tokens import encode_prompt, pad_batch, pad_id
from .types import Completion, Direction, HookedModel

__all__ = ["generate_steered", "repetition"]


def generate_steered(
    model: HookedModel,
    prompts: Sequence[str],
    direction: Direction,
    alphas: Sequence[float],
    *,
    seeds: Sequence[int],
    scenario_ids: Sequence[str] | None = None,
    max_new_tokens: int = 60,
    temperature: float = 0.7,
) -> list[Completion]:
    """One completion for each row (a prompt with its alpha and seed).

    The direction is added at every position, prompt included. ``temperature`` 0 takes the most
    likely token. Stops a row at the model's end tokens. Raises InputError for an empty list, rows
    of unequal number, a prompt that leaves no room, or a direction of another model.
    """
    if not prompts or not len(prompts) == len(alphas) == len(seeds):
        raise InputError(
            f"expected a prompt, an alpha and a seed for each row, got {len(prompts)}, "
            f"{len(alphas)}, {len(seeds)}"
        )
    if temperature < 0 or max_new_tokens < 1:
        raise InputError(
            "expected temperature >= 0 and max_new_tokens >= 1, "
            f"got {temperature}, {max_new_tokens}"
        )
    check_direction(model, direction)
    encoded = [encode_prompt(model, prompt) for prompt in prompts]
    longest = max(map(len, encoded))
    if longest + max_new_tokens > model_card(model).n_ctx:
        raise InputError(
            f"a prompt of {longest} tokens and {max_new_tokens} new ones exceed the "
            f"{model_card(model).n_ctx} the model was loaded for; load it with a larger n_ctx"
        )
    hook = add_direction(direction, torch.tensor(list(alphas), dtype=torch.float32))
    with model.hooks(fwd_hooks=[hook]):
        new_ids, finished = _sample(model, encoded, seeds, max_new_tokens, temperature)
    names = scenario_ids or [""] * len(prompts)
    return [
        Completion(
            prompt=prompt,
            text=model.tokenizer.decode(ids, skip_special_tokens=True),
            scenario_id=name,
            alpha=float(alpha),
            layer=direction.site.layer,
            seed=int(seed),
            n_new_tokens=len(ids),
            finished=done,
        )
        for prompt, name, alpha, seed, ids, done in zip(
            prompts, names, alphas, seeds, new_ids, finished, strict=True
        )
    ]


def repetition(text: str, n: Literal[3] = 3) -> float:
    """Share of word n-grams that occurred before in the text, 0 (none) to 1 (a loop)."""
    words = text.split()
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _sample(
    model: HookedModel,
    encoded: Sequence[tuple[int, ...]],
    seeds: Sequence[int],
    max_new_tokens: int,
    temperature: float,
) -> tuple[list[list[int]], list[bool]]:
    tokens, real = pad_batch(encoded, pad_id(model), side="left")
    mask = real.long()
    generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
    stops = model_card(model).stop_ids
    cache = new_cache(model, len(encoded))
    new_ids: list[list[int]] = [[] for _ in encoded]
    finished = [False] * len(encoded)
    for _ in range(max_new_tokens):
        logits = last_logits(model, tokens, mask, cache=cache)[:, -1].cpu()
        tokens = _next_tokens(logits, generators, temperature)
        for row, token in enumerate(tokens[:, 0].tolist()):
            if not finished[row]:
                finished[row] = token in stops
                if not finished[row]:
                    new_ids[row].append(token)
        if all(finished):
            break
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
    return new_ids, finished


def _next_tokens(
    logits: Float[Tensor, "batch d_vocab"],
    generators: Sequence[torch.Generator],
    temperature: float,
) -> Int[Tensor, "batch 1"]:
    if temperature == 0:
        return logits.argmax(dim=-1, keepdim=True)
    probabilities = (logits / temperature).softmax(dim=-1)
    draws = [
        torch.multinomial(row, 1, generator=generator)
        for row, generator in zip(probabilities, generators, strict=True)
    ]
    return torch.stack(draws)
