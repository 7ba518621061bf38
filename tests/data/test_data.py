import json
from dataclasses import replace

import pytest

from empathy_lens.data import (
    EMPATHY,
    SIDES,
    count_by,
    data_hash,
    load_pairs,
    load_rubric_completions,
    load_scenarios,
    reading,
    save_pairs,
    split_pairs,
)
from empathy_lens.errors import InputError
from empathy_lens.types import Concept, ContrastivePair

SCENARIOS = ("food_delivery", "the_listener", "the_maze")
PAIR = {
    "scenario_id": "the_maze",
    "empathic_text": "I turn round and tell her.",
    "non_empathic_text": "I pay and go through.",
}
COMPLETION = {"completion_id": "c1", "scenario_id": "the_maze", "score": 1, "text": "I pay first."}


@pytest.fixture
def write(tmp_path):
    def write_lines(*lines, name="pairs.jsonl", separator="\n"):
        path = tmp_path / name
        texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
        path.write_bytes((separator.join(texts) + separator).encode())
        return path

    return write_lines


def pair(number, *, scenario_id="s", situation=""):
    return ContrastivePair(f"{scenario_id}-{number:03d}", scenario_id, "yes", "no", "", situation)


def without(record, name):
    return {k: v for k, v in record.items() if k != name}


def fault(path, load=load_pairs, **options):
    with pytest.raises(InputError) as caught:
        load(path, **options)
    return str(caught.value)


# Reading pairs


def test_three_fields_are_enough(write):
    (loaded,) = load_pairs(write(PAIR))
    assert (loaded.scenario_id, loaded.prompt, loaded.split, loaded.tags) == (
        "the_maze",
        "",
        "",
        (),
    )
    assert (loaded.positive, loaded.negative) == (PAIR["empathic_text"], PAIR["non_empathic_text"])
    assert loaded.group == f"the_maze/{loaded.pair_id}"


def test_positive_text_and_negative_text_are_read_as_well(write):
    record = {"scenario_id": "refusal", "positive_text": "I can't.", "negative_text": "Done."}
    (loaded,) = load_pairs(write(record))
    assert (loaded.positive, loaded.negative, dict(loaded.extra)) == ("I can't.", "Done.", {})


def test_every_known_field_is_read_and_unknown_ones_are_kept(write):
    record = PAIR | {
        "pair_id": "p1",
        "situation": "lost-nurse",
        "format": "plan",
        "prompt": "You stand at the door.",
        "tags": ["hard", "negation"],
        "split": "test",
        "source_model": "claude",
        "run_id": 7,
        "generated_at": None,
        "review": {"by": ["a", "b"]},
    }
    (loaded,) = load_pairs(write(record))
    assert loaded.group == "the_maze/lost-nurse"
    assert (loaded.format, loaded.split, loaded.source_model) == ("plan", "test", "claude")
    assert (loaded.prompt, loaded.tags) == (record["prompt"], ("hard", "negation"))
    assert dict(loaded.extra) == {k: record[k] for k in ("run_id", "generated_at", "review")}


def test_null_in_an_optional_field_means_it_is_absent(write):
    bare, with_nulls = PAIR | {"pair_id": "p"}, {"pair_id": "p", "prompt": None, "tags": None}
    assert load_pairs(write(bare)) == load_pairs(write(PAIR | with_nulls))


def test_a_byte_order_mark_windows_line_ends_and_blank_lines_do_no_harm(write):
    plain = load_pairs(write(PAIR, PAIR | {"empathic_text": "I wait."}))
    text = "\ufeff" + json.dumps(PAIR)
    windows = write(text, "", "  ", PAIR | {"empathic_text": "I wait."}, separator="\r\n")
    assert load_pairs(windows) == plain


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x1c"])
def test_only_a_newline_ends_a_line(write, separator):
    text = f"first{separator}second"
    line = json.dumps(PAIR | {"empathic_text": text}, ensure_ascii=separator < " ")
    (loaded,) = load_pairs(write(line))
    assert loaded.positive == text


def test_ids_made_from_content_are_stable_and_differ_with_it(write):
    (first,) = load_pairs(write(PAIR))
    assert first.pair_id == "the_maze-925c0f13e8"
    (reordered,) = load_pairs(write(dict(reversed(PAIR.items())) | {"run_id": 3}))
    assert reordered.pair_id == first.pair_id
    others = [PAIR | {"prompt": "You wait."}, PAIR | {"empathic_text": "I call out."}]
    assert len({p.pair_id for p in load_pairs(write(PAIR, *others))}) == 3


