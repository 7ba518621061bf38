"""The evidence card: everything that is known of a concept's directions, as it is stored.

What is claimed of them, and by which rules, is in ``claims.py`` and ``verdicts.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from ..data import Overlap
from ..errors import InputError
from ..types import Estimate
from .baselines import ReaderChoice
from .contrasts import Contrast
from .measure import Figures
from .nulls import NullDistribution, Selectivity
from .selection import EstimatorRow, Selection
from .transfer import HardPairs, MaskedPairs

Ruling = Literal["supported", "refuted", "cannot tell", "not supported"]
"""What a rule says of a claim. "not supported" is of cards older than "refuted": there the figure
itself did not reach above the null value, whatever its interval."""


@dataclass(frozen=True)
class Verdict:
    """A claim in plain words, what its rule says of one direction, and the numbers that say so.

    ``configuration`` names the direction (empty: the claim is about none in particular), ``rule``
    the rule in words; ``p_holm`` is corrected for all claims of the card, None where the claim has
    no p. All three are missing in cards older than them.
    """

    claim: str
    verdict: Ruling
    because: str
    configuration: str = ""
    rule: str = ""
    p_holm: float | None = None


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


@dataclass(frozen=True)
class Detectable:
    """What a test could have found: ``effect`` is the smallest true effect that it finds in 80% of
    draws with its ``n`` situations (or prompts); ``n_needed`` of them find ``wanted``, the smallest
    effect that matters, as often. In the figure's own unit, measured from its null value."""

    effect: float
    n: int
    wanted: float
    n_needed: int


Overlaps = Annotated[tuple[Overlap, ...], Field(exclude_if=lambda overlaps: not overlaps)]


