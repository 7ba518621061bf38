import importlib.util
import json
import re
import shutil
import statistics
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path

import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

from empathy_lens.data import (
    count_by,
    load_neutral_texts,
    load_pairs,
    load_plain_questions,
    load_rubric_completions,
    load_scenarios,
    load_steering_prompts,
    near_duplicates,
)
from empathy_lens.errors import InputError
from empathy_lens.pairs.quality import LENGTH_RATIO, MAX_OVERLAP, check_pairs

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "data"
PAIRS = DATA / "contrastive_pairs"
SCENARIOS = load_scenarios(DATA / "eia_scenarios" / "scenarios.json")
FORMATS = {"plan", "inner_reasoning", "dialogue", "action_log"}
N_CONTRASTS = {
    **dict.fromkeys(("politeness", "refusal", "sentiment", "task_focus", "verbosity"), 24),
    **dict.fromkeys(("losing", "needless_request", "engaged_chat"), 60),
}
CONTRASTS = tuple(N_CONTRASTS)
PLAIN_KINDS = {"kind_costs", "kind_wins", "task_serves", "kind_refuses"}
SIDES = ("positive", "negative")
KINDS = {
    "empathic_words_task_act": 4,
    "cold_words_caring_act": 4,
    "minimal_pair": 4,
    "negation": 4,
    "reported_speech": 2,
}
BAGS_OF_WORDS = {
    "naive Bayes": lambda: make_pipeline(CountVectorizer(), MultinomialNB()),
    "TF-IDF + logistic": lambda: make_pipeline(TfidfVectorizer(), LogisticRegression()),
}


@cache
def pairs(name):
    folder = "hard_pairs" if name == "hard_pairs" else "contrastive_pairs"
    return load_pairs(DATA / folder / f"{name}.jsonl", scenario_ids=SCENARIOS)


@cache
def plain(split):
    path = DATA / "plain_pairs" / f"{split}_pairs.jsonl"
    return load_pairs(path, scenario_ids=SCENARIOS)


@cache
def contrast(name):
    return load_pairs(DATA / "contrast_sets" / f"{name}.jsonl", scenario_ids=(name,))


@cache
def rubric():
    path = DATA / "rubric_completions" / "rubric_completions.jsonl"
    return load_rubric_completions(path, scenario_ids=SCENARIOS)


@cache
def records(name):
    return [json.loads(line) for line in (DATA / "neutral" / name).read_text().splitlines()]


@cache
def steering_prompts(name="steering_prompts"):
    return load_steering_prompts(DATA / "eia_scenarios" / f"{name}.json", scenario_ids=SCENARIOS)


def ordinary():
    return pairs("train_pairs") + pairs("test_pairs")


def n_words(text):
    return len(text.split())


def length_ratios(some_pairs):
    return [n_words(p.positive) / n_words(p.negative) for p in some_pairs]


