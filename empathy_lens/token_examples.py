"""Which texts of a run are worth reading token by token, and their projections at every layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from .activations import resolve_layers
from .errors import InputError
from .token_projections import TokenProjections, token_projections
from .types import ContrastivePair, Direction, HookedModel

__all__ = ["token_examples"]


def token_examples(
    model: HookedModel,
    directions: Mapping[int, Direction],
    layer: int,
    pairs: Sequence[ContrastivePair],
    scores: Float[np.ndarray, "item"],
    *,
    steering: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The best, the worst and the most wrong pair, and a steered text beside its unsteered one.

    ``scores`` are those of the chosen ``layer`` (0 = on the threshold), positive and negative
    side of each pair in turn; ``steering`` is the content of ``steering_examples.json``. The
    result is the content of ``token_views.json``: values are projection minus threshold in class
    gaps, one row for each of ``layers``. Raises InputError where scores and pairs do not match.
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
    examples = []
    for title, index in chosen.items():
        pair = pairs[index]
        for side, text in (("empathic", pair.positive), ("task-focused", pair.negative)):
            seen = token_projections(model, directions, text, pair.prompt)
            examples.append({"title": title, "pair_id": pair.pair_id, "side": side} | _saved(seen))
    examples += _steered(model, directions, steering)
    layers = resolve_layers(model, list(directions))
    return {"layer": layer, "layers": list(layers), "examples": examples}


def _steered(
    model: HookedModel, directions: Mapping[int, Direction], steering: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """The first prompt's unsteered and most strongly steered text, read by the unsteered model."""
    rows = steering["examples"] if steering else []
    same = [r for r in rows if r["prompt"] == rows[0]["prompt"] and r["completion"].strip()]
    plain = next((r for r in same if r["alpha"] == 0), None)
    pushed = max(same, key=lambda r: r["alpha"], default=None)
    if plain is None or pushed is None or pushed["alpha"] <= 0:
        return []
    title = "unsteered and steered text, as the unsteered model reads them"
    examples = []
    for row in (plain, pushed):
        seen = token_projections(model, directions, row["completion"], row["prompt"])
        # Steering moves every position, the prompt's too.
        saved = _saved(seen) | {"steered": [row["alpha"] != 0] * len(seen.tokens)}
        side = f"steered, alpha {row['alpha']:+g}" if row["alpha"] else "unsteered"
        examples.append({"title": title, "pair_id": row["scenario_id"], "side": side} | saved)
    return examples


def _saved(seen: TokenProjections) -> dict[str, Any]:
    return {
        "tokens": list(seen.tokens),
        "values": [[round(float(v), 5) for v in row] for row in seen.relative()],
        "pooled": seen.pooled.tolist(),
        "bos": seen.bos.tolist(),
    }
