"""Text to tokens: one BOS, the chat template where there is one, and which tokens are read.

A prompt and its completion are tokenised apart, so that both sides of a pair share the prompt's
tokens exactly and it is always known which tokens belong to the completion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from .errors import InputError
from .models import model_card
from .types import HookedModel

__all__ = [
    "EncodedText",
    "encode",
    "encode_prompt",
    "pad_batch",
    "pad_id",
    "plain_ids",
    "prompt_frame",
]

PROMPT_SEPARATOR = "\n\n"


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
