"""From figures to plain words, by rules stated here and nowhere else.

The rule of three for "the figure is above a threshold": *supported* where its whole 95% interval
lies above; *not supported* where the figure itself does not reach above; *cannot tell* where it
does but the interval includes the threshold, or where there is no figure. A claim with several
conditions has the ruling of its weakest. Each claim is judged on its own at 95%.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from scipy.stats import binomtest

from ..baselines import LENGTH
from ..types import Estimate
from .card import Evidence, Ruling, Verdict
from .contrasts import Contrast
from .measure import MIN_SITUATIONS

__all__ = ["CONTRAST_CLAIMS", "RULES", "judge"]

CHANCE = 0.5
ALPHA = 0.05
FEW = 30
"""Below so many situations (or trials) a verdict says that they are few."""

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


def judge(evidence: Evidence) -> tuple[Verdict, ...]:
    """A verdict for every claim, in a fixed order; contrast sets beyond the five come last."""
    names = [*CONTRAST_CLAIMS, *(n for n in evidence.contrasts if n not in CONTRAST_CLAIMS)]
    return (
        *(rule(evidence) for rule in RULES),
        *(_is_not(evidence, name) for name in names),
        _predicts_behaviour(evidence),
        _moves_behaviour(evidence),
    )


def above(estimate: Estimate | None, threshold: float) -> Ruling:
    """The rule of three; see the module's docstring."""
    if estimate is None or estimate.n_groups < 2:
        return "cannot tell"
    if estimate.low > threshold:
        return "supported"
    return "cannot tell" if estimate.value > threshold else "not supported"


def weakest(rulings: Iterable[Ruling]) -> Ruling:
    """The most doubtful ruling: "not supported", then "cannot tell", then "supported"."""
    order: tuple[Ruling, ...] = ("not supported", "cannot tell", "supported")
    return min(rulings, key=order.index, default="cannot tell")


def _separates(e: Evidence) -> Verdict:
    """AUROC above 0.5 on test, and selection-corrected permutation p at most 0.05 on train."""
    claim = "separates the classes"
    if e.probe is None:
        return _unknown(claim, e, "probe", "direction")
    p = e.permutation_p_corrected
    chance: Ruling = "cannot tell" if p is None or p > ALPHA else "supported"
    because = (
        f"AUROC {e.probe} on test; p = {'not computed' if p is None else f'{p:.3g}'} on train, "
        f"mean differences, corrected for choosing among layers; {_n(e.probe)}"
    )
    return Verdict(claim, weakest([above(e.probe, CHANCE), chance]), because)


def _beats_random(e: Evidence) -> Verdict:
    """At most 5% of random directions, oriented on train, do as well on test."""
    claim = "separates better than random directions"
    null = e.random_directions
    if e.probe is None or null is None:
        return _unknown(claim, e, "probe", "random_directions", "direction")
    ruling: Ruling = "supported" if null.p <= ALPHA else "not supported"
    because = (
        f"AUROC {e.probe.value:.3f} against {null.mean:.3f} on average over {null.n} random "
        f"directions (sd {null.sd:.3f}, 95% below {null.p95:.3f}, 99% below {null.p99:.3f}); "
        f"{100 * null.p:.1f}% do as well; {_n(e.probe)}"
    )
    return Verdict(claim, ruling, because)


def _beyond_words(e: Evidence) -> Verdict:
    """Above chance, and above every word baseline by an interval that excludes 0.

    Never supported where a word baseline reaches WORDS_SUFFICE: the set then has no room.
    """
    claim = "beyond words"
    gains = {name: gain for name, gain in e.gains.items() if name != LENGTH}
    if e.probe is None or not gains or None in gains.values():
        return _unknown(claim, e, "probe", "baselines", "direction")
    words = {name: b for name, b in e.baselines.items() if b is not None and name != LENGTH}
    best = max(words, key=lambda name: words[name].value)
    rulings = [above(e.probe, CHANCE), *(above(gain, 0.0) for gain in gains.values())]
    because = (
        f"probe {e.probe}; best of {len(words)} readers of words, {best}: {words[best]}; "
        f"difference {gains[best]}; {_n(e.probe)}"
    )
    if words[best].value >= WORDS_SUFFICE:
        rulings.append("cannot tell")
        because = f"words alone separate the classes on this set: {because}"
    return Verdict(claim, weakest(rulings), because)