@pytest.fixture(scope="module")
def build_dataset():
    spec = importlib.util.spec_from_file_location(
        "build_dataset", ROOT / "experiments" / "build_dataset.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# The contrastive pairs


def test_there_are_seventy_pairs_to_train_on_and_twenty_to_test():
    assert (len(pairs("train_pairs")), len(pairs("test_pairs"))) == (70, 20)
    assert {p.split for p in pairs("train_pairs")} == {"train"}
    assert {p.split for p in pairs("test_pairs")} == {"test"}


def test_every_scenario_has_eighteen_pairs_and_four_of_them_are_for_testing():
    assert count_by(ordinary(), "scenario_id") == dict.fromkeys(sorted(SCENARIOS), 18)
    assert set(count_by(pairs("test_pairs"), "scenario_id").values()) == {4}


def test_every_pair_is_its_own_situation_and_none_is_on_both_sides():
    assert len({p.group for p in ordinary()}) == len(ordinary())
    assert all(p.situation and p.prompt and p.source_model for p in ordinary())


@pytest.mark.parametrize("scenario_id", SCENARIOS)
def test_every_scenario_mixes_the_four_formats(scenario_id):
    of_scenario = [p for p in ordinary() if p.scenario_id == scenario_id]
    counts = count_by(of_scenario, "format")
    assert set(counts) == FORMATS
    assert max(counts.values()) <= 9


def test_both_sides_are_equally_long():
    ratios = length_ratios(ordinary())
    low, high = LENGTH_RATIO
    assert statistics.fmean(low <= r <= high for r in ratios) >= 0.9
    assert 0.97 < statistics.median(ratios) < 1.03


def test_the_shipped_pairs_pass_the_checks_of_generated_ones():
    quality = check_pairs(ordinary(), SCENARIOS)
    assert quality.accepted == ordinary()
    assert not quality.rejected


def test_prompts_do_not_all_open_alike():
    for some_pairs in (ordinary(), pairs("hard_pairs")):
        openings = Counter(" ".join(p.prompt.split()[:3]) for p in some_pairs)
        assert max(openings.values()) <= 3
        assert len(openings) >= 80


def test_the_two_sides_of_a_pair_do_not_open_with_a_telltale_word():
    """No first word on at least five texts belongs to one side more than four times in five."""
    first = {side: Counter(getattr(p, side).split()[0] for p in ordinary()) for side in SIDES}
    for word, n in (first["positive"] + first["negative"]).items():
        share = first["positive"][word] / n
        assert n < 5 or 0.2 <= share <= 0.8, f"{word!r}: {share:.2f} of {n} on the empathic side"


# The hard pairs


def test_every_scenario_has_hard_pairs_of_every_kind():
    for scenario_id in SCENARIOS:
        kinds = Counter(p.tags[1] for p in pairs("hard_pairs") if p.scenario_id == scenario_id)
        assert kinds == KINDS
    assert len(pairs("hard_pairs")) == 90
    assert {p.tags[0] for p in pairs("hard_pairs")} == {"hard"}


def test_hard_pairs_share_no_situation_with_ordinary_ones():
    hard = {p.group for p in pairs("hard_pairs")}
    assert len(hard) == len(pairs("hard_pairs"))
    assert not hard & {p.group for p in ordinary()}


def test_the_sides_of_a_hard_pair_are_equally_long():
    assert all(0.9 <= r <= 1.1 for r in length_ratios(pairs("hard_pairs")))


def test_minimal_pairs_use_nearly_the_same_words():
    for p in pairs("hard_pairs"):
        if "minimal_pair" in p.tags:
            ours, theirs = (
                Counter(re.findall(r"[a-z0-9']+", getattr(p, s).lower())) for s in SIDES
            )
            assert (ours & theirs).total() >= 0.8 * max(ours.total(), theirs.total()), p.pair_id


def bag_auroc(bag, learnt, tested):
    def texts(some_pairs):
        return [t for p in some_pairs for t in (p.positive, p.negative)], [1, 0] * len(some_pairs)

    fitted = BAGS_OF_WORDS[bag]().fit(*texts(learnt))
    test_texts, labels = texts(tested)
    return roc_auc_score(labels, fitted.predict_proba(test_texts)[:, 1])


@cache
def words_only_auroc(bag, test_name):
    return bag_auroc(bag, pairs("train_pairs"), pairs(test_name))


@pytest.mark.parametrize("bag", BAGS_OF_WORDS)
def test_words_alone_do_not_tell_the_sides_of_hard_pairs(bag):
    assert 0.4 <= words_only_auroc(bag, "hard_pairs") <= 0.6


# The plain pairs


@pytest.mark.parametrize(("split", "n"), [("train", 22), ("test", 20)])
def test_every_scenario_has_plain_pairs_of_every_kind_and_format(split, n):
    for scenario_id in SCENARIOS:
        of_scenario = [p for p in plain(split) if p.scenario_id == scenario_id]
        assert len(of_scenario) == n
        assert {p.tags[0] for p in of_scenario} == {"plain"}
        assert {p.split for p in of_scenario} == {split}
        kinds = Counter(p.tags[1] for p in of_scenario)
        assert set(kinds) == PLAIN_KINDS
        assert kinds["kind_costs"] in (10, 11)
        assert set(count_by(of_scenario, "format")) == FORMATS


def test_plain_pairs_are_short_and_their_sides_equally_long():
    both = plain("train") + plain("test")
    assert all(0.9 <= r <= 1.1 for r in length_ratios(both))
    assert all(30 <= n_words(text) <= 45 for p in both for text in (p.positive, p.negative))
    assert all(29 <= n_words(p.prompt) <= 45 for p in both)


def test_plain_pairs_share_no_situation_with_one_another_or_with_others():
    groups = [p.group for p in (*plain("train"), *plain("test"))]
    assert len(set(groups)) == len(groups)
    assert not set(groups) & {p.group for p in ordinary() + pairs("hard_pairs")}


@pytest.mark.parametrize("bag", BAGS_OF_WORDS)
def test_words_tell_less_of_plain_pairs_than_of_the_subtle_ones(bag):
    assert bag_auroc(bag, plain("train"), plain("test")) < 0.75


# The other files


def test_every_rubric_score_has_six_completions_in_every_scenario():
    counts = Counter((c.scenario_id, c.score) for c in rubric())
    assert counts == {(s, score): 6 for s in SCENARIOS for score in (0, 1, 2)}


def test_the_three_scores_of_a_situation_share_prompt_and_format_and_length():
    by_group = defaultdict(list)
    for completion in rubric():
        by_group[completion.group].append(completion)
    for group, completions in by_group.items():
        assert sorted(c.score for c in completions) == [0, 1, 2]
        assert len({(c.prompt, c.format) for c in completions}) == 1
        lengths = [n_words(c.text) for c in completions]
        assert max(lengths) <= 1.25 * min(lengths), group


def test_rubric_situations_are_not_those_of_the_pairs():
    of_pairs = {p.group for p in ordinary() + pairs("hard_pairs")}
    assert not of_pairs & {c.group for c in rubric()}


@pytest.mark.parametrize("name", CONTRASTS)
def test_every_contrast_has_its_situations(name):
    assert len({p.group for p in contrast(name)}) == len(contrast(name)) == N_CONTRASTS[name]
    assert len({p.format for p in contrast(name)}) >= 4


@pytest.mark.parametrize("name", CONTRASTS)
def test_contrasts_differ_in_length_only_where_length_is_the_contrast(name):
    ratios = length_ratios(contrast(name))
    if name == "verbosity":
        assert min(ratios) > 2
    else:
        assert all(0.8 <= r <= 1.25 for r in ratios)


def test_plain_questions_have_one_answer_among_four_choices_at_every_place():
    questions = records("plain_questions.jsonl")
    assert len({q["question"] for q in questions}) == len(questions) == 60
    assert all(len(set(q["choices"])) == 4 for q in questions)
    assert Counter(q["answer"] for q in questions) == dict.fromkeys(range(4), 15)


def test_the_neutral_files_load():
    folder = DATA / "neutral"
    assert len(load_neutral_texts(folder / "neutral_texts.jsonl")) == 40
    questions = load_plain_questions(folder / "plain_questions.jsonl")
    assert [q.answer for q in questions] == [r["answer"] for r in records("plain_questions.jsonl")]


def test_there_are_forty_neutral_texts_on_forty_topics():
    texts = records("neutral_texts.jsonl")
    assert len({t["topic"] for t in texts}) == len(texts) == 40
    assert all(60 <= n_words(t["text"]) <= 100 for t in texts)


# The steering prompts


def test_steering_prompts_of_an_unknown_scenario_are_refused_by_name():
    path, known = DATA / "eia_scenarios" / "steering_prompts.json", ["the_maze", "the_listener"]
    named = r"steering_prompts\.json: steering prompt 0: expected scenario_id .* 'food_delivery'"
    with pytest.raises(InputError, match=named):
        load_steering_prompts(path, scenario_ids=known)


def test_every_scenario_has_seven_steering_prompts_with_two_actions_of_each_kind():
    prompts = steering_prompts()
    assert count_by(prompts, "scenario_id") == dict.fromkeys(sorted(SCENARIOS), 7)
    assert all(len(p.positive_actions) == len(p.negative_actions) == 2 for p in prompts)
    assert all(55 <= n_words(p.prompt) <= 85 for p in prompts)


def test_plain_steering_prompts_are_short_with_four_actions_of_each_kind():
    prompts = steering_prompts("plain_steering_prompts")
    assert count_by(prompts, "scenario_id") == dict.fromkeys(sorted(SCENARIOS), 8)
    for p in prompts:
        assert 35 <= n_words(p.prompt) <= 45
        for kind, task in zip(p.positive_actions, p.negative_actions, strict=True):
            assert abs(n_words(kind) - n_words(task)) <= 1
            assert 6 <= n_words(kind) <= 12
        assert len(p.positive_actions) == 4


def test_actions_of_both_kinds_are_about_equally_long():
    lengths = [
        [sum(map(n_words, actions)) for actions in (p.positive_actions, p.negative_actions)]
        for p in steering_prompts()
    ]
    assert all(abs(caring - task) <= 10 for caring, task in lengths)
    caring, task = (sum(column) for column in zip(*lengths, strict=True))
    assert 0.9 < caring / task < 1.1


# All files together


def test_every_file_is_plain_ascii():
    for path in DATA.rglob("*.json*"):
        assert path.read_bytes().isascii(), path.name


def every_text():
    """(item, text); texts of one item belong together and may share words by design."""
    sets = [ordinary(), pairs("hard_pairs"), plain("train"), plain("test")]
    sets += map(contrast, CONTRASTS)
    for p in (p for some_pairs in sets for p in some_pairs):
        yield from ((p.group, text) for text in (p.prompt, p.positive, p.negative))
    yield from {(c.group, c.prompt) for c in rubric()}
    yield from ((c.group, c.text) for c in rubric())
    yield from ((t["text_id"], t["text"]) for t in records("neutral_texts.jsonl"))
    for name in ("steering_prompts", "plain_steering_prompts"):
        yield from ((p.prompt, p.prompt) for p in steering_prompts(name))


def test_no_text_repeats_another():
    texts = list(every_text())
    assert len({text for _, text in texts}) == len(texts)


def test_no_text_is_nearly_another():
    """Word 5-grams shared by two texts of different items: Jaccard below 0.1 throughout."""
    items, texts = zip(*every_text(), strict=True)
    alike = near_duplicates(texts, items, MAX_OVERLAP)
    assert not alike


# How the files are made


FILES = ("train_pairs.jsonl", "test_pairs.jsonl", "dataset_summary.json")


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(PAIRS, tmp_path / "pairs"))


