"""Log-probabilities of given tokens, without ever holding the logits of a whole vocabulary.

Where a few tokens are asked for, the language-model head is a product whose result is read once: in
pieces that stay in the processor's cache, the product and the sum over the vocabulary take about
half as long as one after the other.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .fused import watched
from .logits import not_finite, soft_capped, unembed
from .types import HookedModel

__all__ = ["token_log_probs"]

VOCABULARY = 4096
"""Tokens of the vocabulary in one piece."""
ROWS = 256
"""Rows that are scored together; also how many rows of logits are held where hooks want them."""


def token_log_probs(
    model: HookedModel,
    residual: Float[Tensor, "row d_model"],
    rows: Int[Tensor, "read"],
    tokens: Int[Tensor, "read"],
) -> Float[Tensor, "read"]:
    """Natural log-probability of ``tokens[i]`` after row ``rows[i]`` of the last residual stream.

    A HookedTransformer's final norm, head and soft-cap. Where the head's hook points carry hooks,
    it computes its logits whole. Raises NonFiniteError where a logit is NaN or infinite.
    """
    head = cast(Any, model).unembed
    score = _whole if watched(head.hook_in, head.hook_out) else _in_pieces
    out = torch.empty(len(rows), device=residual.device)
    rows, tokens = rows.to(residual.device), tokens.to(residual.device)
    with torch.no_grad():
        for start in range(0, len(residual), ROWS):
            mine = (rows >= start) & (rows < start + ROWS)
            part = residual[start : start + ROWS]
            out[mine] = score(model, part, rows[mine] - start, tokens[mine])
    return out


def _whole(model: HookedModel, residual: Tensor, rows: Tensor, tokens: Tensor) -> Tensor:
    logits = unembed(model, residual)
    return logits[rows, tokens] - logits.logsumexp(dim=-1)[rows]


def _in_pieces(model: Any, residual: Tensor, rows: Tensor, tokens: Tensor) -> Tensor:
    x = model.ln_final(residual[None])[0]
    weights, bias = model.unembed.W_U, model.unembed.b_U
    columns = x.T.contiguous()
    room = x.new_empty(min(VOCABULARY, weights.shape[1]), len(x))
    sums = []
    for start in range(0, weights.shape[1], VOCABULARY):
        here = slice(start, start + VOCABULARY)
        product = room[: weights.shape[1] - start]
        torch.addmm(bias[here, None], weights[:, here].T, columns, out=product)
        logits = soft_capped(model, product.float())
        highest = logits.amax(dim=0)
        # In place: a new tensor of this size costs as much as what is computed in it.
        sums.append(logits.sub_(highest).exp_().sum(dim=0).log_().add_(highest))
    total = torch.stack(sums).logsumexp(dim=0)
    if not bool(torch.isfinite(total).all()):
        row = int((~torch.isfinite(total)).nonzero()[0, 0])
        raise not_finite(model, f"row {row} of {len(x)}")
    asked = (x[rows] * weights[:, tokens].T).sum(dim=-1) + bias[tokens]
    return soft_capped(model, asked.float()) - total[rows]
