"""Everything that can be computed about a direction from activations and texts, in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from ..baselines import LENGTH, Baseline, Embed, ablate_words, word_baselines
from ..directions import ESTIMATORS, Estimator
from ..types import Activations, ContrastivePair, Direction, Estimate
from ..validation import check_same_model
from .card import Evidence
from .contrasts import judge_contrasts
from .estimators import compare_estimators
from .measure import (
    attempt,
    auroc_gain,
    check_finite,
    fit,
    group_auroc,
    in_item_order,
    probe_scores,
)
from .nulls import label_swap_null, random_direction_null
from .selection import check_same_items, judge_selection
from .transfer import judge_hard_pairs, judge_masked_pairs, leave_one_out
from .verdicts import judge

__all__ = ["gather_evidence"]

Pairs = Sequence[ContrastivePair]
Reasons = dict[str, str]
Scores = Mapping[str, Float[np.ndarray, "item"]]


def gather_evidence(
    train: Activations,
    test: Activations,
    train_pairs: Pairs,
    test_pairs: Pairs,
    *,
    layer: int,
    estimator: str | Estimator = "mean_difference",
    hard: tuple[Activations, Pairs] | None = None,
    contrasts: Mapping[str, Activations] | None = None,
    ablated: tuple[Activations, int] | None = None,
    other_poolings: Sequence[tuple[Activations, Activations]] = (),
    rubric: Estimate | None = None,
    rubric_partial: Estimate | None = None,
    steering: Mapping[str, Any] | None = None,
    embed: Embed | None = None,
    estimators: Sequence[str] = tuple(ESTIMATORS),
    seed: int = 0,
    n_random: int = 1000,
    n_permutations: int = 1000,
    n_resamples: int = 10_000,
) -> Evidence:
    """The evidence card of the direction that ``estimator`` fits on ``train`` at ``layer``.

    Parameters
    ----------
    train, test, train_pairs, test_pairs
        Activations of the pairs, both sides. ``layer`` must have been chosen on train only.
    hard
        Activations of pairs where words and deeds part, and those pairs.
    contrasts
        Activations of other concepts' pairs, by name ("sentiment", "task_focus", …).
    ablated
        Activations of the test pairs after :func:`~empathy_lens.baselines.ablate_words`, and the
        number of words that were masked.
    other_poolings
        Activations of train and test under further poolings, for the choice among them.
    rubric, rubric_partial
        Correlation of projections with rubric scores, and the same given length and scenario,
        measured elsewhere.
    steering
        ``{"successes", "out_of", "random": {"share_below", "n"}, "rule"}``, measured elsewhere.
    embed
        Sentence embeddings for one more baseline; texts in, ``(text, dimension)`` out.
    estimators
        Names in ``ESTIMATORS`` to compare side by side, and to choose among with layer and pooling.

    No model is run and nothing is written. A figure that the data cannot support is None, and
    its reason is in ``not_computed``. About half a minute on one core for 70 train pairs and 18
    layers of width 640.

    Raises
    ------
    InputError
        Activations and pairs of different texts, a layer that was not extracted, or activations
        of different models.
    NonFiniteError
        A NaN or infinity among the activations.
    """
    named = dict(contrasts or {})
    others = {f"contrasts[{name!r}]": items for name, items in named.items()}
    others |= {} if hard is None else {"hard": hard[0]}
    others |= {} if ablated is None else {"ablated": ablated[0]}
    for pool, its_test in other_poolings:
        others |= {f"{pool.pooling} train": pool, f"{pool.pooling} test": its_test}
    for name, items in {"train": train, "test": test, **others}.items():
        check_finite(items, name)
    in_item_order(np.zeros(2 * len(train_pairs)), train_pairs, train, "train")

    reasons: Reasons = {}
    options: dict[str, Any] = {"seed": seed, "n_resamples": n_resamples}
    readers = word_baselines(embed)
    words = _word_scores(readers, train_pairs, test_pairs, test, "baselines", reasons)
    if embed is None:
        reasons["sentence_embedding"] = "no sentence embedding was asked for (--embedding)"
    card = Evidence(
        layer=layer,
        estimator=estimator if isinstance(estimator, str) else _name(estimator),
        pooling=train.pooling,
        n_train_pairs=len(train_pairs),
        n_test_pairs=len(test_pairs),
        baselines=dict.fromkeys(readers)
        | {
            name: attempt(reasons, f"baselines: {name}", group_auroc, scored, test, **options)
            for name, scored in words.items()
        },
        rubric=rubric,
        rubric_partial=rubric_partial,
        steering=steering,
        not_computed=reasons,
    )
    direction = attempt(reasons, "direction", fit, train, layer, estimator)
    if direction is None:
        return replace(card, verdicts=judge(card))
    for items in (test, *others.values()):
        check_same_model(direction, items)

    card = _with_probe(card, direction, test, words, reasons, options)
    card = _with_nulls(card, train, test, n_random, n_permutations, seed, reasons)
    lexical = {name: reader for name, reader in readers.items() if name != LENGTH}
    if ablated is not None:
        items, n_words = ablated
        learnt, tested = (ablate_words(train_pairs, p, n_words) for p in (train_pairs, test_pairs))
        scored = _word_scores(lexical, learnt, tested, items, "lexically_ablated", reasons)
        still = judge_masked_pairs(direction, items, scored, n_words, reasons=reasons, **options)
        card = replace(card, lexically_ablated=still)
    if hard is not None:
        scored = _word_scores(lexical, train_pairs, hard[1], hard[0], "hard_pairs", reasons)
        found = judge_hard_pairs(direction, *hard, scored, reasons=reasons, **options)
        card = replace(card, hard_pairs=found)
    tried: dict[str, Any] = {"reasons": reasons, "n_permutations": n_permutations, **options}
    pools = [(train, test), *other_poolings]
    card = _with_selection(card, pools, estimators, words, direction, tried)
    card = _with_transfer(card, train, train_pairs, estimator, reasons, options)
    found_contrasts = judge_contrasts(direction, named, train, test, **tried)
    card = replace(card, contrasts=found_contrasts)
    return replace(card, verdicts=judge(card))


def _with_probe(
    card: Evidence,
    direction: Direction,
    test: Activations,
    words: Scores,
    reasons: Reasons,
    options: dict[str, Any],
) -> Evidence:
    """The card with the direction's AUROC on test, and its gain over each baseline."""
    probe = _auroc(direction, test, "probe", reasons, options)
    if probe is None:
        return card
    known = {name: one.value for name, one in card.baselines.items() if one is not None}
    values = probe_scores(direction, test)
    gains = {
        name: attempt(reasons, f"gains: {name}", auroc_gain, values, words[name], test, **options)
        for name in known
    }
    best = max(known, key=lambda name: known[name], default=None)
    return replace(card, probe=probe, gains=gains, best_baseline=best)