def contents(folder):
    return [(folder / name).read_bytes() for name in FILES]


def test_the_seed_reproduces_the_committed_files(build_dataset, folder):
    build_dataset.build(folder, folder, n_test=20, seed=7)
    assert contents(folder) != contents(PAIRS)
    build_dataset.build(folder, folder, n_test=20, seed=42)
    assert contents(folder) == contents(PAIRS)


@pytest.mark.parametrize("n_writes", [0, 1, 2, 3])
def test_a_killed_build_loses_no_pair(build_dataset, folder, monkeypatch, n_writes):
    real, calls = build_dataset.save_pairs, []

    def killed_after_some_writes(path, some_pairs, **options):
        calls.append(path)
        if len(calls) > n_writes:
            raise KeyboardInterrupt
        real(path, some_pairs, **options)

    with monkeypatch.context() as patch:
        patch.setattr(build_dataset, "save_pairs", killed_after_some_writes)
        patch.setattr(build_dataset, "write_result", killed_after_some_writes)
        with pytest.raises(KeyboardInterrupt):
            build_dataset.build(folder, folder, n_test=30, seed=7)
    build_dataset.build(folder, folder, n_test=20, seed=42)
    assert contents(folder) == contents(PAIRS)


def test_one_id_for_two_pairs_is_refused_before_anything_is_written(build_dataset, folder):
    test_file = folder / "test_pairs.jsonl"
    first = json.loads((folder / "train_pairs.jsonl").read_text().splitlines()[0])
    with test_file.open("a") as file:
        file.write(json.dumps(first | {"empathic_text": "Another text."}) + "\n")
    before = contents(folder)
    with pytest.raises(InputError, match=f"{first['pair_id']!r} names another pair"):
        build_dataset.build(folder, folder, n_test=20, seed=42)
    assert contents(folder) == before


def test_a_folder_without_pairs_is_named(build_dataset, tmp_path):
    with pytest.raises(InputError, match="holds no train_pairs"):
        build_dataset.build(tmp_path, tmp_path, n_test=20, seed=42)


def test_the_data_card_states_the_measured_words_only_figures():
    card = (DATA / "README.md").read_text()
    for bag in BAGS_OF_WORDS:
        (row,) = [line for line in card.splitlines() if line.startswith(f"| {bag} ")]
        stated = [float(cell.split()[0]) for cell in row.strip("|").split("|")[1:3]]
        measured = [words_only_auroc(bag, name) for name in ("test_pairs", "hard_pairs")]
        assert stated == pytest.approx(measured, abs=0.011)
