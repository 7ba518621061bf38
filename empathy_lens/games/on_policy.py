"""Does the projection before an act predict the act? Ground truth is what the model then does.

Only decisions count that follow the plea and leave a choice between helping and something else.
What is independent is a game with its seed: one seed is played under each disposition, and such
episodes share everything that the seed decides. So they are resampled together, and the layer is
chosen for each fold of seeds on the other folds, so that no figure is read off the data that chose
it. Interval and p of a figure come from the same resamples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from jaxtyping import Bool, Float, Int

from .. import stats
from ..directions import check_same_model
from ..errors import DegenerateDataError, InputError
from ..evidence.measure import MIN_SITUATIONS
from ..types import Direction, Estimate
from .episodes import GAMES
from .play import Play

N_FOLDS = 5
GIVEN = "game × turn and disposition"
"""What the partial correlations hold fixed: every turn of every game, and every disposition."""
UNIT = "game and seed"
"""What is resampled, and kept in one fold."""


@dataclass(frozen=True, eq=False)
class Turns:
    """Decisions after the plea with a choice between helping and something else.

    ``projections`` are in activation units, one column a layer; ``leaning`` is the model's log-odds
    of helping (natural log); ``score`` is that of the episode; ``first`` marks its first decision;
    ``seed`` is the one that the game was started from.
    """

    projections: Float[np.ndarray, "decision layer"]
    layers: tuple[int, ...]
    helped: Bool[np.ndarray, "decision"]
    leaning: Float[np.ndarray, "decision"]
    first: Bool[np.ndarray, "decision"]
    turn: Int[np.ndarray, "decision"]
    score: Int[np.ndarray, "decision"]
    seed: Int[np.ndarray, "decision"]
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
            seed=self.seed[mask],
            episode=pick(self.episode),
            game=pick(self.game),
            disposition=pick(self.disposition),
        )

    @property
    def unit(self) -> list[str]:
        """The game with its seed: what is independent of the rest."""
        return [f"{game}-{seed}" for game, seed in zip(self.game, self.seed, strict=True)]

    @property
    def given(self) -> Float[np.ndarray, "decision k"]:
        """Covariates: every turn of every game, and the disposition.

        Turns are categories: how far into a game a choice stands need not move projections or
        acts along a straight line.
        """
        cells = [f"{game}-{turn}" for game, turn in zip(self.game, self.turn, strict=True)]
        return np.hstack([stats.dummies(cells), stats.dummies(self.disposition)])


@dataclass(frozen=True)
class Association:
    """Projections before decisions against what was decided (None where it cannot be measured).

    ``auroc``: helping decisions project higher than others; ``act_partial``: rank correlation with
    having helped (0 or 1) given game × turn and disposition. ``leaning``: Spearman correlation with
    the log-odds of helping, and ``leaning_partial`` the same given game × turn and disposition.
    """

    auroc: Estimate | None
    act_partial: Estimate | None
    leaning: Estimate | None
    leaning_partial: Estimate | None
    n: int
    helped: int


@dataclass(frozen=True)
class Prediction:
    """Some episodes: their first choices, every choice, and the rubric's score of the episode.

    ``spearman`` correlates the projection at the episode's first choice with the episode's score;
    ``partial`` is the same given game × turn and disposition.
    """

    n_episodes: int
    spearman: Estimate | None
    partial: Estimate | None
    first_choice: Association
    every_choice: Association


@dataclass(frozen=True)
class OnPolicyPrediction:
    """Out-of-fold prediction of behaviour, pooled and within games and dispositions.

    ``layer_of_fold`` is the layer chosen for each fold of seeds.
    """

    pooled: Prediction
    per_scenario: Mapping[str, Prediction]
    per_disposition: Mapping[str, Prediction]
    layer_of_fold: tuple[int, ...]


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
    for layer in play.layers:
        check_same_model(directions[layer], play, "the model that played is")
    rows, leaning, seen = [], [], set()
    first = []
    for i, decision in enumerate(play.decisions):
        chance = decision.probability_of(GAMES[decision.game_id].helping)
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
        helped=np.array([d.action in GAMES[d.game_id].helping for d in decisions]),
        leaning=np.array(leaning),
        first=np.array(first),
        turn=np.array([d.turn for d in decisions]),
        score=np.array([play.episodes[d.episode].score for d in decisions]),
        seed=np.array([d.seed for d in decisions]),
        episode=tuple(str(d.episode) for d in decisions),
        game=tuple(d.game_id for d in decisions),
        disposition=tuple(dispositions[d.episode] for d in decisions),
    )


def predict_on_policy(
    turns: Turns, *, seed: int = 0, n_resamples: int = 10_000, n_folds: int = N_FOLDS
) -> OnPolicyPrediction:
    """How well projections before acts predict the acts, with intervals over seeds of games.

    A fold's layer is the one whose projections correlate best (Spearman, within games) with the
    log-odds of helping in the other folds; projections are then centred and scaled by those folds.
    Intervals are cluster bootstraps over ``unit``, and ``p`` inverts them. Parts of fewer than
    ``MIN_SITUATIONS`` units have no figures. Raises DegenerateDataError where the whole has fewer,
    or fewer than ``n_folds``.
    """
    needed, names = max(n_folds, MIN_SITUATIONS), sorted(set(turns.unit))
    if len(names) < needed:
        raise DegenerateDataError(
            f"expected choices in at least {needed} seeds of games, which are what is independent, "
            f"got {len(names)}; play more episodes"
        )
    shuffled = np.random.default_rng(seed).permutation(len(names))
    fold_of = {names[int(index)]: place % n_folds for place, index in enumerate(shuffled)}
    fold = np.array([fold_of[unit] for unit in turns.unit])
    values = np.empty(len(fold))
    chosen = []
    for k in range(n_folds):
        others = turns.select(fold != k)
        best = int(np.argmax(_within_games(others)))
        x = others.projections[:, best]
        spread = x.std()
        values[fold == k] = (turns.projections[fold == k, best] - x.mean()) / (spread or 1.0)
        chosen.append(turns.layers[best])
    design = stats.Design(turns.unit, seed=seed, n_resamples=n_resamples)

    def predict(mask: Bool[np.ndarray, "decision"]) -> Prediction:
        return _prediction(turns.select(mask), values[mask], design)

    game, disposition = np.array(turns.game), np.array(turns.disposition)
    return OnPolicyPrediction(
        pooled=predict(np.ones(len(fold), dtype=bool)),
        per_scenario={g: predict(game == g) for g in dict.fromkeys(turns.game)},
        per_disposition={d: predict(disposition == d) for d in dict.fromkeys(turns.disposition)},
        layer_of_fold=tuple(chosen),
    )


def _within_games(turns: Turns) -> Float[np.ndarray, "layer"]:
    """Spearman correlation with the leaning at each layer, averaged over games."""
    from scipy.stats import rankdata

    game, correlations = np.array(turns.game), []
    for name in dict.fromkeys(turns.game):
        mask = game == name
        if mask.sum() < 4 or np.ptp(turns.leaning[mask]) == 0:
            continue
        x = rankdata(turns.projections[mask], axis=0)
        y = rankdata(turns.leaning[mask])
        x, y = x - x.mean(axis=0), y - y.mean()
        norm = np.sqrt((x**2).sum(axis=0) * (y**2).sum())
        correlations.append((x * y[:, None]).sum(axis=0) / np.where(norm == 0, 1.0, norm))
    return np.mean(correlations, axis=0) if correlations else np.zeros(turns.projections.shape[1])


def _prediction(
    turns: Turns, values: Float[np.ndarray, "decision"], design: stats.Design
) -> Prediction:
    at_first, x = turns.select(turns.first), values[turns.first]
    score = at_first.score.astype(np.float64)
    return Prediction(
        spearman=_correlation(at_first, x, score, design, partial=False),
        partial=_correlation(at_first, x, score, design),
        first_choice=_association(at_first, x, design),
        every_choice=_association(turns, values, design),
        n_episodes=len(at_first.episode),
    )


def _association(
    turns: Turns, values: Float[np.ndarray, "decision"], design: stats.Design
) -> Association:
    act = turns.helped.astype(np.float64)
    return Association(
        auroc=_measured(turns, design, lambda of: stats.auroc_estimate(values, turns.helped, of)),
        act_partial=_correlation(turns, values, act, design),
        leaning=_correlation(turns, values, turns.leaning, design, partial=False),
        leaning_partial=_correlation(turns, values, turns.leaning, design),
        n=len(values),
        helped=int(turns.helped.sum()),
    )


def _correlation(
    turns: Turns,
    values: Float[np.ndarray, "decision"],
    outcome: Float[np.ndarray, "decision"],
    design: stats.Design,
    *,
    partial: bool = True,
) -> Estimate | None:
    """Rank correlation, given ``turns.given`` if partial; p by inverting its interval."""
    given = turns.given if partial else None
    return _measured(
        turns,
        design,
        lambda of: stats.partial_correlation(values, outcome, given, of, p="interval"),
    )


def _measured(
    turns: Turns,
    design: stats.Design,
    measure: Callable[[stats.Design], Estimate | list[Estimate]],
) -> Estimate | None:
    """A figure with the turns' units resampled; None where they cannot support one."""
    units = turns.unit
    if len(set(units)) < MIN_SITUATIONS:
        return None
    try:
        return cast(Estimate, measure(replace(design, groups=units)))
    except DegenerateDataError:
        return None
