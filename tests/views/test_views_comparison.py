"""Runs side by side: one sealed page, a column for each, whatever is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hostile import READABLE_KINDS
from synthetic_run import synthetic_run, write_run
from test_views_report import assert_sealed
from typer.testing import CliRunner

from empathy_lens.cli.app import app
from empathy_lens.errors import InputError
from empathy_lens.views import build_comparison
from empathy_lens.views.report import MAX_BYTES
from empathy_lens.views.text import ranges


def two(tmp_path: Path, other: dict[str, dict[str, object]]) -> list[Path]:
    return [write_run(tmp_path / "a", synthetic_run()), write_run(tmp_path / "b", other)]


def test_each_run_has_a_column_with_its_own_numbers(tmp_path: Path) -> None:
    other = synthetic_run()
    other["config"]["model_name"] = "a/second-model"
    other["evidence"]["probe"] |= {"value": 0.777, "low": 0.7}
    other["evidence"]["verdicts"][0]["verdict"] = "not supported"
    html = build_comparison(two(tmp_path, other))
    page = assert_sealed(html)
    assert len(html.encode()) <= MAX_BYTES
    text = " ".join(page.text)
    for expected in ("google/gemma-3-270m", "a/second-model", "0.941", "0.777", "2 runs"):
        assert expected in text, expected
    assert "steered play, EIA score per alpha" in text
    measured = html[html.index('id="table-measures"') :].split("</tr>")[1]
    assert measured.index("0.941") < measured.index("0.777")


def test_runs_of_one_model_are_told_apart_by_folder(tmp_path: Path) -> None:
    text = " ".join(assert_sealed(build_comparison(two(tmp_path, synthetic_run()))).text)
    assert "google/gemma-3-270m (a)" in text
    assert "google/gemma-3-270m (b)" in text


@pytest.mark.parametrize("part", sorted(synthetic_run()))
def test_a_run_of_one_part_stands_beside_a_whole_one(part: str, tmp_path: Path) -> None:
    assert_sealed(build_comparison(two(tmp_path, {part: synthetic_run()[part]})))


@pytest.mark.parametrize("number", range(len(READABLE_KINDS)))
def test_hostile_texts_stay_texts(number: int, tmp_path: Path) -> None:
    page = assert_sealed(build_comparison(two(tmp_path, synthetic_run(READABLE_KINDS[number]))))
    # As with harmless text; ``i`` and ``b`` included, nothing of the text became an element.
    plain = assert_sealed(build_comparison(two(tmp_path / "plain", synthetic_run("word"))))
    assert set(page.tags) == set(plain.tags)


def test_one_folder_twice_is_an_input_error(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", synthetic_run())
    with pytest.raises(InputError, match="two or more different"):
        build_comparison([folder, folder])


def test_the_command_writes_a_report_or_a_comparison(tmp_path: Path) -> None:
    folders = [str(folder) for folder in two(tmp_path, synthetic_run())]
    alone = CliRunner().invoke(app, ["report", folders[0]])
    assert alone.stdout.strip() == f"{folders[0]}/report.html"
    assert (tmp_path / "a" / "figures" / "auroc_by_layer.html").is_file()
    out = tmp_path / "both.html"
    both = CliRunner().invoke(app, ["report", *folders, "--out", str(out)])
    assert both.stdout.strip() == str(out)
    assert "2 runs side by side" in out.read_text(encoding="utf-8")
    missing = CliRunner().invoke(app, ["report", folders[0], str(tmp_path / "none")])
    assert missing.exit_code == 2
    assert "there is none" in missing.stderr


def test_pictures_need_kaleido_and_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plotly.io._kaleido.kaleido_available", lambda: False)
    folder = write_run(tmp_path, {"validation_auroc": synthetic_run()["validation_auroc"]})
    result = CliRunner().invoke(app, ["report", str(folder), "--images", "svg"])
    assert result.exit_code == 2
    assert "pip install 'kaleido>=1'" in result.stderr
    assert not list(folder.rglob("*.svg"))


def test_ranges_join_neighbours() -> None:
    assert ranges([0, 1, 2, 5, 7, 8]) == "0–2, 5, 7–8"
    assert ranges([]) == ""
    assert ranges([3]) == "3"
