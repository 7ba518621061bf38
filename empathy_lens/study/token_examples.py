"""Which texts of a run are worth reading token by token, and their projections at every layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from ..activations import resolve_layers
from ..engine.token_projections import TokenExample, TokenProjections, TokenViews, token_projections
from ..errors import InputError
from ..steering.examples import SteeredExample
from ..types import ContrastivePair, Direction, HookedModel


def token_examples(
    model: HookedModel,
    directions: Mapping[int, Direction],
    layer: int,
    pairs: Sequence[ContrastivePair],
    scores: Float[np.ndarray, "item"],
    *,
    steered: Sequence[SteeredExample] = (),
) -> TokenViews:
    """The best, the worst and the most wrong pair, and a steered text beside its unsteered one.

    ``scores`` are those of the chosen ``layer`` (0 = on the threshold), positive and negative
    side of each pair in turn; ``steered`` are texts written under steering. Raises InputError
    where scores and pairs do not match.
    """
    if len(scores) != 2 * len(pairs):
        raise InputError(f"expected two scores for each of {len(pairs)} pairs, got {len(scores)}")
    by_pair = scores.reshape(-1, 2)
    gap = by_pair[:, 0] - by_pair[:, 1]
    wrong = np.maximum(-by_pair[:, 0], by_pair[:, 1]).clip(min=0)
    chosen = {
        "largest gap between the sides": int(gap.argmax()),
        "smallest gap between the sides": int(gap.argmin()),
        "text furthest on the wrong side": int(wrong.argmax()),
    }
    concept = directions[layer].concept
    examples = []
    for title, index in chosen.items():
        pair = pairs[index]
        for side, text in ((concept.positive, pair.positive), (concept.negative, pair.negative)):
            read = token_projections(model, directions, text, pair.prompt)
            examples.append(_example(read, title, pair.pair_id, side))
    examples += _steered(model, directions, steered)
    return TokenViews(layer, resolve_layers(model, list(directions)), tuple(examples))


def _steered(
    model: HookedModel, directions: Mapping[int, Direction], texts: Sequence[SteeredExample]
) -> list[TokenExample]:
    """The first prompt's unsteered and most strongly steered text, read by the unsteered model."""
    same = [t for t in texts if t.prompt == texts[0].prompt and t.completion.strip()]
    plain = next((t for t in same if t.alpha == 0), None)
    pushed = max(same, key=lambda t: t.alpha, default=None)
    if plain is None or pushed is None or pushed.alpha <= 0:
        return []
    title = "unsteered and steered text, as the unsteered model reads them"
    examples = []
    for text in (plain, pushed):
        read = token_projections(model, directions, text.completion, text.prompt)
        side = f"steered, alpha {text.alpha:+g}" if text.alpha else "unsteered"
        # Steering moves every position, the prompt's too.
        steered = (text.alpha != 0,) * len(read.tokens)
        examples.append(replace(_example(read, title, text.scenario_id, side), steered=steered))
    return examples


def _example(read: TokenProjections, title: str, pair_id: str, side: str) -> TokenExample:
    example = read.example(side, title=title, pair_id=pair_id)
    return replace(example, values=tuple(tuple(round(v, 5) for v in r) for r in example.values))
