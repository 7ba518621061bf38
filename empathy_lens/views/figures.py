"""Every figure and table of a run, by name and in the order of the report.

Drawn from the saved results and from nothing else; what a run does not hold is left out.
"""

from __future__ import annotations

import plotly.graph_objects as go

from .detection import (
    auroc_by_layer,
    layer_table,
    projection_distributions,
    projection_table,
    rubric_tables,
    score_against_projection,
)
from .evidence import evidence_figures, evidence_tables
from .geometry import contrast_cosines, cosine_table, layer_cosines
from .play import play_figures, play_tables, steered_figures, steered_tables
from .run_results import RunResults
from .steering import dose_response, steering_damage, steering_tables, sweep_table
from .sweep import effect_against_damage, effect_by_layer
from .tables import Table

__all__ = ["GROUPS", "run_figures", "run_tables"]

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


def run_figures(run: RunResults) -> dict[str, go.Figure]:
    """Every figure that the run's saved parts allow, by name, in the order of ``GROUPS``."""
    concept = run.concept
    drawn: dict[str, go.Figure | None] = {}
    if validation := run.validation_auroc:
        drawn["auroc_by_layer"] = auroc_by_layer(validation, run.evidence)
        drawn["projection_distributions"] = projection_distributions(validation, concept)
    if run.evidence:
        drawn |= evidence_figures(run.evidence)
    if run.cosines:
        drawn["cosine_across_layers"] = layer_cosines(run.cosines)
        drawn["cosine_to_contrasts"] = contrast_cosines(run.cosines, run.selected_layer)
    if run.eia_correlation:
        drawn["eia_score_against_projection"] = score_against_projection(
            run.eia_correlation, concept
        )
    if run.on_policy:
        drawn |= play_figures(run.on_policy)
    if run.steered_play:
        drawn |= steered_figures(run.steered_play)
    if steering := run.steering_examples:
        drawn["steering_dose_response"] = dose_response(steering, concept)
        drawn["steering_frontier"] = effect_against_damage(steering)
        drawn["steering_damage"] = steering_damage(steering)
    if sweep := run.steering_sweep:
        drawn["sweep_by_layer"] = effect_by_layer(sweep, concept)
        drawn["sweep_frontier"] = effect_against_damage(sweep)
    ordered = [name for names in GROUPS.values() for name in names]
    return {name: figure for name in ordered if (figure := drawn.get(name)) is not None}


def run_tables(run: RunResults) -> list[Table]:
    """All tables that the saved parts allow, in the order of the report."""
    validation, eia = run.validation_auroc, run.eia_correlation
    correlation, scenarios, completions = rubric_tables(eia) if eia else (None, None, None)
    listed = [
        validation and layer_table(validation),
        *(evidence_tables(run.evidence) if run.evidence else ()),
        correlation,
        scenarios,
        *(play_tables(run.on_policy) if run.on_policy else ()),
        *(steered_tables(run.steered_play) if run.steered_play else ()),
        run.cosines and cosine_table(run.cosines),
        *(steering_tables(run.steering_examples) if run.steering_examples else ()),
        run.steering_sweep and sweep_table(run.steering_sweep),
        validation and projection_table(validation, run.concept),
        completions,
    ]
    return [table for table in listed if table is not None]
