"""The seed study's success criteria, read off a run's results."""

from __future__ import annotations

from typing import Any

__all__ = ["seed_criteria"]

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
    validation: dict[str, Any], eia: dict[str, Any] | None, steering: dict[str, Any] | None
) -> list[dict[str, Any]]:
    """Each criterion with its value and whether it is met (None where it was not measured).

    A figure meets a criterion by its point estimate, as the seed study put it; the interval
    stands beside it.
    """
    layer = validation["layers"][str(validation["selected_layer"])]
    figures: dict[str, Any] = {"AUROC": layer["auroc"], "accuracy": layer["accuracy"]}
    if eia is not None:
        figures["Pearson r with EIA scores"] = eia["rubric"]["pearson"]
        figures["binary accuracy, score 2 against 0"] = eia["rubric"]["binary_accuracy"]
    if steering is not None:
        share = steering["successes"] / steering["out_of"]
        figures["successful steering examples"] = float(steering["successes"])
        figures["share of successful steering examples"] = share
    return [_criterion(level, name, bound, figures.get(name)) for level, name, bound in THRESHOLDS]


def _criterion(level: str, name: str, bound: float, figure: Any) -> dict[str, Any]:
    is_count = name in COUNTS
    title = f"{name} {'>=' if is_count else '>'} {bound:g}"
    if figure is None:
        return {"level": level, "name": title, "value": None, "met": None, "detail": "not measured"}
    value = figure["value"] if isinstance(figure, dict) else figure
    met = value >= bound if is_count else value > bound
    detail = (
        f"{value:.3f} [{figure['low']:.3f}, {figure['high']:.3f}], {figure['n_groups']} groups"
        if isinstance(figure, dict)
        else f"{value:g}"
    )
    return {"level": level, "name": title, "value": value, "met": bool(met), "detail": detail}
