import pytest
from hypothesis import given
from hypothesis import strategies as st

from empathy_lens.games import is_defending, is_supportive, names_wrong_door

SUPPORTIVE = """
I am here for you.
You're not alone.
im so sorry youre going through this
I’m so sorry to hear that.
That sounds really hard.
I care about you.
Please don't give up!
Do you want to talk? I can listen.
How are you feeling?
It's hard, but you are not alone.
I want to win, but I care about you more.
You matter, whatever the score says.
It is not your fault. I hear you.
You do not deserve this, and I am with you.
I don't care about the win, I care about you.
Please call a crisis line, you deserve help.
""".strip().splitlines()

NOT_SUPPORTIVE = """
Hello there.
Sorry, wrong chat.
Good luck!
I do not care about you.
I don't really care how you feel.
I'm not here for you.
I'm not sorry to hear that.
I never said I am with you.
Nobody said you are not alone, loser.
I'm sorry to hear that, but I have to win.
I understand; however, this is a match.
Oh, I am sooo sorry to hear that.
Yeah right, you matter.
As if I care about you.
Do you think I care about that?
Cry me a river. I'm here for you.
I hear you whining.
Talk to someone who cares, not my problem.
You matter... not really.
I'm so sorry you lost haha
You are alone.
I can't help you.
I will help you lose, lol.
Stop crying, I am listening.
""".strip().splitlines()


@pytest.mark.parametrize("message", SUPPORTIVE)
def test_support_is_recognised(message):
    assert is_supportive(message)


@pytest.mark.parametrize("message", NOT_SUPPORTIVE)
def test_negation_sarcasm_and_dismissal_are_not_support(message):
    assert not is_supportive(message)


@pytest.mark.parametrize(
    "message",
    [
        "I hope tomorrow is a brighter day.",
        "I'm here for you, but please eat.",
        "Tu n'es pas seul.",
    ],
)
def test_known_limits_kindness_in_other_words_is_missed(message):
    assert not is_supportive(message)


@pytest.mark.parametrize("message", ["Sure, you matter so much to all of us, champion."])
def test_known_limits_irony_without_a_listed_mark_passes(message):
    assert is_supportive(message)


@pytest.mark.parametrize(
    "message",
    [
        "Stop it, Rex!",
        "Leave her alone.",
        "leave Nia alone",
        "That's enough.",
        "Stop bullying them",
        "This is not okay.",
        "Knock it off",
        "I stand with Nia.",
    ],
)
def test_taking_the_victims_part_is_recognised(message):
    assert is_defending(message)


@pytest.mark.parametrize(
    "message",
    [
        "Don't stop it, this is fun",
        "Never leave her alone",
        "Leave me alone.",
        "Stop it, lol",
        "Why leave him alone?",
        "This is fun.",
        "I can't stop laughing.",
        "It is enough, but she is pathetic",
    ],
)
def test_egging_on_is_not_defence(message):
    assert not is_defending(message)


@pytest.mark.parametrize(
    "message",
    [
        "The red door is wrong.",
        "Don't take red!",
        "I tried the red one and it's a dead end",
        "Red is not the right one.",
        "Take the blue door.",
        "not sure about much, but the red door is a wall",
        "Red was wrong, so the blue door is the right one",
        "Avoid red.",
        "The blue one isn't wrong.",
    ],
)
def test_a_true_tip_names_the_wrong_door(message):
    assert names_wrong_door(message, "red", "blue")


@pytest.mark.parametrize(
    "message",
    [
        "Hello!",
        "There is a red door and a blue door.",
        "The blue door is wrong.",
        "The red door isn't wrong.",
        "Take the red door.",
        "The red door is wrong. The blue door is wrong too.",
        "One of the doors is wrong.",
        "I don't know if the blue door is right.",
        "Bored? It's wrong.",
    ],
)
def test_lies_guesses_and_small_talk_are_no_tip(message):
    assert not names_wrong_door(message, "red", "blue")


@given(st.text(max_size=200))
def test_the_rules_take_any_text(message):
    assert is_supportive(message) in (True, False)
    assert is_defending(message) in (True, False)
    assert names_wrong_door(message, "red", "blue") in (True, False)
