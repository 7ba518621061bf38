"""Stored results come back equal, and what is wrong with a file is said field by field."""

from __future__ import annotations

from pathlib import Path

import pytest

from empathy_lens.errors import InputError
from empathy_lens.results import RunConfig, RunSummary, read_result, write_result

RUN = Path(__file__).parents[1] / "results" / "embedded"


@pytest.mark.parametrize(("name", "kind"), [("config", RunConfig), ("summary", RunSummary)])
def test_committed_files_are_read_and_written_byte_for_byte(
    name: str, kind: type, tmp_path: Path
) -> None:
    committed = RUN / f"{name}.json"
    again = tmp_path / "again.json"
    write_result(again, read_result(committed, kind))
    assert again.read_bytes() == committed.read_bytes()


def test_every_fault_is_named_with_its_file_and_field(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    path.write_text('{"selected_layer": "twelve", "criteria": []}', encoding="utf-8")
    with pytest.raises(InputError) as error:
        read_result(path, RunSummary)
    assert "selected_layer: Input should be a valid integer, got 'twelve'" in str(error.value)
    assert f"{path}: stages: Field required" in str(error.value)
