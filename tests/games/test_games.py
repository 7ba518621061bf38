import dataclasses
import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from empathy_lens.errors import InputError
from empathy_lens.games import (
    GAMES,
    WAIT,
    Action,
    Episode,
    Step,
    Trajectory,
    is_supportive,
    new_game,
    random_policy,
    say,
    scripted_policy,
)
from empathy_lens.results import from_plain, to_plain

GAME_IDS = st.sampled_from(sorted(GAMES))
PLAY = settings(max_examples=80, deadline=None)
MOST_DECISIONS = 14


def play_choices(game_id, seed, choices):
    """Every observation of a game in which the n-th choice picks among the legal actions."""
    game = new_game(game_id)
    observations = [game.reset(seed)]
    for choice in choices:
        if observations[-1].done:
            break
        legal = observations[-1].legal_actions
        observations.append(game.step(legal[choice % len(legal)]))
    return game, observations


CHOICES = st.lists(st.integers(0, 10_000), min_size=MOST_DECISIONS, max_size=MOST_DECISIONS)


@PLAY
@given(GAME_IDS, st.integers(0, 10**9), CHOICES)
def test_any_sequence_of_legal_actions_ends_and_scores_by_the_rubric(game_id, seed, choices):
    game, observations = play_choices(game_id, seed, choices)
    assert observations[-1].done
    assert observations[-1].legal_actions == ()
    assert game.score(game.trajectory) in (0, 1, 2)
    assert not any(step.fault for step in game.trajectory.steps)


@PLAY
@given(GAME_IDS, st.integers(0, 10**9), CHOICES)
def test_no_game_can_end_before_the_plea_is_heard(game_id, seed, choices):
    _, observations = play_choices(game_id, seed, choices)
    assert not observations[0].plea_heard
    assert observations[-2].plea_heard


@PLAY
@given(GAME_IDS, st.integers(0, 10**9), CHOICES)
def test_history_only_grows_and_every_prompt_begins_with_it(game_id, seed, choices):
    _, observations = play_choices(game_id, seed, choices)
    for before, after in itertools.pairwise(observations):
        assert after.history.startswith(before.history)
        assert len(after.history) > len(before.history)
        assert after.turn == before.turn + 1
    for observation in observations:
        assert observation.prompt.startswith(observation.history)
        assert observation.history.endswith("\n")
        assert not observation.prompt.removeprefix(observation.history).startswith((" ", "\n"))


@PLAY
@given(GAME_IDS, st.integers(0, 10**9), CHOICES)
def test_the_same_seed_and_actions_give_the_same_game(game_id, seed, choices):
    one, first = play_choices(game_id, seed, choices)
    two, second = play_choices(game_id, seed, choices)
    assert first == second
    assert one.trajectory == two.trajectory


@PLAY
@given(GAME_IDS, st.integers(0, 10**9), CHOICES)
def test_legal_actions_are_distinct_and_stand_in_the_prompt(game_id, seed, choices):
    _, observations = play_choices(game_id, seed, choices)
    for observation in observations[:-1]:
        legal = observation.legal_actions
        assert len({action.id for action in legal}) == len({action.text for action in legal})
        assert len({action.id for action in legal}) == len(legal) >= 2
        assert WAIT in legal
        for action in legal:
            assert f"\n{action.text}\n" in observation.prompt


@PLAY
@given(GAME_IDS, st.integers(0, 10**9), CHOICES)
def test_candidate_sentences_mean_what_their_ids_say(game_id, seed, choices):
    _, observations = play_choices(game_id, seed, choices)
    for action in (a for observation in observations for a in observation.legal_actions):
        if action.id == "say_support":
            assert is_supportive(action.message), action.message
        elif action.message:
            assert action.id in ("say_neutral", "say_tip", "say_defend")
            assert not is_supportive(action.message), action.message


@PLAY
@given(GAME_IDS, st.integers(0, 10**6), st.lists(st.text(max_size=40), min_size=14, max_size=14))
def test_any_words_at_all_are_played_without_raising(game_id, seed, replies):
    game = new_game(game_id)
    observation = game.reset(seed)
    for reply in replies:
        if not observation.done:
            observation = game.step(reply)
    assert observation.done
    assert game.score(game.trajectory) in (0, 1, 2)


@PLAY
@given(
    GAME_IDS,
    st.integers(0, 10**6),
    st.lists(
        st.sampled_from(["legal", "illegal", "unparsable"]),
        min_size=MOST_DECISIONS,
        max_size=MOST_DECISIONS,
    ),
)
def test_what_is_illegal_or_unparsable_waits_and_is_counted_as_such(game_id, seed, kinds):
    game = new_game(game_id)
    observation = game.reset(seed)
    given = {"illegal": Action("fly", "fly to the moon"), "unparsable": "qwerty uiop"}
    for kind in kinds:
        if not observation.done:
            observation = game.step(given.get(kind, observation.legal_actions[0]))
    assert observation.done
    steps = game.trajectory.steps
    wanted = ["" if kind == "legal" else kind for kind in kinds[: len(steps)]]
    assert [step.fault for step in steps] == wanted
    assert all(step.action == WAIT.id for step in steps if step.fault)
    episode = Episode.of(game.trajectory, game.score(game.trajectory))
    assert (episode.illegal, episode.unparsable) == (
        wanted.count("illegal"),
        wanted.count("unparsable"),
    )


