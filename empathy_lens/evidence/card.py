"""The evidence card: everything that is known of one direction, and the rules of a verdict.

A claim is judged by the rule of three (:func:`above`) and is as strong as its weakest condition
(:func:`weakest`); the claims themselves are in ``verdicts.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, JsonValue

from ..data import Overlap
from ..types import Estimate
from .contrasts import Contrast
from .measure import Figures
from .nulls import NullDistribution
from .selection import EstimatorRow, Selection
from .transfer import HardPairs, MaskedPairs

Ruling = Literal["supported", "refuted", "cannot tell", "not supported"]
"""What a rule says of a claim. "not supported" is of cards older than "refuted": there the figure
itself did not reach above the null value, whatever its interval."""


@dataclass(frozen=True)
class Verdict:
    """A claim in plain words, what the rule says of it, and the numbers that say so."""

    claim: str
    verdict: Ruling
    because: str


@dataclass(frozen=True)
class Headline:
    """One sentence: the probe against the best reader of words, and which reader that is."""

    text: str
    best_baseline: str | None


@dataclass(frozen=True)
class Nulls:
    """AUROCs of what is not the concept: random directions on our test pairs, shuffled labels on
    our train pairs, and each contrast's own direction on our test pairs."""

    random_directions: NullDistribution | None = None
    shuffled_labels: NullDistribution | None = None
    other_contrasts: Figures = field(default_factory=dict)


Overlaps = Annotated[tuple[Overlap, ...], Field(exclude_if=lambda overlaps: not overlaps)]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What :func:`evidence_card` measured: the content of ``evidence.json``.

    AUROCs lie in [0, 1], 0.5 = chance. A figure is None where the data cannot support it; then
    ``not_computed`` says why. ``probe`` is the direction's AUROC on the test pairs, which no
    choice has seen. ``overlaps`` is what train and test share; where they share anything, no claim
    on test is supported. ``delta_vs_baselines`` are probe minus each baseline on its items; the
    headline ``delta_vs_best_baseline`` is the one against the baseline with the highest test
    AUROC, a choice that can only be to the probe's disadvantage. ``leave_one_..._out`` are AUROCs
    on each part of train by a direction that never saw it, with their mean within parts.
    ``selection`` is the choice of layer, estimator and pooling by nested cross-validation, beside
    the card's own direction. ``rubric_partial`` is ``rubric`` given the texts' length and
    scenario. ``steering`` is the content of ``steering_examples.json``.
    """

    headline: Headline = Headline("", None)
    layer: int
    estimator: str
    pooling: str
    n_train_pairs: int
    n_test_pairs: int
    overlaps: Overlaps = ()
    probe: Estimate | None = None
    baselines: Figures = field(default_factory=dict)
    delta_vs_best_baseline: Estimate | None = None
    delta_vs_baselines: Figures = field(default_factory=dict)
    nulls: Nulls = Nulls()
    permutation_p_corrected: float | None = None
    leave_one_scenario_out: Figures = field(default_factory=dict)
    leave_one_scenario_out_mean: Estimate | None = None
    leave_one_source_out: Figures = field(default_factory=dict)
    leave_one_source_out_mean: Estimate | None = None
    leave_one_format_out: Figures = field(default_factory=dict)
    leave_one_format_out_mean: Estimate | None = None
    lexically_ablated: MaskedPairs | None = None
    hard_pairs: HardPairs | None = None
    contrasts: Mapping[str, Contrast] = field(default_factory=dict)
    estimators: Mapping[str, EstimatorRow] = field(default_factory=dict)
    selection: Selection | None = None
    rubric: Estimate | None = None
    rubric_partial: Estimate | None = None
    steering: dict[str, JsonValue] | None = None
    verdicts: tuple[Verdict, ...] = ()
    not_computed: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """The card as plain text: the headline, then a verdict and its reason a claim."""
        claims = [f"{v.verdict:>13}  {v.claim}\n{'':15}{v.because}" for v in self.verdicts]
        return "\n".join([self.headline.text, "", *claims])

    def __repr__(self) -> str:
        return (
            f"Evidence(layer {self.layer}, {self.estimator}, {self.pooling} pooling, AUROC "
            f"{self.probe or 'not computed'} on {self.n_test_pairs} test pairs, "
            f"{sum(v.verdict == 'supported' for v in self.verdicts)} of {len(self.verdicts)} "
            "claims supported)"
        )


@dataclass(frozen=True)
class RandomShare:
    """How many random directions were steered, and the share that moved texts less than ours."""

    __pydantic_config__ = ConfigDict(extra="ignore", allow_inf_nan=False)

    n: int
    share_below: float | None = None


@dataclass(frozen=True)
class SteeringOutcome:
    """What the rule reads of ``steering_examples.json``, whose other entries it passes by."""

    __pydantic_config__ = ConfigDict(extra="ignore", allow_inf_nan=False)

    successes: int
    out_of: int
    random: RandomShare | None = None
    rule: str = ""


CHANCE = 0.5
ALPHA = 0.05
FEW = 30
"""Below so many situations (or trials) a verdict says that they are few."""


def above(estimate: Estimate | None, threshold: float) -> Ruling:
    """Supported, not supported or cannot tell: is the figure above the threshold?

    *Supported* where its whole interval lies above; *not supported* where the figure itself does
    not reach above; *cannot tell* where it does but the interval includes the threshold, or where
    there is no figure.
    """
    if estimate is None or estimate.n_groups < 2:
        return "cannot tell"
    if estimate.low > threshold:
        return "supported"
    return "cannot tell" if estimate.value > threshold else "not supported"


def significant(p: float | None) -> Ruling:
    """Supported where p is at most ALPHA; a larger or missing p cannot tell."""
    return "supported" if p is not None and p <= ALPHA else "cannot tell"


def weakest(rulings: Iterable[Ruling]) -> Ruling:
    """The most doubtful ruling: "refuted", "not supported", "cannot tell", then "supported"."""
    order: tuple[Ruling, ...] = ("refuted", "not supported", "cannot tell", "supported")
    return min(rulings, key=order.index, default="cannot tell")


def named_n(estimate: Estimate) -> str:
    """How many situations stand behind a figure, and whether they are few."""
    return f"n = {estimate.n_groups} situations{few(estimate.n_groups)}"


def few(n: int) -> str:
    return " (few)" if n < FEW else ""


def p_text(p: float | None) -> str:
    return f"p = {'not computed' if p is None else f'{p:.3g}'}"


def beside(baselines: Figures, gains: Figures) -> str:
    """Each word baseline, and how much better the probe is."""
    compared = (
        f"{name} {one.value:.3f} (difference {gains.get(name) or 'not computed'})"
        for name, one in baselines.items()
        if one is not None
    )
    return ", ".join(compared) or "not computed"


def unknown(claim: str, e: Evidence, *parts: str) -> Verdict:
    """ "Cannot tell", with the recorded reason of the first part that has one."""
    for part in parts:
        for name, reason in e.not_computed.items():
            if name == part or name.startswith(f"{part}: "):
                return Verdict(claim, "cannot tell", reason)
    return Verdict(claim, "cannot tell", "not measured in this run")
