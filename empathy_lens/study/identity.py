"""Which run this is: an id, a date, and the code that runs."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import input_hash
from ..results import RunIdentity

ROOT = Path(__file__).resolve().parents[2]
CODE = ("empathy_lens", "experiments", "data")
"""Folders of a checkout in which a change makes it another code than its commit's."""


def new_identity(asked: Any) -> RunIdentity:
    """The identity of a run that starts now; ``asked`` are its settings and inputs, JSON-like.

    The id follows from ``asked`` and the date. The date is that of ``SOURCE_DATE_EPOCH`` where it
    is set: two equal runs are then one and the same, byte for byte. Raises InputError where it is
    no number of seconds.
    """
    moment = _moment()
    started = moment.isoformat(timespec="seconds").replace("+00:00", "Z")
    identity = input_hash([asked, moment.isoformat()])[:12]
    return RunIdentity(identity, started, version("empathy-lens"), code_commit())


def _moment() -> datetime:
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if not given:
        return datetime.now(UTC)
    try:
        return datetime.fromtimestamp(int(given), UTC)
    except (ValueError, OverflowError, OSError):
        raise InputError(
            f"SOURCE_DATE_EPOCH: expected whole seconds since 1970, got {given!r}"
        ) from None


@cache
def code_commit(root: Path = ROOT) -> str | None:
    """The commit of the checkout that the package is in, ``-dirty`` where its code was changed.

    None where it is in none, as when installed from a wheel, or where git is not at hand.
    """
    if not (root / ".git").exists():
        return None
    ask = ("git", "--no-optional-locks", "status", "--porcelain=v2", "--branch", "--", *CODE)
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(ask, cwd=root, env=plain, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError, UnicodeDecodeError):
        return None
    oid = "# branch.oid "
    lines = done.stdout.splitlines()
    commit = next((line.removeprefix(oid) for line in lines if line.startswith(oid)), "")
    if not commit or not commit.isalnum():  # "(initial)" before the first commit
        return None
    return commit if all(line.startswith("#") for line in lines) else f"{commit}-dirty"
