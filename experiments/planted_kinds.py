"""Kinds of study that are planted, and which claims are true of each.

A claim is true, false, or neither (None): not asked of the kind, or without a truth there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from empathy_lens.evidence.claims import (
    BEATS_RANDOM,
    BEYOND_WORDS,
    HARD,
    MASKED,
    MOVES,
    OWN_ACTS,
    RUBRIC,
    SEPARATES,
    UNSEEN,
    is_not,
)
from empathy_lens.evidence.findings import CONTRASTS

N_SCENARIOS = 5


@dataclass(frozen=True)
class Size:
    """How many pairs, and situations with three scored texts each, a study has."""

    name: str
    n_test: int
    n_contrast: int
    n_train: int = 70
    n_hard: int = 90
    n_rubric: int = 30


SHIPPED = Size("shipped", n_test=20, n_contrast=24)
LARGE = Size("large", n_test=100, n_contrast=60)
SIZES: Mapping[str, Size] = {size.name: size for size in (SHIPPED, LARGE)}


@dataclass(frozen=True)
class Kind:
    """What carries the label.

    ``deed``: the gap at layer 1 that no text shows, in units of :data:`GAP`. ``agreement``: how
    often a word of the concept is one of its own side's (0.5: words know nothing). ``longer``: how
    many words more the positive side has. On hard pairs words and length say the opposite.
    ``synonyms``: all texts but those of train use the other words. ``sentiment``: the share of the
    deed's gap that sentiment pairs show along the very same axis; then sides also share a large
    variation along it. ``deed_in``: the one scenario that has the deed. ``leaked``: test pairs are
    train pairs. ``steered``: None: not steered.
    """

    name: str
    deed: float = 0.0
    agreement: float = 0.5
    longer: float = 0.0
    synonyms: bool = False
    sentiment: float = 0.0
    n_scenarios: int = N_SCENARIOS
    deed_in: int | None = None
    leaked: bool = False
    n_test: int | None = None
    steered: Literal["acts", "does not"] | None = None


_BEYOND = Kind("signal beyond words", deed=1.0, agreement=0.6)
KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        _BEYOND,
        Kind("none"),
        Kind("words only", agreement=0.65),
        Kind("synonyms only", agreement=0.65, synonyms=True),
        Kind("length only", longer=3.0),
        Kind("leakage", leaked=True),
        replace(_BEYOND, name="one scenario in all", n_scenarios=1),
        replace(_BEYOND, name="one scenario only", deed=3.0, agreement=0.5, deed_in=0),
        replace(_BEYOND, name="6 test pairs with signal", n_test=6),
        Kind("6 test pairs without", n_test=6),
        Kind("sentiment only by half", deed=1.0, sentiment=0.5),
        Kind("sentiment only", deed=1.0, sentiment=1.0),
        replace(_BEYOND, name="steering that acts", steered="acts"),
        replace(_BEYOND, name="steering that does not act", steered="does not"),
    )
}

Truths = dict[str, bool | None]
_IS_NOT = [is_not(name).name for name in CONTRASTS]
_SENTIMENT, _VERBOSITY = is_not("sentiment").name, is_not("verbosity").name


def _truths(*, reads: bool, beyond: bool, is_other: bool | None = False) -> Truths:
    """Whether the direction reads held-out texts, and more than words do, and whether it is one of
    the other concepts. No planted study is played, and only two kinds are steered."""
    truths: Truths = {claim.name: reads for claim in (SEPARATES, BEATS_RANDOM)}
    truths |= {claim.name: beyond for claim in (BEYOND_WORDS, MASKED, HARD, UNSEEN, RUBRIC)}
    truths |= dict.fromkeys(_IS_NOT, None if is_other is None else not is_other)
    return truths | {MOVES.name: None, OWN_ACTS.name: None}


# The deed lies on an axis of its own, on every text and against the words of the hard ones.
_DEED = _truths(reads=True, beyond=True)
# Held-out texts are told apart, by nothing that a reader of words could not tell; where words and
# deeds part, it follows the words.
_WORDS = _truths(reads=True, beyond=False)
# No gap of its own, so there is nothing that another concept's gap could be a share of.
_NOTHING = _truths(reads=False, beyond=False, is_other=None)

TRUTHS: Mapping[str, Truths] = {
    "signal beyond words": _DEED,
    "none": _NOTHING,
    "words only": _WORDS,
    "synonyms only": _WORDS,
    "length only": {**_WORDS, _VERBOSITY: False},  # verbosity pairs differ in length, as much
    "leakage": _NOTHING,  # the direction fits the noise of texts that it is then tested on
    "one scenario in all": {**_DEED, UNSEEN.name: None},  # there is no other to ask
    # Four scenarios of five have no deed: it cannot be learnt without the fifth, nor be seen in
    # them. Whether the rest holds is a matter of how one puts it.
    "one scenario only": {
        **dict.fromkeys(_DEED),
        SEPARATES.name: True,
        BEATS_RANDOM.name: True,
        UNSEEN.name: False,
    },
    "6 test pairs with signal": _DEED,
    "6 test pairs without": _NOTHING,
    # Half the gap is the least that counts as being sentiment.
    "sentiment only by half": {**_DEED, _SENTIMENT: False},
    "sentiment only": {**_DEED, _SENTIMENT: False},
    "steering that acts": {**_DEED, MOVES.name: True},
    "steering that does not act": {**_DEED, MOVES.name: False},
}
