"""What every self-contained page shares: its templates, and the policy that seals it."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs


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


@cache
def plotly_source() -> str:
    """plotly.js as the installed plotly carries it, fit to stand in a page."""
    return str(get_plotlyjs()).replace("\r", "")


def render(template: str, **values: object) -> str:
    """A page with figures: every value is escaped, only this package's own sources are not."""
    environment = Environment(
        loader=PackageLoader("empathy_lens.views", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    own_js = template_text("tokens.js") + template_text("report.js")
    return environment.get_template(template).render(
        policy=security_policy(plotly_source(), own_js),
        plotly_js=Markup(plotly_source()),
        own_js=Markup(own_js),
        css=Markup(template_text("tokens.css") + template_text("report.css")),
        **values,
    )
