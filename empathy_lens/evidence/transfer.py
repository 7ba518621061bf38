"""Does the direction hold where it was not fitted: unseen scenarios and sources, hard pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .. import stats
from ..directions import Estimator
from ..errors import DegenerateDataError
from ..types import Activations, ContrastivePair, Direction, Estimate
from .measure import (
    CHANCE,
    Attempts,
    Draws,
    Figures,
    StudyData,
    WordScores,
    choose_layer,
    fit,
    probe_scores,
)


@dataclass(frozen=True)
class LeftOut:
    """AUROC on each part of the train pairs by a direction that never saw it, in [0, 1].

    ``mean`` averages the AUROCs within parts, weighted by size; its interval resamples situations
    within parts, so it speaks of new situations of these parts. ``gains`` are that mean minus the
    same of each reader of words that never saw the part. None where there is no figure.
    """

    parts: Figures
    mean: Estimate | None
    gains: Figures = field(default_factory=dict)


@dataclass(frozen=True)
class HardPairs:
    """AUROC on pairs where words and deeds part, whole and per kind, beside words alone.

    ``gains`` are probe minus baseline on all hard pairs. ``sign_flip_p``, two-sided, is that of the
    pairs' differences; ``given_words`` the probe's coefficient in a conditional logit on them,
    given what readers of words say. None where there is no figure.
    """

    all: Estimate | None
    by_kind: Figures
    baselines: Figures
    gains: Figures
    paired_accuracy: Estimate | None = None
    d_z: Estimate | None = None
    sign_flip_p: float | None = None
    given_words: Estimate | None = None


@dataclass(frozen=True)
class MaskedPairs:
    """AUROC on test pairs whose ``n_words`` most telling words are masked on both sides.

    ``baselines`` read the same texts, fitted on train pairs masked alike: what words still tell.
    ``gains`` are probe minus baseline, ``rivals`` the readers among them that a probe must beat.
    None where there is no figure.
    """

    n_words: int
    auroc: Estimate | None
    baselines: Figures
    gains: Figures
    rivals: tuple[str, ...] = ()
    paired_accuracy: Estimate | None = None
    d_z: Estimate | None = None


def leave_one_out(
    train: Activations,
    parts: Sequence[str],
    *,
    estimator: str | Estimator,
    name: str,
    attempt: Attempts,
    words: WordScores | None = None,
) -> LeftOut:
    """Fits without each part in turn and tests on it; ``parts`` gives the part of every item.

    The layer, too, is chosen without the part (by cross-validation on the rest), so nothing of it
    leaks. Only train pairs are read: the test set stays closed. ``words``: scores of the same items
    by readers that never saw the part. Figures that the data cannot support are None, with the
    reason under ``name`` in ``attempt.reasons``.
    """
    distinct = sorted(set(parts))
    if len(distinct) < 2:
        attempt.note(name, f"leaving one out needs at least 2, got {len(distinct)}: {distinct}")
        return LeftOut(dict.fromkeys(distinct), None)
    held_out = np.full(len(parts), np.nan)
    estimates: dict[str, Estimate | None] = {}
    for part in distinct:
        inside = torch.tensor([one == part for one in parts])
        label = f"{name}: {part}"
        values = attempt(label, _unseen_scores, train, inside, estimator, attempt.draws.seed)
        if values is not None:
            held_out[inside.numpy()] = values
        estimates[part] = attempt.auroc(label, values, train.select(inside))
    return LeftOut(
        parts=estimates,
        mean=attempt(name, _mean_within, held_out, None, train, parts, attempt.draws),
        gains={
            reader: attempt(
                f"{name}: {reader}", _mean_within, held_out, scored, train, parts, attempt.draws
            )
            for reader, scored in (words or {}).items()
        },
    )


def judge_hard_pairs(
    direction: Direction,
    data: StudyData,
    words: WordScores,
    rivals: tuple[str, ...],
    *,
    attempt: Attempts,
) -> HardPairs | None:
    """The direction on the study's hard pairs beside word baselines; None where it has none.

    Direction and baselines are fitted on ordinary train pairs.
    """
    if data.hard is None:
        return None
    part, (hard, pairs) = "hard_pairs", data.hard
    kind_of_pair = {p.pair_id: _kind_of(p) for p in pairs}
    kinds = [kind_of_pair[pair_id] for pair_id in hard.pair_ids]
    values = attempt(part, probe_scores, direction, hard)
    by_kind = {}
    for kind in sorted(set(kinds)):
        inside = torch.tensor([one == kind for one in kinds])
        of_kind = None if values is None else values[inside.numpy()]
        by_kind[kind] = attempt.auroc(f"{part}: {kind}", of_kind, hard.select(inside))
    paired = attempt.paired(part, values, hard)
    return HardPairs(
        all=attempt.auroc(part, values, hard),
        by_kind=by_kind,
        baselines=attempt.aurocs(part, words, hard),
        gains=attempt.gains(part, values, words, hard),
        paired_accuracy=paired.accuracy,
        d_z=paired.d_z,
        sign_flip_p=paired.sign_flip_p,
        given_words=attempt.given_words(part, values, words, rivals, hard),
    )


def judge_masked_pairs(
    direction: Direction,
    data: StudyData,
    words: WordScores,
    rivals: tuple[str, ...],
    *,
    attempt: Attempts,
) -> MaskedPairs | None:
    """The direction, fitted on whole texts, on the study's masked ones; None where it has none."""
    if data.masked is None:
        return None
    part, (items, n_words) = "lexically_ablated", data.masked
    values = attempt(part, probe_scores, direction, items)
    paired = attempt.paired(part, values, items)
    return MaskedPairs(
        n_words=n_words,
        baselines=attempt.aurocs(part, words, items),
        gains=attempt.gains(part, values, words, items),
        auroc=attempt.auroc(part, values, items),
        rivals=rivals,
        paired_accuracy=paired.accuracy,
        d_z=paired.d_z,
    )


