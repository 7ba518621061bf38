"""What a card claims: one table, a row a claim, with the rule that each is judged by.

A claim speaks of figures, and every figure has a null value (nothing is there) and a smallest
effect that matters (less is there than anybody would use). *Supported*: each figure's whole
interval lies above its null value, and its p, of the same method as the interval and corrected for
all claims of the card (Holm 1979), is at most 0.05. *Refuted*: a figure's whole interval lies below
the smallest effect that matters. *Cannot tell*: all else. A claim with several figures needs all of
them, which needs no further correction (Berger 1982): its p is the largest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..types import Estimate
from .card import Ruling
from .contrasts import EQUIVALENT

ALPHA = 0.05
SMALLEST_AUROC = 0.6
SMALLEST_GAIN = 0.05
SMALLEST_CORRELATION = 0.1
SMALLEST_D_Z = 0.2
SMALLEST_SLOPE = 0.01
MIN_PROMPTS = 30
"""Prompts for reporting below which steering is not judged: the prompt is the unit."""


@dataclass(frozen=True)
class Claim:
    """A row of the table. ``figures`` say what is measured, on ``test_set``, against ``null``;
    ``matters`` is the smallest effect that matters, and ``why``; ``and_`` what else must hold."""

    name: str
    question: str
    figures: str
    test_set: str
    null: str
    matters: str
    why: str
    and_: str = ""
    corrected: bool = True

    @property
    def rule(self) -> str:
        """The rule in one sentence, as a card prints it."""
        if not self.corrected:
            return (
                f"{self.figures} on {self.test_set}; supported where {self.null}, refuted where "
                f"{self.matters} ({self.why}), else cannot tell"
            )
        further = f", and {self.and_}" if self.and_ else ""
        return (
            f"{self.figures} on {self.test_set}; supported where the whole 95% interval lies above "
            f"{self.null} with p at most 0.05 after Holm over the card's claims{further}; refuted "
            f"where it lies below {self.matters} ({self.why}); else cannot tell"
        )


_AUROC_MATTERS = f"AUROC {SMALLEST_AUROC:g}"
_AUROC_WHY = "below it, three comparisons in five, nobody would use it as a reader"
_GAIN_MATTERS = f"a gain of {SMALLEST_GAIN:g}"
_GAIN_WHY = "one comparison in twenty; a bag of words is cheaper than a model"
_OVER_WORDS = (
    "gain in AUROC over readers of words (the one that folds of train chose, and two that read the "
    "model's own mean token embedding)"
)

SEPARATES = Claim(
    "separates the classes",
    "Do held-out positive texts project higher than negative ones?",
    "AUROC",
    "test pairs",
    "0.5",
    _AUROC_MATTERS,
    _AUROC_WHY,
)
BEATS_RANDOM = Claim(
    "separates better than random directions",
    "Is that more than a direction without meaning would do?",
    "share of random directions, oriented on train, that separate the test pairs as well",
    "test pairs",
    "that share, which is its p, is at most 0.05 after Holm over the card's claims",
    "the whole interval of the AUROC lies below the random directions' 95% quantile",
    "one random direction in twenty does better",
    corrected=False,
)
BEYOND_WORDS = Claim(
    "beyond words",
    "Does it read what readers of words alone do not?",
    f"{_OVER_WORDS}, and the probe's coefficient in a conditional logit given their scores",
    "test pairs",
    "0",
    _GAIN_MATTERS,
    _GAIN_WHY,
    "words leave room (AUROC below 0.9); never refuted where the coefficient's interval lies "
    "above 0",
)
MASKED = Claim(
    "holds with the telling words masked",
    "Does it still read the texts, and more than words do, when the telling words are gone?",
    f"AUROC, and {_OVER_WORDS}, fitted on texts masked alike and on whole ones",
    "test pairs with the most telling words masked",
    "0.5 and 0",
    f"{_AUROC_MATTERS} or {_GAIN_MATTERS}",
    _GAIN_WHY,
)
HARD = Claim(
    "holds where words and deeds part",
    "Does it follow the deed where the words say otherwise?",
    "d_z of the differences within pairs, and the probe's coefficient in a conditional logit given "
    "the scores of readers of words",
    "hard pairs",
    "0",
    f"d_z {SMALLEST_D_Z:g}",
    "a small effect by Cohen's measure: 58 pairs of 100 the right way round",
    "no reader of words does better there",
)
UNSEEN = Claim(
    "holds in scenarios it never saw",
    "Does a direction fitted without a scenario read that scenario, and more than words do?",
    f"mean AUROC within left-out scenarios, and {_OVER_WORDS}, left out alike",
    "train pairs, each scenario left out in turn",
    "0.5 and 0",
    f"{_AUROC_MATTERS} or {_GAIN_MATTERS}",
    _GAIN_WHY,
    "of at least three scenarios none has its interval below 0.5 and at most one in four lies "
    "below it; speaks of these scenarios",
)
RUBRIC = Claim(
    "agrees with the rubric",
    "Do texts that people scored as more of the concept project higher?",
    "partial rank correlation given length, scenario and the scores of readers of words, and gain "
    "in rank correlation over each of these",
    "scored completions",
    "0",
    f"a correlation of {SMALLEST_CORRELATION:g}",
    "a hundredth of the variance",
)
OWN_ACTS = Claim(
    "predicts the model's own acts",
    "Does the projection before an act tell what the model then does?",
    "partial rank correlation given game and turn, and disposition; one game and seed is one unit",
    "the model's own play in the games",
    "0",
    f"a correlation of {SMALLEST_CORRELATION:g}",
    "a hundredth of the variance",
)
MOVES = Claim(
    "moves behaviour",
    "Does adding the direction make the model choose the act?",
    "slope of the action log-odds over the strengths within the damage bound (nats per token and "
    "alpha; the prompt is the unit)",
    f"at least {MIN_PROMPTS} prompts that no setting was chosen on",
    "0",
    f"{SMALLEST_SLOPE:g}",
    "at alpha 4 the odds of an act of 12 tokens change by less than two thirds",
    "at most 5% of random directions of equal norm have such a slope, and of all controls, those "
    "from shuffled labels too; no step in dose surely goes back",
)
CLAIMS: tuple[Claim, ...] = (
    SEPARATES,
    BEATS_RANDOM,
    BEYOND_WORDS,
    MASKED,
    HARD,
    UNSEEN,
    RUBRIC,
    OWN_ACTS,
    MOVES,
)

CONTRAST_NAMES = {"task_focus": "lack of task focus"}


def is_not(contrast: str) -> Claim:
    """The claim that the direction is not that of a contrast set."""
    name = CONTRAST_NAMES.get(contrast, contrast.replace("_", " "))
    return Claim(
        f"is not {name}",
        f"Is it something else than {name}?",
        f"gap that {contrast} pairs show along the direction, as a share of the concept's own",
        f"{contrast} pairs and test pairs",
        f"the whole 95% interval lies within ±{EQUIVALENT:g}",
        "it lies outside of that with p at most 0.05 (sign flips, Holm over contrast sets)",
        "half of the gap or more would be explained by the other concept",
        corrected=False,
    )


@dataclass(frozen=True)
class Part:
    """A figure that a claim rests on, its null value, and the smallest value that matters (None:
    this figure never refutes)."""

    figure: Estimate | None
    null: float
    smallest: float | None

    @property
    def above(self) -> bool:
        """Whether the whole interval lies above the null value."""
        return self.figure is not None and self.figure.low > self.null

    @property
    def too_small(self) -> bool:
        """Whether the whole interval lies below what matters."""
        return (
            self.figure is not None
            and self.smallest is not None
            and self.figure.high < self.smallest
        )


def largest_p(parts: Sequence[Part]) -> float | None:
    """The p of a claim that needs all its parts; None where one has none."""
    figures = [part.figure for part in parts]
    known = [figure.p for figure in figures if figure is not None and figure.p is not None]
    return max(known) if known and len(known) == len(figures) else None


def rule_of_three(
    parts: Sequence[Part], p_holm: float | None, *, conditions: bool = True
) -> Ruling:
    """Supported, refuted or cannot tell, as the module's text says.

    ``conditions``: whether what else the claim needs does hold.
    """
    if any(part.too_small for part in parts):
        return "refuted"
    if p_holm is None or not conditions or not parts:
        return "cannot tell"
    return "supported" if all(part.above for part in parts) and p_holm <= ALPHA else "cannot tell"
