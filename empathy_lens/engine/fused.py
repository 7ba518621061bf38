"""TransformerLens's blocks with fewer passes over memory, where nobody looks inside.

TransformerLens writes every step of a norm, a gated MLP and an attention head as an operation of
its own, so that each can be hooked: about a third of a small model's time on a CPU. Within
:func:`fused_blocks` a module whose inner hook points carry no hooks computes the same in fused
operations; one that is watched runs as it is. Hook points between modules, and those of queries,
keys, values and the heads' outputs, always fire.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import cast

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..models import Internals
from ..models.hooked import GemmaNorm
from ..types import HookedModel
from .logits import can_resume, watched

HEADS_FIRST = "batch pos head d_head -> batch head pos d_head"

Forward = Callable[..., Tensor]
Positions = Int[Tensor, "rows all"]
Seen = Bool[Tensor, "batch 1 pos all"] | Bool[Tensor, "pos all"]


@contextmanager
def fused_blocks(
    model: HookedModel,
    blocked: Bool[Tensor, "batch 1 pos all"] | None = None,
    *,
    mask: Bool[Tensor, "batch pos"] | None = None,
) -> Iterator[None]:
    """Fused arithmetic in a float32 HookedTransformer on a CPU; anything else computes as ever.

    ``mask`` is True at tokens and False at padding: MLPs skip the padding, whose residual stream
    is then of no use. ``blocked`` is True where a position must not attend to a key, on top of
    what causality, the sliding window and the attention mask hide. It acts in every attention
    layer of a HookedTransformer, fused or not.
    """
    cfg = model.cfg
    fits = can_resume(model) and cfg.dtype == torch.float32 and str(cfg.device or "cpu") == "cpu"
    with ExitStack() as stack:
        masks, fused = _Masks(blocked), set()
        each = _each_token(mask)
        for module in _modules(model) if fits else ():
            forward = _fused(module, masks, each)
            # A forward set on the instance is somebody else's: it stays.
            if forward is not None and "forward" not in module.__dict__:
                module.forward = forward
                stack.callback(module.__dict__.pop, "forward")
                fused.add(module)
        if blocked is not None:
            for block in cast(Internals, model).blocks:
                if block.attn not in fused:
                    stack.enter_context(_blocking(block.attn, blocked))
        yield


@contextmanager
def _blocking(attn: Internals, blocked: Bool[Tensor, "batch 1 pos all"] | None) -> Iterator[None]:
    """TransformerLens's own attention, whose scores of blocked keys are the lowest there are."""
    if blocked is None:
        yield
        return

    def block(module: nn.Module, args: object, scores: Tensor) -> Tensor:
        return scores.masked_fill(blocked, torch.finfo(scores.dtype).min)

    handle = attn.hook_attn_scores.register_forward_hook(block)
    try:
        yield
    finally:
        handle.remove()


def _modules(model: Internals) -> Iterator[nn.Module]:
    for block in model.blocks:
        yield from block.modules()


class _Masks:
    """Rotary positions, and which keys each new position sees: made once for all layers alike."""

    def __init__(self, blocked: Bool[Tensor, "batch 1 pos all"] | None) -> None:
        self.blocked = blocked
        self._mask: Tensor | None = None
        self._made: dict[tuple[int, int, int], tuple[Positions, Seen | None]] = {}

    def of(
        self, mask: Int[Tensor, "batch all"] | None, window: int, n_past: int, n_keys: int
    ) -> tuple[Positions, Seen | None]:
        """``mask`` is the attention mask. Seen is None where causality alone decides."""
        if mask is not self._mask:
            self._mask, self._made = mask, {}
        key = min(window, n_keys), n_past, n_keys
        if key not in self._made:
            if mask is not None and bool((mask == 1).all()):
                mask = None
            self._made[key] = _positions(mask, n_keys), self._seen(mask, *key)
        return self._made[key]

    def _seen(
        self, mask: Int[Tensor, "batch all"] | None, window: int, n_past: int, n_keys: int
    ) -> Seen | None:
        if mask is None and window == n_keys and not n_past and self.blocked is None:
            return None
        query, key = torch.arange(n_past, n_keys)[:, None], torch.arange(n_keys)[None]
        seen: Tensor = (key <= query) & (key > query - window)
        if mask is not None:
            # A pad sees itself: seeing nothing would make it NaN, and NaN times zero weight is NaN.
            seen = (seen & mask.bool()[:, None, None]) | (key == query)
        return seen if self.blocked is None else seen & ~self.blocked


def _positions(mask: Int[Tensor, "batch all"] | None, n_keys: int) -> Positions:
    if mask is None:
        return torch.arange(n_keys)[None]
    return (mask.cumsum(dim=1) - 1).clamp_(min=0)


Apply = Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]


