"""What a card says in plain words, by rules stated here and nowhere else.

A claim with several conditions has the ruling of its weakest (:func:`~.card.weakest`), needing no
correction: all must hold (Berger 1982). Where several things are tried for one claim the family
is corrected: layers, and rows of estimators and poolings, by the largest statistic (maxT), other
contrasts by Holm. Between claims nothing is corrected: each is judged on its own at 95%.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scipy.stats import binomtest

from ..results import from_plain
from ..types import Estimate
from .baselines import LENGTH
from .card import (
    ALPHA,
    CHANCE,
    Evidence,
    Ruling,
    SteeringOutcome,
    Verdict,
    above,
    beside,
    few,
    named_n,
    p_text,
    significant,
    unknown,
    weakest,
)
from .contrasts import Contrast
from .measure import MIN_SITUATIONS

WORDS_SUFFICE = 0.9
"""From this AUROC on, words alone separate the classes: no set of that kind shows more."""

BLIND = (0.3, 0.7)
"""A direction whose AUROC interval on another concept lies in here is taken not to be it."""

CONTRAST_CLAIMS = {
    "sentiment": "is not sentiment",
    "politeness": "is not politeness",
    "verbosity": "is not verbosity",
    "refusal": "is not refusal",
    "task_focus": "is not lack of task focus",
}


def judge_claims(evidence: Evidence) -> tuple[Verdict, ...]:
    """A verdict for every claim, in a fixed order; contrast sets beyond the five come last."""
    names = [*CONTRAST_CLAIMS, *(n for n in evidence.contrasts if n not in CONTRAST_CLAIMS)]
    return (
        *(_unless_leaked(rule(evidence), evidence) for rule in RULES),
        *(_is_not(evidence, name) for name in names),
        _predicts_behaviour(evidence),
        _moves_behaviour(evidence),
    )


def _unless_leaked(verdict: Verdict, e: Evidence) -> Verdict:
    """Nothing on test supports a claim where train and test share pairs, or nearly so."""
    if not e.overlaps or verdict.verdict != "supported":
        return verdict
    shared = len({o.second for o in e.overlaps})
    because = f"{shared} of {e.n_test_pairs} test pairs overlap with train ({e.overlaps[0]}, …)"
    return Verdict(verdict.claim, "cannot tell", f"{because}; without that: {verdict.because}")


def _separates(e: Evidence) -> Verdict:
    """AUROC above 0.5 on test, and selection-corrected permutation p at most 0.05 on train."""
    claim = "separates the classes"
    if e.probe is None:
        return unknown(claim, e, "probe", "direction")
    p = e.permutation_p_corrected
    because = (
        f"AUROC {e.probe} on test; {p_text(p)} on train, mean differences, corrected for choosing "
        f"among layers; {named_n(e.probe)}"
    )
    return Verdict(claim, weakest([above(e.probe, CHANCE), significant(p)]), because)


def _beats_random(e: Evidence) -> Verdict:
    """At most 5% of random directions, oriented on train, do as well on test."""
    claim = "separates better than random directions"
    null = e.nulls.random_directions
    if e.probe is None or null is None:
        return unknown(claim, e, "probe", "random_directions", "direction")
    ruling: Ruling = "supported" if null.p <= ALPHA else "not supported"
    because = (
        f"AUROC {e.probe.value:.3f} against {null.mean:.3f} on average over {null.n} random "
        f"directions (sd {null.sd:.3f}, 95% below {null.p95:.3f}, 99% below {null.p99:.3f}); "
        f"{100 * null.p:.1f}% do as well; {named_n(e.probe)}"
    )
    return Verdict(claim, ruling, because)


def _beyond_words(e: Evidence) -> Verdict:
    """Above chance, and above every word baseline by an interval that excludes 0.

    Never supported where a word baseline reaches WORDS_SUFFICE: the set then has no room.
    """
    return _more_than_words("beyond words", e, e.probe, e.delta_vs_baselines)


def _chosen_separates(e: Evidence) -> Verdict:
    """The configuration that train chose: AUROC above 0.5 on test, nested on train, and p."""
    claim = "the selected configuration separates the classes"
    s = e.selection
    if s is None or s.test_auroc is None:
        return unknown(claim, e, "selection", "direction")
    because = (
        f"{s.estimator} at layer {s.layer}, {s.pooling} pooling, chosen among "
        f"{s.n_tried} by cross-validation on train: AUROC {s.test_auroc} on test, "
        f"{p_text(s.p)}; the whole procedure by nested cross-validation on train "
        f"{s.nested_auroc or 'not computed'}; {named_n(s.test_auroc)}"
    )
    rulings = [above(s.test_auroc, CHANCE), above(s.nested_auroc, CHANCE), significant(s.p)]
    return Verdict(claim, weakest(rulings), because)


def _chosen_beyond_words(e: Evidence) -> Verdict:
    """As "beyond words", for the configuration that train chose."""
    claim = "the selected configuration is beyond words"
    if e.selection is None:
        return unknown(claim, e, "selection", "direction")
    return _more_than_words(claim, e, e.selection.test_auroc, e.selection.gains)


def _more_than_words(
    claim: str, e: Evidence, probe: Estimate | None, all_gains: Mapping[str, Estimate | None]
) -> Verdict:
    gains = {name: gain for name, gain in all_gains.items() if name != LENGTH}
    if probe is None or not gains or None in gains.values():
        return unknown(claim, e, "probe", "baselines", "direction")
    words = {name: b for name, b in e.baselines.items() if b is not None and name != LENGTH}
    best = max(words, key=lambda name: words[name].value)
    rulings = [above(probe, CHANCE), *(above(gain, 0.0) for gain in gains.values())]
    because = (
        f"probe {probe}; best of {len(words)} readers of words, {best}: {words[best]}; "
        f"difference {gains[best]}; {named_n(probe)}"
    )
    if words[best].value >= WORDS_SUFFICE:
        rulings.append("cannot tell")
        because = f"words alone separate the classes on this set: {because}"
    return Verdict(claim, weakest(rulings), because)


def _beyond_length(e: Evidence) -> Verdict:
    """Above chance, and above text length by an interval that excludes 0."""
    claim = "beyond length"
    gain = e.delta_vs_baselines.get(LENGTH)
    if e.probe is None or gain is None:
        return unknown(claim, e, "probe", LENGTH, "direction")
    length = e.baselines[LENGTH]
    because = f"probe {e.probe}; length in words: {length}; difference {gain}; {named_n(gain)}"
    return Verdict(claim, weakest([above(e.probe, CHANCE), above(gain, 0.0)]), because)


def _survives_masking(e: Evidence) -> Verdict:
    """AUROC above 0.5 on test texts whose most telling words are masked on both sides."""
    claim = "holds with the telling words masked"
    masked = e.lexically_ablated
    if masked is None or masked.auroc is None:
        return unknown(claim, e, "lexically_ablated", "direction")
    because = (
        f"AUROC {masked.auroc} on test pairs with the {masked.n_words} most telling words masked; "
        f"other words, learnt from texts masked alike: {beside(masked.baselines, masked.gains)}; "
        f"{named_n(masked.auroc)}"
    )
    return Verdict(claim, above(masked.auroc, CHANCE), because)


def _holds_on_hard_pairs(e: Evidence) -> Verdict:
    """AUROC above 0.5 on hard pairs, and above every word baseline there."""
    claim = "holds where words and deeds part"
    hard = e.hard_pairs
    if hard is None or hard.all is None:
        return unknown(claim, e, "hard_pairs", "direction")
    kinds = {kind: one for kind, one in hard.by_kind.items() if one is not None}
    spread = ", ".join(f"{kind} {one.value:.2f}" for kind, one in kinds.items())
    beyond: list[Ruling] = [above(gain, 0.0) for gain in hard.gains.values()] or ["cannot tell"]
    rulings = [above(hard.all, CHANCE), *beyond]
    because = (
        f"AUROC {hard.all} on hard pairs; words alone: "
        f"{beside(hard.baselines, hard.gains)}; by kind: "
        f"{spread or 'too few of any'}; {named_n(hard.all)}"
    )
    return Verdict(claim, weakest(rulings), because)


def _holds_in_unseen_scenarios(e: Evidence) -> Verdict:
    """Mean AUROC within left-out scenarios above 0.5, and no scenario clearly below it."""
    claim = "holds in scenarios it never saw"
    mean = e.leave_one_scenario_out_mean
    if mean is None:
        return unknown(claim, e, "leave_one_scenario_out", "direction")
    parts = {name: one for name, one in e.leave_one_scenario_out.items() if one is not None}
    reversed_in = [name for name, one in parts.items() if one.high < CHANCE]
    ruling = above(mean, CHANCE)
    spread = ", ".join(f"{name} {one.value:.2f}" for name, one in parts.items())
    because = (
        f"mean AUROC {mean} over {mean.n_groups} left-out scenarios{few(mean.n_groups)}: {spread}"
    )
    if reversed_in:
        because += f"; reversed in {', '.join(reversed_in)}"
        ruling = "not supported"
    return Verdict(claim, ruling, because)


def _is_not(e: Evidence, name: str) -> Verdict:
    """AUROC interval on the other concept's pairs within BLIND, and the probe surely beyond it.

    Not supported where it is not within and p, Holm-corrected over the contrast sets, is at most
    0.05: the direction sees the other concept. A probe that is not surely better on its own
    classes than on the other concept's shows nothing by missing those, so then it is at most
    "cannot tell".
    """
    claim = CONTRAST_CLAIMS.get(name, f"is not {name.replace('_', ' ')}")
    contrast = e.contrasts.get(name)
    if contrast is None or contrast.auroc is None:
        return unknown(claim, e, f"contrasts: {name}", "contrasts", "direction")
    auroc = contrast.auroc
    sees = CHANCE + abs(auroc.value - CHANCE)
    ruling: Ruling = "cannot tell"
    if BLIND[0] <= auroc.low and auroc.high <= BLIND[1]:
        ruling = "supported" if e.probe is not None and e.probe.low > sees else "cannot tell"
    elif significant(contrast.p_holm) == "supported":
        ruling = "not supported"
    because = (
        f"AUROC {auroc} on {name} pairs ({p_text(contrast.p_holm)} after Holm), "
        f"{e.probe or 'unknown'} on its own test pairs"
        f"{_own_direction(contrast, name)}; {named_n(auroc)}"
    )
    return Verdict(claim, ruling, because)


def _predicts_behaviour(e: Evidence) -> Verdict:
    """Rank correlation of projection and rubric score above 0, as it is and given length and
    scenario, each with p at most 0.05 where one is given."""
    claim = "predicts behaviour"
    if e.rubric is None or e.rubric.n_groups < MIN_SITUATIONS:
        return unknown(claim, e, "rubric", "direction")
    figures = [e.rubric] if e.rubric_partial is None else [e.rubric, e.rubric_partial]
    rulings = [
        ruling
        for one in figures
        for ruling in (above(one, 0.0), "supported" if one.p is None else significant(one.p))
    ]
    because = (
        f"correlation with the rubric's score {e.rubric}, given length and scenario "
        f"{e.rubric_partial or 'not computed'}, over {e.rubric.n} texts; {named_n(e.rubric)}"
    )
    return Verdict(claim, weakest(rulings), because)


def _moves_behaviour(e: Evidence) -> Verdict:
    """Successes above one half (exact binomial 95%), and above 95% of random directions."""
    claim = "moves behaviour"
    if e.steering is None or not e.steering.get("out_of"):
        return unknown(claim, e, "steering")
    steered = from_plain(e.steering, SteeringOutcome, "steering")
    successes, trials = steered.successes, steered.out_of
    interval = binomtest(successes, trials).proportion_ci(1 - ALPHA, method="exact")
    rate = Estimate(
        successes / trials, interval.low, interval.high, 1 - ALPHA, trials, trials, "exact binomial"
    )
    because = f"{successes} of {trials} steered texts succeed ({rate})" + few(trials)
    rulings = [above(rate, CHANCE)]
    if steered.random is None or steered.random.share_below is None:
        rulings.append("cannot tell")
        because += "; no random directions were steered beside it"
    else:
        share = steered.random.share_below
        rulings.append("supported" if share >= 1 - ALPHA else "not supported")
        because += f"; moves more than {100 * share:.0f}% of {steered.random.n} random directions"
    if steered.rule:
        because += f"; success: {steered.rule}"
    return Verdict(claim, weakest(rulings), because)


RULES: tuple[Callable[[Evidence], Verdict], ...] = (
    _separates,
    _beats_random,
    _beyond_words,
    _beyond_length,
    _chosen_separates,
    _chosen_beyond_words,
    _survives_masking,
    _holds_on_hard_pairs,
    _holds_in_unseen_scenarios,
)


def _own_direction(contrast: Contrast, name: str) -> str:
    text = ""
    if contrast.cosine is not None and contrast.cosine_p95 is not None:
        text += f"; cosine {contrast.cosine:.2f} (shuffled: {contrast.cosine_p95:.2f} in 5%)"
    if contrast.own_direction is not None:
        text += f"; the {name} direction itself reaches {contrast.own_direction.value:.3f} there"
    return text
