"""Text to tokens, as the tokenizer's makers have it, and which tokens are read.

The one place where token ids are made: a text alone is ``tokenizer(text)``, a prompt of a chat
model is ``apply_chat_template`` of the user's turn, and there are never two BOS.
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
from ..models import TokenRule, model_card, render_chat
from ..types import HookedModel, Tokenizer

T = TypeVar("T")

PROMPT_SEPARATOR = "\n\n"
WORTH_SHARING = 16
"""Positions that a shared prompt must save: a second pass costs about as much as these."""


@dataclass(frozen=True)
class EncodedText:
    """Token ids, and where the completion starts (BOS and prompt lie before).

    ``n_after`` special tokens stand after it, where the tokenizer's makers end a text with them.
    """

    ids: tuple[int, ...]
    start: int
    n_after: int = 0

    @property
    def end(self) -> int:
        return len(self.ids) - self.n_after

    @property
    def n_completion(self) -> int:
        return self.end - self.start

    @property
    def completion(self) -> tuple[int, ...]:
        return self.ids[self.start : self.end]


def encode(model: HookedModel, text: str, prompt: str = "") -> EncodedText:
    """Tokens of ``prompt`` (as context) and ``text`` (the completion).

    Without a prompt the text stands alone, as ``tokenizer(text)``. Raises InputError where the
    completion is empty or the whole is longer than the context the model was loaded with.
    """
    if not prompt:
        return _checked(model, encode_alone(model.tokenizer, model_card(model).rule, text))
    context = encode_prompt(model, prompt)
    completion = _completion(model.tokenizer, text)
    return _checked(model, EncodedText((*context, *completion), start=len(context)))


def encode_alone(tokenizer: Tokenizer, rule: TokenRule, text: str) -> EncodedText:
    """Tokens of a text that stands alone, between its special tokens.

    A BOS that is written in the text, as in one that was rendered elsewhere, is kept but never
    doubled. Raises InputError for an empty text.
    """
    before = _begin(tokenizer, rule, text)
    ids = (*before, *_completion(tokenizer, text), *rule.after)
    return EncodedText(ids, start=len(before), n_after=len(rule.after))


def encode_prompt(model: HookedModel, prompt: str) -> tuple[int, ...]:
    """Tokens of a prompt up to where the model would begin its answer.

    Raises InputError for an empty prompt, one too long, or a chat template that fails.
    """
    if not _without_bos(model.tokenizer, prompt).strip():
        raise InputError("expected a prompt, it is empty")
    if model_card(model).chat:
        ids = _chat_ids(model, prompt)
    else:
        ids = encode_pieces(model, [prompt + PROMPT_SEPARATOR])
    return _checked(model, EncodedText(ids, start=len(ids))).ids


def encode_pieces(model: HookedModel, pieces: Sequence[str]) -> tuple[int, ...]:
    """Tokens of a prompt that grows piece by piece, however long, with nothing after it.

    A plain one is tokenised piece by piece, so that its tokens never change as it grows. A chat
    template takes the whole: its tokens are those of ``encode_prompt``.
    """
    if model_card(model).chat:
        return _chat_ids(model, "".join(pieces))
    first, *others = pieces
    before = _begin(model.tokenizer, model_card(model).rule, first)
    bare = [_without_bos(model.tokenizer, first), *others]
    return (*before, *(i for piece in bare for i in plain_ids(model, piece)))


def render_prompt(model: HookedModel, prompt: str) -> str:
    """A chat model's prompt as its template writes it. Raises InputError where that fails."""
    bare = _without_bos(model.tokenizer, prompt)
    return render_chat(model.tokenizer, bare, model_card(model).rule.template)


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


def plain_ids(model: HookedModel, text: str) -> tuple[int, ...]:
    """Tokens of the text and nothing else: no BOS, no template."""
    return _plain(model.tokenizer, text)


def _plain(tokenizer: Tokenizer, text: str) -> tuple[int, ...]:
    return tuple(tokenizer(text, add_special_tokens=False).input_ids)


def _chat_ids(model: HookedModel, prompt: str) -> tuple[int, ...]:
    """What ``apply_chat_template`` makes of the user's turn; the template writes the BOS itself."""
    ids = plain_ids(model, render_prompt(model, prompt))
    card = model_card(model)
    bos = () if card.bos_id is None or card.rule.bos != "always" else (card.bos_id,)
    return ids if ids[: len(bos)] == bos else (*bos, *ids)


def _begin(tokenizer: Tokenizer, rule: TokenRule, text: str) -> tuple[int, ...]:
    """Special tokens before a text: its makers', and a BOS that is written in it."""
    bos_id = tokenizer.bos_token_id
    if bos_id is None or bos_id in rule.before or _without_bos(tokenizer, text) == text:
        return rule.before
    return (bos_id, *rule.before)


def _without_bos(tokenizer: Tokenizer, text: str) -> str:
    """The text without a BOS of its own, which one that was rendered elsewhere often brings."""
    bos = tokenizer.bos_token
    while bos and text.startswith(bos):
        text = text.removeprefix(bos)
    return text


def _completion(tokenizer: Tokenizer, text: str) -> tuple[int, ...]:
    completion = _plain(tokenizer, _without_bos(tokenizer, text))
    if not completion:
        raise InputError(f"expected a text with at least one token, got {text!r}")
    return completion


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
