"""Committed results read as their types and write back to the same bytes."""

from pathlib import Path

import pytest

from empathy_lens.errors import InputError
from empathy_lens.evidence import Evidence
from empathy_lens.evidence.contrasts import Cosines
from empathy_lens.evidence.findings import SteeringOutcome
from empathy_lens.evidence.rubric import EiaCorrelation
from empathy_lens.evidence.validation import ValidationResult
from empathy_lens.results import from_plain, read_result, read_stored, write_result

RESULTS = Path(__file__).resolve().parents[2] / "results"
KINDS = {
    "validation_auroc": ValidationResult,
    "eia_correlation": EiaCorrelation,
    "cosines": Cosines,
    "evidence": Evidence,
}
STORED = [
    pytest.param(path, kind, id=f"{path.parent.name}/{name}")
    for name, kind in KINDS.items()
    for path in sorted(RESULTS.glob(f"*/{name}.json"))
]


def test_the_rule_reads_the_committed_steering_outcome_whatever_stands_beside_it():
    card = read_result(RESULTS / "embedded" / "evidence.json", Evidence)
    outcome = from_plain(card.steering, SteeringOutcome, "steering")
    assert outcome.layer == card.layer


@pytest.mark.parametrize(("path", "kind"), STORED)
def test_a_stored_result_survives_reading_and_writing(path, kind, tmp_path):
    result, stamp = read_stored(path, kind)
    write_result(tmp_path / "again.json", result, stamp.run)
    assert read_result(tmp_path / "again.json", kind) == result
    if stamp.run is not None:  # files older than stamps have their fields in another order
        assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_a_result_with_a_missing_field_names_file_and_field(tmp_path):
    path = tmp_path / "validation_auroc.json"
    path.write_text('{"selected_layer": 1, "selection": "", "estimator": "", "layers": {"1": 2}}')
    with pytest.raises(InputError, match=r"validation_auroc.json: layers.1.*\n.*projections"):
        read_result(path, ValidationResult)
