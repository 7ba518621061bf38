"""Steering as an experiment: hooks, dose, controls, damage, and an answer.

``add_direction`` and its siblings are ordinary TransformerLens hooks; ``steered`` puts them on a
model, told which tokens they act on; ``action_log_odds`` and ``generate_steered`` measure under
them; ``steering_sweep`` measures everything over layers and strengths, and ``recommend`` reads off
what to use.

>>> from empathy_lens.steering import recommend, steering_sweep
>>> sweep = steering_sweep(
...     model, directions, (-2.0, 0.0, 2.0), prompts, neutral_texts=texts, questions=questions
... )
>>> answer = recommend(sweep)  # a layer and a strength with their effect and damage, or None
"""

from .attach import check_direction, steered
from .controls import (
    Coherence,
    Damage,
    coherence,
    distinct_n,
    measure_damage,
    perplexities,
    random_controls,
    repetition,
    shuffled_controls,
)
from .generation import generate_steered
from .hooks import (
    SteeringMethod,
    ablate_direction,
    add_direction,
    by_row,
    clamp_direction,
    on_sites,
)
from .measured import Controls, SteeringSweep, join_sweeps, load_sweep, save_sweep
from .movement import Movement, movement
from .recommend import Recommendation, recommend, recommendations
from .scoring import INSTRUCTION, action_log_odds, instructed
from .sweep import SweepSettings, add_controls, steering_sweep

__all__ = [
    "INSTRUCTION",
    "Coherence",
    "Controls",
    "Damage",
    "Movement",
    "Recommendation",
    "SteeringMethod",
    "SteeringSweep",
    "SweepSettings",
    "ablate_direction",
    "action_log_odds",
    "add_controls",
    "add_direction",
    "by_row",
    "check_direction",
    "clamp_direction",
    "coherence",
    "distinct_n",
    "generate_steered",
    "instructed",
    "join_sweeps",
    "load_sweep",
    "measure_damage",
    "movement",
    "on_sites",
    "perplexities",
    "random_controls",
    "recommend",
    "recommendations",
    "repetition",
    "save_sweep",
    "shuffled_controls",
    "steered",
    "steering_sweep",
]
