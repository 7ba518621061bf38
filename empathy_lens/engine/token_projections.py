"""A direction read token by token: the projections whose mean is the pooled projection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import InputError, NonFiniteError
from ..models import check_made_on, model_card, model_device, not_finite_advice
from ..types import Concept, Decoder, Direction, HookedModel, Optionally, Site
from .logits import is_finite, resid_post_cache, resolve_layers
from .positions import Positions, TokenPlaces, check_positions
from .tokens import encode


@dataclass(frozen=True)
class TokenExample:
    """One text as a run keeps it, token by token.

    ``title`` says why it was chosen, ``side`` which of the texts under that title it is. ``values``
    [layer][pos] are projection minus threshold in class gaps; ``tokens``, ``pooled``, ``bos`` and
    ``steered`` [pos] are as in :class:`TokenProjections` (no ``steered``: none is).
    """

    title: str
    pair_id: str
    side: str
    tokens: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    pooled: tuple[bool, ...]
    bos: tuple[bool, ...]
    steered: Optionally[tuple[bool, ...]] = None

    def __post_init__(self) -> None:
        marks = (self.pooled, self.bos, self.steered or self.bos)
        lengths = {len(row) for row in (*self.values, *marks)}
        if lengths != {len(self.tokens)} or not self.tokens:
            raise InputError(
                f"token example {self.pair_id!r}: expected a value and marks for each of "
                f"{len(self.tokens)} tokens, got rows of {sorted(lengths)}"
            )


@dataclass(frozen=True)
class TokenViews:
    """``token_views.json``: texts of a run read token by token at each of ``layers``.

    ``layer`` is the one to show first.
    """

    layer: int
    layers: tuple[int, ...]
    examples: tuple[TokenExample, ...]

    def __post_init__(self) -> None:
        rows = {len(example.values) for example in self.examples}
        if self.layer not in self.layers or rows - {len(self.layers)}:
            raise InputError(
                f"token views: expected layer {self.layer} among {list(self.layers)} and a row of "
                f"values for each of them, got {sorted(rows)} rows"
            )


@dataclass(frozen=True, eq=False)
class TokenProjections:
    """Projections of every token of one text, prompt and BOS included.

    ``values`` is float32, in activation units, one row per layer of ``layers``; ``thresholds``
    and ``raw_norms`` are those of the direction at each layer. ``tokens`` is text as a reader
    would see it: where one character is spread over several tokens, the last of them holds it
    and the others are empty. ``pooled`` marks the completion's tokens, whose mean projection is
    the pooled one; ``steered`` the positions that steering changed; ``bos`` the BOS token.
    ``concept`` names what the direction stands for.
    """

    tokens: tuple[str, ...]
    values: Float[Tensor, "layer pos"]
    layers: tuple[int, ...]
    thresholds: tuple[float, ...]
    raw_norms: tuple[float, ...]
    pooled: Bool[Tensor, "pos"]
    steered: Bool[Tensor, "pos"]
    bos: Bool[Tensor, "pos"]
    concept: Concept = field(default_factory=Concept)

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

    def example(self, side: str, *, title: str = "", pair_id: str = "") -> TokenExample:
        """The same in class gaps, as views and files hold it."""
        return TokenExample(
            title=title,
            pair_id=pair_id,
            side=side,
            tokens=self.tokens,
            values=tuple(tuple(row) for row in self.relative().tolist()),
            pooled=tuple(self.pooled.tolist()),
            bos=tuple(self.bos.tolist()),
            steered=tuple(self.steered.tolist()) if self.steered.any() else None,
        )

    def pooled_projection(self) -> Float[Tensor, "layer"]:
        """Mean over the pooled tokens, in activation units."""
        return self.values[:, self.pooled].double().mean(dim=1).float()


def token_projections(
    model: HookedModel,
    direction: Direction | Mapping[int, Direction],
    text: str,
    prompt: str = "",
    *,
    steered: Positions | None = None,
) -> TokenProjections:
    """Projects ``resid_post`` of every token of a text on the direction of each layer.

    ``direction`` is one Direction or one per layer. ``steered`` only marks the positions at which
    the text was steered as it was written, those that ``generate_steered`` was given: nothing
    steers here. Raises InputError for a direction that was made from other weights and for unknown
    positions, NonFiniteError for a NaN or infinity.
    """
    directions = _by_layer(model, direction)
    layers = resolve_layers(model, list(directions))
    encoded = encode(model, text, prompt)
    tokens = torch.tensor([encoded.ids], device=model_device(model))
    cache = resid_post_cache(model, tokens, layers)
    values = torch.stack([_project(directions[layer], cache.pop(layer)[0]) for layer in layers])
    n_pos = len(encoded.ids)
    pushed = torch.zeros(n_pos, dtype=torch.bool)
    if steered is not None:
        check_positions(steered)
        pushed = TokenPlaces(1, 0, n_pos, n_prompt=(encoded.start,)).marked(steered)[0]
    position = torch.arange(n_pos)
    bos_id = model_card(model).bos_id
    return TokenProjections(
        tokens=shown_tokens(model.tokenizer, encoded.ids),
        values=values,
        layers=layers,
        thresholds=tuple(directions[layer].threshold for layer in layers),
        raw_norms=tuple(directions[layer].raw_norm for layer in layers),
        pooled=(position >= encoded.start) & (position < encoded.end),
        steered=pushed,
        bos=(position == 0) & (bos_id is not None and encoded.ids[0] == bos_id),
        concept=directions[layers[0]].concept,
    )


def shown_tokens(tokenizer: Decoder, ids: Sequence[int]) -> tuple[str, ...]:
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
    check_made_on(model, direction.values())
    for layer, each in direction.items():
        if each.site != Site(layer):
            raise InputError(f"direction for layer {layer} was made at {each.site.hook_name}")
    return dict(direction)


def _project(direction: Direction, values: Float[Tensor, "pos d_model"]) -> Float[Tensor, "pos"]:
    # float64: single channels reach tens of thousands, and their products cancel.
    projected = values.double() @ direction.vector.double().to(values.device)
    if not is_finite(projected):
        position = int((~torch.isfinite(projected)).nonzero()[0])
        raise NonFiniteError(
            f"{direction.site.hook_name} is not finite at position {position} in {values.dtype}; "
            f"{not_finite_advice(values.dtype)}"
        )
    return projected.float().cpu()
