"""The seed study's success criteria, read off a run's results."""

from __future__ import annotations

from ..evidence.rubric import RubricPrediction
from ..evidence.validation import LayerValidation
from ..results import Criterion, CriterionRuling
from ..types import Estimate

THRESHOLDS = (
    ("minimum", "AUROC", 0.75),
    ("minimum", "successful steering examples", 1.0),
    ("target", "AUROC", 0.80),
    ("target", "accuracy", 0.75),
    ("target", "Pearson r with EIA scores", 0.4),
    ("target", "binary accuracy, score 2 against 0", 0.70),
    ("target", "successful steering examples", 2.0),
    ("stretch", "AUROC", 0.85),
    ("stretch", "Pearson r with EIA scores", 0.5),
    ("stretch", "share of successful steering examples", 0.5),
)
COUNTS = {"successful steering examples"}


def seed_criteria(
    held_out: LayerValidation, rubric: RubricPrediction | None, steered: tuple[int, int] | None
) -> tuple[Criterion, ...]:
    """Each criterion with its value and whether it is met (None where it was not measured).

    ``held_out`` is the chosen layer's; ``steered`` counts successful examples, and all. A figure
    meets a criterion by its point estimate, as the seed study put it; ``ruling`` says whether its
    whole interval does too, so that a bound is not taken for reached where the data leave it open.
    """
    figures: dict[str, Estimate | float] = {"AUROC": held_out.auroc, "accuracy": held_out.accuracy}
    if rubric is not None:
        figures["Pearson r with EIA scores"] = rubric.pearson
        figures["binary accuracy, score 2 against 0"] = rubric.binary_accuracy
    if steered is not None:
        successes, out_of = steered
        figures["successful steering examples"] = float(successes)
        figures["share of successful steering examples"] = successes / out_of
    return tuple(_criterion(*bound, figures.get(bound[1])) for bound in THRESHOLDS)


def _criterion(level: str, name: str, bound: float, figure: Estimate | float | None) -> Criterion:
    is_count = name in COUNTS
    title = f"{name} {'>=' if is_count else '>'} {bound:g}"
    if figure is None:
        return Criterion(level, title, None, None, "not measured", "not measured")
    met_as: CriterionRuling
    if isinstance(figure, Estimate):
        value, span = figure.value, f"[{figure.low:.3f}, {figure.high:.3f}]"
        detail = f"{value:.3f} {span}, {figure.n_groups} groups"
        whole = figure.low > bound
        met_as = "met with the whole interval" if whole else "met by the point alone"
    else:
        value, detail, met_as = figure, f"{figure:g}", "met by the count"
    met = value >= bound if is_count else value > bound
    return Criterion(level, title, value, met, detail, met_as if met else "not met")
