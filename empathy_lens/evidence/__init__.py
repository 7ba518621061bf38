"""What makes a direction believable: how well it reads held-out texts, and beside what.

In: a Direction, or Activations and the ContrastivePairs that they are of; numbers are computed
here, no model is run. Out: frozen results with intervals, each the content of a stored file:
ValidationResult, EiaCorrelation, Cosines and Evidence, the card whose claims follow stated rules.

>>> chosen = select_layer(train)
>>> validate_direction(fit_direction(train, chosen.layer), test)
LayerValidation(AUROC 0.93 [0.86, 0.97], ...)
>>> print(evidence_card(StudyData(train, test, train_pairs, test_pairs), chosen.layer))
"""

from .baselines import (
    BASELINES,
    Baseline,
    ReaderChoice,
    ablate_words,
    best_reader,
    naive_bayes,
    telling_words,
    word_baselines,
)
from .card import Detectable, DirectionEvidence, Evidence, Headline, Nulls, Ruling, Verdict
from .claims import CLAIMS, Claim
from .contrasts import (
    Contrast,
    ContrastCosine,
    Cosines,
    direction_cosines,
    layer_cosines,
)
from .embeddings import EMBEDDINGS, Embed, load_embedding
from .gather import direction_evidence, evidence_card
from .measure import Behaviour, Draws, StudyData
from .nulls import (
    LabelSwaps,
    NullDistribution,
    Selectivity,
    control_tasks,
    label_swap_null,
    random_direction_null,
)
from .rubric import (
    EiaCorrelation,
    Judge,
    JudgeQuality,
    RubricItem,
    RubricPrediction,
    RubricResult,
    ScenarioPrediction,
    judge_quality,
    predict_rubric,
    rubric_agreement,
    word_judge,
)
from .selection import (
    Configuration,
    EstimatorRow,
    Selection,
    agreement,
    nested_auroc,
    select_configuration,
    stability,
)
from .transfer import HardPairs, LeftOut, MaskedPairs
from .validation import (
    HeldOutProjection,
    LayerResult,
    LayerSelection,
    LayerValidation,
    ValidationResult,
    scores,
    select_layer,
    validate_direction,
)
from .verdicts import judge_claims

__all__ = [
    "BASELINES",
    "CLAIMS",
    "EMBEDDINGS",
    "Baseline",
    "Behaviour",
    "Claim",
    "Configuration",
    "Contrast",
    "ContrastCosine",
    "Cosines",
    "Detectable",
    "DirectionEvidence",
    "Draws",
    "EiaCorrelation",
    "Embed",
    "EstimatorRow",
    "Evidence",
    "HardPairs",
    "Headline",
    "HeldOutProjection",
    "Judge",
    "JudgeQuality",
    "LabelSwaps",
    "LayerResult",
    "LayerSelection",
    "LayerValidation",
    "LeftOut",
    "MaskedPairs",
    "NullDistribution",
    "Nulls",
    "ReaderChoice",
    "RubricItem",
    "RubricPrediction",
    "RubricResult",
    "Ruling",
    "ScenarioPrediction",
    "Selection",
    "Selectivity",
    "StudyData",
    "ValidationResult",
    "Verdict",
    "ablate_words",
    "agreement",
    "best_reader",
    "control_tasks",
    "direction_cosines",
    "direction_evidence",
    "evidence_card",
    "judge_claims",
    "judge_quality",
    "label_swap_null",
    "layer_cosines",
    "load_embedding",
    "naive_bayes",
    "nested_auroc",
    "predict_rubric",
    "random_direction_null",
    "rubric_agreement",
    "scores",
    "select_configuration",
    "select_layer",
    "stability",
    "telling_words",
    "validate_direction",
    "word_baselines",
    "word_judge",
]
