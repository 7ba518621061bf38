"""A direction read token by token: the projections whose mean is the pooled projection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .activations import resid_post_cache, resolve_layers
from .errors import InputError, NonFiniteError
from .models import model_card, model_device
from .tokens import encode
from .types import Direction, HookedModel, Site

__all__ = ["TokenProjections", "shown_tokens", "token_projections"]


@dataclass(frozen=True, eq=False)
class TokenProjections:
    """Projections of every token of one text, prompt and BOS included.

    ``values`` is float32, in activation units, one row per layer of ``layers``; ``thresholds``
    and ``raw_norms`` are those of the direction at each layer. ``tokens`` is text as a reader
    would see it: where one character is spread over several tokens, the last of them holds it
    and the others are empty. ``pooled`` marks the completion's tokens, whose mean projection is
    the pooled one; ``steered`` the positions that steering changed; ``bos`` the BOS token.
    """

    tokens: tuple[str, ...]
    values: Float[Tensor, "layer pos"]
    layers: tuple[int, ...]
    thresholds: tuple[float, ...]
    raw_norms: tuple[float, ...]
    pooled: Bool[Tensor, "pos"]
    steered: Bool[Tensor, "pos"]
    bos: Bool[Tensor, "pos"]

    def __post_init__(self) -> None:
        n_layers, n_pos = self.values.shape
        lengths = {"tokens": len(self.tokens), "pooled": len(self.pooled)}
        lengths |= {"steered": len(self.steered), "bos": len(self.bos)}
        wrong = {name: n for name, n in lengths.items() if n != n_pos}
        if wrong:
            raise InputError(f"TokenProjections: values hold {n_pos} positions, but {wrong}")
        if not n_layers == len(self.layers) == len(self.thresholds) == len(self.raw_norms):
            raise InputError(
                f"TokenProjections: values hold {n_layers} layers, but {len(self.layers)} layers, "
                f"{len(self.thresholds)} thresholds and {len(self.raw_norms)} raw_norms were given"
            )

    def relative(self) -> Float[Tensor, "layer pos"]:
        """Projection minus threshold, in units of ``raw_norm``: class means lie near ±1/2."""
        thresholds, norms = torch.tensor(self.thresholds), torch.tensor(self.raw_norms)
        return (self.values - thresholds[:, None]) / norms.clamp_min(1e-12)[:, None]

    def pooled_projection(self) -> Float[Tensor, "layer"]:
        """Mean over the pooled tokens, in activation units."""
        return self.values[:, self.pooled].double().mean(dim=1).float()


def token_projections(
    model: HookedModel,
    direction: Direction | Mapping[int, Direction],
    text: str,
    prompt: str = "",
    *,
    steered: Sequence[bool] | None = None,
) -> TokenProjections:
    """Projects ``resid_post`` of every token of a text on the direction of each layer.

    ``direction`` is one Direction or one per layer. ``steered`` only marks positions, for a view
    of a text that was written under steering. Raises InputError for a direction that was made
    from other weights, NonFiniteError for a NaN or infinity.
    """
    directions = _by_layer(model, direction)
    layers = resolve_layers(model, list(directions))
    encoded = encode(model, text, prompt)
    tokens = torch.tensor([encoded.ids], device=model_device(model))
    cache = resid_post_cache(model, tokens, layers)
    values = torch.stack([_project(directions[layer], cache.pop(layer)[0]) for layer in layers])
    n_pos = len(encoded.ids)
    if steered is not None and len(steered) != n_pos:
        raise InputError(
            f"steered: expected one mark for each of {n_pos} tokens, got {len(steered)}"
        )
    position = torch.arange(n_pos)
    bos_id = model_card(model).bos_id
    return TokenProjections(
        tokens=shown_tokens(model.tokenizer, encoded.ids),
        values=values,
        layers=layers,
        thresholds=tuple(directions[layer].threshold for layer in layers),
        raw_norms=tuple(directions[layer].raw_norm for layer in layers),
        pooled=position >= encoded.start,
        steered=torch.tensor(steered or [False] * n_pos, dtype=torch.bool),
        bos=(position == 0) & (bos_id is not None and encoded.ids[0] == bos_id),
    )


def shown_tokens(tokenizer: Any, ids: Sequence[int]) -> tuple[str, ...]:
    """Each token's own piece of the decoded text, so that joining them gives the text back.

    Decoded step by step over a short window: only so do byte-level fragments become characters
    and SentencePiece's word marks become spaces. A token that ends within a character is empty,
    and the token that completes it holds it.
    """

    def decode(piece: Sequence[int]) -> str:
        return str(
            tokenizer.decode(
                list(piece), skip_special_tokens=False, clean_up_tokenization_spaces=False
            )
        )

    shown: list[str] = []
    begin, read = 0, 0
    for end in range(1, len(ids) + 1):
        known, longer = decode(ids[begin:read]), decode(ids[begin:end])
        # An unfinished character decodes to U+FFFD. No character has more than four bytes, so
        # a longer wait means that the bytes are not text, or that U+FFFD is the text.
        if longer.endswith("\ufffd") and end - read < 4 and end < len(ids):
            shown.append("")
            continue
        shown.append(longer[len(known) :])
        begin, read = read, end
    return tuple(shown)


def _by_layer(
    model: HookedModel, direction: Direction | Mapping[int, Direction]
) -> dict[int, Direction]:
    if isinstance(direction, Direction):
        direction = {direction.site.layer: direction}
    ours = model_card(model).provenance
    for layer, each in direction.items():
        if each.site != Site(layer):
            raise InputError(f"direction for layer {layer} was made at {each.site.hook_name}")
        if not each.provenance.same_basis(ours):
            raise InputError(
                f"the direction of layer {layer} was made from {each.provenance.model_name} "
                f"(weights {each.provenance.weights_hash[:12]}), this model is {ours.model_name} "
                f"(weights {ours.weights_hash[:12]}); fit the direction on this model"
            )
    return dict(direction)


def _project(direction: Direction, values: Float[Tensor, "pos d_model"]) -> Float[Tensor, "pos"]:
    # float64: single channels reach tens of thousands, and their products cancel.
    projected = values.double() @ direction.vector.double().to(values.device)
    if not torch.isfinite(projected).all():
        position = int((~torch.isfinite(projected)).nonzero()[0])
        raise NonFiniteError(
            f"{direction.site.hook_name} is not finite at position {position} in {values.dtype}; "
            "load the model with --dtype bfloat16 or float32"
        )
    return projected.float().cpu()
