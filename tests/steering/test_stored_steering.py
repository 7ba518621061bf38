"""Committed steering results read as their type and write back to the same bytes."""

from pathlib import Path

import pytest

from empathy_lens.results import RunConfig, RunSummary, read_result, write_result
from empathy_lens.steering.examples import SteeringResults

RESULTS = Path(__file__).resolve().parents[2] / "results"
KINDS = {
    "steering_examples": SteeringResults,
    "steering_sweep": SteeringResults,
    "config": RunConfig,
    "summary": RunSummary,
}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        pytest.param(path, kind, id=f"{path.parent.name}/{name}")
        for name, kind in KINDS.items()
        for path in sorted(RESULTS.glob(f"*/{name}.json"))
    ],
)
def test_a_stored_result_survives_reading_and_writing(path, kind, tmp_path):
    result = read_result(path, kind)
    write_result(tmp_path / "again.json", result)
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()
    assert read_result(tmp_path / "again.json", kind) == result
