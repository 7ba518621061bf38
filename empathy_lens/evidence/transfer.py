"""Does the direction hold where it was not fitted: unseen scenarios and sources, hard pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .. import stats
from ..directions import Estimator
from ..errors import DegenerateDataError
from ..types import Activations, ContrastivePair, Direction, Estimate
from .baselines import Baseline, ablate_words
from .measure import Attempts, Draws, Figures, StudyData, choose_layer, fit, probe_scores


@dataclass(frozen=True)
class LeftOut:
    """AUROC on each part of the train pairs by a direction that never saw it, in [0, 1].

    ``mean`` averages the AUROCs within parts, weighted by size; its interval resamples parts
    and the situations within them, so it speaks of new parts. None where there is no figure.
    """

    parts: Figures
    mean: Estimate | None


@dataclass(frozen=True)
class HardPairs:
    """AUROC on pairs where words and deeds part, whole and per kind, beside words alone.

    ``gains`` are probe minus baseline on all hard pairs. None where there is no figure.
    """

    all: Estimate | None
    by_kind: Figures
    baselines: Figures
    gains: Figures


@dataclass(frozen=True)
class MaskedPairs:
    """AUROC on test pairs whose ``n_words`` most telling words are masked on both sides.

    ``baselines`` read the same texts, fitted on train pairs masked alike: what words still tell.
    ``gains`` are probe minus baseline. None where there is no figure.
    """

    n_words: int
    auroc: Estimate | None
    baselines: Figures
    gains: Figures


def leave_one_out(
    train: Activations,
    parts: Sequence[str],
    *,
    estimator: str | Estimator,
    name: str,
    attempt: Attempts,
) -> LeftOut:
    """Fits without each part in turn and tests on it; ``parts`` gives the part of every item.

    The layer, too, is chosen without the part (by cross-validated mean differences on the rest),
    so nothing of it leaks. Only train pairs are read: the test set stays closed. Figures that
    the data cannot support are None, with the reason under ``name`` in ``attempt.reasons``.
    """
    distinct = sorted(set(parts))
    if len(distinct) < 2:
        attempt.reasons[name] = f"leaving one out needs at least 2, got {len(distinct)}: {distinct}"
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
    mean = attempt(name, _mean_within, held_out, train, parts, attempt.draws)
    return LeftOut(estimates, mean)


def judge_hard_pairs(
    direction: Direction, data: StudyData, readers: Mapping[str, Baseline], *, attempt: Attempts
) -> HardPairs | None:
    """The direction on the study's hard pairs beside word baselines; None where it has none.

    Direction and baselines are fitted on ordinary train pairs.
    """
    if data.hard is None:
        return None
    part, (hard, pairs) = "hard_pairs", data.hard
    words = attempt.words(part, readers, data.train_pairs, pairs, hard)
    baselines = attempt.aurocs(part, words, hard)
    kind_of_pair = {p.pair_id: _kind_of(p) for p in pairs}
    kinds = [kind_of_pair[pair_id] for pair_id in hard.pair_ids]
    values = attempt(part, probe_scores, direction, hard)
    by_kind = {}
    for kind in sorted(set(kinds)):
        inside = torch.tensor([one == kind for one in kinds])
        of_kind = None if values is None else values[inside.numpy()]
        by_kind[kind] = attempt.auroc(f"{part}: {kind}", of_kind, hard.select(inside))
    return HardPairs(
        all=attempt.auroc(part, values, hard),
        by_kind=by_kind,
        baselines=baselines,
        gains=attempt.gains(part, values, words, hard),
    )


def judge_masked_pairs(
    direction: Direction, data: StudyData, readers: Mapping[str, Baseline], *, attempt: Attempts
) -> MaskedPairs | None:
    """The direction, fitted on whole texts, on the study's masked ones; None where it has none."""
    if data.masked is None:
        return None
    part, (items, n_words) = "lexically_ablated", data.masked
    learnt, tested = (
        ablate_words(data.train_pairs, pairs, n_words)
        for pairs in (data.train_pairs, data.test_pairs)
    )
    words = attempt.words(part, readers, learnt, tested, items)
    values = attempt(part, probe_scores, direction, items)
    return MaskedPairs(
        n_words=n_words,
        baselines=attempt.aurocs(part, words, items),
        gains=attempt.gains(part, values, words, items),
        auroc=attempt.auroc(part, values, items),
    )


def _kind_of(pair: ContrastivePair) -> str:
    """The kind of a hard pair: its tags but ``hard``."""
    return "+".join(tag for tag in pair.tags if tag != "hard") or "untagged"


def _unseen_scores(
    train: Activations, inside: Bool[Tensor, "item"], estimator: str | Estimator, seed: int
) -> Float[np.ndarray, "unseen"]:
    rest = train.select(~inside)
    direction = fit(rest, choose_layer(rest, seed=seed).layer, estimator)
    return probe_scores(direction, train.select(inside))


def _mean_within(
    held_out: Float[np.ndarray, "item"],
    train: Activations,
    parts: Sequence[str],
    draws: Draws,
) -> Estimate:
    missing = sorted({part for part, x in zip(parts, held_out, strict=True) if np.isnan(x)})
    if missing:
        raise DegenerateDataError(f"no direction could be fitted and tested without {missing}")
    situations = Counter(part for part, _ in set(zip(parts, train.groups, strict=True)))
    estimate = stats.bootstrap(
        _mean_auroc_within(held_out, train.labels.numpy(), np.asarray(parts)),
        stats.Design(
            [list(parts), list(train.groups)],
            seed=draws.seed,
            n_resamples=draws.n_resamples,
            method="percentile",
        ),
        bounds=(0.0, 1.0),
        n_trials=max(1, sum(n // 2 for n in situations.values())),
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
