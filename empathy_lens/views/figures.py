"""Every figure and table of a run, by name and in the order of the report.

Drawn from the saved results and from nothing else; what a run does not hold is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import plotly.graph_objects as go

from . import detection, evidence, geometry, play, steering, sweep
from .run_results import RunResults
from .tables import Table

GROUPS: Mapping[str, Mapping[str, Callable[[RunResults], go.Figure | None]]] = {
    "Detection": {
        "auroc_by_layer": detection.auroc_by_layer,
        "projection_distributions": detection.projection_distributions,
        "estimators": evidence.estimators,
    },
    "Against simpler explanations": {
        "probe_against_baselines": evidence.probe_against_baselines,
        "hard_pairs": evidence.hard_pairs,
        "leave_one_scenario_out": lambda run: evidence.left_out(run, "scenario"),
        "leave_one_source_out": lambda run: evidence.left_out(run, "source"),
        "leave_one_format_out": lambda run: evidence.left_out(run, "format"),
        "contrasts": evidence.contrasts,
    },
    "Geometry": {
        "cosine_across_layers": geometry.layer_cosines,
        "cosine_to_contrasts": geometry.contrast_cosines,
    },
    "Behaviour": {
        "eia_score_against_projection": detection.score_against_projection,
        "on_policy_partial": play.on_policy_partial,
        "on_policy_actions": play.on_policy_actions,
        "on_policy_prediction": play.on_policy_prediction,
    },
    "Steering": {
        "steering_dose_response": steering.dose_response,
        "steered_play": lambda run: play.steered(run, "score"),
        "steered_play_help": lambda run: play.steered(run, "help"),
        "steering_frontier": lambda run: sweep.effect_against_damage(run.steering_examples),
        "steering_damage": steering.steering_damage,
        "sweep_by_layer": sweep.effect_by_layer,
        "sweep_frontier": lambda run: sweep.effect_against_damage(run.steering_sweep),
    },
}
"""Figures by the question that they answer, in the order of the report; None: nothing to draw."""

TABLES = (
    detection.layer_tables,
    evidence.evidence_tables,
    detection.rubric_tables,
    play.play_tables,
    play.steered_tables,
    geometry.cosine_tables,
    steering.steering_tables,
    detection.text_tables,
)


def run_figures(run: RunResults) -> dict[str, go.Figure]:
    """Every figure that the run's saved parts allow, by name, in the order of ``GROUPS``."""
    drawn = {name: draw(run) for group in GROUPS.values() for name, draw in group.items()}
    return {name: figure for name, figure in drawn.items() if figure is not None}


def run_tables(run: RunResults) -> list[Table]:
    """All tables that the saved parts fill, in the order of the report."""
    return [table for tables in TABLES for table in tables(run) if table.rows]
