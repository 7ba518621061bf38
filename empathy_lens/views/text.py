"""Text from models and data made fit to be shown: nothing runs, nothing hides, nothing reorders.

Escaping itself is the template's work (autoescape) or ``html.escape``; what is here comes before
it, because some characters do harm without being markup: NUL and other controls, lone
surrogates that no file can hold, and direction overrides that turn the page around.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence

from ..types import Estimate

Value = Estimate | float | int | str | None
"""What a table's cell or a fact may hold; a yes or no is a number."""

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_LINE_ENDS = re.compile("\r\n?|[\x85\u2028\u2029]")


def visible(text: str) -> str:
    """The text with controls, direction overrides and lone surrogates spelt out as ⟨U+202E⟩.

    Tabs and newlines stay, and so do the marks that scripts and emoji need (ZWJ, LRM, RLM).
    """
    plain = _LINE_ENDS.sub("\n", text)
    return _UNSEEN.sub(lambda match: f"⟨U+{ord(match[0]):04X}⟩", plain)


def shortened(text: str, limit: int) -> str:
    """At most ``limit`` characters of the visible text, saying how many were left off."""
    whole = visible(text)
    if len(whole) <= limit:
        return whole
    return f"{whole[:limit]}… ({len(whole) - limit:,} more characters)"


def prose(text: str, limit: int) -> str:
    """A saved sentence for reading: true minus signs, and names without their underscores."""
    with_minus = re.sub(r"(?<![\w−-])-(?=[\d.])", "−", shortened(text, limit))
    return re.sub(r"(?<=[a-z0-9])_(?=[a-z0-9])", " ", with_minus)


def plotly_text(text: str, limit: int = 240, width: int = 60) -> str:
    """Text for a plotly label or hover box, which reads a little HTML of its own.

    Escaped, cut at ``limit`` characters and broken into lines of about ``width``.
    """
    lines: list[str] = []
    for line in shortened(text, limit).split("\n"):
        while len(line) > width:
            cut = line.rfind(" ", 1, width) + 1 or width
            lines.append(line[:cut])
            line = line[cut:]
        lines.append(line)
    # A pair of dollar signs would be handed to MathJax.
    return "<br>".join(html.escape(line).replace("$", "&#36;") for line in lines)


def json_island(data_json: str) -> str:
    """JSON that can stand inside a script element: no character of it can end the element."""
    for character in "<>&\u2028\u2029":
        data_json = data_json.replace(character, f"\\u{ord(character):04x}")
    # A lone surrogate cannot be written as UTF-8; as an escape it is still what the data said.
    return re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", data_json)


def number_text(value: float | int | None, digits: int = 3) -> str:
    """A number for reading: three decimals below 100, fewer above, – where there is none."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−") if abs(value) < 10**18 else f"{value:.3g}"
    if not math.isfinite(value):
        return "–"
    if abs(value) < 1e-12:  # What rounding leaves of zero.
        value = 0.0
    if value and (abs(value) < 10**-digits or abs(value) >= 1e7):
        return f"{value:.2e}".replace("-", "−")
    return f"{value:,.{digits if abs(value) < 100 else 1}f}".replace("-", "−")


def estimate_text(estimate: Estimate) -> str:
    """``0.912 [0.850, 0.961], p = 0.004``."""
    low, high = number_text(estimate.low), number_text(estimate.high)
    text = f"{number_text(estimate.value)} [{low}, {high}]"
    return text if estimate.p is None else f"{text}, {p_text(estimate.p)}"


def value_text(value: Value, limit: int = 400) -> str:
    """What a cell shows: a text, cut at ``limit``, an estimate with its interval, a number."""
    if isinstance(value, str):
        return shortened(value, limit)
    return estimate_text(value) if isinstance(value, Estimate) else number_text(value)


def p_text(p: float | int) -> str:
    """``p = 0.004``, or ``p < 0.001``; kept on one line."""
    shown = "p < 0.001" if p < 0.001 else f"p = {number_text(float(p))}"
    return shown.replace(" ", "\u00a0")


def signed_text(value: float | int) -> str:
    """``+2``, ``0`` or ``−0.5``: as many digits as there are."""
    return f"{value:+.4g}".replace("-", "−") if value else "0"


def ranges(numbers: Sequence[int]) -> str:
    """``0–3, 5`` for 0, 1, 2, 3, 5."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] == number - 1:
            parts[-1] = [parts[-1][0], number]
        else:
            parts.append([number])
    return ", ".join("–".join(map(str, part)) for part in parts)


def words(name: str) -> str:
    """A name of the data or the code as it reads in a sentence: without underscores."""
    return name.replace("_", " ")
