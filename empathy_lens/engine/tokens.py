"""Text to tokens: one BOS, the chat template where there is one, and which tokens are read.

A prompt and its completion are tokenised apart, so that both sides of a pair share the prompt's
tokens exactly and it is always known which tokens belong to the completion. Which texts are read
together depends on the tokens and the budget alone, so the same texts always meet in the same
batches, and a run that was cut off computes the rest bit for bit as it would have.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ..errors import InputError
from ..models import model_card
from ..types import HookedModel

T = TypeVar("T")

PROMPT_SEPARATOR = "\n\n"
WORTH_SHARING = 16
"""Positions that a shared prompt must save: a second pass costs about as much as these."""


@dataclass(frozen=True)
class EncodedText:
    """Token ids, and where the completion starts (BOS and prompt lie before)."""

    ids: tuple[int, ...]
    start: int

    @property
    def n_completion(self) -> int:
        return len(self.ids) - self.start


def encode(model: HookedModel, text: str, prompt: str = "") -> EncodedText:
    """Tokens of ``prompt`` (as context) and ``text`` (the completion).

    Without a prompt the text stands alone after BOS. Raises InputError where the completion is
    empty or the whole is longer than the context the model was loaded with.
    """
    context = encode_prompt(model, prompt) if prompt else _begin(model)
    completion = plain_ids(model, _without_bos(model, text))
    if not completion:
        raise InputError(f"expected a text with at least one token, got {text!r}")
    return _checked(model, EncodedText((*context, *completion), start=len(context)))


def encode_prompt(model: HookedModel, prompt: str) -> tuple[int, ...]:
    """Tokens of a prompt up to where the model would begin its answer."""
    prompt = _without_bos(model, prompt)
    if not prompt.strip():
        raise InputError("expected a prompt, it is empty")
    begin = _begin(model)
    if model_card(model).chat:
        rendered = model.tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
        )
        ids = plain_ids(model, rendered)
        # Most templates write the BOS themselves; a second one would shift every activation.
        ids = ids if ids[: len(begin)] == begin else (*begin, *ids)
    else:
        ids = (*begin, *plain_ids(model, prompt + PROMPT_SEPARATOR))
    return _checked(model, EncodedText(ids, start=len(ids))).ids


def prompt_frame(model: HookedModel) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Tokens that stand before and after a prompt which is tokenised piece by piece.

    With a chat template they open the user's turn and the model's; without one there is BOS before
    the prompt and nothing after it.
    """
    begin = _begin(model)
    if not model_card(model).chat:
        return begin, ()
    mark = "@@PROMPT@@"
    rendered = model.tokenizer.apply_chat_template(
        [{"role": "user", "content": mark}], tokenize=False, add_generation_prompt=True
    )
    before, _, after = rendered.partition(mark)
    head = plain_ids(model, before)
    return head if head[: len(begin)] == begin else (*begin, *head), plain_ids(model, after)


def pad_batch(
    encoded: Sequence[Sequence[int]], pad_id: int, side: Literal["left", "right"] = "right"
) -> tuple[Int[Tensor, "batch pos"], Bool[Tensor, "batch pos"]]:
    """Token matrix and mask (True on real tokens), padded on the given side."""
    width = max(map(len, encoded))
    tokens = torch.full((len(encoded), width), pad_id, dtype=torch.long)
    mask = torch.zeros((len(encoded), width), dtype=torch.bool)
    for row, ids in enumerate(encoded):
        columns = slice(0, len(ids)) if side == "right" else slice(width - len(ids), width)
        tokens[row, columns] = torch.tensor(ids, dtype=torch.long)
        mask[row, columns] = True
    return tokens, mask


def pad_id(model: HookedModel) -> int:
    """A token id to pad with; which one does not matter, since pads are always masked."""
    tokenizer = model.tokenizer
    for candidate in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if candidate is not None:
            return int(candidate)
    return 0


def _begin(model: HookedModel) -> tuple[int, ...]:
    bos = model_card(model).bos_id
    return () if bos is None else (bos,)


def _without_bos(model: HookedModel, text: str) -> str:
    """The text without a BOS of its own, which one that was rendered elsewhere often brings."""
    return text.removeprefix(model.tokenizer.bos_token or "")


def plain_ids(model: HookedModel, text: str) -> tuple[int, ...]:
    """Tokens of the text and nothing else: no BOS, no template."""
    return tuple(model.tokenizer(text, add_special_tokens=False).input_ids)


def _checked(model: HookedModel, encoded: EncodedText) -> EncodedText:
    limit = model_card(model).n_ctx
    if len(encoded.ids) > limit:
        raise InputError(
            f"a text has {len(encoded.ids)} tokens, the model was loaded for {limit}; "
            "shorten it or load the model with a larger n_ctx"
        )
    return encoded


@dataclass(frozen=True)
class Batch:
    """Texts that are read together.

    ``passes`` are forward passes, each a tuple of text numbers. Where there are ``prompts``, one
    pass reads these first and the others read completions after them; ``owner`` pairs each text
    number with its prompt's index. Without prompts every text is read whole, from BOS on.
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
