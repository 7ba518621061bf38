"""What the study reads: pairs, scored texts, scenarios, prompts; checked, and split by situation.

In: JSONL and JSON files, or plain lists of texts. Out: frozen values (``ContrastivePair``,
``RubricCompletion``, ``Scenario``, …) that carry their concept and the names of its two poles. A
bad file is refused with every bad line and field at once.

>>> pairs = load_pairs(shipped_data() / "contrastive_pairs" / "train_pairs.jsonl")
>>> train, validation = split_pairs(pairs, n_test=20, seed=0)
"""

from .overlap import Overlap, find_overlaps, find_repeats, near_duplicates, normalised
from .pairs import (
    EMPATHY,
    SIDES,
    count_by,
    data_hash,
    load_pairs,
    pairs_from,
    save_pairs,
    split_pairs,
)
from .prompts import (
    load_neutral_texts,
    load_plain_questions,
    load_rubric_completions,
    load_scenarios,
    load_steering_prompts,
    shipped_data,
)

__all__ = [
    "EMPATHY",
    "SIDES",
    "Overlap",
    "count_by",
    "data_hash",
    "find_overlaps",
    "find_repeats",
    "load_neutral_texts",
    "load_pairs",
    "load_plain_questions",
    "load_rubric_completions",
    "load_scenarios",
    "load_steering_prompts",
    "near_duplicates",
    "normalised",
    "pairs_from",
    "save_pairs",
    "shipped_data",
    "split_pairs",
]