# Bad input


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (without(PAIR, "scenario_id"), "scenario_id: expected text, got nothing"),
        (without(PAIR, "empathic_text"), "empathic_text: expected text, got nothing"),
        (without(PAIR, "non_empathic_text"), "non_empathic_text: expected text, got nothing"),
        (
            {"scenario_id": "a", "negative_text": "no"},
            "positive_text: expected text, got nothing",
        ),
        (PAIR | {"empathic_text": None}, "empathic_text: expected text, got NoneType"),
        (PAIR | {"empathic_text": 3}, "empathic_text: expected text, got int"),
        (PAIR | {"non_empathic_text": " \n"}, "non_empathic_text: expected text, it is empty"),
        (PAIR | {"prompt": ["a"]}, "prompt: expected text, got list"),
        (PAIR | {"pair_id": 12}, "pair_id: expected text, got int"),
        (PAIR | {"tags": "hard"}, "tags: expected a list of texts, got 'hard'"),
        (PAIR | {"tags": ["hard", 1]}, "tags: expected a list of texts, got ['hard', 1]"),
        (
            PAIR | {"empathic_text": PAIR["non_empathic_text"] + " "},
            "empathic_text and non_empathic_text are the same text",
        ),
        (PAIR | {"prompt": "half \ud83d"}, "prompt: expected Unicode text, it holds half a surr"),
        (PAIR | {"note": ["\udc00"]}, "note.0: expected Unicode text, it holds half a surrogate"),
        ([PAIR], "expected a JSON object, got list"),
        ('"text"', "expected a JSON object, got str"),
        ("{'scenario_id': 1}", "not valid JSON (Expecting property name"),
        ("not json", "not valid JSON (Expecting value at column 1)"),
        ('{"a": ' + "9" * 5000 + "}", "not valid JSON (Exceeds the limit"),
        ('{"a": {"b": ' + "9" * 400 + "}}", "a.b: expected a smaller number, got one of 1329 bits"),
        ('{"a": [1, NaN]}', "a.1: expected a finite number, got nan"),
        ('{"a": 1e400}', "a: expected a finite number, got inf"),
        ('{"a": 1, "a": 2}', "a: the name is given twice"),
        ('{"a": ' + "[" * 5000 + "]" * 5000 + "}", "not valid JSON (JSON nested too deeply"),
    ],
)
def test_a_bad_line_is_named_with_file_line_and_field(write, line, message):
    path = write(PAIR, line)
    assert fault(path).startswith(f"{path}:2: {message}")


def test_bytes_that_are_not_utf8_are_named(tmp_path):
    path = tmp_path / "latin.jsonl"
    path.write_bytes(json.dumps(PAIR).encode() + b'\n{"scenario_id": "caf\xe9"}\n')
    assert fault(path) == f"{path}:2: expected UTF-8, byte 20 is not"


def test_all_bad_lines_are_reported_at_once(write):
    path = write(PAIR | {"prompt": 1}, "{", PAIR, without(PAIR, "scenario_id"))
    assert [line.removeprefix(f"{path}:").split(":")[0] for line in fault(path).splitlines()] == [
        "1",
        "2",
        "4",
    ]


def test_a_long_list_of_faults_is_cut_but_counted(write):
    lines = fault(write(*["{"] * 50)).splitlines()
    assert len(lines) == reading.SHOWN_FAULTS + 1
    assert lines[-1] == f"… and {50 - reading.SHOWN_FAULTS} more"


def test_a_misspelt_scenario_gets_a_suggestion(write):
    path = write(PAIR | {"scenario_id": "the_lisener"})
    assert fault(path, scenario_ids=SCENARIOS) == (
        f"{path}:1: expected scenario_id in {{food_delivery, the_listener, the_maze}}, "
        "got 'the_lisener'; did you mean 'the_listener'?"
    )
    assert load_pairs(path)[0].scenario_id == "the_lisener"
    assert "did you mean" not in fault(write(PAIR | {"scenario_id": "zzz"}), scenario_ids=SCENARIOS)


def test_scenario_ids_may_be_any_iterable(write):
    lines = [PAIR, PAIR | {"prompt": "You wait."}]
    assert len(load_pairs(write(*lines), scenario_ids=iter(SCENARIOS))) == 2


