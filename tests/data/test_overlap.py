"""Leakage between two sets of pairs, planted and found; near-duplicates by word 5-grams."""

from dataclasses import replace

import pytest
from practice import ROOT

from empathy_lens.data import find_overlaps, find_repeats, load_pairs, near_duplicates

FOLDER = ROOT / "data" / "contrastive_pairs"
TRAIN, TEST = (load_pairs(FOLDER / f"{side}_pairs.jsonl") for side in ("train", "test"))


def test_the_shipped_files_share_nothing():
    assert find_overlaps(TRAIN, TEST) == ()
    assert find_repeats(TRAIN) == ()


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("pair_id", {"pair_id": TRAIN[3].pair_id}),
        ("situation", {"scenario_id": TRAIN[3].scenario_id, "situation": TRAIN[3].situation}),
        ("prompt", {"prompt": f"  {TRAIN[3].prompt.upper()}\n"}),
        ("text", {"positive": TRAIN[3].positive.replace(" ", "  ").title()}),
        ("text", {"positive": TRAIN[3].negative}),
        ("text", {"negative": TRAIN[3].positive}),
        ("near-duplicate", {"negative": TRAIN[3].negative.replace(TRAIN[3].negative[:20], "So")}),
    ],
)
def test_each_kind_of_overlap_is_found_and_named(kind, changed):
    planted = (*TEST[:4], replace(TEST[4], **changed), *TEST[5:])
    (overlap,) = find_overlaps(TRAIN, planted)
    assert (overlap.kind, overlap.first, overlap.second) == (
        kind, TRAIN[3].pair_id, planted[4].pair_id)  # fmt: skip
    assert overlap.exact == (kind != "near-duplicate")
    assert overlap.similarity == 1 if overlap.exact else 0.5 < overlap.similarity < 1


def test_the_same_file_twice_is_all_overlap():
    overlaps = find_overlaps(TEST, TEST)
    for kind in ("pair_id", "situation", "prompt", "text"):
        assert sum(o.kind == kind for o in overlaps) == len(TEST)
    assert not any(o.kind == "near-duplicate" for o in overlaps)


def test_texts_that_repeat_within_a_file_are_found():
    again = replace(TRAIN[5], pair_id="again", positive=TRAIN[2].negative.upper())
    words = TRAIN[0].positive.split()
    nearly = replace(TEST[6], pair_id="nearly", positive=" ".join(["Well,", *words[1:]]))
    repeats = find_repeats((*TRAIN, again, nearly))
    assert {(o.kind, o.first, o.second) for o in repeats} == {
        ("text", TRAIN[2].pair_id, "again"),
        ("near-duplicate", TRAIN[0].pair_id, "nearly"),
    }


def test_short_texts_are_alike_where_only_marks_or_widths_differ():
    short = replace(TRAIN[0], positive="I told her so.", negative="I blamed the cat.")
    other = replace(TEST[0], positive="I told her so", negative="No.")
    (near,) = find_overlaps([short], [other])
    assert (near.kind, near.similarity) == ("near-duplicate", 1.0)
    wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in short.negative)
    (same,) = find_overlaps([short], [replace(TEST[0], positive=wide)])
    assert same.kind == "text"
    assert find_overlaps([short], [replace(other, positive="I told him so")]) == ()


def test_near_duplicates_count_shared_five_word_runs_and_skip_texts_of_one_item():
    base = "one two three four five six seven"
    texts = [base, base.upper() + "!", "one two three four five other words here", "nothing alike"]
    found = near_duplicates(texts, [0, 1, 2, 3], 0.1)
    assert [(a, b) for a, b, _ in found] == [(0, 1), (0, 2), (1, 2)]
    assert found[0][2] == 1.0
    assert found[1][2] == pytest.approx(1 / 6)
    assert near_duplicates(texts, [0, 0, 2, 3], 0.5) == []
