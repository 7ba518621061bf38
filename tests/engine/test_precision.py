"""bfloat16 is used where it was asked for, or where it was measured to change nothing."""

import pytest
import torch

from empathy_lens.activations import choose_precision, extract_activations
from empathy_lens.activations.extract import precision_for
from empathy_lens.directions.store import load_activations, save_activations
from empathy_lens.engine import precision as precision_module
from empathy_lens.engine.pooling import Settings
from empathy_lens.engine.precision import check_precision
from empathy_lens.errors import InputError
from empathy_lens.models import load_model, model_card
from empathy_lens.types import ContrastivePair

PAIRS = [
    ContrastivePair(str(i), "s", f"I stop for number {i}.", f"I go on, past {i}.", "A man fell.")
    for i in range(8)
]
LABELS = torch.tensor([True, False] * 40)


def planted(gap):
    values = torch.randn(80, 2, 16, generator=torch.Generator().manual_seed(0))
    values[LABELS, :, 0] += gap
    return values


def test_rounding_that_leaves_directions_and_auroc_alone_passes():
    own = planted(gap=3.0)
    choice = choose_precision(own, own.bfloat16().float(), LABELS)
    assert choice.used == "bfloat16"
    assert choice.min_cosine > 0.999
    assert choice.max_auroc_gap <= 0.01


def test_a_direction_turned_at_a_single_layer_fails():
    own = planted(gap=3.0)
    low = own.clone()
    low[LABELS, 1, 5] += 0.3
    choice = choose_precision(own, low, LABELS)
    assert choice.used == "model"
    assert choice.min_cosine < 0.999
    assert "cosine" in choice.reason


def test_an_auroc_that_moves_fails_though_the_direction_stays():
    """Positives of unlike strength swap places with negatives, the means kept."""
    own = planted(gap=0.0)
    own[:, :, 0] += torch.where(LABELS, 0.5, -0.5)[:, None]
    low = own.clone()
    positive = LABELS.nonzero()[:, 0]
    low[positive[:20], :, 0] += 3.0
    low[positive[20:], :, 0] -= 3.0
    choice = choose_precision(own, low, LABELS)
    assert choice.used == "model"
    assert choice.min_cosine > 0.999
    assert choice.max_auroc_gap > 0.01


def test_bfloat16_is_close_and_the_provenance_says_so(tiny_llama, tmp_path):
    own = extract_activations(tiny_llama, PAIRS)
    low = extract_activations(tiny_llama, PAIRS, precision="bfloat16")
    assert own.provenance.precision == ""
    assert low.provenance.precision == "bfloat16"
    assert low.provenance.same_basis(own.provenance)
    assert low.values.dtype == torch.float32
    assert not torch.equal(own.values, low.values)
    error = (own.values - low.values).norm(dim=2) / own.values.norm(dim=2)
    assert error.max() < 0.05
    save_activations(tmp_path / "a.safetensors", low)
    assert load_activations(tmp_path / "a.safetensors").provenance == low.provenance


def test_auto_measures_on_some_pairs_and_keeps_the_reason(tiny_llama, monkeypatch):
    monkeypatch.setattr(precision_module, "has_bfloat16", lambda: True)
    settings = Settings((0, 1))
    choice = precision_for(tiny_llama, PAIRS, settings)
    assert "16 texts" in choice.reason
    assert 0.9 < choice.min_cosine <= 1.0
    found = extract_activations(tiny_llama, PAIRS, layers=[0, 1], precision="auto")
    expected = extract_activations(tiny_llama, PAIRS, layers=[0, 1], precision=choice.used)
    assert torch.equal(found.values, expected.values)


def test_auto_is_the_models_own_without_the_instructions(tiny_llama, monkeypatch):
    monkeypatch.setattr(precision_module, "has_bfloat16", lambda: False)
    choice = precision_for(tiny_llama, PAIRS, Settings((0,)))
    assert (choice.used, choice.min_cosine) == ("model", None)
    assert "no bfloat16 instructions" in choice.reason


def test_a_model_in_another_dtype_is_left_to_it(tiny_llama_folder, backend):
    model = load_model(tiny_llama_folder, backend=backend, device="cpu", dtype="bfloat16")
    assert precision_for(model, PAIRS, Settings((0,))).used == "model"
    with pytest.raises(InputError, match=r"for a float32 model on a CPU.*bfloat16.*--dtype"):
        extract_activations(model, PAIRS, precision="bfloat16")
    assert model_card(model).provenance.dtype == "bfloat16"


def test_an_unknown_precision_is_refused(tiny_llama):
    with pytest.raises(InputError, match="expected model, bfloat16 or auto, got 'half'"):
        check_precision(tiny_llama, "half")
