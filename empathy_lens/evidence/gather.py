"""Everything that can be computed about a direction from activations and texts, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..data import find_overlaps
from ..directions import ESTIMATORS, Estimator, check_same_model
from ..types import Activations, Direction
from .baselines import LENGTH, Embed, word_baselines
from .card import Evidence, Headline, Nulls
from .contrasts import judge_contrasts
from .measure import (
    DRAWS,
    NO_BEHAVIOUR,
    Attempts,
    Behaviour,
    Draws,
    StudyData,
    WordScores,
    fit,
    probe_scores,
)
from .nulls import label_swap_null, random_direction_null
from .selection import judge_selection
from .transfer import LeftOut, judge_hard_pairs, judge_masked_pairs, leave_one_out
from .verdicts import judge_claims

NOT_COMPARED = "The probe could not be compared with a baseline that reads words only."


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
    attempt = Attempts(draws)
    readers = word_baselines(embed)
    words = attempt.words("baselines", readers, data.train_pairs, data.test_pairs, data.test)
    if embed is None:
        attempt.reasons["sentence_embedding"] = "no sentence embedding was asked for (--embedding)"
    card = Evidence(
        headline=Headline(NOT_COMPARED, None),
        layer=layer,
        estimator=_name(estimator),
        pooling=data.train.pooling,
        n_train_pairs=len(data.train_pairs),
        n_test_pairs=len(data.test_pairs),
        overlaps=find_overlaps(data.train_pairs, data.test_pairs),
        baselines={**dict.fromkeys(readers), **attempt.aurocs("baselines", words, data.test)},
        rubric=behaviour.rubric,
        rubric_partial=behaviour.rubric_partial,
        steering=behaviour.steering,
    )
    direction = attempt("direction", fit, data.train, layer, estimator)
    if direction is None:
        return _judged(card, attempt)
    for items in (data.test, *data.others.values()):
        check_same_model(direction, items)
    card = _beside_words(card, direction, data.test, words, attempt)
    random_directions = None
    if card.probe is not None:
        random_directions = random_direction_null(
            data.train, data.test, layer, card.probe.value, n=draws.n_random, seed=draws.seed
        )
    swaps = attempt("permutation_p_corrected", label_swap_null, data.train, draws)
    lexical = {name: reader for name, reader in readers.items() if name != LENGTH}
    masked = judge_masked_pairs(direction, data, lexical, attempt=attempt)
    hard = judge_hard_pairs(direction, data, lexical, attempt=attempt)
    rows, selection = judge_selection(direction, data, estimators, words, attempt=attempt)
    scenario, source, form = _left_out(data, estimator, attempt)
    contrasts = judge_contrasts(direction, data.contrasts, data.train, data.test, attempt=attempt)
    card = replace(
        card,
        nulls=Nulls(
            random_directions=random_directions,
            shuffled_labels=None if swaps is None else swaps.null,
            other_contrasts={name: c.own_direction for name, c in contrasts.items()},
        ),
        permutation_p_corrected=None if swaps is None else swaps.p_corrected,
        leave_one_scenario_out=scenario.parts,
        leave_one_scenario_out_mean=scenario.mean,
        leave_one_source_out=source.parts,
        leave_one_source_out_mean=source.mean,
        leave_one_format_out=form.parts,
        leave_one_format_out_mean=form.mean,
        lexically_ablated=masked,
        hard_pairs=hard,
        contrasts=contrasts,
        estimators=rows,
        selection=selection,
    )
    return _judged(card, attempt)


def _beside_words(
    card: Evidence, direction: Direction, test: Activations, words: WordScores, attempt: Attempts
) -> Evidence:
    """The card with the direction's AUROC on test, and its gain over each baseline there."""
    values = attempt("probe", probe_scores, direction, test)
    probe = attempt.auroc("probe", values, test)
    if probe is None:
        return card
    known = {name: one.value for name, one in card.baselines.items() if one is not None}
    gains = attempt.gains("gains", values, {name: words[name] for name in known}, test)
    best = max(known, key=lambda name: known[name], default=None)
    delta = None if best is None else gains[best]
    text = NOT_COMPARED
    if best is not None and delta is not None:
        text = (
            f"Probe AUROC {probe} on {card.n_test_pairs} test pairs; best baseline that reads "
            f"words only ({best}): {card.baselines[best]}; difference {delta}."
        )
    return replace(
        card,
        headline=Headline(text, best),
        probe=probe,
        delta_vs_best_baseline=delta,
        delta_vs_baselines=gains,
    )


def _left_out(
    data: StudyData, estimator: str | Estimator, attempt: Attempts
) -> tuple[LeftOut, LeftOut, LeftOut]:
    """Each scenario, source and format of the train pairs left out in turn."""
    of_pair = {p.pair_id: p for p in data.train_pairs}
    pairs = [of_pair[pair_id] for pair_id in data.train.pair_ids]

    def left_out(what: str, parts: Sequence[str]) -> LeftOut:
        name = f"leave_one_{what}_out"
        return leave_one_out(data.train, parts, estimator=estimator, name=name, attempt=attempt)

    return (
        left_out("scenario", data.train.scenario_ids),
        left_out("source", [p.source_model or "unknown" for p in pairs]),
        left_out("format", [p.format or "unknown" for p in pairs]),
    )


def _judged(card: Evidence, attempt: Attempts) -> Evidence:
    card = replace(card, not_computed=attempt.reasons)
    return replace(card, verdicts=judge_claims(card))


def _name(estimator: str | Estimator) -> str:
    return estimator if isinstance(estimator, str) else getattr(estimator, "__name__", "custom")
