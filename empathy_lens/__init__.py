"""Find a behavioural concept as a direction in a language model, test it, and steer with it.

What this module offers is loaded when it is first used, so that importing it is quick:

>>> import empathy_lens as el
>>> model = el.load_model("embedded")
>>> pairs = el.pairs_from(positive=honest, negative=dishonest, concept="honesty")
>>> activations = el.extract_activations(model, pairs)
>>> direction = el.fit_direction(activations, el.select_layer(activations).layer)

Everything else is in the rooms below: ``data``, ``models``, ``activations``, ``directions``,
``evidence``, ``steering``, ``games``, ``views`` and what they stand on.
"""

from __future__ import annotations

import logging
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .activations import extract_activations
    from .data import load_pairs, pairs_from
    from .directions import fit_direction
    from .engine import show_tokens
    from .evidence import evidence_card
    from .evidence.validation import select_layer, validate_direction
    from .games.language_model import play_games
    from .models import load_model
    from .steering import ablate_direction, add_direction, generate_steered
    from .types import ContrastivePair
    from .views import token_view

_ROOM_OF = {
    "ContrastivePair": "types",
    "ablate_direction": "steering",
    "add_direction": "steering",
    "evidence_card": "evidence",
    "extract_activations": "activations",
    "fit_direction": "directions",
    "generate_steered": "steering",
    "load_model": "models",
    "load_pairs": "data",
    "pairs_from": "data",
    "play_games": "games.language_model",
    "select_layer": "evidence.validation",
    "show_tokens": "engine",
    "token_view": "views",
    "validate_direction": "evidence.validation",
}

__all__ = [
    "ContrastivePair",
    "__version__",
    "ablate_direction",
    "add_direction",
    "evidence_card",
    "extract_activations",
    "fit_direction",
    "generate_steered",
    "load_model",
    "load_pairs",
    "pairs_from",
    "play_games",
    "select_layer",
    "show_tokens",
    "token_view",
    "validate_direction",
]

__version__ = version("empathy-lens")

# Silent unless the program that uses the library, or --verbose, asks for it.
logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> object:
    if name not in _ROOM_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_ROOM_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
