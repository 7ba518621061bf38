"""Does the direction hold where it was not fitted: unseen scenarios and sources, hard pairs."""

from __future__ import annotations

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
from .measure import Attempts, Draws, auroc_gain, choose_layer, fit, group_auroc, probe_scores

__all__ = [
    "HardPairs",
    "LeftOut",
    "MaskedPairs",
    "judge_hard_pairs",
    "judge_masked_pairs",
    "kind_of",
    "leave_one_out",
]


@dataclass(frozen=True)
class LeftOut:
    """AUROC on each part of the train pairs by a direction that never saw it, in [0, 1].

    ``mean`` averages the AUROCs within parts, weighted by size; its interval resamples parts
    and the situations within them, so it speaks of new parts. None where there is no figure.
    """

    parts: Mapping[str, Estimate | None]
    mean: Estimate | None


@dataclass(frozen=True)
class HardPairs:
    """AUROC on pairs where words and deeds part, whole and per kind, beside words alone.

    ``gains`` are probe minus baseline on all hard pairs. None where there is no figure.
    """

    all: Estimate | None
    by_kind: Mapping[str, Estimate | None]
    baselines: Mapping[str, Estimate | None]
    gains: Mapping[str, Estimate | None]


@dataclass(frozen=True)
class MaskedPairs:
    """AUROC on test pairs whose ``n_words`` most telling words are masked on both sides.

    ``baselines`` read the same texts, fitted on train pairs masked alike: what words still tell.
    ``gains`` are probe minus baseline. None where there is no figure.
    """

    n_words: int
    auroc: Estimate | None
    baselines: Mapping[str, Estimate | None]
    gains: Mapping[str, Estimate | None]


def leave_one_out(
    train: Activations,
    parts: Sequence[str],
    *,
    estimator: str | Estimator,
    name: str,
    draws: Draws,
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
        values = attempt(label, _unseen_scores, train, inside, estimator, draws.seed)
        if values is None:
            estimates[part] = None
            continue
        held_out[inside.numpy()] = values
        unseen = train.select(inside)
        estimates[part] = attempt(label, group_auroc, values, unseen, draws)
    mean = attempt(name, _mean_within, held_out, train, parts, draws)
    return LeftOut(estimates, mean)


def judge_hard_pairs(
    direction: Direction,
    hard: Activations,
    pairs: Sequence[ContrastivePair],
    words: Mapping[str, Float[np.ndarray, "item"]],
    *,
    draws: Draws,
    attempt: Attempts,
) -> HardPairs:
    """The direction on hard pairs beside ``words``: scores of word baselines on the same items.

    Direction and baselines are fitted on ordinary train pairs; ``words`` are in item order.
    """
    baselines = {
        name: attempt(f"hard_pairs: {name}", group_auroc, scored, hard, draws)
        for name, scored in words.items()
    }
    kind_of_pair = {p.pair_id: kind_of(p) for p in pairs}
    kinds = np.array([kind_of_pair[pair_id] for pair_id in hard.pair_ids])
    values = attempt("hard_pairs", probe_scores, direction, hard)
    if values is None:
        return HardPairs(None, dict.fromkeys(sorted(set(kinds))), baselines, {})
    by_kind = {}
    for kind in sorted(set(kinds.tolist())):
        inside = kinds == kind
        items = hard.select(torch.from_numpy(inside))
        label = f"hard_pairs: {kind}"
        by_kind[kind] = attempt(label, group_auroc, values[inside], items, draws)
    return HardPairs(
        all=attempt("hard_pairs", group_auroc, values, hard, draws),
        by_kind=by_kind,
        baselines=baselines,
        gains={
            name: attempt(f"hard_pairs: {name}", auroc_gain, values, s, hard, draws)
            for name, s in words.items()
        },
    )


def judge_masked_pairs(
    direction: Direction,
    masked: Activations,
    words: Mapping[str, Float[np.ndarray, "item"]],
    n_words: int,
    *,
    draws: Draws,
    attempt: Attempts,
) -> MaskedPairs:
    """The direction, fitted on whole texts, on masked ones beside ``words``, in item order."""
    part = "lexically_ablated"
    baselines, gains = {}, {}
    values = attempt(part, probe_scores, direction, masked)
    for name, one in words.items():
        label = f"{part}: {name}"
        baselines[name] = attempt(label, group_auroc, one, masked, draws)
        if values is not None:
            gains[name] = attempt(label, auroc_gain, values, one, masked, draws)
    auroc = None
    if values is not None:
        auroc = attempt(part, group_auroc, values, masked, draws)
    return MaskedPairs(n_words, auroc, baselines, gains)


def kind_of(pair: ContrastivePair) -> str:
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
    situations: dict[str, set[str]] = {}
    for part, group in zip(parts, train.groups, strict=True):
        situations.setdefault(part, set()).add(group)
    estimate = stats.bootstrap(
        _mean_auroc_within(held_out, train.labels.numpy(), np.asarray(parts)),
        stats.Design(
            [list(parts), list(train.groups)],
            seed=draws.seed,
            n_resamples=draws.n_resamples,
            method="percentile",
        ),
        bounds=(0.0, 1.0),
        n_trials=max(1, sum(len(groups) // 2 for groups in situations.values())),
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
