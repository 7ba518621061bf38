"""What the library needs of a model, whichever library it comes from."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

import torch

__all__ = ["HookedModel", "ModelConfig", "Progress"]

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


@runtime_checkable
class HookedModel(Protocol):
    """What the library needs of a model: a HookedTransformer, a TransformerBridge, or a match."""

    @property
    def cfg(self) -> ModelConfig: ...

    @property
    def tokenizer(self) -> Any: ...

    def run_with_cache(self, *args: Any, **kwargs: Any) -> Any: ...

    def hooks(self, *args: Any, **kwargs: Any) -> AbstractContextManager[object]: ...

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
