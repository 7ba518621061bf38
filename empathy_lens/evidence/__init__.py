"""The evidence card of a direction: what it shows, what it does not, and how sure we are.

:func:`gather_evidence` takes activations and texts and returns an :class:`Evidence`, whose
``to_dict`` is ``evidence.json`` and whose ``verdicts`` follow the rules in ``verdicts.py``.
"""

from .card import Evidence, Ruling, Verdict
from .contrasts import Contrast, judge_contrasts
from .estimators import EstimatorRow, agreement, compare_estimators, stability
from .gather import gather_evidence
from .nulls import LabelSwaps, NullDistribution, label_swap_null, random_direction_null
from .selection import Configuration, Selection, nested_auroc, select_configuration
from .transfer import HardPairs, LeftOut, MaskedPairs, judge_hard_pairs, leave_one_out
from .verdicts import judge

__all__ = [
    "Configuration",
    "Contrast",
    "EstimatorRow",
    "Evidence",
    "HardPairs",
    "LabelSwaps",
    "LeftOut",
    "MaskedPairs",
    "NullDistribution",
    "Ruling",
    "Selection",
    "Verdict",
    "agreement",
    "compare_estimators",
    "gather_evidence",
    "judge",
    "judge_contrasts",
    "judge_hard_pairs",
    "label_swap_null",
    "leave_one_out",
    "nested_auroc",
    "random_direction_null",
    "select_configuration",
    "stability",
]
