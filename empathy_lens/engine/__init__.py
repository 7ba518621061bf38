"""Forward passes: the room where a model reads, scores and continues tokens.

In: a model and texts or tokens, and whatever hooks are on the model. Out: pooled ``resid_post``,
logits, log-probabilities of candidate continuations, projections token by token.
One key-value cache serves both backends; the language-model head is computed only where it is
read; blocks are fused where no hook looks inside.

>>> values, n_tokens = pooled_resid_post(model, [("prompt", "completion")], layers=[8, 12])
>>> values.shape  # item, layer, d_model
"""

from .continuations import Scored, read_continuations
from .fused import fused_blocks
from .key_values import KeyValues, Reading, read, read_last
from .logits import (
    KeyValueCache,
    can_resume,
    early_residual,
    is_finite,
    last_logits,
    new_cache,
    resid_post_cache,
    resolve_layers,
    resumed_residual,
    take_rows,
    token_log_probs,
    unembed,
)
from .pooling import (
    BATCH_TOKENS,
    PaddingSide,
    Settings,
    pooled_batches,
    pooled_resid_post,
    read_texts,
)
from .precision import (
    Precision,
    PrecisionChoice,
    check_precision,
    choose_precision,
    computed_provenance,
    unmeasured,
)
from .token_embeddings import mean_token_embedding
from .token_projections import (
    TokenExample,
    TokenProjections,
    TokenViews,
    shown_tokens,
    token_projections,
)
from .tokens import (
    EncodedText,
    encode,
    encode_alone,
    encode_pieces,
    encode_prompt,
    pad_batch,
    pad_id,
    plain_ids,
    render_prompt,
)
from .tokens_read import ShownTokens, show_tokens

__all__ = [
    "BATCH_TOKENS",
    "EncodedText",
    "KeyValueCache",
    "KeyValues",
    "PaddingSide",
    "Precision",
    "PrecisionChoice",
    "Reading",
    "Scored",
    "Settings",
    "ShownTokens",
    "TokenExample",
    "TokenProjections",
    "TokenViews",
    "can_resume",
    "check_precision",
    "choose_precision",
    "computed_provenance",
    "early_residual",
    "encode",
    "encode_alone",
    "encode_pieces",
    "encode_prompt",
    "fused_blocks",
    "is_finite",
    "last_logits",
    "mean_token_embedding",
    "new_cache",
    "pad_batch",
    "pad_id",
    "plain_ids",
    "pooled_batches",
    "pooled_resid_post",
    "read",
    "read_continuations",
    "read_last",
    "read_texts",
    "render_prompt",
    "resid_post_cache",
    "resolve_layers",
    "resumed_residual",
    "show_tokens",
    "shown_tokens",
    "take_rows",
    "token_log_probs",
    "token_projections",
    "unembed",
    "unmeasured",
]
