"""Everything that can be computed about a direction from activations and texts, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from ..directions import ESTIMATORS, Estimator, check_same_model
from ..types import Activations, Direction, Estimate
from .baselines import LENGTH, Baseline, Embed, ablate_words, word_baselines
from .card import Evidence, Figures, Headline, Nulls
from .contrasts import Contrast, judge_contrasts
from .measure import (
    DRAWS,
    NO_BEHAVIOUR,
    Attempts,
    Behaviour,
    Draws,
    Pairs,
    StudyData,
    auroc_gain,
    fit,
    group_auroc,
    in_item_order,
    probe_scores,
)
from .nulls import NullDistribution, label_swap_null, random_direction_null
from .selection import (
    EstimatorRow,
    Selection,
    check_same_items,
    compare_estimators,
    judge_selection,
)
from .transfer import (
    HardPairs,
    LeftOut,
    MaskedPairs,
    judge_hard_pairs,
    judge_masked_pairs,
    leave_one_out,
)
from .verdicts import judge_claims

__all__ = ["evidence_card"]

Scores = Mapping[str, Float[np.ndarray, "item"]]


@dataclass(frozen=True)
class Probe:
    """The direction's AUROC on test, and its gain over each baseline there."""

    auroc: Estimate | None = None
    gains: Figures = field(default_factory=dict)
    best_baseline: str | None = None


def evidence_card(
    data: StudyData,
    layer: int,
    estimator: str | Estimator = "mean_difference",
    *,
    behaviour: Behaviour = NO_BEHAVIOUR,
    embed: Embed | None = None,
    estimators: Sequence[str] = tuple(ESTIMATORS),
    draws: Draws = DRAWS,
) -> Evidence:
    """The evidence card of the direction that ``estimator`` fits on train at ``layer``.

    ``layer`` must have been chosen on train only. ``embed`` (texts in, ``(text, dimension)`` out)
    adds a sentence embedding to the baselines; ``estimators`` are names in ``ESTIMATORS`` to
    compare side by side, and to choose among with layer and pooling. No model is run and nothing
    is written. A figure that the data cannot support is None, and its reason is in
    ``not_computed``. About half a minute on one core for 70 train pairs and 18 layers of width
    640. Raises InputError for a layer that was not extracted or activations of different models.
    """
    attempt = Attempts()
    readers = word_baselines(embed)
    words = word_scores(readers, data.train_pairs, data.test_pairs, data.test, "baselines", attempt)
    if embed is None:
        attempt.reasons["sentence_embedding"] = "no sentence embedding was asked for (--embedding)"
    baselines: Figures = dict.fromkeys(readers) | {
        name: attempt(f"baselines: {name}", group_auroc, scored, data.test, draws)
        for name, scored in words.items()
    }
    direction = attempt("direction", fit, data.train, layer, estimator)
    if direction is None:
        return _card(data, layer, estimator, baselines, behaviour, attempt)
    for items in (data.test, *data.others.values()):
        check_same_model(direction, items)
    probe = probe_beside_words(direction, data.test, baselines, words, draws, attempt)
    nulls = _random_null(data, layer, probe, draws)
    swaps = attempt("permutation_p_corrected", label_swap_null, data.train, draws)
    masked = _masked(direction, data, readers, draws, attempt)
    hard = _hard(direction, data, readers, draws, attempt)
    rows, selection = compare_and_select(direction, data, estimators, words, draws, attempt)
    left_out = leave_out_each(data, estimator, draws, attempt)
    contrasts = judge_contrasts(
        direction, data.contrasts, data.train, data.test, draws=draws, attempt=attempt
    )
    return _card(
        data,
        layer,
        estimator,
        baselines,
        behaviour,
        attempt,
        probe=probe,
        random_null=nulls,
        label_null=None if swaps is None else swaps.null,
        p_corrected=None if swaps is None else swaps.p_corrected,
        left_out=left_out,
        masked=masked,
        hard=hard,
        contrasts=contrasts,
        rows=rows,
        selection=selection,
    )


def word_scores(
    readers: Mapping[str, Baseline],
    train_pairs: Pairs,
    pairs: Pairs,
    items: Activations,
    part: str,
    attempt: Attempts,
) -> Scores:
    """Scores of each baseline in the order of the activations; those that fail are left out."""
    by_reader = {
        name: attempt(f"{part}: {name}", reader, train_pairs, pairs)
        for name, reader in readers.items()
    }
    return {
        name: in_item_order(scored, pairs, items, part)
        for name, scored in by_reader.items()
        if scored is not None
    }


def probe_beside_words(
    direction: Direction,
    test: Activations,
    baselines: Figures,
    words: Scores,
    draws: Draws,
    attempt: Attempts,
) -> Probe:
    """The direction's AUROC on test, and its gain over each baseline on the same items."""
    values = attempt("probe", probe_scores, direction, test)
    auroc = None if values is None else attempt("probe", group_auroc, values, test, draws)
    if values is None or auroc is None:
        return Probe()
    known = {name: one.value for name, one in baselines.items() if one is not None}
    gains = {
        name: attempt(f"gains: {name}", auroc_gain, values, words[name], test, draws)
        for name in known
    }
    return Probe(auroc, gains, max(known, key=lambda name: known[name], default=None))