def _beyond_length(e: Evidence) -> Verdict:
    """Above chance, and above text length by an interval that excludes 0."""
    claim = "beyond length"
    gain = e.gains.get(LENGTH)
    if e.probe is None or gain is None:
        return _unknown(claim, e, "probe", LENGTH, "direction")
    because = (
        f"probe {e.probe}; length in words: {e.baselines[LENGTH]}; difference {gain}; {_n(gain)}"
    )
    return Verdict(claim, weakest([above(e.probe, CHANCE), above(gain, 0.0)]), because)


def _survives_masking(e: Evidence) -> Verdict:
    """AUROC above 0.5 on test texts whose most telling words are masked on both sides."""
    claim = "holds with the telling words masked"
    if e.lexically_ablated is None:
        return _unknown(claim, e, "lexically_ablated", "direction")
    because = f"AUROC {e.lexically_ablated} on masked test pairs; {_n(e.lexically_ablated)}"
    return Verdict(claim, above(e.lexically_ablated, CHANCE), because)


def _holds_on_hard_pairs(e: Evidence) -> Verdict:
    """AUROC above 0.5 on hard pairs, and above every word baseline there."""
    claim = "holds where words and deeds part"
    hard = e.hard_pairs
    if hard is None or hard.all is None:
        return _unknown(claim, e, "hard_pairs", "direction")
    kinds = {kind: one for kind, one in hard.by_kind.items() if one is not None}
    spread = ", ".join(f"{kind} {one.value:.2f}" for kind, one in kinds.items())
    words = {name: one for name, one in hard.baselines.items() if one is not None}
    said = ", ".join(
        f"{name} {one.value:.3f} (difference {hard.gains.get(name) or 'not computed'})"
        for name, one in words.items()
    )
    beyond: list[Ruling] = [above(gain, 0.0) for gain in hard.gains.values()] or ["cannot tell"]
    rulings = [above(hard.all, CHANCE), *beyond]
    because = (
        f"AUROC {hard.all} on hard pairs; words alone: {said or 'not computed'}; by kind: "
        f"{spread or 'too few of any'}; {_n(hard.all)}"
    )
    return Verdict(claim, weakest(rulings), because)


def _holds_in_unseen_scenarios(e: Evidence) -> Verdict:
    """Mean AUROC within left-out scenarios above 0.5, and no scenario clearly below it."""
    claim = "holds in scenarios it never saw"
    if e.scenarios.mean is None:
        return _unknown(claim, e, "leave_one_scenario_out", "direction")
    parts = {name: one for name, one in e.scenarios.parts.items() if one is not None}
    reversed_in = [name for name, one in parts.items() if one.high < CHANCE]
    ruling = above(e.scenarios.mean, CHANCE)
    spread = ", ".join(f"{name} {one.value:.2f}" for name, one in parts.items())
    because = (
        f"mean AUROC {e.scenarios.mean} over {e.scenarios.mean.n_groups} left-out scenarios"
        f"{_few(e.scenarios.mean.n_groups)}: {spread}"
    )
    if reversed_in:
        because += f"; reversed in {', '.join(reversed_in)}"
        ruling = "not supported"
    return Verdict(claim, ruling, because)


