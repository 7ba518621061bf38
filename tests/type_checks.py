"""Which functions beartype checks in tests."""

from beartype import beartype


def checked(thing):
    """Everything but functions inside functions: those would be decorated anew at every call."""
    return thing if "<locals>" in getattr(thing, "__qualname__", "") else beartype(thing)
