"""The evidence card: everything that is known of one direction, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from ..types import Estimate
from .contrasts import Contrast
from .estimators import EstimatorRow
from .nulls import NullDistribution
from .selection import Selection
from .transfer import HardPairs, LeftOut, MaskedPairs

__all__ = ["Evidence", "Ruling", "Verdict"]

Ruling = Literal["supported", "not supported", "cannot tell"]


@dataclass(frozen=True)
class Verdict:
    """A claim in plain words, what the rule says of it, and the numbers that say so."""

    claim: str
    verdict: Ruling
    because: str

    def to_dict(self) -> dict[str, str]:
        return dict(vars(self))


@dataclass(frozen=True)
class Evidence:
    """What :func:`gather_evidence` found. ``to_dict`` is the content of ``evidence.json``.

    AUROCs lie in [0, 1], 0.5 = chance. A figure is None where the data cannot support it; then
    ``not_computed`` says why. ``probe`` is the direction's AUROC on the test pairs, which no
    choice has seen. ``gains`` are probe minus each baseline on the same items; the headline
    ``delta_vs_best_baseline`` is the one against the baseline with the highest test AUROC,
    a choice that can only be to the probe's disadvantage. ``selection`` is the choice of layer,
    estimator and pooling by nested cross-validation, beside the card's own direction.
    ``rubric_partial`` is ``rubric`` given the texts' length and scenario.
    """

    layer: int
    estimator: str
    pooling: str
    n_train_pairs: int
    n_test_pairs: int
    probe: Estimate | None = None
    baselines: Mapping[str, Estimate | None] = field(default_factory=dict)
    gains: Mapping[str, Estimate | None] = field(default_factory=dict)
    best_baseline: str | None = None
    random_directions: NullDistribution | None = None
    shuffled_labels: NullDistribution | None = None
    permutation_p_corrected: float | None = None
    scenarios: LeftOut = field(default_factory=lambda: LeftOut({}, None))
    sources: LeftOut = field(default_factory=lambda: LeftOut({}, None))
    formats: LeftOut = field(default_factory=lambda: LeftOut({}, None))
    lexically_ablated: MaskedPairs | None = None
    hard_pairs: HardPairs | None = None
    contrasts: Mapping[str, Contrast] = field(default_factory=dict)
    estimators: Mapping[str, EstimatorRow] = field(default_factory=dict)
    selection: Selection | None = None
    rubric: Estimate | None = None
    rubric_partial: Estimate | None = None
    steering: Mapping[str, Any] | None = None
    verdicts: tuple[Verdict, ...] = ()
    not_computed: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def delta_vs_best_baseline(self) -> Estimate | None:
        return self.gains.get(self.best_baseline) if self.best_baseline else None

    @property
    def headline(self) -> str:
        """One sentence: the probe against the best reader of words."""
        delta = self.delta_vs_best_baseline
        if self.probe is None or self.best_baseline is None or delta is None:
            return "The probe could not be compared with a baseline that reads words only."
        return (
            f"Probe AUROC {self.probe} on {self.n_test_pairs} test pairs; best baseline that "
            f"reads words only ({self.best_baseline}): {self.baselines[self.best_baseline]}; "
            f"difference {delta}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; every Estimate as its own object, None as null."""
        return {
            "headline": {"text": self.headline, "best_baseline": self.best_baseline},
            "layer": self.layer,
            "estimator": self.estimator,
            "pooling": self.pooling,
            "n_train_pairs": self.n_train_pairs,
            "n_test_pairs": self.n_test_pairs,
            "probe": _plain(self.probe),
            "baselines": _plain(self.baselines),
            "delta_vs_best_baseline": _plain(self.delta_vs_best_baseline),
            "delta_vs_baselines": _plain(self.gains),
            "nulls": {
                "random_directions": _plain(self.random_directions),
                "shuffled_labels": _plain(self.shuffled_labels),
                "other_contrasts": {
                    name: _plain(c.own_direction) for name, c in self.contrasts.items()
                },
            },
            "permutation_p_corrected": self.permutation_p_corrected,
            "leave_one_scenario_out": _plain(self.scenarios.parts),
            "leave_one_scenario_out_mean": _plain(self.scenarios.mean),
            "leave_one_source_out": _plain(self.sources.parts),
            "leave_one_source_out_mean": _plain(self.sources.mean),
            "leave_one_format_out": _plain(self.formats.parts),
            "leave_one_format_out_mean": _plain(self.formats.mean),
            "lexically_ablated": _plain(self.lexically_ablated),
            "hard_pairs": _plain(self.hard_pairs),
            "contrasts": _plain(self.contrasts),
            "estimators": _plain(self.estimators),
            "selection": _plain(self.selection),
            "rubric": _plain(self.rubric),
            "rubric_partial": _plain(self.rubric_partial),
            "steering": _plain(self.steering),
            "verdicts": [v.to_dict() for v in self.verdicts],
            "not_computed": dict(self.not_computed),
        }

    def __str__(self) -> str:
        """The card as plain text: the headline, then a verdict and its reason a claim."""
        claims = [f"{v.verdict:>13}  {v.claim}\n{'':15}{v.because}" for v in self.verdicts]
        return "\n".join([self.headline, "", *claims])


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return value.to_dict() if hasattr(value, "to_dict") else value
