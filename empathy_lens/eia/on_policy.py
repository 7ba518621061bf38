"""Does the projection before an act predict the act? Ground truth is what the model then does.

Only decisions count that follow the plea and leave a choice between helping and something else.
The layer is chosen for each fold of episodes on the other folds, so that no figure is read off the
data that chose it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from .. import stats
from ..errors import DegenerateDataError, InputError
from ..types import Direction, Estimate
from .decisions import Play
from .dispositions import HELPING_ACTIONS

__all__ = ["OnPolicyPrediction", "Turns", "predict_on_policy", "turns_with_a_choice"]

N_FOLDS = 5


@dataclass(frozen=True, eq=False)
class Turns:
    """Decisions after the plea with a choice between helping and something else.

    ``projections`` are in activation units, one column a layer; ``leaning`` is the model's log-odds
    of helping (natural log); ``score`` is that of the episode; ``first`` marks its first decision.
    """

    projections: Float[np.ndarray, "decision layer"]
    layers: tuple[int, ...]
    helped: Bool[np.ndarray, "decision"]
    leaning: Float[np.ndarray, "decision"]
    first: Bool[np.ndarray, "decision"]
    turn: Int[np.ndarray, "decision"]
    score: Int[np.ndarray, "decision"]
    episode: tuple[str, ...]
    game: tuple[str, ...]
    disposition: tuple[str, ...]

    def select(self, mask: Bool[np.ndarray, "decision"]) -> Turns:
        """The decisions where the mask is True, in order."""

        def pick(names: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(n for n, keep in zip(names, mask, strict=True) if keep)

        return Turns(
            projections=self.projections[mask],
            layers=self.layers,
            helped=self.helped[mask],
            leaning=self.leaning[mask],
            first=self.first[mask],
            turn=self.turn[mask],
            score=self.score[mask],
            episode=pick(self.episode),
            game=pick(self.game),
            disposition=pick(self.disposition),
        )


@dataclass(frozen=True)
class Association:
    """Projections against acts, where it can be measured (else None).

    ``auroc``: helping decisions project higher than others. ``spearman``: rank correlation with the
    log-odds of helping. ``partial``: the same given game and turn.
    """

    auroc: Estimate | None
    spearman: Estimate | None
    partial: Estimate | None
    n: int
    helped: int

    def to_dict(self) -> dict[str, Any]:
        def shown(estimate: Estimate | None) -> Any:
            return None if estimate is None else estimate.to_dict()

        return {
            "auroc": shown(self.auroc),
            "spearman": shown(self.spearman),
            "partial": shown(self.partial),
            "n": self.n,
            "helped": self.helped,
        }


@dataclass(frozen=True)
class OnPolicyPrediction:
    """Out-of-fold prediction of acts, at each episode's first choice and at all of them.

    ``score`` is the rank correlation of the first choice's projection with the episode's rubric
    score, ``score_partial`` the same given the game. ``layer_of_fold`` counts how often a layer was
    chosen.
    """

    first: Association
    every: Association
    score: Estimate | None
    score_partial: Estimate | None
    per_game: Mapping[str, Association]
    per_disposition: Mapping[str, Association]
    layer_of_fold: tuple[int, ...]
    n_episodes: int

    def to_dict(self) -> dict[str, Any]:
        return {
            "first_choice": self.first.to_dict(),
            "every_choice": self.every.to_dict(),
            "score": None if self.score is None else self.score.to_dict(),
            "score_partial": None if self.score_partial is None else self.score_partial.to_dict(),
            "per_scenario": {k: v.to_dict() for k, v in self.per_game.items()},
            "per_disposition": {k: v.to_dict() for k, v in self.per_disposition.items()},
            "layer_of_fold": list(self.layer_of_fold),
            "n_episodes": self.n_episodes,
        }


def turns_with_a_choice(
    play: Play, directions: Mapping[int, Direction], dispositions: Sequence[str]
) -> Turns:
    """Projections and acts of a scored play. ``dispositions`` names that of each episode.

    Raises InputError where a layer has no direction, or the directions are of another model;
    DegenerateDataError where no decision left a choice.
    """
    if len(dispositions) != len(play.episodes):
        raise InputError(f"expected a disposition for each of {len(play.episodes)} episodes")
    missing = [layer for layer in play.layers if layer not in directions]
    if missing:
        raise InputError(f"layers {missing} were recorded, but have no direction")
    if any(not directions[x].provenance.same_basis(play.provenance) for x in play.layers):
        raise InputError("the directions were made on another model than the one that played")
    rows, leaning, seen = [], [], set()
    first = []
    for i, decision in enumerate(play.decisions):
        chance = decision.probability_of(HELPING_ACTIONS[decision.game_id])
        if not decision.plea_heard or not 0 < chance < 1:
            continue
        rows.append(i)
        leaning.append(math.log(chance) - math.log1p(-chance))
        first.append(decision.episode not in seen)
        seen.add(decision.episode)
    if not rows:
        raise DegenerateDataError(
            "no decision after a plea left a choice between helping and something else"
        )
    decisions = [play.decisions[i] for i in rows]
    columns = [
        directions[layer].project(play.resid_post[rows, column]).numpy()
        for column, layer in enumerate(play.layers)
    ]
    return Turns(
        projections=np.stack(columns, axis=1).astype(np.float64),
        layers=play.layers,
        helped=np.array([d.action in HELPING_ACTIONS[d.game_id] for d in decisions]),
        leaning=np.array(leaning),
        first=np.array(first),
        turn=np.array([d.turn for d in decisions]),
        score=np.array([play.episodes[d.episode].score for d in decisions]),
        episode=tuple(str(d.episode) for d in decisions),
        game=tuple(d.game_id for d in decisions),
        disposition=tuple(dispositions[d.episode] for d in decisions),
    )


def predict_on_policy(
    turns: Turns, *, seed: int = 0, n_resamples: int = 10_000, n_folds: int = N_FOLDS
) -> OnPolicyPrediction:
    """How well projections before acts predict the acts, with intervals over episodes.

    A fold's layer is the one whose projections correlate best (Spearman, within games) with the
    log-odds of helping in the other folds; projections are then centred and scaled by those folds.
    Raises DegenerateDataError with fewer than ``2 * n_folds`` episodes.
    """
    names = sorted(set(turns.episode), key=int)
    if len(names) < 2 * n_folds:
        raise DegenerateDataError(
            f"expected at least {2 * n_folds} episodes with a choice, got {len(names)}"
        )
    shuffled = np.random.default_rng(seed).permutation(len(names))
    fold_of = {names[int(index)]: place % n_folds for place, index in enumerate(shuffled)}
    fold = np.array([fold_of[e] for e in turns.episode])
    values = np.empty(len(fold))
    chosen = []
    for k in range(n_folds):
        others = turns.select(fold != k)
        best = int(np.argmax(_within_games(others)))
        x = others.projections[:, best]
        spread = x.std()
        values[fold == k] = (turns.projections[fold == k, best] - x.mean()) / (spread or 1.0)
        chosen.append(turns.layers[best])
    options: dict[str, Any] = {"seed": seed, "n_resamples": n_resamples}

    def associate(mask: Bool[np.ndarray, "decision"]) -> Association:
        return _association(turns.select(mask), values[mask], options)

    game, disposition = np.array(turns.game), np.array(turns.disposition)
    at_first = turns.select(turns.first)
    score, score_partial = _score(at_first, values[turns.first], options)
    return OnPolicyPrediction(
        first=associate(turns.first),
        every=associate(np.ones(len(fold), dtype=bool)),
        score=score,
        score_partial=score_partial,
        per_game={g: associate(game == g) for g in dict.fromkeys(turns.game)},
        per_disposition={d: associate(disposition == d) for d in dict.fromkeys(turns.disposition)},
        layer_of_fold=tuple(chosen),
        n_episodes=len(names),
    )


def _within_games(turns: Turns) -> Float[np.ndarray, "layer"]:
    """Spearman correlation with the leaning at each layer, averaged over games."""
    from scipy.stats import rankdata

    game, found = np.array(turns.game), []
    for name in dict.fromkeys(turns.game):
        mask = game == name
        if mask.sum() < 4 or np.ptp(turns.leaning[mask]) == 0:
            continue
        x = rankdata(turns.projections[mask], axis=0)
        y = rankdata(turns.leaning[mask])
        x, y = x - x.mean(axis=0), y - y.mean()
        norm = np.sqrt((x**2).sum(axis=0) * (y**2).sum())
        found.append((x * y[:, None]).sum(axis=0) / np.where(norm == 0, 1.0, norm))
    return np.mean(found, axis=0) if found else np.zeros(turns.projections.shape[1])


def _association(
    turns: Turns, values: Float[np.ndarray, "decision"], options: dict[str, Any]
) -> Association:
    groups = list(turns.episode)
    several = len(set(turns.game)) > 1
    turn = turns.turn[:, None].astype(np.float64)
    given = np.hstack([stats.dummies(turns.game), turn]) if several else turn
    return Association(
        auroc=_measured(lambda: stats.auroc_estimate(values, turns.helped, groups, **options)),
        spearman=_measured(lambda: stats.spearman(values, turns.leaning, groups, **options)),
        partial=_measured(
            lambda: stats.partial_correlation(values, turns.leaning, given, groups, **options)
        ),
        n=len(values),
        helped=int(turns.helped.sum()),
    )


def _score(
    turns: Turns, values: Float[np.ndarray, "decision"], options: dict[str, Any]
) -> tuple[Estimate | None, Estimate | None]:
    groups, score = list(turns.episode), turns.score.astype(np.float64)
    pooled = _measured(lambda: stats.spearman(values, score, groups, **options))
    given = stats.dummies(turns.game)
    if not given.shape[1]:
        return pooled, None
    return pooled, _measured(
        lambda: stats.partial_correlation(values, score, given, groups, **options)
    )


def _measured(measure: Callable[[], Any]) -> Estimate | None:
    try:
        found: Estimate = measure()
    except DegenerateDataError:
        return None
    return found
