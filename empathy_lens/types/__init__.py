"""The values that flow through the library: text, activations, directions, figures.

Everything here is frozen and free of model code; the rooms make these values from one another and
pass nothing else. Axis names used in the shapes: ``item`` (one text: one side of a pair, or one
completion), ``layer`` (an extracted layer, in the order of ``sites``), ``d_model``, and ``batch``,
``pos``, ``d_vocab`` as in TransformerLens.

>>> Site(12).hook_name
'blocks.12.hook_resid_post'
"""

from .activations import EDITED, Activations, Direction, Pooling, Provenance, Site, as_unit
from .estimates import Estimate, Optionally
from .models import Decoder, HookedModel, ModelConfig, Progress, Tokenizer
from .texts import (
    Completion,
    Concept,
    ContrastivePair,
    PlainQuestion,
    RubricCompletion,
    Scenario,
    SteeringPrompt,
    UnpairedTexts,
)

__all__ = [
    "EDITED",
    "Activations",
    "Completion",
    "Concept",
    "ContrastivePair",
    "Decoder",
    "Direction",
    "Estimate",
    "HookedModel",
    "ModelConfig",
    "Optionally",
    "PlainQuestion",
    "Pooling",
    "Progress",
    "Provenance",
    "RubricCompletion",
    "Scenario",
    "Site",
    "SteeringPrompt",
    "Tokenizer",
    "UnpairedTexts",
    "as_unit",
]
