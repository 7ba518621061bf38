"""What every script shares: errors as one clear message, and progress that stays out of pipes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import EmpathyLensError, InputError

__all__ = ["clear_errors", "parse_numbers"]


FROM_LAST_STAGE = "Run again with --resume to go on from the last finished stage."


@contextmanager
def clear_errors(go_on: str = FROM_LAST_STAGE) -> Iterator[None]:
    """Turns what a user can mend into one message and exit code 2, and Ctrl-C into 130.

    ``go_on`` says after Ctrl-C how to go on. A bug keeps its traceback.
    """
    try:
        yield
    except EmpathyLensError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except OSError as error:
        if error.filename is None and error.strerror is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print(f"interrupted; nothing half-written is left. {go_on}", file=sys.stderr)
        # Threads of torch may still be busy: leave without waiting for them.
        sys.stderr.flush()
        sys.stdout.flush()
        os._exit(130)


def parse_numbers(option: str, text: str) -> tuple[float, ...]:
    """Numbers as in ``-4,0,4``. Raises InputError that names the option for anything else."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{option}: expected numbers such as -4,0,4, got {text!r}") from None
