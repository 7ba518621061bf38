"""Figures of a run, drawn from its saved JSON and from nothing else.

Each function takes one saved file as a dictionary and returns a figure, or None where the file
does not hold what the figure shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import plotly.graph_objects as go

from ..errors import InputError
from .behaviour_figures import score_against_projection
from .cosine_figures import contrast_cosines, layer_cosines
from .evidence_figures import EVIDENCE_FIGURES
from .play_figures import (
    on_policy_actions,
    on_policy_leaning,
    on_policy_prediction,
    steered_play_help,
    steered_play_scores,
)
from .runs import PARTS, get
from .steering_figures import steering_damage
from .sweep_figures import dose_response, effect_against_damage, effect_by_layer
from .validation_figures import auroc_by_layer, projection_distributions

__all__ = ["GROUPS", "run_figures"]

GROUPS = {
    "Detection": ("auroc_by_layer", "projection_distributions", "estimators"),
    "Against simpler explanations": (
        "probe_against_baselines",
        "hard_pairs",
        "leave_one_scenario_out",
        "leave_one_source_out",
        "leave_one_format_out",
        "contrasts",
    ),
    "Geometry": ("cosine_across_layers", "cosine_to_contrasts"),
    "Behaviour": (
        "eia_score_against_projection",
        "on_policy_leaning",
        "on_policy_actions",
        "on_policy_prediction",
    ),
    "Steering": (
        "steering_dose_response",
        "steered_play",
        "steered_play_help",
        "steering_frontier",
        "steering_damage",
        "sweep_by_layer",
        "sweep_frontier",
    ),
}
"""Figures by the question that they answer, in the order of the report."""


def run_figures(run: Mapping[str, Any]) -> dict[str, go.Figure]:
    """Every figure that the run's saved parts allow, by name, in the order of ``GROUPS``.

    ``run`` maps file stems to their content (``{"validation_auroc": {...}, …}``, as
    ``views.runs.read_run`` gives it). Absent parts are skipped; an unknown name is an InputError.
    """
    unknown = sorted(set(run) - set(PARTS))
    if unknown:
        raise InputError(f"run: expected parts named {', '.join(PARTS)}, got {', '.join(unknown)}")
    validation, evidence = run.get("validation_auroc"), run.get("evidence")
    eia, steering = run.get("eia_correlation"), run.get("steering_examples")
    cosines = run.get("cosines")
    draw: dict[str, Callable[[], go.Figure | None]] = {
        "auroc_by_layer": lambda: auroc_by_layer(validation, evidence),
        "projection_distributions": lambda: projection_distributions(validation),
        **{name: partial(make, evidence) for name, make in EVIDENCE_FIGURES.items()},
        "cosine_across_layers": lambda: layer_cosines(cosines),
        "cosine_to_contrasts": lambda: contrast_cosines(cosines, get(validation, "selected_layer")),
        "eia_score_against_projection": lambda: score_against_projection(eia),
        "on_policy_leaning": lambda: on_policy_leaning(eia),
        "on_policy_actions": lambda: on_policy_actions(eia),
        "on_policy_prediction": lambda: on_policy_prediction(eia),
        "steering_dose_response": lambda: dose_response(steering),
        "steered_play": lambda: steered_play_scores(run.get("steered_play")),
        "steered_play_help": lambda: steered_play_help(run.get("steered_play")),
        "steering_frontier": lambda: effect_against_damage(steering),
        "steering_damage": lambda: steering_damage(steering),
        "sweep_by_layer": lambda: effect_by_layer(run.get("steering_sweep")),
        "sweep_frontier": lambda: effect_against_damage(run.get("steering_sweep")),
    }
    drawn = {name: draw[name]() for names in GROUPS.values() for name in names}
    return {name: figure for name, figure in drawn.items() if figure is not None}
