"""Residual-stream activations of texts, pooled over the completion's tokens.

``plan``     which texts are read together, and which prompts once for all of them
``pooling``  pooled inside the hooks, so that no layer's positions are ever held
``engine``   the plan carried out through ``run_with_cache``
``precision``  bfloat16 on CPUs that have it, and the check that it changes nothing that matters
``extract``  pairs and completions to :class:`~empathy_lens.types.Activations`
``shards``, ``cache``, ``stream``  activations on disk: checked files, reuse, and unbounded streams
"""

from .engine import pooled_resid_post, resid_post_cache, resolve_layers
from .extract import extract_activations, extract_completions, extract_poolings
from .precision import Precision, PrecisionChoice, choose_precision
from .stream import ActivationStore, open_store, stream_activations

__all__ = [
    "ActivationStore",
    "Precision",
    "PrecisionChoice",
    "choose_precision",
    "extract_activations",
    "extract_completions",
    "extract_poolings",
    "open_store",
    "pooled_resid_post",
    "resid_post_cache",
    "resolve_layers",
    "stream_activations",
]
