"""What the library needs of a model, whichever library it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

Progress = Callable[[int, int], None]
"""Called with (done, in all) as long work goes on."""


@runtime_checkable
class ModelConfig(Protocol):
    """The part of a TransformerLens configuration that is read here.

    ``window_size`` counts the positions that a sliding-window layer sees, where there are any.
    """

    d_model: int
    n_layers: int
    d_vocab: int
    n_ctx: int
    dtype: torch.dtype
    device: str | torch.device | None
    n_heads: int
    d_head: int
    window_size: int
    default_prepend_bos: bool


@runtime_checkable
class TokenIds(Protocol):
    """What a tokenizer makes of a text: its token ids, and tensors by name where asked for."""

    input_ids: list[int]

    def keys(self) -> Sequence[str]: ...

    def __getitem__(self, name: str) -> Tensor: ...


@runtime_checkable
class Decoder(Protocol):
    """Whatever turns token ids into text."""

    def decode(self, token_ids: list[int], **options: object) -> str: ...


@runtime_checkable
class Tokenizer(Decoder, Protocol):
    """The part of a tokenizer of transformers that is read here."""

    bos_token: str | None
    bos_token_id: int | None
    eos_token: str | None
    eos_token_id: int | None
    pad_token_id: int | None
    chat_template: str | dict[str, str] | None
    init_kwargs: dict[str, object]

    def __call__(self, text: str | list[str], **options: object) -> TokenIds: ...

    def apply_chat_template(self, conversation: list[dict[str, str]], **options: object) -> str: ...


@runtime_checkable
class HookedModel(Protocol):
    """What the library needs of a model: a HookedTransformer, a TransformerBridge, or a match."""

    @property
    def cfg(self) -> ModelConfig: ...

    @property
    def tokenizer(self) -> Tokenizer: ...

    def run_with_cache(
        self, tokens: Tensor, **options: object
    ) -> tuple[object, Mapping[str, Tensor]]: ...

    def hooks(
        self, fwd_hooks: Sequence[tuple[str, Callable[..., object]]]
    ) -> AbstractContextManager[object]: ...

    def __call__(self, tokens: Tensor, **options: object) -> Tensor: ...
