"""What is read of stored evidence, and what is said of a field that is not there."""

from pathlib import Path

import pytest

from empathy_lens.errors import InputError
from empathy_lens.evidence import Evidence
from empathy_lens.evidence.findings import SteeringOutcome
from empathy_lens.evidence.validation import ValidationResult
from empathy_lens.results import from_plain, read_result

RESULTS = Path(__file__).resolve().parents[2] / "results"


def test_the_rule_reads_the_committed_steering_outcome_whatever_stands_beside_it():
    card = read_result(RESULTS / "embedded" / "evidence.json", Evidence)
    outcome = from_plain(card.steering, SteeringOutcome, "steering")
    assert outcome.layer == card.layer


def test_a_result_with_a_missing_field_names_file_and_field(tmp_path):
    path = tmp_path / "validation_auroc.json"
    path.write_text('{"selected_layer": 1, "selection": "", "estimator": "", "layers": {"1": 2}}')
    with pytest.raises(InputError, match=r"validation_auroc.json: layers.1.*\n.*projections"):
        read_result(path, ValidationResult)
