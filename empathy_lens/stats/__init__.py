"""Statistics for grouped data: numpy in, :class:`~empathy_lens.types.Estimate` out.

Items come in groups (the two sides of a pair, the texts of a situation), so intervals
resample groups and permutations exchange only what the design allows.
"""

from .correlation import (
    dummies,
    kendall,
    partial_correlation,
    pearson,
    spearman,
    spearman_difference,
)
from .discrimination import (
    accuracy_estimate,
    auroc,
    auroc_difference,
    auroc_estimate,
    mean_estimate,
    separation_estimate,
)
from .groups import Design, Groups, Ids, IntervalMethod
from .logit import conditional_logit
from .paired import cohen_dz, pair_differences, paired_accuracy, sign_flip_p
from .permutation import (
    Exchange,
    PermutationResult,
    auroc_permutation,
    holm,
    max_statistic_p,
    pair_swap_labels,
    permutation_p,
    permutations,
)
from .power import minimal_detectable, n_needed
from .ratio import gap_ratio
from .resampling import bootstrap, cluster_weights

__all__ = [
    "Design",
    "Exchange",
    "Groups",
    "Ids",
    "IntervalMethod",
    "PermutationResult",
    "accuracy_estimate",
    "auroc",
    "auroc_difference",
    "auroc_estimate",
    "auroc_permutation",
    "bootstrap",
    "cluster_weights",
    "cohen_dz",
    "conditional_logit",
    "dummies",
    "gap_ratio",
    "holm",
    "kendall",
    "max_statistic_p",
    "mean_estimate",
    "minimal_detectable",
    "n_needed",
    "pair_differences",
    "pair_swap_labels",
    "paired_accuracy",
    "partial_correlation",
    "pearson",
    "permutation_p",
    "permutations",
    "separation_estimate",
    "sign_flip_p",
    "spearman",
    "spearman_difference",
]
