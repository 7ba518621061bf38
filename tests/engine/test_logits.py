"""Log-probabilities of given tokens equal those read from whole logits."""

import pytest
import torch

from empathy_lens.engine import logits
from empathy_lens.engine.logits import token_log_probs, unembed
from empathy_lens.errors import NonFiniteError
from empathy_lens.models import HOOKED_AVAILABLE, load_model

pytestmark = pytest.mark.skipif(not HOOKED_AVAILABLE, reason="the bridge gives logits itself")

ROWS = torch.tensor([2, 0, 2, 4, 1])
TOKENS = torch.tensor([5, 199, 17, 5, 60])


@pytest.fixture(scope="module", params=["tiny_gemma2_folder", "tiny_llama_folder"])
def hooked(request):
    """One with a soft-cap on its logits and tied embeddings, and one without either."""
    return load_model(request.getfixturevalue(request.param), backend="hooked", device="cpu")


@pytest.fixture
def residual(hooked):
    generator = torch.Generator().manual_seed(0)
    return 20 * torch.randn(5, hooked.cfg.d_model, generator=generator)


@pytest.mark.parametrize(("vocabulary", "rows"), [(4096, 128), (64, 2), (7, 1)])
def test_pieces_give_what_the_whole_gives(hooked, residual, monkeypatch, vocabulary, rows):
    monkeypatch.setattr(logits, "VOCABULARY", vocabulary)
    monkeypatch.setattr(logits, "ROWS", rows)
    found = token_log_probs(hooked, residual, ROWS, TOKENS)
    wanted = unembed(hooked, residual).log_softmax(dim=-1)[ROWS, TOKENS]
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_nothing_asked_is_nothing_found(hooked, residual):
    none = torch.tensor([], dtype=torch.long)
    assert token_log_probs(hooked, residual, none, none).shape == (0,)


@pytest.mark.parametrize(
    "point", ["ln_final.hook_normalized", "unembed.hook_in", "unembed.hook_out"]
)
def test_hooks_on_the_head_act(hooked, residual, point):
    def run():
        return token_log_probs(hooked, residual, ROWS, TOKENS)

    plain, seen = run(), []

    def halve(value, hook):
        seen.append(hook.name)
        return value * 0.5

    with hooked.hooks(fwd_hooks=[(point, halve)]):
        assert (run() - plain).abs().max() > 1e-3
    assert set(seen) == {point}
    assert torch.equal(run(), plain)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_raises_and_names_the_row(hooked, residual, value):
    residual[3, 0] = value
    with pytest.raises(NonFiniteError, match=r"row 3 of 5.*steer less"):
        token_log_probs(hooked, residual, ROWS, TOKENS)
