"""What every self-contained page shares: its templates, and the policy that seals it."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

__all__ = ["security_policy", "template_text"]


@cache
def template_text(name: str) -> str:
    """A file of ``views/templates``."""
    return (files(__package__) / "templates" / name).read_text(encoding="utf-8")


def security_policy(*scripts: str) -> str:
    """A Content-Security-Policy that lets exactly these inline scripts run and nothing load.

    The scripts are named by hash rather than by ``'unsafe-inline'``: should a text ever get past
    the escaping, the browser still refuses to run it.
    """
    hashes = [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts
    ]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes) or "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
