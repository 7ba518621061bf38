"""Sampling from a steered model: batched, cached, and the same whatever the batch.

Every row has its own alpha and its own seed, so a condition gives the same text alone or beside
others (up to rounding of the logits). A prompt is read once for all its samples; below the
steered layer, where the backend can start in the middle, once for all its alphas too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..engine.logits import (
    KeyValueCache,
    can_resume,
    early_residual,
    last_logits,
    new_cache,
    resumed_residual,
    take_rows,
    unembed,
)
from ..engine.positions import (
    POSITION_NAMES,
    PlacedHook,
    Positions,
    TokenPlaces,
    attached,
    check_positions,
)
from ..engine.tokens import encode_prompt, pad_batch, pad_id
from ..errors import InputError
from ..models import model_card
from ..types import Completion, Direction, HookedModel
from .attach import check_room, check_steering
from .hooks import FwdHook, SteeringMethod, add_direction, limited, method_hook

BLOCK = 512


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
    positions: Positions = "all",
    method: SteeringMethod = add_direction,
    batch_rows: int = 64,
) -> list[Completion]:
    """One completion for each row (a prompt with its alpha and seed).

    Whatever ``method`` makes of direction and alpha (adding, or any other hook) acts at
    ``positions`` of the row's text: ``all`` (prompt included), ``last_prompt_token_on`` (where
    every new token is written, the first too), ``new_tokens`` (the first is written unsteered),
    ``prompt``, ``last_prompt_token``, or numbers, counted from the first token of the prompt, BOS.
    ``temperature`` 0 takes the most likely token. A row stops at the model's end tokens.
    ``batch_rows`` bounds memory, not the result. Raises InputError for an empty list, rows of
    unequal number, unknown positions or a mask, a prompt that leaves no room, or a direction of
    another model.
    """
    check_steering(model, [direction], alphas, prompts)
    if not len(prompts) == len(alphas) == len(seeds):
        raise InputError(
            f"expected a prompt, an alpha and a seed for each row, got {len(prompts)}, "
            f"{len(alphas)}, {len(seeds)}"
        )
    if temperature < 0 or max_new_tokens < 1 or batch_rows < 1:
        raise InputError(
            "expected temperature >= 0, max_new_tokens >= 1 and batch_rows >= 1, "
            f"got {temperature}, {max_new_tokens}, {batch_rows}"
        )
    if isinstance(positions, Tensor):
        raise InputError(
            "positions: a mask cannot follow a text as it grows; expected numbers, a slice or one "
            f"of {', '.join(POSITION_NAMES)}"
        )
    check_positions(positions)
    encoded = {prompt: encode_prompt(model, prompt) for prompt in dict.fromkeys(prompts)}
    check_room(model, max(map(len, encoded.values())), max_new_tokens)
    names = scenario_ids or [""] * len(prompts)
    completions = []
    for start in range(0, len(prompts), batch_rows):
        part = slice(start, start + batch_rows)
        rows = SharedRows.of([encoded[p] for p in prompts[part]], alphas[part], seeds[part])
        written = sample_rows(
            model,
            rows,
            direction,
            max_new_tokens,
            temperature,
            positions=positions,
            method=method,
        )
        completions += [
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
            for prompt, name, alpha, seed, (ids, done) in zip(
                prompts[part], names[part], alphas[part], seeds[part], written, strict=True
            )
        ]
    return completions


@dataclass(frozen=True)
class SharedRows:
    """Rows to sample, and what they share: distinct prompts, and prompts with their alpha."""

    prompts: list[tuple[int, ...]]
    prompt_of_start: list[int]
    alpha_of_start: list[float]
    start_of_row: list[int]
    seeds: list[int]

    @classmethod
    def of(
        cls, encoded: Sequence[tuple[int, ...]], alphas: Sequence[float], seeds: Sequence[int]
    ) -> SharedRows:
        prompts = list(dict.fromkeys(encoded))
        conditions = list(zip(encoded, map(float, alphas), strict=True))
        starts = list(dict.fromkeys(conditions))
        return cls(
            prompts=prompts,
            prompt_of_start=[prompts.index(ids) for ids, _ in starts],
            alpha_of_start=[alpha for _, alpha in starts],
            start_of_row=[starts.index(condition) for condition in conditions],
            seeds=[int(seed) for seed in seeds],
        )

    @property
    def alpha_of_row(self) -> list[float]:
        return [self.alpha_of_start[i] for i in self.start_of_row]

    @property
    def n_prompt_of_start(self) -> list[int]:
        return [len(self.prompts[i]) for i in self.prompt_of_start]


def sample_rows(
    model: HookedModel,
    rows: SharedRows,
    direction: Direction | None,
    max_new_tokens: int,
    temperature: float,
    *,
    positions: Positions = "all",
    method: SteeringMethod = add_direction,
) -> list[tuple[list[int], bool]]:
    """New tokens of each row and whether it came to an end token; direction None: no hook."""
    at = positions if isinstance(positions, str) else ""

    def hooks(alphas: Sequence[float]) -> list[FwdHook]:
        if direction is None:
            return []
        return [limited(method_hook(method, direction, alphas), positions)]

    in_prompt = [] if at == "new_tokens" else hooks(rows.alpha_of_start)
    layer = 0 if direction is None else direction.site.layer
    cache, logits, mask = _read_prompts(model, rows, in_prompt, layer)
    afterwards = [] if at in ("prompt", "last_prompt_token") else hooks(rows.alpha_of_row)
    generators = [torch.Generator().manual_seed(seed) for seed in rows.seeds]
    stops = model_card(model).stop_ids
    new_ids: list[list[int]] = [[] for _ in rows.seeds]
    finished = [False] * len(rows.seeds)
    n_prompt = [rows.n_prompt_of_start[i] for i in rows.start_of_row]
    with attached(model, afterwards, n_prompt=n_prompt):
        for left in reversed(range(max_new_tokens)):
            tokens = _next_tokens(logits, generators, temperature)
            for row, token in enumerate(tokens[:, 0].tolist()):
                finished[row] = finished[row] or token in stops
                if not finished[row]:
                    new_ids[row].append(token)
            if all(finished) or not left:
                break
            mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
            logits = last_logits(model, tokens, mask, cache=cache)[:, -1]
    return list(zip(new_ids, finished, strict=True))


def _read_prompts(
    model: HookedModel, rows: SharedRows, hooks: Sequence[FwdHook], layer: int
) -> tuple[KeyValueCache, Float[Tensor, "row d_vocab"], Int[Tensor, "row pos"]]:
    """A cache with every row's prompt, and the logits of each row's first new token.

    ``hooks`` holds one of ``layer`` that steers each start at its own alpha, or none.
    """
    tokens, real = pad_batch(rows.prompts, pad_id(model), side="left")
    mask = real.long()
    prompt_of_start = torch.tensor(rows.prompt_of_start)
    start_of_row = torch.tensor(rows.start_of_row)
    prompt_of_row = prompt_of_start[start_of_row]
    if not hooks:
        cache = new_cache(model, len(tokens))
        logits = last_logits(model, tokens, mask, cache=cache)[:, -1]
        start_of_row = prompt_of_row
    elif can_resume(model):
        ((name, steer),) = hooks
        cache = new_cache(model, len(tokens))
        before = early_residual(model, tokens, mask, layer=layer, cache=cache)
        take_rows(cache, prompt_of_start)
        starts = mask[prompt_of_start]
        places = TokenPlaces(len(starts), 0, starts.shape[1], starts, tuple(rows.n_prompt_of_start))
        after = resumed_residual(
            model,
            steer(before[prompt_of_start.to(before.device)], PlacedHook(name, places)),
            layer=layer,
            attention_mask=starts,
            cache=cache,
        )
        logits = unembed(model, after[:, -1])
    else:
        cache = new_cache(model, len(prompt_of_start))
        with attached(model, hooks, n_prompt=rows.n_prompt_of_start):
            logits = last_logits(
                model, tokens[prompt_of_start], mask[prompt_of_start], cache=cache
            )[:, -1]
    take_rows(cache, start_of_row)
    return cache, logits[start_of_row.to(logits.device)], mask[prompt_of_row]


def _next_tokens(
    logits: Float[Tensor, "batch d_vocab"],
    generators: Sequence[torch.Generator],
    temperature: float,
) -> Int[Tensor, "batch 1"]:
    """A draw from each row's softmax, by one uniform number of the row's own generator.

    The inverse of the distribution function, looked up in blocks: over a vocabulary of 262,144 a
    tenth of the time of ``torch.multinomial`` for each row.
    """
    if temperature == 0:
        return logits.argmax(dim=-1, keepdim=True).cpu()
    largest = logits.amax(dim=-1, keepdim=True)
    weights = ((logits - largest) / temperature).exp_()
    padding = -weights.shape[1] % BLOCK
    blocks = torch.nn.functional.pad(weights, (0, padding)).unflatten(1, (-1, BLOCK))
    # MPS has no float64: the few sums are looked up on the CPU.
    sums = blocks.sum(dim=-1).cpu().double().cumsum(dim=-1)
    draws = torch.stack([torch.rand(1, generator=g, dtype=torch.float64) for g in generators])
    draws = draws * sums[:, -1:]
    block = torch.searchsorted(sums, draws, right=True).clamp(max=sums.shape[1] - 1)
    before = torch.where(block > 0, sums.gather(1, (block - 1).clamp(min=0)), 0.0)
    rows = torch.arange(len(weights))
    inside = blocks[rows.to(blocks.device), block[:, 0].to(blocks.device)].cpu().double()
    inside = inside.cumsum(dim=-1)
    # The two sums may differ in the last digit: stay inside the block's own.
    rest = torch.minimum(draws - before, inside[:, -1:] * (1 - 1e-9))
    return block * BLOCK + torch.searchsorted(inside, rest, right=True)
