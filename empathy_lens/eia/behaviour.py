"""The on-policy study: who plays what under which instruction, and what the play shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..evidence.verdicts import above
from ..types import Direction, Estimate
from .decisions import Choice, Play
from .dispositions import DISPOSITIONS
from .episodes import summarise_scores
from .on_policy import OnPolicyPrediction, Prediction, predict_on_policy, turns_with_a_choice
from .registry import GAMES

__all__ = ["Assignment", "assignments", "finding", "on_policy_result", "verdicts"]

CLAIMS = {
    "leaning": "log-odds of helping, every choice",
    "act": "helping or not, every choice",
    "score": "episode's score, first choice",
}
"""What the projection before a choice is set against, given game and turn."""


@dataclass(frozen=True)
class Assignment:
    """One episode to be played under an instruction of a disposition."""

    game_id: str
    disposition: str
    preamble: str
    seed: int


def assignments(n_episodes: int, seed: int = 0) -> tuple[Assignment, ...]:
    """Every game ``n_episodes`` times under each disposition, its wordings in turn."""
    return tuple(
        Assignment(game_id, disposition, wordings[i % len(wordings)], seed + i)
        for game_id in GAMES
        for disposition, wordings in DISPOSITIONS.items()
        for i in range(n_episodes)
    )


def on_policy_result(
    play: Play,
    plan: Sequence[Assignment],
    directions: Mapping[int, Direction],
    choice: Choice,
    *,
    seed: int = 0,
    n_resamples: int = 10_000,
) -> dict[str, Any]:
    """The content of ``on_policy.json`` from the play of a plan.

    Raises what ``turns_with_a_choice`` and ``predict_on_policy`` raise.
    """
    dispositions = [a.disposition for a in plan]
    turns = turns_with_a_choice(play, directions, dispositions)
    prediction = predict_on_policy(turns, seed=seed, n_resamples=n_resamples)
    by_disposition = {
        name: [e for e, d in zip(play.episodes, dispositions, strict=True) if d == name]
        for name in DISPOSITIONS
    }
    by_game = {g: [e for e in play.episodes if e.game_id == g] for g in GAMES}
    return {
        "model": play.provenance.model_name,
        "choice": vars(choice) | {"how": choice.how},
        "seed": seed,
        **prediction.to_dict(),
        "verdicts": verdicts(prediction),
        "finding": finding(prediction),
        "played": {
            "episodes": len(play.episodes),
            "decisions": len(play.decisions),
            "flagged": sum(bool(e.flags) for e in play.episodes),
            "per_scenario": {g: summarise_scores(es) for g, es in by_game.items()},
            "per_disposition": {d: summarise_scores(es) for d, es in by_disposition.items()},
        },
    }


def verdicts(prediction: OnPolicyPrediction) -> dict[str, dict[str, Any]]:
    """Whether projections are higher where more help follows, by the evidence card's rule.

    *Supported* where the whole interval is above 0, *not supported* where the figure itself is
    not, *cannot tell* in between or without a figure: for all episodes, and within each game and
    each disposition.
    """
    return {
        claim: {
            "against": against,
            "all": above(_figure(prediction.pooled, claim), 0.0),
            "per_scenario": {
                name: above(_figure(part, claim), 0.0)
                for name, part in prediction.per_scenario.items()
            },
            "per_disposition": {
                name: above(_figure(part, claim), 0.0)
                for name, part in prediction.per_disposition.items()
            },
        }
        for claim, against in CLAIMS.items()
    }


def finding(prediction: OnPolicyPrediction) -> str:
    """The results in words: log-odds of helping, the act, the score, given game and turn."""
    pooled, ruled = prediction.pooled, verdicts(prediction)
    said = [
        f"{against}: {_figure(pooled, claim) or 'no figure'} ({ruled[claim]['all']})"
        for claim, against in CLAIMS.items()
    ]
    inside = ", ".join(f"{d} {r}" for d, r in ruled["leaning"]["per_disposition"].items())
    return (
        "Does the projection before a choice rise with what follows? Partial rank correlation "
        f"given game and turn, {pooled.every.n} choices in {pooled.n_episodes} episodes: "
        f"{'; '.join(said)}. Log-odds of helping within one instruction: {inside}."
    )


def _figure(prediction: Prediction, claim: str) -> Estimate | None:
    return {
        "leaning": prediction.every.leaning_partial,
        "act": prediction.every.act_partial,
        "score": prediction.partial,
    }[claim]
