"""A direction steers and reads the model that it was made on, whatever its dtype, and no other."""

import re
from dataclasses import replace

import pytest
import torch

from empathy_lens.activations import extract_activations
from empathy_lens.directions import fit_direction
from empathy_lens.engine.token_projections import token_projections
from empathy_lens.errors import InputError
from empathy_lens.games import play_games
from empathy_lens.models import load_model
from empathy_lens.models.loading import weights_sample
from empathy_lens.steering import action_log_odds, add_direction, generate_steered, steered
from empathy_lens.types import ContrastivePair, SteeringPrompt

PAIRS = [
    ContrastivePair(f"p{i}", "s", f"I stop for number {i}.", f"I pass by {i}.", "A man fell.")
    for i in range(4)
]
PROMPT = SteeringPrompt("s", "A man fell.", ("I stop.",), ("I ride on.",))


@pytest.fixture
def direction_of_tiny(tiny_gemma2):
    return fit_direction(extract_activations(tiny_gemma2, PAIRS), layer=2)


def attach(model, direction):
    with steered(model, [add_direction(direction, 1.0)]):
        model(torch.tensor([[1, 7, 8]]))


USES = {
    "steered": attach,
    "text": lambda m, d: generate_steered(m, ["A"], d, [1.0], seeds=[0], max_new_tokens=1),
    "log-odds": lambda m, d: action_log_odds(m, PROMPT, [d], [1.0]),
    "view": lambda m, d: token_projections(m, d, "A man fell."),
    "play": lambda m, d: play_games(
        m, [("the_duel", 0)], hooks=[add_direction(d, 1.0)], layers=(), batch_size=1
    ),
}


def loaded(folder, backend, **options):
    model = load_model(folder, backend=backend, device="cpu", **options)
    return model, fit_direction(extract_activations(model, PAIRS), layer=2)


def test_weights_edited_in_place_refuse_their_old_directions_everywhere(
    tiny_gemma2_folder, backend
):
    model, before = loaded(tiny_gemma2_folder, backend)
    named = dict(model.named_parameters())
    (name,) = (n for n in named if re.search(r"s\.3\..*(W_out|down_proj)", n))
    weights = named[name]
    kept = weights.clone()
    with torch.no_grad():
        weights.mul_(1.05)
    for use in USES.values():
        with pytest.raises(InputError, match=r"differ in weights: .*edited in place"):
            use(model, before)
    after = fit_direction(extract_activations(model, PAIRS), layer=2)
    attach(model, after)
    with torch.no_grad():
        weights.copy_(kept)
    attach(model, before)
    with pytest.raises(InputError, match="edited in place"):
        attach(model, after)


def test_another_dtype_of_the_same_weights_is_steered_and_other_weights_are_not(
    tiny_gemma2_folder, backend, tmp_path
):
    model, direction = loaded(tiny_gemma2_folder, backend)
    rounded, of_rounded = loaded(tiny_gemma2_folder, backend, dtype="bfloat16")
    assert direction.provenance.weights_hash != of_rounded.provenance.weights_hash
    attach(rounded, direction)
    attach(model, of_rounded)
    with torch.no_grad():
        next(rounded.parameters()).add_(0.1)
    with pytest.raises(InputError, match="edited in place"):
        attach(rounded, direction)


def test_another_revision_is_refused_and_named(tiny_gemma2, direction_of_tiny):
    direction, provenance = direction_of_tiny, direction_of_tiny.provenance
    card = replace(tiny_gemma2.empathy_lens_card, provenance=replace(provenance, revision="v2"))
    old = replace(direction, provenance=replace(provenance, revision="v1"))
    attach(tiny_gemma2, old)
    tiny_gemma2.empathy_lens_card, kept = card, tiny_gemma2.empathy_lens_card
    try:
        with pytest.raises(InputError, match="differ in revision: v1, not v2"):
            attach(tiny_gemma2, old)
    finally:
        tiny_gemma2.empathy_lens_card = kept


def test_a_model_cast_to_another_dtype_is_not_called_edited(tiny_gemma2_folder, backend):
    model = load_model(tiny_gemma2_folder, backend=backend, device="cpu")
    before = weights_sample(model)
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16()
    assert weights_sample(model) == before
