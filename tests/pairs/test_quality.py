from dataclasses import replace

import numpy as np
import pytest
from practice import ROOT, SCENARIOS

from empathy_lens.data import load_pairs, load_scenarios
from empathy_lens.errors import InputError
from empathy_lens.evidence.baselines import text_labels
from empathy_lens.pairs.facts import broken_facts
from empathy_lens.pairs.plan import ConceptWords, load_prompts
from empathy_lens.pairs.quality import check_pairs, lexical_giveaway

GAMES = load_scenarios(SCENARIOS)
SHIPPED = tuple(
    pair
    for side in ("train", "test")
    for pair in load_pairs(ROOT / "data" / "contrastive_pairs" / f"{side}_pairs.jsonl")
)
BY_SCENARIO = {p.scenario_id: p for p in SHIPPED}
DUTCH = """Ik loop nu naar het water en breng het naar D, want hij heeft het nodig. Daarna kom ik
terug met een lege kan en dan winnen we misschien niet meer, maar dat vind ik niet zo erg vandaag.
Zeg maar tegen B dat hij even moet wachten tot ik weer bij de kolom ben, dan vul ik alles weer."""
FIRST = SHIPPED[0]


def reasons(pair, **options):
    return {kind for r in check_pairs([pair], GAMES, **options).rejected for kind, _ in r.reasons}


def test_hard_pairs_pass_but_for_the_two_shortest():
    hard = load_pairs(ROOT / "data" / "hard_pairs" / "hard_pairs.jsonl")
    quality = check_pairs(hard, GAMES)
    assert quality.reasons == {"length": 2}
    assert len(quality.accepted) == 88


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("schema", {"scenario_id": "the_lisener"}),
        ("length", {"positive": "I go to D with the can.", "negative": "I go to B with this can."}),
        ("length", {"positive": "I go on. " * 60, "negative": "I stay on. " * 60}),
        ("length", {"prompt": "Is it B or D, and what now?"}),
        ("length match", {"negative": " ".join(SHIPPED[0].negative.split()[:45])}),
        ("language", {"positive": DUTCH, "negative": DUTCH + " Nee.", "prompt": DUTCH + " B D?"}),
        ("leak of the instruction", {"positive": f"As an empathic assistant, {FIRST.positive}"}),
        ("leak of the instruction", {"negative": f"{FIRST.negative} That is task-focused."}),
        ("leak of the instruction", {"positive": f"{FIRST.positive} My main objective is B."}),
        ("scenario facts", {"prompt": FIRST.prompt.replace("D", "Dora")}),
        ("scenario facts", {"positive": SHIPPED[0].positive + " A delivery is 15 points."}),
        ("scenario facts", {"extra": {"facts": ["it is step 50", "D is 31 cells away"]}}),
    ],
)  # fmt: skip
def test_each_fault_is_found_and_named(kind, changed):
    assert reasons(SHIPPED[0]) == set()
    assert reasons(replace(SHIPPED[0], **changed)) == {kind}


def test_a_pair_says_all_that_is_wrong_with_it():
    bad = replace(SHIPPED[0], positive="As an AI assistant I help.", prompt="Where is it?")
    assert reasons(bad) == {
        "length", "length match", "leak of the instruction", "scenario facts"}  # fmt: skip


@pytest.mark.parametrize(
    ("scenario_id", "text"),
    [
        ("the_listener", "I have 14 hearts left."),
        ("the_maze", "It is 30 coins a door."),
        ("the_maze", "You hold 140 coins now."),
        ("the_duel", "She has 180 health."),
    ],
)
def test_figures_against_the_rules_of_a_game_are_found(scenario_id, text):
    pair = BY_SCENARIO[scenario_id]
    assert broken_facts(pair) == ()
    assert len(broken_facts(replace(pair, negative=f"{pair.negative} {text}"))) == 1


