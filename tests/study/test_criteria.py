"""How surely the seed study's criteria are met, as stored, as printed and in the report."""

import json
from pathlib import Path

import pytest

from empathy_lens.console import criteria_table
from empathy_lens.evidence.validation import LayerValidation
from empathy_lens.results import RunSummary, from_plain, read_result, to_plain
from empathy_lens.study.criteria import seed_criteria
from empathy_lens.types import Estimate
from empathy_lens.views.tables import criteria

COMMITTED = Path(__file__).parents[2] / "results" / "embedded" / "summary.json"


def estimate(value, low, high):
    return Estimate(value, low, high, 0.95, 40, 20, "made up")


@pytest.fixture
def summary():
    held_out = LayerValidation(
        auroc=estimate(0.84, 0.78, 0.90),
        accuracy=estimate(0.75, 0.70, 0.80),
        separation=estimate(1.0, 0.5, 1.5),
    )
    return RunSummary(3, seed_criteria(held_out, None, (1, 2)), (), 1.0, 1.0, {})


def test_a_bound_is_met_by_the_whole_interval_by_the_point_or_not(summary):
    assert {c.name: (c.ruling, c.met) for c in summary.criteria} == {
        "AUROC > 0.75": ("met with the whole interval", True),
        "AUROC > 0.8": ("met by the point alone", True),
        "AUROC > 0.85": ("not met", False),
        "accuracy > 0.75": ("not met", False),
        "successful steering examples >= 1": ("met by the count", True),
        "successful steering examples >= 2": ("not met", False),
        "share of successful steering examples > 0.5": ("not met", False),
        "Pearson r with EIA scores > 0.4": ("not measured", None),
        "Pearson r with EIA scores > 0.5": ("not measured", None),
        "binary accuracy, score 2 against 0 > 0.7": ("not measured", None),
    }
    assert from_plain(to_plain(summary), RunSummary, "summary") == summary


def test_the_report_and_the_terminal_say_which(summary, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    shown = [(row["verdict"], row["css"]) for row in criteria(summary)]
    assert shown[:3] == [
        ("met with the whole interval", "met"),
        ("met by the count", "met"),
        ("met by the point alone", "unknown"),
    ]
    criteria_table(summary, Path("run"))
    assert {state for state, _ in shown} <= {
        part.strip() for line in capsys.readouterr().out.splitlines() for part in line.split("│")
    }


def test_a_file_older_than_the_ruling_still_says_met_or_not(tmp_path):
    plain = json.loads(COMMITTED.read_text())
    for criterion in plain["criteria"]:
        del criterion["ruling"]
    (tmp_path / "summary.json").write_text(json.dumps(plain))
    older = read_result(tmp_path / "summary.json", RunSummary)
    assert {c.ruling for c in older.criteria} == {None}
    assert {row["verdict"] for row in criteria(older)} == {"met", "not met"}