def _kind_of(pair: ContrastivePair) -> str:
    """The kind of a hard pair: its tags but ``hard``."""
    return "+".join(tag for tag in pair.tags if tag != "hard") or "untagged"


def _unseen_scores(
    train: Activations, inside: Bool[Tensor, "item"], estimator: str | Estimator, seed: int
) -> Float[np.ndarray, "unseen"]:
    rest = train.select(~inside)
    direction = fit(rest, choose_layer(rest, estimator, seed=seed).layer, estimator)
    return probe_scores(direction, train.select(inside))


def _mean_within(
    held_out: Float[np.ndarray, "item"],
    words: Float[np.ndarray, "item"] | None,
    train: Activations,
    parts: Sequence[str],
    draws: Draws,
) -> Estimate:
    """The mean AUROC within parts, minus that of words where they are given; p against chance."""
    missing = sorted({part for part, x in zip(parts, held_out, strict=True) if np.isnan(x)})
    if missing:
        raise DegenerateDataError(f"no direction could be fitted and tested without {missing}")
    labels, part_of = train.labels.numpy(), np.asarray(parts)
    ours = _mean_auroc_within(held_out, labels, part_of)
    theirs = None if words is None else _mean_auroc_within(words, labels, part_of)
    situations = Counter(part for part, _ in set(zip(parts, train.groups, strict=True)))
    estimate = stats.bootstrap(
        ours if theirs is None else lambda weights: ours(weights) - theirs(weights),
        stats.Design.within(
            list(train.groups), list(parts), seed=draws.seed, n_resamples=draws.n_resamples
        ),
        bounds=(0.0, 1.0) if theirs is None else (-1.0, 1.0),
        n_trials=max(1, sum(n // 2 for n in situations.values())),
        null=CHANCE if theirs is None else 0.0,
    )
    return cast(Estimate, estimate)


def _mean_auroc_within(
    values: Float[np.ndarray, "item"],
    positive: Bool[np.ndarray, "item"],
    parts: np.ndarray,
) -> Callable[[np.ndarray], np.ndarray]:
    """Weighted AUROC within each part, averaged by weight; never compares across parts.

    Directions of different parts are fitted on different pairs, so their zero points differ.
    """
    tables = []
    for part in np.unique(parts):
        pos, neg = (np.flatnonzero((parts == part) & side) for side in (positive, ~positive))
        above, below = values[pos][:, None], values[neg]
        tables.append((pos, neg, (above > below) + 0.5 * (above == below)))

    def statistic(weights: np.ndarray) -> np.ndarray:
        total, summed = np.zeros(len(weights)), np.zeros(len(weights))
        for pos, neg, wins in tables:
            w_pos, w_neg = weights[:, pos], weights[:, neg]
            n_pos, n_neg = w_pos.sum(axis=1), w_neg.sum(axis=1)
            comparisons = np.maximum(n_pos * n_neg, 1)
            size = np.where(n_pos * n_neg > 0, n_pos + n_neg, 0)
            summed += size * np.einsum("rj,rj->r", w_pos @ wins, w_neg) / comparisons
            total += size
        with np.errstate(invalid="ignore"):
            return summed / total

    return statistic
