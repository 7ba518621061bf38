import json
from collections import Counter
from dataclasses import replace

import pytest
from practice import ROOT

from empathy_lens.data import data_hash, load_pairs
from empathy_lens.errors import InputError
from empathy_lens.pairs import DatasetSummary, describe, merge, split, write_dataset
from empathy_lens.results import read_result

SHIPPED = load_pairs(ROOT / "data" / "contrastive_pairs" / "train_pairs.jsonl")
PAIRS = tuple(
    replace(p, source_model=("claude", "gpt", "gemini")[n % 3], split="")
    for n, p in enumerate(SHIPPED)
)


@pytest.mark.parametrize("by", ["situation", "source"])
def test_a_split_is_fixed_by_its_seed_and_parts_no_situation(by):
    train, test = split(PAIRS, by=by, n_test=14, seed=1)
    assert split(PAIRS[::-1], by=by, n_test=14, seed=1)[1][0].split == "test"
    assert {p.pair_id for p in test} == {
        p.pair_id for p in split(PAIRS, by=by, n_test=14, seed=1)[1]}  # fmt: skip
    assert not {p.group for p in train} & {p.group for p in test}
    assert {p.split for p in train} == {"train"}
    assert {p.split for p in test} == {"test"}
    tests = {frozenset(p.pair_id for p in split(PAIRS, by=by, n_test=14, seed=s)[1])
             for s in range(6)}  # fmt: skip
    assert len(tests) > 1


def test_a_split_by_source_tests_on_models_that_wrote_nothing_to_train_on():
    train, test = split(PAIRS, by="source", n_test=20, seed=0)
    assert len(train) + len(test) == len(PAIRS)
    assert not {p.source_model for p in train} & {p.source_model for p in test}
    shared = (*PAIRS, replace(PAIRS[0], pair_id="twin", source_model="gpt"))
    train, test = split(shared, by="source", n_test=20, seed=0)
    assert not {p.group for p in train} & {p.group for p in test}


def test_one_source_alone_cannot_be_split_by_source():
    with pytest.raises(InputError, match="at least two"):
        split(SHIPPED, by="source", n_test=5, seed=0)


def test_merging_keeps_both_and_refuses_one_id_for_two_pairs():
    assert merge(PAIRS[:5], PAIRS[3:9]) == PAIRS[:9]
    with pytest.raises(InputError, match=PAIRS[0].pair_id):
        merge(PAIRS[:1], [replace(PAIRS[0], positive="Another text.")])


def test_the_card_has_counts_and_hashes_of_what_was_written(tmp_path):
    train, test = split(PAIRS, by="situation", n_test=14, seed=1)
    summary = describe(train, test, seed=1, n_test=14)
    write_dataset(tmp_path, train, test, summary)
    assert read_result(tmp_path / "dataset_summary.json", DatasetSummary) == summary
    assert load_pairs(tmp_path / "train_pairs.jsonl") == train
    assert summary.n_pairs == len(PAIRS)
    assert summary.by_source_model == Counter(p.source_model for p in PAIRS)
    assert summary.words["prompt"].min == min(len(p.prompt.split()) for p in PAIRS)
    assert summary.data_hash == {
        "train_pairs.jsonl": data_hash(train), "test_pairs.jsonl": data_hash(test)}  # fmt: skip


def test_pairs_in_the_shape_of_the_published_files_load_and_merge_as_they_are(tmp_path):
    """The fields of empathy-probes' train_pairs.jsonl and final_dataset files; no pair_id."""
    lines = [
        {
            "scenario_id": "the_maze",
            "scenario_title": "The Maze",
            "empathic_text": f"I would answer Jimmi97 before door {n}.",
            "non_empathic_text": f"I would proceed to door {n}.",
            "source_model": "gpt-4-turbo",
            "run_id": n,
            "generated_at": "2025-01-24T12:22:11.561397",
            "format": "eia_scenario",
            "temperature": 0.7,
        }
        for n in range(4)
    ]
    path = tmp_path / "published.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    published = load_pairs(path)
    merged = merge(PAIRS, published)
    train, test = split(merged, by="source", n_test=3, seed=0)
    write_dataset(tmp_path, train, test, describe(train, test, seed=0, n_test=3))
    kept = [p for p in (*train, *test) if p.source_model == "gpt-4-turbo"]
    assert [p.extra["run_id"] for p in kept] == [0, 1, 2, 3]
    assert len({p.pair_id for p in published}) == 4
