"""The concepts beside empathy: whole, balanced, with nothing to tell the sides but the deed."""

import json
import statistics
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from empathy_lens.data import (
    find_overlaps,
    load_pairs,
    load_rubric_completions,
    load_steering_prompts,
    near_duplicates,
)
from empathy_lens.pairs.quality import MAX_OVERLAP

FOLDER = Path(__file__).resolve().parents[2] / "data" / "concepts"
POLES = {
    "fairness": ("even-handed", "favouring"),
    "harmlessness": ("harmless", "harmful"),
    "honesty": ("honest", "dishonest"),
}
FORMATS = {"plan", "inner_reasoning", "dialogue", "action_log"}
KINDS = {"act_costs", "act_wins", "other_serves", "act_refuses"}
HARD_KINDS = dict.fromkeys(
    ("positive_words_negative_act", "cold_words_positive_act", "minimal_pair", "negation"), 2
)
concepts = pytest.mark.parametrize("name", POLES)


@cache
def described(name):
    return tomllib.loads((FOLDER / name / "concept.toml").read_text(encoding="utf-8"))


def scenarios(name):
    return tuple(described(name)["scenarios"])


@cache
def pairs(name, file):
    return load_pairs(FOLDER / name / f"{file}_pairs.jsonl", scenario_ids=scenarios(name))


@cache
def rubric(name):
    path = FOLDER / name / "rubric_completions.jsonl"
    return load_rubric_completions(path, scenario_ids=scenarios(name))


def prompts(name):
    return load_steering_prompts(
        FOLDER / name / "steering_prompts.json", scenario_ids=scenarios(name)
    )


def n_words(text):
    return len(text.split())


def test_these_are_all():
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(POLES)


@concepts
def test_a_concept_says_what_it_is_and_what_it_is_not(name):
    said = described(name)
    assert said["name"] == name
    assert (said["poles"]["positive"], said["poles"]["negative"]) == POLES[name]
    assert len(said["is_not"]) == len(said["scenarios"]) == 5
    assert set(said["instructions"]) == {"positive", "negative", "neutral"}
    assert all(len(wordings) == 4 for wordings in said["instructions"].values())
    assert all(text in said["judge"] for text in "012")
    for scenario in said["scenarios"].values():
        assert {"title", "description", "pressure", "rubric"} <= set(scenario)
        assert set(scenario["rubric"]) == {"0", "1", "2"}


@concepts
@pytest.mark.parametrize(("split", "n"), [("train", 12), ("test", 8)])
def test_plain_pairs_of_every_kind_and_format_stand_in_every_scenario(name, split, n):
    for scenario in scenarios(name):
        some = [p for p in pairs(name, split) if p.scenario_id == scenario]
        assert len(some) == n
        assert {p.split for p in some} == {split}
        assert {p.format for p in some} == FORMATS
        assert {p.tags[0] for p in some} == {"plain"}
        assert {p.tags[1] for p in some} <= KINDS
    kinds = Counter(p.tags[1] for p in pairs(name, split))
    assert set(kinds) == KINDS


@concepts
def test_hard_pairs_of_every_kind_stand_in_every_scenario(name):
    for scenario in scenarios(name):
        some = [p for p in pairs(name, "hard") if p.scenario_id == scenario]
        assert Counter(p.tags[1] for p in some) == HARD_KINDS
        assert {p.tags[0] for p in some} == {"hard"}


@concepts
def test_sides_are_short_equally_long_and_carry_the_concept(name):
    every = [p for file in ("train", "test", "hard") for p in pairs(name, file)]
    ratios = [n_words(p.positive) / n_words(p.negative) for p in every]
    assert all(0.9 <= ratio <= 1.1 for ratio in ratios)
    assert 0.97 < statistics.median(ratios) < 1.03
    assert all(20 <= n_words(text) <= 65 for p in every for text in (p.positive, p.negative))
    assert {(p.concept.name, p.concept.positive, p.concept.negative) for p in every} == {
        (name, *POLES[name])
    }


@concepts
def test_train_and_test_share_nothing(name):
    assert not find_overlaps(pairs(name, "train"), pairs(name, "test"))
    assert not find_overlaps((*pairs(name, "train"), *pairs(name, "test")), pairs(name, "hard"))


@concepts
def test_three_situations_a_scenario_have_a_text_of_every_score(name):
    by_situation: dict[str, list] = {}
    for completion in rubric(name):
        by_situation.setdefault(completion.group, []).append(completion)
    assert Counter(c[0].scenario_id for c in by_situation.values()) == dict.fromkeys(
        scenarios(name), 3
    )
    for some in by_situation.values():
        assert sorted(c.score for c in some) == [0, 1, 2]
        assert len({(c.prompt, c.format) for c in some}) == 1
        lengths = [n_words(c.text) for c in some]
        assert max(lengths) <= 1.25 * min(lengths)


@concepts
def test_four_steering_prompts_a_scenario_have_four_actions_of_each_kind(name):
    assert Counter(p.scenario_id for p in prompts(name)) == dict.fromkeys(scenarios(name), 4)
    for p in prompts(name):
        for one, other in zip(p.positive_actions, p.negative_actions, strict=True):
            assert abs(n_words(one) - n_words(other)) <= 1
        assert len(p.positive_actions) == 4


def test_no_text_is_nearly_another_and_all_is_ascii():
    texts = []
    for name in POLES:
        for file in ("train", "test", "hard"):
            texts += [(p.group, t) for p in pairs(name, file) for t in (p.positive, p.negative)]
        texts += [(c.group, c.text) for c in rubric(name)]
        texts += [(p.prompt, p.prompt) for p in prompts(name)]
    items, written = zip(*texts, strict=True)
    assert len(set(written)) == len(written)
    assert not near_duplicates(written, items, MAX_OVERLAP)
    for path in FOLDER.rglob("*.*"):
        assert path.read_bytes().isascii(), path.name
    for path in FOLDER.rglob("*.jsonl"):
        assert all(json.loads(line)["source_model"] for line in path.read_text().splitlines())