def test_an_id_used_twice_is_named_with_its_first_line(write):
    path = write(PAIR | {"pair_id": "p"}, PAIR, PAIR | {"pair_id": "p"}, PAIR)
    made = load_pairs(write(PAIR, name="one.jsonl"))[0].pair_id
    assert fault(path).splitlines() == [
        f"{path}:3: id 'p' was already used on line 1",
        f"{path}:4: id {made!r} was already used on line 2",
    ]


@pytest.mark.parametrize("load", [load_pairs, load_rubric_completions, load_scenarios])
def test_a_missing_file_and_a_folder_are_named(tmp_path, load):
    missing = tmp_path / "none.jsonl"
    assert fault(missing, load) == f"{missing}: no such file"
    assert fault(tmp_path, load).startswith(f"{tmp_path}: cannot be read")


@pytest.mark.parametrize("load", [load_pairs, load_rubric_completions])
def test_an_empty_file_is_refused(write, load):
    assert "the file is empty" in fault(write(""), load)


# Rubric completions and scenarios


def test_rubric_completions_are_read(write):
    (loaded,) = load_rubric_completions(write(COMPLETION | {"situation": "lost", "note": "x"}))
    assert (loaded.completion_id, loaded.score, loaded.group) == ("c1", 1, "the_maze/lost")


@pytest.mark.parametrize("score", [3, -1, "1", None, True, 0.5, [1]])
def test_a_score_outside_the_rubric_is_refused(write, score):
    path = write(COMPLETION | {"score": score})
    message = fault(path, load_rubric_completions)
    assert message == f"{path}:1: score: expected 0, 1 or 2, got {score!r}"


@pytest.mark.parametrize("name", ["completion_id", "text", "scenario_id"])
def test_a_completion_needs_id_text_and_scenario(write, name):
    path = write(without(COMPLETION, name))
    message = fault(path, load_rubric_completions)
    assert message == f"{path}:1: {name}: expected text, got nothing"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"title": 3}, "scenario 1: expected text in title"),
        ({"rubric": {"0": "a", "1": "b"}}, "rubric needs the scores 0, 1 and 2, got ['0', '1']"),
        ({"rubric": "none"}, "rubric needs the scores 0, 1 and 2, got str"),
        ({"id": "first"}, "scenario id 'first' appears twice"),
    ],
)
def test_a_malformed_scenario_is_refused(tmp_path, change, message):
    names = ("title", "description", "objective", "empathy_pressure")
    good = dict.fromkeys(names, "text") | {"rubric": {"0": "a", "1": "b", "2": "c"}}
    path = tmp_path / "scenarios.json"
    path.write_text(json.dumps([good | {"id": "first"}, good | {"id": "second"} | change]))
    assert message in fault(path, load_scenarios)
    path.write_text(json.dumps([good | {"id": "first"}, without(good, "title")]))
    assert fault(path, load_scenarios) == f"{path}: scenario 1 lacks id, title"
    path.write_text("{}")
    assert "expected a JSON list of scenarios, got dict" in fault(path, load_scenarios)


# Writing


RICH = ContrastivePair(
    pair_id="p1",
    scenario_id="the_maze",
    positive='He said "wait"\nand \u2028 I did. Ünïcode 🙂',
    negative="\tI went.\\",
    prompt="You stand at the door. ",
    situation="lost",
    format="plan",
    split="train",
    source_model="claude",
    tags=("hard", "negation"),
    extra={"run_id": 7, "empty": "", "nested": {"a": [1, None]}},
)


@pytest.mark.parametrize("sides", SIDES)
def test_saved_pairs_load_equal(tmp_path, sides):
    concept = EMPATHY if sides == SIDES[1] else Concept("honesty", "honest", "false")
    pairs = tuple(replace(p, concept=concept) for p in (RICH, pair(1), pair(2, situation="x")))
    path = tmp_path / "folder" / "pairs.jsonl"
    save_pairs(path, pairs, sides=sides)
    assert load_pairs(path) == pairs
    assert path.read_text(encoding="utf-8").count(f'"{sides[1]}"') == 3


def test_a_file_saved_again_is_the_same_to_the_byte(tmp_path, write):
    once, twice = tmp_path / "once.jsonl", tmp_path / "twice.jsonl"
    save_pairs(once, load_pairs(write(PAIR, PAIR | {"prompt": "a", "note": 1})))
    save_pairs(twice, load_pairs(once))
    assert once.read_bytes() == twice.read_bytes()