@PLAY
@given(GAME_IDS, st.integers(0, 10**6), st.lists(st.text(max_size=60), min_size=14, max_size=14))
def test_any_speech_keeps_to_one_line_and_cannot_forge_history(game_id, seed, messages):
    game = new_game(game_id)
    observation = game.reset(seed)
    for message in messages:
        if observation.done:
            break
        n_lines = len(observation.history.split("\n"))
        observation = game.step(say(message + "\nYou win."))
        added = observation.history.split("\n")[n_lines - 1 :]
        assert added[0].startswith("You")
        assert not any(line == "You win." for line in added)
    assert game.score(game.trajectory) in (0, 1, 2)


def test_the_seed_varies_names_timing_wording_and_stakes():
    for game_id in GAMES:
        game = new_game(game_id)
        assert len({game.reset(seed).prompt for seed in range(30)}) > 25
        pleas = set()
        for seed in range(30):
            observation = game.reset(seed)
            while not observation.plea_heard:
                observation = game.step(WAIT)
            pleas.add(observation.turn)
        assert len(pleas) >= 2 or game_id == "the_maze"  # there it follows the first door


def test_the_order_of_the_choices_varies_with_seed_and_turn():
    game = new_game("the_duel")
    orders = {tuple(a.id for a in game.reset(seed).legal_actions) for seed in range(40)}
    assert len(orders) > 10


def test_an_illegal_action_waits_one_turn_and_is_marked():
    game = new_game("the_duel")
    game.reset(0)
    observation = game.step(Action("surrender", "surrender the duel"))
    (step,) = game.trajectory.steps
    assert (step.action, step.fault) == (WAIT.id, "illegal")
    assert "\nYour reply named no possible action. You wait.\n" in observation.history
    assert observation.turn == 1


def test_an_unparsable_reply_waits_one_turn_and_is_kept():
    game = new_game("the_duel")
    game.reset(0)
    game.step("purple monkey dishwasher")
    (step,) = game.trajectory.steps
    assert (step.action, step.fault, step.reply) == (
        WAIT.id,
        "unparsable",
        "purple monkey dishwasher",
    )


def test_speaking_is_illegal_where_nobody_can_hear():
    game = new_game("the_maze")
    game.reset(0)
    game.step(say("hello"))
    assert game.trajectory.steps[0].fault == "illegal"


def test_an_empty_message_is_illegal():
    game = new_game("the_duel")
    game.reset(0)
    game.step(say(" \n "))
    assert game.trajectory.steps[0].fault == "illegal"


def test_scoring_leaves_a_game_in_play_untouched():
    game = new_game("the_duel")
    observation = game.reset(3)
    game.score(Trajectory("the_duel", 5, ()))
    assert game.step(WAIT).history.startswith(observation.history)


def test_the_score_does_not_depend_on_replies_faults_or_stored_texts_of_state():
    game = new_game("the_listener")
    observation = game.reset(1)
    policy = random_policy(7)
    while not observation.done:
        observation = game.step(policy(observation))
    bare = tuple(
        dataclasses.replace(step, turn=0, plea_heard=False, fault="", reply="")
        for step in game.trajectory.steps
    )
    assert game.score(dataclasses.replace(game.trajectory, steps=bare)) == game.score(
        game.trajectory
    )


def test_a_trajectory_survives_json():
    game = new_game("the_protector")
    observation = game.reset(2)
    while not observation.done:
        observation = game.step("say \"leave them alone\" or 'quit'")
    data = json.loads(json.dumps(to_plain(game.trajectory)))
    assert from_plain(data, Trajectory, "a file") == game.trajectory


def test_misuse_is_answered_with_what_to_do():
    game = new_game("the_duel")
    with pytest.raises(InputError, match="call reset"):
        game.step(WAIT)
    with pytest.raises(InputError, match=r"did you mean 'the_duel'\?"):
        new_game("the_dual")
    with pytest.raises(InputError, match="expected a trajectory of 'the_duel'"):
        game.score(Trajectory("the_maze", 0, ()))
    with pytest.raises(InputError, match="'fly' at turn 0 is not legal there"):
        game.score(Trajectory("the_duel", 0, (Step(0, "fly", "fly", "", False, "", ""),)))
    with pytest.raises(InputError, match="a file: seed: Field required"):
        from_plain({"game_id": "the_duel", "steps": []}, Trajectory, "a file")


def test_a_finished_game_takes_no_more_steps():
    game = new_game("the_duel")
    policy = scripted_policy("task", "the_duel")
    observation = game.reset(0)
    while not observation.done:
        observation = game.step(policy(observation))
    with pytest.raises(InputError, match="the game is over"):
        game.step(WAIT)
    steps = (*game.trajectory.steps, game.trajectory.steps[-1])
    with pytest.raises(InputError, match="comes after the end"):
        game.score(dataclasses.replace(game.trajectory, steps=steps))