def test_figures_that_were_set_may_be_written_as_words():
    pair = replace(SHIPPED[0], prompt="B waits. D is six cells away at T50, and you lead 60 to 40.")
    facts = ["D is 6 cells away", "it is step 50", "your team leads by 20 points"]
    assert broken_facts(pair, facts[:2]) == ()
    assert broken_facts(pair, facts) == (
        "the prompt leaves out the figure 20 (your team leads by 20 points)",)  # fmt: skip


def test_a_repetition_is_rejected_and_the_first_stays():
    first = SHIPPED[0]
    words = first.positive.split()
    mended = " ".join([*words[:-3], "or so."])
    other = {"prompt": SHIPPED[1].prompt, "positive": mended, "negative": SHIPPED[2].negative}
    again = replace(first, pair_id="again", **other)
    quality = check_pairs([first, again], GAMES)
    assert quality.accepted == (first,)
    ((kind, detail),) = quality.rejected[0].reasons
    assert kind == "near-duplicate"
    assert first.pair_id in detail


def test_a_repetition_of_a_known_pair_is_rejected_and_known_pairs_are_not_judged():
    quality = check_pairs([replace(SHIPPED[3], pair_id="again")], GAMES, known=SHIPPED)
    assert quality.reasons == {"near-duplicate": 1}
    assert check_pairs([SHIPPED[3]], GAMES, known=[SHIPPED[4]] * 2).accepted == (SHIPPED[3],)


def test_words_that_give_the_sides_away_are_measured_on_other_situations():
    betrayed = [replace(p, positive=p.positive + " Bless them.") for p in SHIPPED]
    assert (
        lexical_giveaway(betrayed).naive_bayes_auroc
        > 0.95
        > lexical_giveaway(SHIPPED).naive_bayes_auroc + 0.05
    )
    assert "bless" in lexical_giveaway(betrayed).telling_words
    swaps = np.random.default_rng(0).random(len(SHIPPED)) < 0.5
    swapped = [
        replace(p, positive=p.negative, negative=p.positive) if swap else p
        for p, swap in zip(SHIPPED, swaps, strict=True)
    ]
    assert 0.4 < lexical_giveaway(swapped).naive_bayes_auroc < 0.6
    assert lexical_giveaway(SHIPPED[:10]).naive_bayes_auroc is None


def test_the_most_telling_pairs_go_until_words_tell_no_more_than_allowed():
    betrayed = [
        replace(p, positive=p.positive + " Bless them, bless them.") if n % 3 == 0 else p
        for n, p in enumerate(SHIPPED)
    ]
    before = lexical_giveaway(betrayed).naive_bayes_auroc
    quality = check_pairs(betrayed, GAMES, max_giveaway=0.8)
    assert before > 0.85
    assert quality.giveaway.naive_bayes_auroc <= 0.8
    assert set(quality.reasons) == {"lexical giveaway"}
    marked = {p.pair_id for n, p in enumerate(betrayed) if n % 3 == 0}
    assert sum(r.pair.pair_id in marked for r in quality.rejected) > len(quality.rejected) / 2
    assert (
        len(quality.accepted) + len(quality.rejected)
        == len(betrayed)
        == len(text_labels(betrayed)) / 2
    )


def test_what_must_not_be_named_comes_from_the_prompts():
    other = load_prompts().model_copy(update={"concept": ConceptWords(
        name="haste", positive="hasty", negative="slow", telling=(r"\bcan\b",))})  # fmt: skip
    pair = replace(FIRST, positive=f"As it were, with empathy: {FIRST.positive}")
    assert "leak of the instruction" in reasons(pair)
    faults = check_pairs([pair], GAMES, prompts=other).rejected[0].reasons
    leaks = {detail.split("'")[1] for kind, detail in faults if kind == "leak of the instruction"}
    assert leaks == {"can"}


@pytest.mark.parametrize("value", [0.4, 1.1])
def test_a_senseless_limit_is_refused(value):
    with pytest.raises(InputError, match=r"0\.5\.\.1"):
        check_pairs(SHIPPED, GAMES, max_giveaway=value)
