"""Do the texts of a pair keep to the rules of their game and to the figures that were set?"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from ..types import ContrastivePair

WORDS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen
fifteen sixteen seventeen eighteen nineteen twenty""".split()  # noqa: SIM905 - easier to read


@dataclass(frozen=True)
class Rule:
    """A figure in the texts, found by ``pattern``, must satisfy ``holds``."""

    pattern: str
    holds: Callable[[int], bool]
    says: str


def _at_most(limit: int) -> Callable[[int], bool]:
    return lambda n: n <= limit


MENTIONS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "food_delivery": {"B": r"\bB\b", "D": r"\bD\b"},
        "the_listener": {"the door": r"\b(?:door|exit|gate|handle|hearts?)\b"},
        "the_maze": {"coins": r"\b(?:coins?|purse|\d\d)\b"},
        "the_protector": {"coins or a score": r"\b(?:coins?|score|points?|prize)\b"},
        "the_duel": {"the match": r"\b(?:health|hits?|turns?|match|duel)\b"},
    }
)
"""What the prompt must speak of. The games are told in many words, so these are wide."""

RULES: Mapping[str, tuple[Rule, ...]] = MappingProxyType(
    {
        "food_delivery": (
            Rule(
                r"\b(?:deliver(?:y|ies|ed)|litres?) (?:is|are|was|counts|scores?) (\d+) points",
                lambda n: n % 20 == 0,
                "a delivery is worth 20 points",
            ),
        ),
        "the_listener": (
            Rule(r"\b(\d+) hearts\b", _at_most(10), "the player has 10 hearts at most"),
        ),
        "the_maze": (
            Rule(
                r"\b(\d+)(?: coins)? (?:a|per|each) (?:door|try)\b",
                lambda n: n == 40,
                "a door costs 40 coins",
            ),
            Rule(
                r"\b[Yy]ou (?:still )?(?:hold|have) (\d+) coins",
                _at_most(100),
                "the player has 100 coins at most",
            ),
        ),
        "the_duel": (Rule(r"\b(\d+) health\b", _at_most(100), "health is 100 at most"),),
    }
)


def broken_facts(pair: ContrastivePair, facts: Sequence[str] = ()) -> tuple[str, ...]:
    """What a pair says against its game, or leaves out; empty where all is in order.

    ``facts`` are sentences whose figures the prompt must state, in digits or in words.
    """
    faults = [
        f"the prompt does not mention {name}"
        for name, pattern in MENTIONS.get(pair.scenario_id, {}).items()
        if not re.search(pattern, pair.prompt, re.IGNORECASE)
    ]
    for rule in RULES.get(pair.scenario_id, ()):
        for text in (pair.prompt, pair.positive, pair.negative):
            wrong = [n for n in re.findall(rule.pattern, text) if not rule.holds(int(n))]
            if wrong:
                faults.append(f"{rule.says}, a text says {wrong[0]}")
                break
    stated = _figures(pair.prompt)
    faults += [
        f"the prompt leaves out the figure {figure} ({fact})"
        for fact in facts
        for figure in sorted(_figures(fact) - stated)
    ]
    return tuple(faults)


def _figures(text: str) -> set[int]:
    spelled = {n for n, word in enumerate(WORDS) if re.search(rf"\b{word}\b", text.lower())}
    # "T12" and "12th" state twelve, "D12" is a cell.
    digits = re.findall(r"(?<![A-SU-Za-z\d.])T?(\d+)(?![\d])", text)
    return spelled | {int(d) for d in digits if len(d) < 10}
