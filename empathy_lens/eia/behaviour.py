"""The on-policy study: play under instructions, then predict what was done from projections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..activations import Progress
from ..types import Direction, Estimate, HookedModel
from .decisions import Choice, Play
from .dispositions import DISPOSITIONS
from .episodes import summarise_scores
from .language_model import play_games
from .on_policy import OnPolicyPrediction, predict_on_policy, turns_with_a_choice
from .registry import GAMES

__all__ = ["on_policy_study"]


def on_policy_study(
    model: HookedModel,
    directions: Mapping[int, Direction],
    *,
    n_episodes: int = 10,
    choice: Choice | None = None,
    seed: int = 0,
    n_resamples: int = 10_000,
    progress: Progress | None = None,
) -> tuple[dict[str, Any], Play]:
    """Plays every game ``n_episodes`` times under each disposition (its wordings in turn).

    Gives the content of ``on_policy.json`` and the play. Raises what ``play_games``,
    ``turns_with_a_choice`` and ``predict_on_policy`` raise.
    """
    choice = choice or Choice()
    plan = [
        (disposition, wordings[i % len(wordings)], game_id, seed + i)
        for game_id in GAMES
        for disposition, wordings in DISPOSITIONS.items()
        for i in range(n_episodes)
    ]
    play = play_games(
        model,
        [(game_id, s) for _, _, game_id, s in plan],
        preambles=[text for _, text, _, _ in plan],
        choice=choice,
        layers=sorted(directions),
        seed=seed,
        progress=progress,
    )
    dispositions = [disposition for disposition, _, _, _ in plan]
    turns = turns_with_a_choice(play, directions, dispositions)
    prediction = predict_on_policy(turns, seed=seed, n_resamples=n_resamples)
    by_disposition = {
        name: [e for e, d in zip(play.episodes, dispositions, strict=True) if d == name]
        for name in DISPOSITIONS
    }
    by_game = {g: [e for e in play.episodes if e.game_id == g] for g in GAMES}
    result = {
        "model": play.provenance.model_name,
        "choice": vars(choice) | {"how": choice.how},
        "seed": seed,
        **prediction.to_dict(),
        "finding": finding(prediction),
        "played": {
            "episodes": len(play.episodes),
            "decisions": len(play.decisions),
            "flagged": sum(bool(e.flags) for e in play.episodes),
            "per_scenario": {g: summarise_scores(es) for g, es in by_game.items()},
            "per_disposition": {d: summarise_scores(es) for d, es in by_disposition.items()},
        },
    }
    return result, play


def finding(prediction: OnPolicyPrediction) -> str:
    """The result in a sentence: which way, given game and turn, and within instructions."""
    partial = prediction.pooled.partial
    if partial is None:
        return "Scores did not vary enough to say whether projections predict them."
    shown = f"{partial} over {prediction.pooled.n_episodes} episodes, given game and turn"
    if not _clear(partial):
        return f"Projections before the first choice do not clearly predict the score: {shown}."
    way = "higher" if partial.value > 0 else "lower"
    within = [
        name
        for name, each in prediction.per_disposition.items()
        if each.partial is not None and _clear(each.partial)
    ]
    inside = f"also within: {', '.join(within)}" if within else "within no one instruction alone"
    return (
        f"Projections before the first choice are {way} where more help follows: {shown}; {inside}."
    )


def _clear(estimate: Estimate) -> bool:
    return estimate.low > 0 or estimate.high < 0
