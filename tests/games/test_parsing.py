import pytest
from hypothesis import given
from hypothesis import strategies as st

from empathy_lens.games import WAIT, Action, parse_action, say

FETCH = Action("fetch", "fetch a can of water")
GIVE_B = Action("give_b", "give the water to Mia")
GIVE_D = Action("give_d", "give the water to Ned")
KIND = say("I am here with you.", "say_support")
NEUTRAL = say("Good game, everyone.", "say_neutral")
LEGAL = (FETCH, GIVE_B, GIVE_D, KIND, NEUTRAL, WAIT)


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("fetch a can of water", FETCH),
        ("  Fetch a can of water.\n", FETCH),
        ("**fetch**", FETCH),
        ("give_d", GIVE_D),
        ("GIVE_D", GIVE_D),
        ("`give_d`", GIVE_D),
        ("3", GIVE_D),
        ("3.", GIVE_D),
        ("(3)", GIVE_D),
        ("3. give the water to Ned", GIVE_D),
        ("3) give the water to N", GIVE_D),
        ("Option 6", WAIT),
        ("Action: wait one turn", WAIT),
        ("Your action: 2", GIVE_B),
        ("My next move is to fetch a can of water!", FETCH),
        ("I will give the water to Mia.", GIVE_B),
        ("I'll wait", WAIT),
        ("I’ll wait one turn", WAIT),
        ("Let me fetch a can", FETCH),
        ("give the water to Ned, because they need it", GIVE_D),
        ("\n\nwait one turn\nYou fetch a can of water", WAIT),
        ('say "I am here with you."', KIND),
        ("say I am here with you", KIND),
        ('say "Good ga', NEUTRAL),
        ('Say "Hold on, Ned!"', say("Hold on, Ned!")),
        ("say: hello", say("hello")),
        ("say to Ned: I'm coming", say("I'm coming")),
        ('I will say "2 cans left"', say("2 cans left")),
    ],
)
def test_a_reply_is_understood(text, action):
    assert parse_action(text, LEGAL) == action


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n ",
        "give the water",
        "give",
        "say",
        'say ""',
        "say nothing",
        "fe",
        "0",
        "7",
        "37",
        "3. fetch a can of water",
        "1 or 2",
        "fetch a can of water or wait one turn",
        "give the water to Mia and give the water to Ned",
        "do not fetch a can of water",
        "I would rather not give the water to Ned",
        "give the water to Nedward",
        "water",
        "I",
        "...",
        "Action:",
    ],
)
def test_an_ambiguous_or_foreign_reply_names_nothing(text):
    assert parse_action(text, LEGAL) is None


def test_speech_is_foreign_where_nothing_can_be_said():
    assert parse_action('say "hello"', (FETCH, WAIT)) is None


def test_the_longer_text_is_not_mistaken_for_the_shorter():
    short, long = Action("go", "go on"), Action("go_fast", "go on fast")
    assert parse_action("go on", (short, long)) == short
    assert parse_action("go on fast", (short, long)) == long


def test_a_word_that_is_one_actions_id_and_anothers_text_names_nothing():
    assert parse_action("leave", (Action("leave", "go out"), Action("quit", "leave"))) is None


def test_speech_is_one_line_of_limited_length():
    action = say('He said "no"\n' + "x" * 500)
    assert action.message.startswith("He said 'no' x")
    assert len(action.message) == 200
    assert action.text == f'say "{action.message}"'


@pytest.mark.parametrize("action", LEGAL)
def test_every_action_is_found_by_its_number_id_and_text(action):
    for text in (str(LEGAL.index(action) + 1), action.id, action.text, action.text.upper()):
        assert parse_action(text, LEGAL) == action


@given(st.text(max_size=80))
def test_any_text_gives_a_legal_action_speech_or_nothing(text):
    action = parse_action(text, LEGAL)
    assert action is None or action in LEGAL or (action.id == "say" and action.message)
