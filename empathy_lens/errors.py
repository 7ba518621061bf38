"""Errors that a user can act on.

Every message says what was expected, what came, and how to mend it. The scripts
turn these, and only these, into one line and exit code 2; anything else is a bug and
keeps its traceback.
"""

import difflib
from collections.abc import Iterable

__all__ = [
    "DegenerateDataError",
    "EmpathyLensError",
    "InputError",
    "ModelError",
    "NonFiniteError",
    "did_you_mean",
]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'minilm'?`` for a message about a name that is none, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


class EmpathyLensError(Exception):
    """Base of all errors that are the caller's to mend."""


class InputError(EmpathyLensError, ValueError):
    """A file, argument or value is not what the function accepts."""


class ModelError(EmpathyLensError, RuntimeError):
    """A model cannot be found, loaded, or used the way that was asked."""


class NonFiniteError(EmpathyLensError, FloatingPointError):
    """A NaN or infinity appeared where activations or logits were computed."""


class DegenerateDataError(EmpathyLensError, ValueError):
    """The data cannot support the statistic asked for (one class, constant scores, one group)."""