def _each_token(mask: Bool[Tensor, "batch pos"] | None) -> Apply:
    """Applies a function of single positions to those that hold a token; others become 0."""
    if mask is None or bool(mask.all()):
        return lambda f, x: f(x)
    places = mask.flatten().nonzero()[:, 0]

    def apply(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        if x.shape[:2] != mask.shape:
            return f(x)
        out = f(rearrange(x, "batch pos d -> (batch pos) d").index_select(0, places))
        whole = out.new_zeros(mask.numel(), out.shape[-1]).index_copy_(0, places, out)
        return whole.unflatten(0, mask.shape)

    return apply


def _fused(module: Internals, masks: _Masks, each: Apply) -> Forward | None:
    from transformer_lens.components import Attention, GatedMLP, GroupedQueryAttention, RMSNorm

    # Exact types: a subclass may compute something else.
    if type(module) in (RMSNorm, GemmaNorm):
        return _norm(module)
    if type(module) is GatedMLP and not module.cfg.is_layer_norm_activation():
        return _gated_mlp(module, each)
    if type(module) in (Attention, GroupedQueryAttention) and _plain_attention(module):
        return _attention(module, masks)
    return None


def _norm(module: Internals) -> Forward:
    own = module.forward

    def forward(x: Float[Tensor, "*batch length"]) -> Float[Tensor, "*batch length"]:
        if watched(module.hook_scale, module.hook_normalized):
            return own(x)
        x = x.float()
        # torch's own rms_norm is as many passes over memory as TransformerLens's on a CPU.
        squares = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_()
        return (x * squares.div_(x.shape[-1]).add_(module.eps).rsqrt_()).mul_(module.w)

    return forward


def _gated_mlp(module: Internals, each: Apply) -> Forward:
    own = module.forward

    def mlp(x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        gate = module.act_fn(F.linear(x, module.W_gate.T))
        linear = F.linear(x, module.W_in.T)
        inner = torch.addcmul(module.b_in.to(gate.dtype), gate, linear)
        return F.linear(inner, module.W_out.T, module.b_out)

    def forward(x: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"]:
        if watched(module.hook_pre, module.hook_pre_linear, module.hook_post):
            return own(x)
        return each(mlp, x)

    return forward


def _plain_attention(attn: Internals) -> bool:
    """Whether an attention layer is rotary, causal and nothing else that changes the scores."""
    cfg = attn.cfg
    return (
        cfg.positional_embedding_type == "rotary"
        and cfg.rotary_dim == cfg.d_head
        and (attn._attention_dir_override or cfg.attention_dir) == "causal"
        and not cfg.rotary_adjacent_pairs
        and not cfg.attn_scores_soft_cap > 0
        and not cfg.original_architecture.startswith("Olmo")
        and not any(
            getattr(cfg, name, None)
            for name in (
                "clip_qkv",
                "load_in_4bit",
                "ungroup_grouped_query_attention",
                "use_attention_sinks",
                "use_attn_in",
                "use_attn_result",
                "use_dynamic_ntk_rope",
                "use_logn_attn",
                "use_split_qkv_input",
            )
        )
    )


def _attention(attn: Internals, masks: _Masks) -> Forward:
    own = attn.forward
    scale = 1.0 / attn.attn_scale

    def forward(
        query_input: Tensor,
        key_input: Tensor,
        value_input: Tensor,
        past_kv_cache_entry: Internals = None,
        additive_attention_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_bias: Tensor | None = None,
    ) -> Float[Tensor, "batch pos d_model"]:
        if (
            watched(attn.hook_attn_scores, attn.hook_pattern)
            or additive_attention_mask is not None
            or position_bias is not None
        ):
            with _blocking(attn, masks.blocked):
                return own(
                    query_input,
                    key_input,
                    value_input,
                    past_kv_cache_entry,
                    additive_attention_mask,
                    attention_mask,
                    position_bias,
                )
        q, k, v = attn.calculate_qkv_matrices(query_input, key_input, value_input)
        n_past = 0
        if past_kv_cache_entry is not None:
            n_past = past_kv_cache_entry.past_keys.size(1)
            k, v = past_kv_cache_entry.append(k, v)
        n_keys = k.shape[1]
        if n_keys > attn.rotary_cos.shape[0]:
            attn._extend_rotary_embeddings(min(attn.cfg.n_ctx, 2 * n_keys))
        window = attn.cfg.window_size if attn.attn_type == "local" else n_keys
        positions, seen = masks.of(attention_mask, window, n_past, n_keys)
        q = attn.hook_rot_q(_rotated(attn, q, positions[:, n_past:]))
        k = attn.hook_rot_k(_rotated(attn, k, positions))
        z = F.scaled_dot_product_attention(
            rearrange(q, HEADS_FIRST),
            rearrange(k, HEADS_FIRST),
            rearrange(v, HEADS_FIRST).to(k.dtype),
            attn_mask=seen,
            is_causal=seen is None,
            scale=scale,
            enable_gqa=q.shape[2] != k.shape[2],
        )
        z = attn.hook_z(z.transpose(1, 2))
        # The weights lie as the checkpoint's (d_model, head × d_head): flattening is a view.
        z = rearrange(z, "batch pos head d_head -> batch pos (head d_head)")
        weights = rearrange(attn.W_O, "head d_head d_model -> d_model (head d_head)")
        return F.linear(z, weights, attn.b_O)

    return forward


def _rotated(
    attn: Internals, x: Float[Tensor, "batch pos head d_head"], positions: Int[Tensor, "rows pos"]
) -> Float[Tensor, "batch pos head d_head"]:
    """The rotary embedding in three passes; the tables repeat their first half in the second."""
    half = x.shape[-1] // 2
    cos = attn.rotary_cos[positions][:, :, None]
    sin = attn.rotary_sin[positions][:, :, None, :half]
    x = x.to(cos.dtype)
    out = x * cos
    out[..., :half].addcmul_(x[..., half:], sin, value=-1)
    out[..., half:].addcmul_(x[..., :half], sin)
    return out