def _with_nulls(
    card: Evidence,
    train: Activations,
    test: Activations,
    n_random: int,
    n_permutations: int,
    seed: int,
    reasons: Reasons,
) -> Evidence:
    """The card with random directions on test, and labels swapped on train."""
    if card.probe is not None:
        observed = card.probe.value
        null = random_direction_null(train, test, card.layer, observed, n=n_random, seed=seed)
        card = replace(card, random_directions=null)
    part = "permutation_p_corrected"
    draws: dict[str, int] = {"n_permutations": n_permutations, "seed": seed}
    swaps = attempt(reasons, part, label_swap_null, train, **draws)
    if swaps is None:
        return card
    return replace(card, permutation_p_corrected=swaps.p_corrected, shuffled_labels=swaps.null)


def _with_selection(
    card: Evidence,
    pools: Sequence[tuple[Activations, Activations]],
    estimators: Sequence[str],
    words: Scores,
    direction: Direction,
    options: dict[str, Any],
) -> Evidence:
    """The card with estimators side by side under each pooling, and the choice among them."""
    trains, tests = ([pool[side] for pool in pools] for side in (0, 1))
    check_same_items(trains)
    check_same_items(tests)
    rows = compare_estimators(trains, tests, estimators, **options)
    headline = attempt(options["reasons"], "selection", probe_scores, direction, tests[0])
    selection = judge_selection(
        [row.configuration for row in rows.values()],
        trains,
        tests,
        estimators,
        words=words,
        headline=headline,
        **options,
    )
    return replace(card, estimators=rows, selection=selection)


def _with_transfer(
    card: Evidence,
    train: Activations,
    train_pairs: Pairs,
    estimator: str | Estimator,
    reasons: Reasons,
    options: dict[str, Any],
) -> Evidence:
    """The card with each scenario, source and format of the train pairs left out in turn."""
    of_pair = {p.pair_id: p for p in train_pairs}
    pairs = [of_pair[pair_id] for pair_id in train.pair_ids]
    parts = {
        "scenario": train.scenario_ids,
        "source": [p.source_model or "unknown" for p in pairs],
        "format": [p.format or "unknown" for p in pairs],
    }
    found: dict[str, Any] = {
        f"{what}s": leave_one_out(
            train,
            part_of_item,
            estimator=estimator,
            name=f"leave_one_{what}_out",
            reasons=reasons,
            **options,
        )
        for what, part_of_item in parts.items()
    }
    return replace(card, **found)


def _auroc(
    direction: Direction, items: Activations, part: str, reasons: Reasons, options: dict[str, Any]
) -> Estimate | None:
    values = attempt(reasons, part, probe_scores, direction, items)
    if values is None:
        return None
    return attempt(reasons, part, group_auroc, values, items, **options)


def _word_scores(
    readers: Mapping[str, Baseline],
    train_pairs: Pairs,
    pairs: Pairs,
    items: Activations,
    part: str,
    reasons: Reasons,
) -> Scores:
    """Scores of each baseline in the order of the activations; those that fail are left out."""
    found = {
        name: attempt(reasons, f"{part}: {name}", reader, train_pairs, pairs)
        for name, reader in readers.items()
    }
    return {
        name: in_item_order(scored, pairs, items, part)
        for name, scored in found.items()
        if scored is not None
    }


def _name(estimator: Estimator) -> str:
    return getattr(estimator, "__name__", "custom")
