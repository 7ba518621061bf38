"""Token embeddings are rows of the model's matrix, read without running it."""

import numpy as np
import pytest

from empathy_lens.engine import mean_token_embedding, plain_ids
from empathy_lens.errors import InputError

TEXTS = ["I stop and help him up.", "I walk on."]


@pytest.fixture(params=["tiny_gemma2", "tiny_llama"])
def model(request, backend):
    return request.getfixturevalue(request.param)


def test_it_is_the_mean_of_the_matrix_rows_of_a_texts_own_tokens(model):
    rows = model.W_E.detach().float().numpy()
    found = mean_token_embedding(model)(TEXTS)
    assert found.shape == (2, model.cfg.d_model)
    assert found.dtype == np.float32
    for mean, text in zip(found, TEXTS, strict=True):
        expected = rows[list(plain_ids(model, text))].mean(axis=0)
        scale = np.linalg.norm(mean) / np.linalg.norm(expected)
        np.testing.assert_allclose(mean, scale * expected, atol=1e-5)
    np.testing.assert_array_equal(mean_token_embedding(model)([f"<bos>{TEXTS[1]}"])[0], found[1])


def test_it_runs_no_layer_and_no_hook_acts(model):
    plain = mean_token_embedding(model)(TEXTS)

    def refuse(*args, **kwargs):
        raise AssertionError("the model was run")

    points = ["hook_embed", *(f"blocks.{i}.hook_resid_pre" for i in range(model.cfg.n_layers))]
    with model.hooks([(point, refuse) for point in points]):
        np.testing.assert_array_equal(mean_token_embedding(model)(TEXTS), plain)


def test_an_empty_text_is_refused(model):
    with pytest.raises(InputError, match="at least one token"):
        mean_token_embedding(model)([""])
