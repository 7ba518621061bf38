"""Per-token projections: their mean is the pooled projection, their text is the text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from empathy_lens.activations import extract_activations
from empathy_lens.directions import fit_directions
from empathy_lens.engine.token_projections import token_projections
from empathy_lens.errors import InputError
from empathy_lens.types import ContrastivePair

PAIRS = [
    ContrastivePair(
        "a", "the_maze", "I stop, naïve or not 👩\u200d🚀.\n", "I walk on.", prompt="Go?"
    ),
    ContrastivePair("b", "the_maze", "We wait for the child.", "I take  the coin\n\nand go."),
]


@pytest.mark.embedded
def test_the_mean_over_pooled_tokens_is_the_pooled_projection(embedded: Any) -> None:
    activations = extract_activations(embedded, PAIRS, layers=[3, 16])
    directions = fit_directions(activations)
    sides = [(p.prompt, text) for p in PAIRS for text in (p.positive, p.negative)]
    for item, (prompt, text) in enumerate(sides):
        read = token_projections(embedded, directions, text, prompt)
        pooled = [directions[k].project(activations.at(k)[item]) for k in read.layers]
        torch.testing.assert_close(
            read.pooled_projection(), torch.stack(pooled), rtol=1e-4, atol=1e-3
        )
        kept = zip(read.tokens, read.pooled.tolist(), strict=True)
        assert "".join(token for token, is_pooled in kept if is_pooled) == text
        assert read.bos.tolist() == [True] + [False] * (len(read.tokens) - 1)


@pytest.mark.embedded
def test_a_direction_of_other_weights_is_refused(embedded: Any) -> None:
    direction = fit_directions(extract_activations(embedded, PAIRS, layers=[3]))[3]
    other = replace(direction, provenance=replace(direction.provenance, weights_hash="other"))
    with pytest.raises(InputError, match="fit a direction on this model"):
        token_projections(embedded, other, "text")
