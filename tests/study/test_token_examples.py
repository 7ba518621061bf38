"""The examples worth reading are those that the scores point to, at every layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from empathy_lens.activations import extract_activations
from empathy_lens.directions import fit_directions
from empathy_lens.errors import InputError
from empathy_lens.evidence.validation import scores
from empathy_lens.steering import Coherence
from empathy_lens.steering.examples import SteeredExample
from empathy_lens.study.token_examples import token_examples
from empathy_lens.types import Concept, ContrastivePair

CALM = Concept("calm", "calm", "hurried")
PAIRS = [
    ContrastivePair("a", "the_maze", "I stop and help.", "I walk on.", prompt="Go?", concept=CALM),
    ContrastivePair("b", "the_maze", "We wait for the child.", "I take the coin.", concept=CALM),
    ContrastivePair("c", "the_maze", "Take my water.", "I keep it.", concept=CALM),
]


def test_best_worst_and_most_wrong_pair_are_chosen_by_score(tiny_llama: Any) -> None:
    directions = fit_directions(extract_activations(tiny_llama, PAIRS))
    given = np.array([2.0, -2.0, 0.5, 0.4, -3.0, -3.5])
    found = token_examples(tiny_llama, directions, 1, PAIRS, given)
    assert [e.pair_id for e in found.examples] == ["a", "a", "b", "b", "c", "c"]
    assert [e.side for e in found.examples[:2]] == ["calm", "hurried"]
    assert (found.layer, found.layers) == (1, (0, 1, 2))


def test_the_mean_over_pooled_tokens_is_the_pairs_score(tiny_llama: Any) -> None:
    activations = extract_activations(tiny_llama, PAIRS)
    directions = fit_directions(activations)
    own = scores(directions[1], activations)
    found = token_examples(tiny_llama, directions, 1, PAIRS, own)
    by_text = {
        (p, label): s
        for p, label, s in zip(activations.pair_ids, activations.labels.tolist(), own, strict=True)
    }
    for example in found.examples:
        row = np.array(example.values[found.layers.index(1)])
        mean = row[np.array(example.pooled)].mean()
        expected = by_text[example.pair_id, example.side == "calm"]
        assert mean == pytest.approx(expected, abs=1e-4)


def test_a_steered_text_stands_beside_its_unsteered_one(tiny_llama: Any) -> None:
    directions = fit_directions(extract_activations(tiny_llama, PAIRS))
    texts = [
        SteeredExample(
            scenario_id="the_maze",
            prompt="Go?",
            alpha=alpha,
            seed=0,
            completion=text,
            finished=True,
            coherence=Coherence(2, 9.0, 0.0, 1.0, False),
            repetition=0.0,
            coherent=True,
            judged=None,
            moved=None,
            action_log_odds=0.0,
            shift=0.0,
            success=None,
        )
        for alpha, text in ((-2.0, "No."), (0.0, "I walk."), (2.0, "I help."), (4.0, " "))
    ]
    given = np.array([1.0, -1.0] * 3)
    found = token_examples(tiny_llama, directions, 1, PAIRS, given, steered=texts)
    plain, steered = found.examples[-2:]
    assert (plain.side, steered.side) == ("unsteered", "steered, alpha +2")
    assert not any(plain.steered)
    assert all(steered.steered)
    without = token_examples(tiny_llama, directions, 1, PAIRS, given)
    assert len(without.examples) == 6


def test_scores_that_do_not_match_the_pairs_are_refused(tiny_llama: Any) -> None:
    directions = fit_directions(extract_activations(tiny_llama, PAIRS))
    with pytest.raises(InputError, match="two scores for each of 3 pairs"):
        token_examples(tiny_llama, directions, 1, PAIRS, np.zeros(5))
