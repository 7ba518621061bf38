"""Contrastive pairs written by models of several vendors, checked, reviewed and split.

In go scenarios, a :class:`~empathy_lens.vendors.Config` and the wordings of ``prompts.toml``, which
name the concept and its poles; out comes a folder with pairs, their splits and a summary. Nothing
here spends money unless it is asked for.

>>> options = GenerateOptions(config=load_config(), scenarios=scenarios, out=folder, n_pairs=90)
>>> slots, price = plan_and_price(options)      # needs no key
>>> generated = generate(options)               # asks; run again to go on
"""

from .dataset import DatasetSummary, SplitBy, describe, merge, split, write_dataset
from .generate import Generated, GenerateOptions, generate, plan_and_price
from .plan import Prompts, Slot, load_prompts, plan_pairs
from .quality import Quality, Rejection, check_pairs, lexical_giveaway

__all__ = [
    "DatasetSummary",
    "GenerateOptions",
    "Generated",
    "Prompts",
    "Quality",
    "Rejection",
    "Slot",
    "SplitBy",
    "check_pairs",
    "describe",
    "generate",
    "lexical_giveaway",
    "load_prompts",
    "merge",
    "plan_and_price",
    "plan_pairs",
    "split",
    "write_dataset",
]