def _is_not(e: Evidence, name: str) -> Verdict:
    """AUROC interval on the other concept's pairs within BLIND, and the probe surely beyond it.

    Not supported where that interval excludes 0.5 and is not within: the direction sees the
    other concept. A probe that is not surely better on its own classes than on the other
    concept's shows nothing by missing those, so then it is at most "cannot tell".
    """
    claim = CONTRAST_CLAIMS.get(name, f"is not {name.replace('_', ' ')}")
    contrast = e.contrasts.get(name)
    if contrast is None or contrast.auroc is None:
        return _unknown(claim, e, f"contrasts: {name}", "contrasts", "direction")
    auroc = contrast.auroc
    sees = CHANCE + abs(auroc.value - CHANCE)
    ruling: Ruling = "cannot tell"
    if BLIND[0] <= auroc.low and auroc.high <= BLIND[1]:
        ruling = "supported" if e.probe is not None and e.probe.low > sees else "cannot tell"
    elif not auroc.low <= CHANCE <= auroc.high:
        ruling = "not supported"
    because = (
        f"AUROC {auroc} on {name} pairs, {e.probe or 'unknown'} on its own test pairs"
        f"{_own_direction(contrast, name)}; {_n(auroc)}"
    )
    return Verdict(claim, ruling, because)


def _predicts_behaviour(e: Evidence) -> Verdict:
    """Rank correlation of projection and rubric score above 0, with p at most 0.05 if given."""
    claim = "predicts behaviour"
    if e.rubric is None or e.rubric.n_groups < MIN_SITUATIONS:
        return _unknown(claim, e, "rubric", "direction")
    ruling = above(e.rubric, 0.0)
    if ruling == "supported" and e.rubric.p is not None and e.rubric.p > ALPHA:
        ruling = "cannot tell"
    because = (
        f"correlation with the rubric's score {e.rubric} over {e.rubric.n} texts; {_n(e.rubric)}"
    )
    return Verdict(claim, ruling, because)


def _moves_behaviour(e: Evidence) -> Verdict:
    """Successes above one half (exact binomial 95%), and above 95% of random directions."""
    claim = "moves behaviour"
    if e.steering is None or not e.steering.get("out_of"):
        return _unknown(claim, e, "steering")
    successes, trials = int(e.steering["successes"]), int(e.steering["out_of"])
    interval = binomtest(successes, trials).proportion_ci(1 - ALPHA, method="exact")
    rate = Estimate(
        successes / trials, interval.low, interval.high, 1 - ALPHA, trials, trials, "exact binomial"
    )
    random: dict[str, Any] = dict(e.steering.get("random") or {})
    share = random.get("share_below")
    because = f"{successes} of {trials} steered texts succeed ({rate})" + _few(trials)
    rulings = [above(rate, CHANCE)]
    if share is None:
        rulings.append("cannot tell")
        because += "; no random directions were steered beside it"
    else:
        rulings.append("supported" if share >= 1 - ALPHA else "not supported")
        because += f"; moves more than {100 * share:.0f}% of {random.get('n')} random directions"
    if e.steering.get("rule"):
        because += f"; success: {e.steering['rule']}"
    return Verdict(claim, weakest(rulings), because)


RULES: tuple[Callable[[Evidence], Verdict], ...] = (
    _separates,
    _beats_random,
    _beyond_words,
    _beyond_length,
    _survives_masking,
    _holds_on_hard_pairs,
    _holds_in_unseen_scenarios,
)


def _own_direction(contrast: Contrast, name: str) -> str:
    said = ""
    if contrast.cosine is not None and contrast.cosine_p95 is not None:
        said += f"; cosine {contrast.cosine:.2f} (shuffled: {contrast.cosine_p95:.2f} in 5%)"
    if contrast.own_direction is not None:
        said += f"; the {name} direction itself reaches {contrast.own_direction.value:.3f} there"
    return said


def _n(estimate: Estimate) -> str:
    return f"n = {estimate.n_groups} situations{_few(estimate.n_groups)}"


def _few(n: int) -> str:
    return " (few)" if n < FEW else ""


def _unknown(claim: str, e: Evidence, *parts: str) -> Verdict:
    """ "Cannot tell", with the recorded reason of the first part that has one."""
    for part in parts:
        for name, reason in e.not_computed.items():
            if name == part or name.startswith(f"{part}: "):
                return Verdict(claim, "cannot tell", reason)
    return Verdict(claim, "cannot tell", "not measured in this run")