@dataclass(frozen=True, kw_only=True)
class DirectionEvidence:
    """What was measured of one direction: that of an estimator at a layer under a pooling.

    AUROCs lie in [0, 1], 0.5 = chance. ``probe`` is the direction's AUROC on the test pairs, which
    no choice has seen; ``paired_accuracy`` the share of test pairs whose positive side projects
    higher, and ``d_z`` the mean of their differences in units of its standard deviation.
    ``delta_vs_baselines`` are probe minus each reader of words; ``delta_vs_best_baseline`` is the
    one over the reader that train folds chose. ``given_words`` is the probe's coefficient in a
    conditional logit on pair differences, given what the readers say (log-odds per standard
    deviation). ``leave_one_scenario_out`` are AUROCs on each scenario of train by a direction that
    never saw it, with their mean, and that mean's gain over readers that never saw it either.
    ``rubric`` correlates projections with rubric scores, ``rubric_partial`` the same given length
    and scenario, ``rubric_given_words`` given what readers of words say too, and ``rubric_gains``
    are ``rubric`` minus the same of each of these readers. ``minimal_detectable`` says
    what the tests could have found. A figure is None where the data cannot support it.
    """

    layer: int
    estimator: str
    pooling: str
    probe: Estimate | None = None
    paired_accuracy: Estimate | None = None
    d_z: Estimate | None = None
    selectivity: Selectivity | None = None
    delta_vs_best_baseline: Estimate | None = None
    delta_vs_baselines: Figures = field(default_factory=dict)
    given_words: Estimate | None = None
    nulls: Nulls = Nulls()
    leave_one_scenario_out: Figures = field(default_factory=dict)
    leave_one_scenario_out_mean: Estimate | None = None
    leave_one_scenario_out_gains: Figures = field(default_factory=dict)
    lexically_ablated: MaskedPairs | None = None
    hard_pairs: HardPairs | None = None
    contrasts: Mapping[str, Contrast] = field(default_factory=dict)
    rubric: Estimate | None = None
    rubric_partial: Estimate | None = None
    rubric_given_words: Estimate | None = None
    rubric_gains: Figures = field(default_factory=dict)
    minimal_detectable: Mapping[str, Detectable] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises InputError for an AUROC, an accuracy or a correlation outside its range."""
        for low, high, figures in self._ranges():
            for name, figure in figures.items():
                if figure is not None and not low <= figure.low <= figure.high <= high:
                    raise InputError(
                        f"{name}: expected an interval within [{low}, {high}], got {figure}"
                    )

    def _ranges(self) -> Iterator[tuple[int, int, Figures]]:
        """Least and greatest value of figures that have them, by their names."""
        names = "probe", "paired_accuracy", "leave_one_scenario_out_mean"
        yield 0, 1, {name: getattr(self, name) for name in names}
        yield 0, 1, self.leave_one_scenario_out
        names = "rubric", "rubric_partial", "rubric_given_words"
        yield -1, 1, {name: getattr(self, name) for name in names}

    @property
    def configuration(self) -> str:
        """Which direction this is, in words."""
        return f"{self.estimator}, layer {self.layer}, {self.pooling} pooling"


@dataclass(frozen=True, kw_only=True)
class Evidence(DirectionEvidence):
    """What :func:`evidence_card` measured: the content of ``evidence.json``.

    Its own fields are those of the study's direction; ``selected`` are the same of the
    configuration that cross-validation on train chose (None where that is the same one), and
    ``selection`` says how it was chosen. ``overlaps`` is what train and test share; where they
    share anything, no claim on test is supported. ``reader`` is the reader of words that train
    folds chose. ``steering`` is the content of ``steering_examples.json``, ``own_acts`` what the
    model's own play shows. ``not_computed`` says why a figure is None.
    """

    headline: Headline = Headline("", None)
    n_train_pairs: int
    n_test_pairs: int
    overlaps: Overlaps = ()
    baselines: Figures = field(default_factory=dict)
    reader: ReaderChoice | None = None
    permutation_p_corrected: float | None = None
    leave_one_source_out: Figures = field(default_factory=dict)
    leave_one_source_out_mean: Estimate | None = None
    leave_one_format_out: Figures = field(default_factory=dict)
    leave_one_format_out_mean: Estimate | None = None
    estimators: Mapping[str, EstimatorRow] = field(default_factory=dict)
    selection: Selection | None = None
    selected: DirectionEvidence | None = None
    steering: dict[str, JsonValue] | None = None
    own_acts: Estimate | None = None
    verdicts: tuple[Verdict, ...] = ()
    not_computed: Mapping[str, str] = field(default_factory=dict)

    def _ranges(self) -> Iterator[tuple[int, int, Figures]]:
        yield from super()._ranges()
        for figures in (self.baselines, self.leave_one_source_out, self.leave_one_format_out):
            yield 0, 1, figures
        names = "leave_one_source_out_mean", "leave_one_format_out_mean"
        yield 0, 1, {name: getattr(self, name) for name in names}
        yield -1, 1, {"own_acts": self.own_acts}

    @property
    def directions(self) -> tuple[DirectionEvidence, ...]:
        """The study's direction, and the selected one where it is another."""
        return (self,) if self.selected is None else (self, self.selected)

    def __str__(self) -> str:
        """The card as plain text: the headline, then of each direction a verdict, its reason and
        its rule a claim."""
        lines = [self.headline.text]
        for configuration in dict.fromkeys(v.configuration for v in self.verdicts):
            lines += ["", configuration] if configuration else [""]
            for v in self.verdicts:
                if v.configuration == configuration:
                    lines += [f"{v.verdict:>13}  {v.claim}", f"{'':15}{v.because}"]
                    lines += [f"{'':15}rule: {v.rule}"] if v.rule else []
        return "\n".join(lines)

    def __repr__(self) -> str:
        return (
            f"Evidence(layer {self.layer}, {self.estimator}, {self.pooling} pooling, AUROC "
            f"{self.probe or 'not computed'} on {self.n_test_pairs} test pairs, "
            f"{sum(v.verdict == 'supported' for v in self.verdicts)} of {len(self.verdicts)} "
            "claims supported)"
        )
