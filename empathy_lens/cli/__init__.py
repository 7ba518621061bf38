"""``empathy-lens``, and what the scripts share with it: options, clear errors, logging, tables.

In go arguments; out come text or JSON and an exit code: 0 ok, 1 a check failed, 2 bad input with
one message, 130 after Ctrl-C. A command composes library functions and computes nothing itself.

    empathy-lens view results/embedded "I stop and give D my water."
"""

from .app import app, main

__all__ = ["app", "main"]