def compare_and_select(
    direction: Direction,
    data: StudyData,
    estimators: Sequence[str],
    words: Scores,
    draws: Draws,
    attempt: Attempts,
) -> tuple[Mapping[str, EstimatorRow], Selection | None]:
    """Estimators side by side under each pooling, and the choice among them."""
    pools = [(data.train, data.test), *data.other_poolings]
    trains, tests = ([pool[side] for pool in pools] for side in (0, 1))
    check_same_items(trains)
    check_same_items(tests)
    rows = compare_estimators(trains, tests, estimators, draws=draws, attempt=attempt)
    headline = attempt("selection", probe_scores, direction, tests[0])
    selection = judge_selection(
        list(rows.values()),
        trains,
        tests,
        estimators,
        words=words,
        headline=headline,
        draws=draws,
        attempt=attempt,
    )
    return rows, selection


def leave_out_each(
    data: StudyData, estimator: str | Estimator, draws: Draws, attempt: Attempts
) -> dict[str, LeftOut]:
    """Each scenario, source and format of the train pairs left out in turn."""
    of_pair = {p.pair_id: p for p in data.train_pairs}
    pairs = [of_pair[pair_id] for pair_id in data.train.pair_ids]
    parts = {
        "scenario": list(data.train.scenario_ids),
        "source": [p.source_model or "unknown" for p in pairs],
        "format": [p.format or "unknown" for p in pairs],
    }
    return {
        what: leave_one_out(
            data.train,
            part_of_item,
            estimator=estimator,
            name=f"leave_one_{what}_out",
            draws=draws,
            attempt=attempt,
        )
        for what, part_of_item in parts.items()
    }


def _random_null(
    data: StudyData, layer: int, probe: Probe, draws: Draws
) -> NullDistribution | None:
    if probe.auroc is None:
        return None
    return random_direction_null(
        data.train, data.test, layer, probe.auroc.value, n=draws.n_random, seed=draws.seed
    )


def _masked(
    direction: Direction,
    data: StudyData,
    readers: Mapping[str, Baseline],
    draws: Draws,
    attempt: Attempts,
) -> MaskedPairs | None:
    if data.masked is None:
        return None
    items, n_words = data.masked
    learnt, tested = (
        ablate_words(data.train_pairs, pairs, n_words)
        for pairs in (data.train_pairs, data.test_pairs)
    )
    scored = word_scores(_lexical(readers), learnt, tested, items, "lexically_ablated", attempt)
    return judge_masked_pairs(direction, items, scored, n_words, draws=draws, attempt=attempt)


def _hard(
    direction: Direction,
    data: StudyData,
    readers: Mapping[str, Baseline],
    draws: Draws,
    attempt: Attempts,
) -> HardPairs | None:
    if data.hard is None:
        return None
    items, pairs = data.hard
    scored = word_scores(_lexical(readers), data.train_pairs, pairs, items, "hard_pairs", attempt)
    return judge_hard_pairs(direction, items, pairs, scored, draws=draws, attempt=attempt)


def _lexical(readers: Mapping[str, Baseline]) -> dict[str, Baseline]:
    return {name: reader for name, reader in readers.items() if name != LENGTH}


def _card(
    data: StudyData,
    layer: int,
    estimator: str | Estimator,
    baselines: Figures,
    behaviour: Behaviour,
    attempt: Attempts,
    *,
    probe: Probe = Probe(),
    random_null: NullDistribution | None = None,
    label_null: NullDistribution | None = None,
    p_corrected: float | None = None,
    left_out: Mapping[str, LeftOut] | None = None,
    masked: MaskedPairs | None = None,
    hard: HardPairs | None = None,
    contrasts: Mapping[str, Contrast] | None = None,
    rows: Mapping[str, EstimatorRow] | None = None,
    selection: Selection | None = None,
) -> Evidence:
    """All measurements as one card, judged; those left out were not measured."""
    contrasts = contrasts or {}
    parts = {what: LeftOut({}, None) for what in ("scenario", "source", "format")}
    parts |= left_out or {}
    delta = probe.gains.get(probe.best_baseline) if probe.best_baseline else None
    card = Evidence(
        headline=Headline(
            _headline(probe, baselines, delta, len(data.test_pairs)), probe.best_baseline
        ),
        layer=layer,
        estimator=estimator if isinstance(estimator, str) else _name(estimator),
        pooling=data.train.pooling,
        n_train_pairs=len(data.train_pairs),
        n_test_pairs=len(data.test_pairs),
        probe=probe.auroc,
        baselines=baselines,
        delta_vs_best_baseline=delta,
        delta_vs_baselines=probe.gains,
        nulls=Nulls(
            random_null, label_null, {name: c.own_direction for name, c in contrasts.items()}
        ),
        permutation_p_corrected=p_corrected,
        leave_one_scenario_out=parts["scenario"].parts,
        leave_one_scenario_out_mean=parts["scenario"].mean,
        leave_one_source_out=parts["source"].parts,
        leave_one_source_out_mean=parts["source"].mean,
        leave_one_format_out=parts["format"].parts,
        leave_one_format_out_mean=parts["format"].mean,
        lexically_ablated=masked,
        hard_pairs=hard,
        contrasts=contrasts,
        estimators=rows or {},
        selection=selection,
        rubric=behaviour.rubric,
        rubric_partial=behaviour.rubric_partial,
        steering=behaviour.steering,
        verdicts=(),
        not_computed=attempt.reasons,
    )
    return replace(card, verdicts=judge_claims(card))


def _headline(probe: Probe, baselines: Figures, delta: Estimate | None, n_test: int) -> str:
    if probe.auroc is None or probe.best_baseline is None or delta is None:
        return "The probe could not be compared with a baseline that reads words only."
    return (
        f"Probe AUROC {probe.auroc} on {n_test} test pairs; best baseline that reads words only "
        f"({probe.best_baseline}): {baselines[probe.best_baseline]}; difference {delta}."
    )


def _name(estimator: Estimator) -> str:
    return getattr(estimator, "__name__", "custom")
