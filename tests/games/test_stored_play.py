"""Committed results of own play read as their types, and write back to the same bytes."""

from pathlib import Path

import pytest

from empathy_lens.games.behaviour import OnPolicy
from empathy_lens.games.steered_play import SteeredPlay
from empathy_lens.results import read_result, write_result

RESULTS = Path(__file__).parents[2] / "results"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("embedded/on_policy.json", OnPolicy),
        ("embedded/steered_play.json", SteeredPlay),
        ("embedded-smollm2/on_policy.json", OnPolicy),
    ],
)
def test_a_committed_result_reads_and_writes_back_byte_equal(name, kind, tmp_path):
    result = read_result(RESULTS / name, kind)
    write_result(tmp_path / "again.json", result)
    assert (tmp_path / "again.json").read_bytes() == (RESULTS / name).read_bytes()
