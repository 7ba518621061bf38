import json

import numpy as np
import pytest
import torch
from planted import activations, pairs
from safetensors.torch import save_file

from empathy_lens.data import EMPATHY
from empathy_lens.directions import fit_directions
from empathy_lens.directions.store import (
    load_activations,
    load_directions,
    load_tensors,
    save_activations,
    save_directions,
    save_tensors,
    save_vectors,
)
from empathy_lens.errors import InputError

ACTIVATIONS = activations(pairs(12))


def test_directions_survive_saving_and_loading(tmp_path):
    saved = fit_directions(ACTIVATIONS)
    save_directions(tmp_path / "d.safetensors", saved)
    loaded = load_directions(tmp_path / "d.safetensors")
    assert loaded.keys() == saved.keys()
    for layer, direction in loaded.items():
        assert torch.equal(direction.vector, saved[layer].vector)
        for name in ("site", "method", "raw_norm", "threshold", "provenance", "concept"):
            assert getattr(direction, name) == getattr(saved[layer], name)


def test_activations_survive_saving_and_loading(tmp_path):
    save_activations(tmp_path / "a.safetensors", ACTIVATIONS)
    loaded = load_activations(tmp_path / "a.safetensors")
    assert torch.equal(loaded.values, ACTIVATIONS.values)
    assert torch.equal(loaded.labels, ACTIVATIONS.labels)
    for name in ("sites", "pair_ids", "scenario_ids", "groups", "n_tokens", "pooling", "concept"):
        assert getattr(loaded, name) == getattr(ACTIVATIONS, name)
    assert loaded.provenance == ACTIVATIONS.provenance


def test_vectors_are_unit_float32_and_load_without_pickle(tmp_path):
    paths = save_vectors(tmp_path, fit_directions(ACTIVATIONS))
    names = [f"concept_direction_layer_{i}.npy" for i in ACTIVATIONS.layers]
    assert [p.name for p in paths] == names
    vector = np.load(paths[0], allow_pickle=False)
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-6)


def test_files_of_earlier_versions_are_about_empathy_and_paired(tmp_path):
    path = tmp_path / "old.safetensors"
    save_activations(path, ACTIVATIONS)
    tensors, metadata = load_tensors(path, "activations")
    entry = metadata["activations"]
    del entry["concept"], entry["paired"], entry["sha256"]
    save_tensors(path, tensors, metadata)
    old = load_activations(path)
    assert (old.concept, old.paired) == (EMPATHY, True)
    del entry["pooling"]
    save_tensors(path, tensors, metadata)
    with pytest.raises(InputError, match="pooling"):
        load_activations(path)


@pytest.mark.parametrize("changed", ["labels", "values", "groups", "concept"])
def test_activations_that_are_not_as_they_were_saved_are_refused(tmp_path, changed):
    path = tmp_path / "a.safetensors"
    save_activations(path, ACTIVATIONS)
    tensors, metadata = load_tensors(path, "activations")
    entry = metadata["activations"]
    if changed == "labels":
        tensors["labels"] = ~tensors["labels"]
    elif changed == "values":
        tensors["values"][0, 0, 0] += 1e-3
    elif changed == "groups":
        entry["groups"] = entry["groups"][::-1]
    else:
        del entry["concept"]
    save_tensors(path, tensors, metadata)
    with pytest.raises(InputError, match=r"a\.safetensors: the content is not what was saved"):
        load_activations(path)


def test_a_direction_under_another_layers_name_is_refused(tmp_path):
    path = tmp_path / "d.safetensors"
    save_directions(path, fit_directions(ACTIVATIONS))
    tensors, metadata = load_tensors(path, "directions")
    one, two = list(tensors)[:2]
    for values in (tensors, metadata["directions"]):
        values[one], values[two] = values[two], values[one]
    save_tensors(path, tensors, metadata)
    with pytest.raises(InputError, match=f"{one}: expected the site of that layer"):
        load_directions(path)


def test_what_is_not_ours_is_refused(tmp_path):
    (tmp_path / "text.safetensors").write_text("not tensors")
    save_file({"x": torch.zeros(2)}, tmp_path / "other.safetensors", {"by": json.dumps("them")})
    with pytest.raises(InputError, match="no such file"):
        load_directions(tmp_path / "missing.safetensors")
    with pytest.raises(InputError, match="not a readable safetensors"):
        load_directions(tmp_path / "text.safetensors")
    with pytest.raises(InputError, match="expected directions"):
        load_directions(tmp_path / "other.safetensors")
