"""What this machine will do with a model, and whether a loaded one computes what it should.

In go a model's name, backend, device and dtype; out comes an :class:`Examination`: checks, each
with its figure, bound and remedy, the memory needed, and the largest ``resid_post`` by layer.

>>> examine("google/gemma-2-9b-it", device="mps", run=False).status
'ok'
"""

from .examine import Examination, examine
from .known_models import memory_table
from .machine import Check, MemoryNeed, Status, memory_need, worst
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
