"""Fused blocks compute what TransformerLens does, and step aside for anyone who looks inside."""

import pytest
import torch

from empathy_lens.engine.fused import fused_blocks
from empathy_lens.engine.tokens import pad_batch
from empathy_lens.models import HOOKED_AVAILABLE, load_model

pytestmark = pytest.mark.skipif(not HOOKED_AVAILABLE, reason="blocks are HookedTransformer's")

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
ROWS = [[1, *range(40, 70)], [1, *range(50, 62)]]


@pytest.fixture(scope="module", params=["tiny_gemma2_folder", "tiny_llama_folder"])
def hooked(request):
    return load_model(request.getfixturevalue(request.param), backend="hooked", device="cpu")


def every_activation(model, tokens, **options):
    with torch.no_grad():
        return model.run_with_cache(tokens, **options)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("padding_is_known", [False, True])
def test_fused_blocks_give_the_residual_stream_of_plain_ones(hooked, side, padding_is_known):
    tokens, mask = pad_batch(ROWS, 0, side)
    last = hooked.cfg.n_layers - 1
    name = f"blocks.{last}.hook_resid_post"
    options = {"attention_mask": mask.long(), "names_filter": name}
    _, plain = every_activation(hooked, tokens, **options)
    with fused_blocks(hooked, mask=mask if padding_is_known else None):
        assert any("forward" in module.__dict__ for module in hooked.modules())
        _, fused = every_activation(hooked, tokens, **options)
    assert fused[name].isfinite().all()
    torch.testing.assert_close(fused[name][mask], plain[name][mask], **TOLERANCE)


def test_an_mlp_computes_tokens_and_leaves_padding_at_0(hooked):
    tokens, mask = pad_batch(ROWS, 0, "right")
    mlp_out = []
    block = hooked.blocks[0]
    handle = block.mlp.register_forward_hook(lambda module, args, out: mlp_out.append(out))
    with fused_blocks(hooked, mask=mask), torch.no_grad():
        hooked(tokens, attention_mask=mask.long(), stop_at_layer=1)
    handle.remove()
    assert not mlp_out[0][~mask].any()
    assert mlp_out[0][mask].any(dim=-1).all()


def test_norms_and_mlps_of_every_family_are_fused(hooked):
    with fused_blocks(hooked):
        for block in hooked.blocks:
            norms = [m for m in block.modules() if type(m).__name__.endswith("Norm")]
            assert len(norms) >= 2
            assert all("forward" in module.__dict__ for module in [*norms, block.mlp])


def test_every_hook_point_still_fires_with_its_value(hooked):
    """All of them hooked at once: nothing is left to fuse, and nothing goes missing."""
    tokens = torch.tensor(ROWS[:1])
    logits, plain = every_activation(hooked, tokens)
    with fused_blocks(hooked):
        fused_logits, fused = every_activation(hooked, tokens)
    assert set(fused) == set(plain)
    for name, value in plain.items():
        torch.testing.assert_close(fused[name], value, msg=name)
    torch.testing.assert_close(fused_logits, logits)


@pytest.mark.parametrize(
    "inside",
    [
        "ln1.hook_scale",
        "ln2.hook_normalized",
        "mlp.hook_pre",
        "mlp.hook_post",
        "attn.hook_q",
        "attn.hook_rot_k",
        "attn.hook_attn_scores",
        "attn.hook_pattern",
        "attn.hook_z",
    ],
)
def test_a_hook_inside_a_block_changes_what_it_would_change(hooked, inside):
    tokens = torch.tensor(ROWS[:1])
    name = f"blocks.1.{inside}"
    hooks = [(name, lambda value, hook: value * 0.5 + 0.1)]

    def run():
        with torch.no_grad(), hooked.hooks(fwd_hooks=hooks):
            return hooked(tokens)

    expected = run()
    with fused_blocks(hooked):
        torch.testing.assert_close(run(), expected, rtol=1e-4, atol=1e-4)
        with torch.no_grad():
            assert (hooked(tokens) - expected).abs().max() > 1e-3


def test_a_window_longer_than_the_text_does_not_bite_and_a_shorter_one_does(hooked):
    """With no attention mask, too."""
    tokens = torch.tensor(ROWS[:1])
    name = "blocks.1.hook_resid_post"
    for width in (5, 31):
        _, plain = every_activation(hooked, tokens[:, :width], names_filter=name)
        with fused_blocks(hooked):
            _, fused = every_activation(hooked, tokens[:, :width], names_filter=name)
        torch.testing.assert_close(fused[name], plain[name], **TOLERANCE)


@pytest.mark.parametrize("inside", [None, "attn.hook_attn_scores", "attn.hook_pattern"])
def test_blocked_keys_are_not_seen_whoever_computes(hooked, inside):
    """Whatever stands at a blocked place, the others' values are the same."""
    tokens = torch.tensor(ROWS[:1])
    blocked = torch.zeros(1, 1, 31, 31, dtype=torch.bool)
    blocked[..., 12:, 10:12] = True
    other = tokens.clone()
    other[0, 10:12] = torch.tensor([7, 8])
    hooks = [] if inside is None else [(f"blocks.1.{inside}", lambda value, hook: value)]

    def run(ids, blocked):
        with fused_blocks(hooked, blocked), hooked.hooks(fwd_hooks=hooks), torch.no_grad():
            return hooked(ids)[0, 12:]

    torch.testing.assert_close(run(tokens, blocked), run(other, blocked), **TOLERANCE)
    assert (run(tokens, None) - run(other, None)).abs().max() > 1e-3
    assert (run(tokens, None) - run(tokens, blocked)).abs().max() > 1e-3


def test_blocks_are_plain_again_after_an_error(hooked):
    with pytest.raises(RuntimeError, match="on purpose"), fused_blocks(hooked):
        raise RuntimeError("on purpose")
    assert all("forward" not in module.__dict__ for module in hooked.modules())


def test_a_forward_that_somebody_else_set_stays(hooked):
    mlp = hooked.blocks[0].mlp
    mlp.forward = own = type(mlp).forward.__get__(mlp)
    try:
        with fused_blocks(hooked):
            assert mlp.forward is own
        assert mlp.forward is own
    finally:
        del mlp.__dict__["forward"]
