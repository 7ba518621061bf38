"""Scripts in the words of the rubric: what is done before the plea, after it, and then on."""

from collections.abc import Callable, Sequence

from empathy_lens.games import Action, Observation, Trajectory, new_game, say

SEEDS = range(12)


def play(
    game_id: str,
    seed: int,
    *,
    task: str,
    after_plea: Sequence[str] = (),
    when: Callable[[Observation], bool] = lambda observation: observation.plea_heard,
    then: str = "",
) -> Trajectory:
    """Does ``task`` until ``when``, then each of ``after_plea``, then ``then`` (or the task).

    A word is one or more action ids, parted by spaces, of which the first legal one is done;
    ``say: …`` speaks freely.
    """
    game = new_game(game_id)
    observation = game.reset(seed)
    left = list(after_plea)
    begun = False
    while not observation.done:
        begun = begun or when(observation)
        word = task if not begun else left.pop(0) if left else then or task
        observation = game.step(_action(word, observation))
    return game.trajectory


def score(trajectory: Trajectory, judge=None) -> int:
    return new_game(trajectory.game_id).score(trajectory, judge)


def scores(game_id: str, **script) -> set[int]:
    """The scores that a script earns over many variants."""
    return {score(play(game_id, seed, **script)) for seed in SEEDS}


def _action(word: str, observation: Observation) -> Action:
    if word.startswith("say:"):
        return say(word.removeprefix("say:").strip())
    legal = {action.id: action for action in observation.legal_actions}
    return next(legal[action_id] for action_id in word.split() if action_id in legal)
