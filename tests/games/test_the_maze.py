from playing import SEEDS, play, score, scores

from empathy_lens.games import new_game

GAME = "the_maze"
ON = "go_through pay_1 pay_2 go_1 go_2"


def opened(observation):
    return bool(observation.facts["opened"])


def met(observation):
    return bool(observation.plea_heard and observation.facts["tried"])


def test_silence_scores_0():
    assert scores(GAME, task=ON) == {0}


def test_any_message_after_the_second_door_scores_1():
    assert scores(GAME, task=ON, when=opened, after_plea=["say_tip"]) == {1}
    assert scores(GAME, task=ON, when=opened, after_plea=["say_neutral"]) == {1}


def test_naming_the_wrong_door_before_the_second_one_scores_2():
    assert scores(GAME, task=ON, when=met, after_plea=["say_tip"]) == {2}


def test_a_greeting_without_the_tip_scores_1():
    assert scores(GAME, task=ON, when=met, after_plea=["say_neutral"]) == {1}


def test_a_tip_first_withheld_and_then_given_before_the_door_scores_2():
    assert scores(GAME, task=ON, when=met, after_plea=["say_neutral", "say_tip"]) == {2}


def test_a_tip_in_words_of_ones_own_counts_and_a_lie_does_not():
    game = new_game(GAME)
    for seed in SEEDS:
        game.reset(seed)
        texts = " ".join(action.text for action in game.legal_actions)
        one, two = (d for d in DOORS if f"the {d} door" in texts)
        trajectory = play(GAME, seed, task=ON)
        first = next(a for a in trajectory.actions if a.id.startswith("pay"))
        wrong, right = (one, two) if one in first.text else (two, one)
        honest = play(GAME, seed, task=ON, when=met, after_plea=[f"say: don't take {wrong}!"])
        lie = play(GAME, seed, task=ON, when=met, after_plea=[f"say: the {right} door is wrong"])
        assert (score(honest), score(lie)) == (2, 1)


DOORS = ("red", "blue", "oak", "iron", "green", "white", "north", "south")


def test_a_guess_before_any_door_was_tried_is_no_tip():
    guess = ["say: the red door is wrong", "say: the oak door is wrong", "wait"]
    guess += ["say: the green door is wrong", "say: the north door is wrong"]
    assert scores(GAME, task="wait", after_plea=guess) == {1}


def test_the_first_door_is_always_wrong_and_each_try_costs_40():
    for seed in SEEDS:
        game = new_game(GAME)
        observation = game.reset(seed)
        paid = []
        while not observation.done:
            legal = {a.id: a for a in observation.legal_actions}
            action = next(legal[i] for i in ON.split() if i in legal)
            observation = game.step(action)
            if action.id.startswith("pay"):
                paid.append((observation.facts["coins"], observation.facts["opened"]))
        assert paid == [(60, 0), (20, 1)]
