"""Loading models: the only room that knows TransformerLens versions, devices and dtypes.

In: a name (``embedded``, a hub id, a folder). Out: a HookedTransformer where the installed
TransformerLens and the architecture allow it, else a TransformerBridge, with a ``ModelCard``.
Weights are never processed (no LayerNorm folding, no centring), so ``blocks.L.hook_resid_post``
equals the hub model's block output and directions carry over to other tools.

>>> model = load_model("google/gemma-2-9b-it", dtype="bfloat16")
>>> model_card(model).provenance.weights_hash
"""

from .checkpoint import ModelSource, embedded_key, locate_model
from .devices import (
    DTYPES,
    available_devices,
    bfloat16_instructions,
    model_device,
    not_finite_advice,
    resolve_device,
    resolve_dtype,
)
from .embedded import embedded_folder, embedded_state, fetch_embedded
from .hooked import HOOKED_AVAILABLE, Internals
from .hub import HubConfig, HubModel, load_hub_config, load_tokenizer, parameters_only
from .loading import (
    Backend,
    ModelCard,
    check_made_on,
    current_provenance,
    load_model,
    model_card,
    weights_hash,
)
from .token_rule import BosRule, TokenRule, render_chat, token_rule
from .zoo import EMBEDDED_MODELS

__all__ = [
    "DTYPES",
    "EMBEDDED_MODELS",
    "HOOKED_AVAILABLE",
    "Backend",
    "BosRule",
    "HubConfig",
    "HubModel",
    "Internals",
    "ModelCard",
    "ModelSource",
    "TokenRule",
    "available_devices",
    "bfloat16_instructions",
    "check_made_on",
    "current_provenance",
    "embedded_folder",
    "embedded_key",
    "embedded_state",
    "fetch_embedded",
    "load_hub_config",
    "load_model",
    "load_tokenizer",
    "locate_model",
    "model_card",
    "model_device",
    "not_finite_advice",
    "parameters_only",
    "render_chat",
    "resolve_device",
    "resolve_dtype",
    "token_rule",
    "weights_hash",
]
