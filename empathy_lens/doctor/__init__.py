"""What this machine will do with a model, and whether a loaded one computes what it should."""

from .checks import Check, Status, worst
from .examine import Examination, examine
from .memory import MemoryNeed, memory_need, memory_table
from .parity import Reference, hub_reference, model_checks

__all__ = [
    "Check",
    "Examination",
    "MemoryNeed",
    "Reference",
    "Status",
    "examine",
    "hub_reference",
    "memory_need",
    "memory_table",
    "model_checks",
    "worst",
]
