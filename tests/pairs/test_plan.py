import json
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest
from practice import SCENARIOS

from empathy_lens.data import load_scenarios
from empathy_lens.errors import InputError
from empathy_lens.pairs.plan import load_prompts, pair_request, parse_pair, plan_pairs
from empathy_lens.types import Concept
from empathy_lens.vendors import UnreadableReplyError, load_config
from empathy_lens.vendors.protocols import body

GAMES = load_scenarios(SCENARIOS)
CONFIG = load_config()


def axes(slot):
    return slot.scenario.id, slot.model.name, slot.format, slot.wording


def asked(slot, attempt=0):
    return body(pair_request(slot, attempt, 1500))


@pytest.mark.parametrize("n", [90, 137, 180, 500])
def test_every_value_and_every_two_values_come_up_equally_often(n):
    slots = plan_pairs(GAMES, CONFIG, n, seed=1)
    sizes = [len(GAMES), 3, len(load_prompts().forms), len(load_prompts().wordings)]
    for axis, size in enumerate(sizes):
        counts = Counter(axes(s)[axis] for s in slots)
        assert len(counts) == size
        assert max(counts.values()) - min(counts.values()) <= 2
    for a, b in combinations(range(4), 2):
        counts = Counter((axes(s)[a], axes(s)[b]) for s in slots)
        assert len(counts) == sizes[a] * sizes[b]
        assert max(counts.values()) - min(counts.values()) <= 3


def test_a_round_of_all_combinations_holds_each_once():
    slots = plan_pairs(GAMES, CONFIG, 5 * 3 * 4 * 3, seed=0)
    assert set(Counter(map(axes, slots)).values()) == {1}


def test_a_plan_is_the_beginning_of_every_longer_one():
    assert plan_pairs(GAMES, CONFIG, 40, seed=3) == plan_pairs(GAMES, CONFIG, 200, seed=3)[:40]


def test_the_seed_decides_the_plan():
    first, same, other = (plan_pairs(GAMES, CONFIG, 60, seed=s) for s in (5, 5, 6))
    assert first == same
    assert [axes(s) for s in first] != [axes(s) for s in other]


def test_situations_do_not_repeat_within_a_scenario():
    slots = plan_pairs(GAMES, CONFIG, 1500, seed=0)
    assert len({(s.scenario.id, s.situation) for s in slots}) == len(slots)
    assert len({s.pair_id for s in slots}) == len(slots)


def test_one_request_asks_for_both_sides_and_states_game_facts_and_form():
    for slot in plan_pairs(GAMES, CONFIG, 30, seed=2):
        text = asked(slot)["messages"][-1]["content"]
        scenario = slot.scenario
        told = (*slot.facts, slot.person, slot.circumstance, load_prompts().forms[slot.format])
        for part in (*told, scenario.objective, scenario.rubric["0"], scenario.rubric["2"]):
            assert part in text
        assert all(name in text for name in ('"positive_text"', '"negative_text"'))
        assert "{" not in "".join(slot.facts)


def test_no_two_questions_are_the_same_and_a_question_has_one_id():
    slots = plan_pairs(GAMES, CONFIG, 120, seed=0)
    requests = [pair_request(s, attempt, 1500) for s in slots for attempt in range(3)]
    assert len({r.call for r in requests}) == len(requests)
    assert len({str(body(r)) for r in requests}) == len(requests)
    assert pair_request(slots[0], 0, 1500).call == requests[0].call


def test_the_seed_is_sent_where_a_vendor_takes_one():
    for slot in plan_pairs(GAMES, CONFIG, 9, seed=0):
        sent = asked(slot)
        assert sent.get("seed") == (slot.seed if slot.vendor.name == "openai" else None)


@pytest.mark.parametrize(
    ("vendor", "structured", "field"),
    [
        ("anthropic", "schema", "output_config"),
        ("anthropic", "tool", "tools"),
        ("anthropic", "text", None),
        ("openai", "schema", "response_format"),
        ("openai", "tool", "tools"),
        ("openai", "text", None),
    ],
)
def test_json_is_demanded_in_the_vendors_way(tmp_path: Path, vendor, structured, field):
    path = tmp_path / "vendors.toml"
    path.write_text(
        f"""[vendors.{vendor}]
        protocol = "{vendor}"
        base_url = "http://127.0.0.1:1"
        structured = "{structured}"
        extra = {{ top_p = 0.9 }}
        models = [{{ name = "m", usd_per_million_input = 1.0, usd_per_million_output = 1.0 }}]"""
    )
    (slot,) = plan_pairs(GAMES, load_config(path), 1, seed=0)
    sent = asked(slot)
    demands = {"output_config", "tools", "response_format"} & set(sent)
    assert demands == ({field} if field else set())
    assert sent["top_p"] == 0.9


def test_prices_are_worst_case_above_expected_and_grow_with_both_sides_of_the_bill():
    request = pair_request(plan_pairs(GAMES, CONFIG, 1, seed=0)[0], 0, 1500)
    assert request.most_usd > request.expected_usd(1500) > request.expected_usd(450) > 0
    assert request.model.usd(2_000_000, 1_000_000) == pytest.approx(
        2 * request.model.usd_per_million_input + request.model.usd_per_million_output
    )


@pytest.mark.parametrize(("n", "seed"), [(0, 0), (-3, 0), (5, -1)])
def test_a_senseless_plan_is_refused(n, seed):
    with pytest.raises(InputError, match="1 pair or more"):
        plan_pairs(GAMES, CONFIG, n, seed)


def test_a_scenario_without_facts_is_named():
    other = {"chess": next(iter(GAMES.values()))}
    with pytest.raises(InputError, match="chess"):
        plan_pairs(other, CONFIG, 3, seed=0)


PAIR = {"prompt": "You stand here.", "positive_text": "I go to D.", "negative_text": "On to B."}


def test_a_pair_is_read_from_its_json_also_inside_a_fence():
    (slot,) = plan_pairs(GAMES, CONFIG, 1, seed=0)
    concept = Concept("honesty", "honest", "deceptive")
    for text in (json.dumps(PAIR), f"\n```json\n{json.dumps(PAIR, indent=1)}\n```\n"):
        pair = parse_pair(text, slot, concept)
        assert (pair.prompt, pair.positive, pair.negative) == tuple(PAIR.values())
        assert (pair.pair_id, pair.concept) == (slot.pair_id, concept)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "Here it is: " + json.dumps(PAIR),
        json.dumps(PAIR) + " I hope it helps.",
        json.dumps(PAIR)[:-5],
        json.dumps([PAIR]),
        json.dumps({**PAIR, "note": "x"}),
        json.dumps({k: v for k, v in PAIR.items() if k != "prompt"}),
        json.dumps({**PAIR, "prompt": 3}),
        json.dumps({**PAIR, "positive_text": "  "}),
        json.dumps({**PAIR, "positive_text": "On to B. "}),
        json.dumps({**PAIR, "positive_text": "I go\x00 to D."}),
        json.dumps({**PAIR, "positive_text": "I go \ud800 to D."}),
        json.dumps(PAIR)[:-1] + ', "prompt": "again"}',
        "[" * 100_000,
        "null",
    ],
)
def test_anything_but_exactly_a_pair_is_unreadable(text):
    with pytest.raises(UnreadableReplyError):
        parse_pair(text, plan_pairs(GAMES, CONFIG, 1, seed=0)[0], Concept())
