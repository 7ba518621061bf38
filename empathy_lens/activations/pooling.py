"""Pooling inside the hooks: what leaves a layer is one vector a text, never its positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import NonFiniteError
from ..types import Pooling, Site

__all__ = ["Pooler", "Span"]

Span = tuple[int, int, int]
"""A row's completion: its first column, the column after its last, the text's number."""


class Pooler:
    """Collects pooled ``resid_post`` of the rows of one pass, layer by layer, in float32.

    Only the rows' own columns are ever read: what stands at pads, NaN included, cannot leak.
    """

    def __init__(
        self,
        spans: Sequence[Span],
        layers: Sequence[int],
        poolings: Sequence[Pooling],
        starts: Sequence[int],
    ) -> None:
        self._spans, self._starts, self._poolings = spans, starts, tuple(poolings)
        self._found: dict[int, Float[Tensor, "pooling batch d_model"]] = {}
        self._layers = tuple(layers)

    def hooks(self) -> list[tuple[str, Any]]:
        """Forward hooks that read and change nothing, one a layer."""
        return [(Site(layer).hook_name, self._hook(layer)) for layer in self._layers]

    def pooled(self) -> dict[Pooling, Float[Tensor, "batch layer d_model"]]:
        """What was collected, on the CPU, once the pass is over."""
        together = torch.stack([self._found[layer] for layer in self._layers], dim=2).cpu()
        return dict(zip(self._poolings, together, strict=True))

    def _hook(self, layer: int) -> Any:
        name = Site(layer).hook_name

        def pool(value: Float[Tensor, "batch pos d_model"], hook: Any = None) -> None:
            rows = [value[row, first:end] for row, (first, end, _) in enumerate(self._spans)]
            by = {
                "mean": lambda: torch.stack([r.float().mean(dim=0) for r in rows]),
                "last": lambda: torch.stack([r[-1].float() for r in rows]),
            }
            found = torch.stack([by[pooling]() for pooling in self._poolings])
            if not torch.isfinite(found).all():
                self._complain(name, rows)
            self._found[layer] = found

        return pool

    def _complain(self, name: str, rows: Sequence[Float[Tensor, "pos d_model"]]) -> None:
        """Raises NonFiniteError for the first bad value that a text holds."""
        for row, (first, _, text), start in zip(rows, self._spans, self._starts, strict=True):
            bad = ~torch.isfinite(row)
            if bad.any():
                at = int(bad.any(dim=1).nonzero()[0, 0])
                what = "NaN" if row[at].isnan().any() else "an infinity"
                where = f"position {start + at} of text {text} (batch column {first + at})"
                break
        else:
            what, where = "values whose mean overflows", f"text {self._spans[0][2]} or after"
        raise NonFiniteError(
            f"{name} holds {what} at {where} in {rows[0].dtype}; "
            "load the model with --dtype bfloat16 or float32"
        )
