"""From texts to pooled residual-stream activations, in memory or on disk.

In: a model and contrastive pairs, scored completions, or any stream of texts. Out: ``Activations``
(item, layer, d_model), pooled over the completion's tokens alone: never BOS, the prompt or pads.
A folder given as ``cache`` keeps what was computed; ``stream_activations`` writes any number of
texts in constant memory and goes on where it was stopped.

>>> activations = extract_activations(model, pairs, layers=[8, 12], cache="cache")
>>> activations.at(12).shape  # item, d_model
"""

from ..engine import (
    Precision,
    PrecisionChoice,
    choose_precision,
    pooled_resid_post,
    resid_post_cache,
    resolve_layers,
)
from .extract import (
    extract_activations,
    extract_completion_poolings,
    extract_completions,
    extract_poolings,
)
from .store import ActivationStore, open_store
from .stream import stream_activations

__all__ = [
    "ActivationStore",
    "Precision",
    "PrecisionChoice",
    "choose_precision",
    "extract_activations",
    "extract_completion_poolings",
    "extract_completions",
    "extract_poolings",
    "open_store",
    "pooled_resid_post",
    "resid_post_cache",
    "resolve_layers",
    "stream_activations",
]
