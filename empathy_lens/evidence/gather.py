"""Everything that can be computed about a direction from activations and texts, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from .. import stats
from ..data import find_overlaps
from ..directions import ESTIMATORS, Estimator, check_same_model
from ..types import Direction
from .baselines import word_baselines
from .card import Detectable, DirectionEvidence, Evidence, Headline, Nulls
from .claims import SMALLEST_AUROC, SMALLEST_GAIN, SMALLEST_SLOPE
from .contrasts import EQUIVALENT, Contrast, judge_contrasts
from .embeddings import Embed
from .findings import steered_slope
from .measure import (
    CHANCE,
    DRAWS,
    NO_BEHAVIOUR,
    Attempts,
    Behaviour,
    Draws,
    StudyData,
    fit,
    probe_scores,
)
from .nulls import control_tasks, label_swap_null, random_direction_null
from .rubric import rubric_agreement, rubric_correlation, rubric_gains
from .selection import judge_selection
from .transfer import LeftOut, judge_hard_pairs, judge_masked_pairs, leave_one_out
from .verdicts import judge_claims
from .words import WordEvidence, read_words

NOT_COMPARED = "The probe could not be compared with a baseline that reads words only."


def evidence_card(
    data: StudyData,
    layer: int,
    estimator: str | Estimator = "mean_difference",
    *,
    behaviour: Behaviour = NO_BEHAVIOUR,
    embed: Embed | None = None,
    token_embed: Embed | None = None,
    estimators: Sequence[str] = tuple(ESTIMATORS),
    draws: Draws = DRAWS,
) -> Evidence:
    """The evidence card of the direction that ``estimator`` fits on train at ``layer``.

    ``layer`` must have been chosen on train only. ``token_embed`` (texts in, ``(text, dimension)``
    out), the model's :func:`~empathy_lens.engine.mean_token_embedding`, and ``embed``, a sentence
    embedding, join the readers of words; without the first, "beyond words" is a weaker claim.
    ``estimators`` are names in ``ESTIMATORS`` to compare side by side, and to choose among with
    layer and pooling; the configuration so chosen is measured and judged like the card's own. No
    model is run and nothing is written. A figure that the data cannot support is None, and its
    reason is in ``not_computed``. Raises InputError for a layer that was not extracted or
    activations of different models.
    """
    attempt = Attempts(draws)
    readers = word_baselines(embed, token_embed)
    words = read_words(data, readers, attempt)
    if embed is None:
        attempt.note("sentence_embedding", "no sentence embedding was asked for (--embedding)")
    card = Evidence(
        headline=Headline(NOT_COMPARED, None),
        layer=layer,
        estimator=_name(estimator),
        pooling=data.train.pooling,
        n_train_pairs=len(data.train_pairs),
        n_test_pairs=len(data.test_pairs),
        overlaps=find_overlaps(data.train_pairs, data.test_pairs),
        baselines={**dict.fromkeys(readers), **attempt.aurocs("baselines", words.test, data.test)},
        reader=words.choice,
        steering=behaviour.steering,
        own_acts=behaviour.own_acts,
    )
    direction = attempt("direction", fit, data.train, layer, estimator)
    if direction is None:
        return _judged(card, attempt)
    for items in (data.test, *data.others.values()):
        check_same_model(direction, items)
    swaps = attempt("permutation_p_corrected", label_swap_null, data.train, draws)
    rows, selection = judge_selection(direction, data, estimators, words.test, attempt=attempt)
    source, form = _left_out(data, estimator, attempt)
    ours = direction_evidence(data, layer, estimator, words, attempt=attempt)
    card = replace(
        card,
        **vars(ours),
        permutation_p_corrected=None if swaps is None else swaps.p_corrected,
        leave_one_source_out=source.parts,
        leave_one_source_out_mean=source.mean,
        leave_one_format_out=form.parts,
        leave_one_format_out_mean=form.mean,
        estimators=rows,
        selection=selection,
    )
    if swaps is not None:
        card = replace(card, nulls=replace(card.nulls, shuffled_labels=swaps.null))
    if selection is not None:
        chosen = DirectionEvidence(
            layer=selection.layer, estimator=selection.estimator, pooling=selection.pooling
        )
        if chosen.configuration != card.configuration:
            selected = direction_evidence(
                data.under(selection.pooling),
                selection.layer,
                selection.estimator,
                words,
                attempt=attempt.about("selected"),
            )
            card = replace(card, selected=selected)
    return _judged(_with_slope(replace(card, headline=_headline(card, words))), attempt)


def direction_evidence(
    data: StudyData,
    layer: int,
    estimator: str | Estimator,
    words: WordEvidence,
    *,
    attempt: Attempts,
) -> DirectionEvidence:
    """Everything that is measured of the direction that ``estimator`` fits on train at ``layer``.

    ``words`` are scores of the same texts by readers of words. Reasons for what is missing are
    noted in ``attempt``.
    """
    found = DirectionEvidence(layer=layer, estimator=_name(estimator), pooling=data.train.pooling)
    direction = attempt("direction", fit, data.train, layer, estimator)
    if direction is None:
        return found
    values = attempt("probe", probe_scores, direction, data.test)
    probe = attempt.auroc("probe", values, data.test)
    random = control = None
    if probe is not None:
        sets, auroc = (data.train, data.test), probe.value
        seed, n = attempt.draws.seed, attempt.draws.n_random
        random = attempt(
            "random_directions", random_direction_null, *sets, layer, auroc, n=n, seed=seed
        )
        control = attempt("selectivity", control_tasks, *sets, layer, estimator, auroc, seed=seed)
    gains = attempt.gains("gains", values, words.test, data.test)
    scenario = leave_one_out(
        data.train,
        data.train.scenario_ids,
        estimator=estimator,
        name="leave_one_scenario_out",
        attempt=attempt,
        words=words.unseen,
    )
    paired = attempt.paired("probe", values, data.test)
    contrasts = judge_contrasts(direction, data.contrasts, data.train, data.test, attempt=attempt)
    own = {name: c.own_direction for name, c in contrasts.items()}
    masked = judge_masked_pairs(direction, data, words.masked, words.masked_rivals, attempt=attempt)
    hard = judge_hard_pairs(direction, data, words.hard, words.rivals, attempt=attempt)
    found = replace(
        found,
        probe=probe,
        paired_accuracy=paired.accuracy,
        d_z=paired.d_z,
        selectivity=control,
        delta_vs_best_baseline=None if words.choice is None else gains.get(words.choice.name),
        delta_vs_baselines=gains,
        given_words=attempt.given_words("probe", values, words.test, words.rivals, data.test),
        nulls=Nulls(random_directions=random, other_contrasts=own),
        leave_one_scenario_out=scenario.parts,
        leave_one_scenario_out_mean=scenario.mean,
        leave_one_scenario_out_gains=scenario.gains,
        lexically_ablated=masked,
        hard_pairs=hard,
        contrasts=contrasts,
    )
    found = _with_rubric(found, direction, data, words, attempt)
    return replace(found, minimal_detectable=_detectable(found, contrasts))


def _with_slope(card: Evidence) -> Evidence:
    """The card with what slope its steering could have found."""
    moves = steered_slope(card.steering)
    if moves is None or moves.minimal_detectable is None:
        return card
    n_needed = stats.n_needed(moves.slope, SMALLEST_SLOPE)
    slope = Detectable(moves.minimal_detectable, moves.n_prompts, SMALLEST_SLOPE, n_needed)
    return replace(card, minimal_detectable={**card.minimal_detectable, "slope": slope})


def _with_rubric(
    found: DirectionEvidence,
    direction: Direction,
    data: StudyData,
    words: WordEvidence,
    attempt: Attempts,
) -> DirectionEvidence:
    """The evidence with what scored completions say of the direction."""
    if data.rubric is None:
        return found
    items, completions = data.rubric
    projected = attempt("rubric", probe_scores, direction, items)
    if projected is None:
        return found
    seed, n = attempt.draws.seed, attempt.draws.n_resamples
    texts = projected, completions
    plain = attempt("rubric", rubric_correlation, *texts, seed=seed, n_resamples=n)
    said = np.stack(list(words.rubric.values()), axis=1) if words.rubric else None
    partial, given = (
        attempt("rubric", rubric_agreement, *texts, known, seed=seed, n_resamples=n)
        for known in (None, said)
    )
    gains = attempt("rubric: gains", rubric_gains, *texts, words.rubric, seed=seed, n_resamples=n)
    return replace(
        found,
        rubric=plain,
        rubric_partial=partial,
        rubric_given_words=given,
        rubric_gains=gains or {},
    )


def _detectable(
    found: DirectionEvidence, contrasts: Mapping[str, Contrast]
) -> dict[str, Detectable]:
    """What the tests could have found, of the figures that there are."""
    figures = {"auroc": (found.probe, SMALLEST_AUROC - CHANCE)}
    figures["gain"] = (found.delta_vs_best_baseline, SMALLEST_GAIN)
    shares = [c.equivalence for c in contrasts.values() if c.equivalence is not None]
    widest = max(shares, key=lambda share: share.high - share.low, default=None)
    figures["gap_ratio"] = (widest, EQUIVALENT)
    return {
        name: Detectable(
            effect=stats.minimal_detectable(figure),
            n=figure.n_groups,
            wanted=wanted,
            n_needed=stats.n_needed(figure, wanted),
        )
        for name, (figure, wanted) in figures.items()
        if figure is not None
    }


def _headline(card: Evidence, words: WordEvidence) -> Headline:
    delta, best = card.delta_vs_best_baseline, words.choice
    if best is None or delta is None:
        return Headline(NOT_COMPARED, None)
    return Headline(
        f"Probe AUROC {card.probe} on {card.n_test_pairs} test pairs; the reader of words that "
        f"folds of train chose ({best.name}): {card.baselines[best.name]}; difference {delta}.",
        best.name,
    )


def _left_out(
    data: StudyData, estimator: str | Estimator, attempt: Attempts
) -> tuple[LeftOut, LeftOut]:
    """Each source and format of the train pairs left out in turn."""
    of_pair = {p.pair_id: p for p in data.train_pairs}
    pairs = [of_pair[pair_id] for pair_id in data.train.pair_ids]

    def left_out(what: str, parts: Sequence[str]) -> LeftOut:
        name = f"leave_one_{what}_out"
        return leave_one_out(data.train, parts, estimator=estimator, name=name, attempt=attempt)

    return (
        left_out("source", [p.source_model or "unknown" for p in pairs]),
        left_out("format", [p.format or "unknown" for p in pairs]),
    )


def _judged(card: Evidence, attempt: Attempts) -> Evidence:
    card = replace(card, not_computed=attempt.reasons)
    return replace(card, verdicts=judge_claims(card))


def _name(estimator: str | Estimator) -> str:
    return estimator if isinstance(estimator, str) else getattr(estimator, "__name__", "custom")