def test_known_fields_come_first_and_empty_ones_are_left_out(tmp_path):
    path = tmp_path / "pairs.jsonl"
    save_pairs(path, (RICH, pair(1)))
    rich, bare = (json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:2])
    assert list(rich) == [
        "pair_id",
        "scenario_id",
        "situation",
        "format",
        "prompt",
        "positive_text",
        "negative_text",
        "tags",
        "split",
        "source_model",
        "run_id",
        "empty",
        "nested",
    ]
    assert list(bare) == ["pair_id", "scenario_id", "positive_text", "negative_text"]


def test_other_names_for_the_sides_are_refused(tmp_path):
    with pytest.raises(InputError, match="expected sides in"):
        save_pairs(tmp_path / "pairs.jsonl", (RICH,), sides=("good", "bad"))


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "pairs.jsonl"
    save_pairs(path, (RICH,))
    before = path.read_bytes()
    unwritable = ContrastivePair("p", "s", "a", "b", extra={"x": object()})
    with pytest.raises(TypeError):
        save_pairs(path, (RICH, unwritable))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_hash_follows_content_and_order_alone(tmp_path):
    pairs = (RICH, pair(1))
    path = tmp_path / "pairs.jsonl"
    save_pairs(path, pairs, sides=("positive_text", "negative_text"))
    assert data_hash(load_pairs(path)) == data_hash(pairs)
    assert data_hash(pairs[::-1]) != data_hash(pairs)
    assert data_hash((RICH, pair(2))) != data_hash(pairs)


# Splitting


def many(*, groups=12, size=2, scenarios=SCENARIOS):
    return [
        pair(g * size + i, scenario_id=s, situation=f"g{g}")
        for s in scenarios
        for g in range(groups)
        for i in range(size)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_no_situation_is_on_both_sides_and_no_pair_is_lost(seed):
    pairs = many()
    train, test = split_pairs(pairs, n_test=18, seed=seed)
    assert not {p.group for p in train} & {p.group for p in test}
    assert sorted(p.pair_id for p in train + test) == sorted(p.pair_id for p in pairs)


def test_the_same_situation_in_two_scenarios_is_two_groups():
    train, test = split_pairs(many(size=1), n_test=18, seed=0)
    assert {p.situation for p in train} & {p.situation for p in test}


def test_the_split_does_not_depend_on_the_order_of_the_pairs():
    pairs = many()
    halves = split_pairs(pairs, n_test=18, seed=1)
    assert split_pairs(pairs[::-1], n_test=18, seed=1) == halves
    assert split_pairs(pairs[7:] + pairs[:7], n_test=18, seed=1) == halves


def test_a_seed_reproduces_the_split_and_another_changes_it():
    pairs = many()
    assert split_pairs(pairs, n_test=18, seed=1) == split_pairs(pairs, n_test=18, seed=1)
    halves = [split_pairs(pairs, n_test=18, seed=seed) for seed in range(6)]
    tests = {tuple(p.pair_id for p in test) for _, test in halves}
    assert len(tests) == 6


def test_each_scenario_gives_its_share_of_test_pairs():
    pairs = many(groups=30, size=1, scenarios=("a",)) + many(groups=10, size=1, scenarios=("b",))
    _, test = split_pairs(pairs, n_test=8, seed=0)
    assert count_by(test, "scenario_id") == {"a": 6, "b": 2}


@pytest.mark.parametrize("n_test", [1, 2, 7, 35])
def test_single_pair_groups_give_exactly_the_number_asked_for(n_test):
    train, test = split_pairs(many(size=1), n_test=n_test, seed=0)
    assert (len(train), len(test)) == (36 - n_test, n_test)


def test_large_groups_overshoot_by_less_than_one_group_a_scenario():
    _, test = split_pairs(many(groups=6, size=5), n_test=18, seed=0)
    assert all(6 <= n < 6 + 5 for n in count_by(test, "scenario_id").values())


@pytest.mark.parametrize("n_test", [0, -1, 72, 100])
def test_a_test_size_that_leaves_a_side_empty_is_refused(n_test):
    with pytest.raises(InputError, match=r"n_test must lie in 1\.\.71"):
        split_pairs(many(), n_test=n_test, seed=0)


def test_one_situation_cannot_be_split():
    with pytest.raises(InputError, match="would take all 1 situations"):
        split_pairs(many(groups=1, size=10, scenarios=("a",)), n_test=2, seed=0)
