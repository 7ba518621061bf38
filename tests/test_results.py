"""Stored results come back equal, and what is wrong with a file is said field by field."""

from __future__ import annotations

import functools
import json
import operator
from pathlib import Path

import pytest

from empathy_lens.errors import InputError
from empathy_lens.evidence import Evidence
from empathy_lens.games.behaviour import OnPolicy
from empathy_lens.results import (
    RunIdentity,
    RunSummary,
    Stamp,
    read_result,
    read_stored,
    write_result,
)
from empathy_lens.views.run_results import KINDS

RESULTS = Path(__file__).parents[1] / "results"
COMMITTED = [
    pytest.param(path, kind, id=f"{path.parent.name}/{name}")
    for name, kind in KINDS.items()
    for path in sorted(RESULTS.glob(f"*/{name}.json"))
]


@pytest.mark.parametrize(("path", "kind"), COMMITTED)
def test_committed_files_are_read_and_written_byte_for_byte(
    path: Path, kind: type, tmp_path: Path
) -> None:
    again = tmp_path / "again.json"
    result, stamp = read_stored(path, kind)
    write_result(again, result, stamp.run)
    assert read_result(again, kind) == result
    if kind is Evidence and stamp.run is None:
        return  # older cards have their fields in another order
    assert again.read_bytes() == path.read_bytes()


def test_a_newer_schema_is_refused_by_name_before_anything_else(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    path.write_text('{"schema": 2, "run": "of another kind"}', encoding="utf-8")
    with pytest.raises(InputError) as error:
        read_result(path, RunSummary)
    assert str(error.value) == (
        f"{path}: written with schema 2, this version of empathy_lens reads schema 1 and older; "
        "update empathy_lens"
    )


def test_a_stamped_result_comes_back_with_its_run_and_as_strictly_as_any(tmp_path: Path) -> None:
    path, run = tmp_path / "summary.json", RunIdentity("0f", "2026-01-01T00:00:00Z", "0.2", None)
    summary = read_result(RESULTS / "embedded" / "summary.json", RunSummary)
    write_result(path, summary, run)
    assert read_stored(path, RunSummary) == (summary, Stamp(1, run))
    path.write_text(path.read_text(encoding="utf-8").replace('"schema"', '"schemes"'))
    with pytest.raises(InputError, match="schemes"):
        read_result(path, RunSummary)


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("probe", "high"), 1.2, "probe: expected an interval within [0, 1]"),
        (("baselines", "length", "low"), -0.1, "length: expected an interval within [0, 1]"),
        (("rubric", "high"), 1.5, "rubric: expected an interval within [-1, 1]"),
        (("nulls", "random_directions", "p95"), 7, "nulls.random_directions.p95: "),
        (("schema",), None, "schema: expected a value, got null"),
        (("run", "started"), "yesterday", "run.started: "),
    ],
)
def test_what_no_figure_or_stamp_can_be_is_refused(tmp_path: Path, keys, value, message) -> None:
    card = json.loads((RESULTS / "embedded" / "evidence.json").read_text(encoding="utf-8"))
    *outer, last = keys
    functools.reduce(operator.getitem, outer, card)[last] = value
    path = tmp_path / "evidence.json"
    path.write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(InputError) as error:
        read_result(path, Evidence)
    assert message in str(error.value)


def test_own_play_without_one_of_its_rulings_is_refused(tmp_path: Path) -> None:
    play = json.loads((RESULTS / "embedded" / "on_policy.json").read_text(encoding="utf-8"))
    del play["verdicts"]["act"]
    path = tmp_path / "on_policy.json"
    path.write_text(json.dumps(play), encoding="utf-8")
    with pytest.raises(InputError, match="verdicts: expected act, leaning, score, got leaning"):
        read_result(path, OnPolicy)


def test_every_fault_is_named_with_its_file_and_field(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    path.write_text('{"selected_layer": "twelve", "criteria": []}', encoding="utf-8")
    with pytest.raises(InputError) as error:
        read_result(path, RunSummary)
    assert "selected_layer: Input should be a valid integer, got 'twelve'" in str(error.value)
    assert f"{path}: stages: Field required" in str(error.value)
