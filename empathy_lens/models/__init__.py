"""Loading models: the only package that knows TransformerLens versions, devices and dtypes.

``load_model`` gives a HookedTransformer where the installed TransformerLens and the
architecture allow it, else a TransformerBridge. Weights are never processed (no LayerNorm
folding, no centring), so ``blocks.L.hook_resid_post`` equals the hub model's block output and
directions can be carried over to other tools.
"""

from .card import ModelCard, model_card
from .devices import model_device, resolve_device, resolve_dtype
from .hooked import HOOKED_AVAILABLE
from .loading import Backend, load_model

__all__ = [
    "HOOKED_AVAILABLE",
    "Backend",
    "ModelCard",
    "load_model",
    "model_card",
    "model_device",
    "resolve_device",
    "resolve_dtype",
]
