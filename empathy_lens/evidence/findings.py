"""The figures that each claim of a card rests on, found in its evidence and put in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import ConfigDict, JsonValue

from ..results import from_plain
from ..types import Estimate
from .card import DirectionEvidence, Evidence, Ruling
from .claims import (
    ALPHA,
    BEATS_RANDOM,
    BEYOND_WORDS,
    HARD,
    MASKED,
    MIN_PROMPTS,
    MOVES,
    OWN_ACTS,
    RUBRIC,
    SEPARATES,
    SMALLEST_AUROC,
    SMALLEST_CORRELATION,
    SMALLEST_D_Z,
    SMALLEST_GAIN,
    SMALLEST_SLOPE,
    UNSEEN,
    Claim,
    Part,
    is_not,
    largest_p,
    rule_of_three,
)
from .contrasts import EQUIVALENT, Contrast
from .measure import CHANCE, Figures
from .validation import FEW
from .words import rivals_of

WORDS_SUFFICE = 0.9
"""From this AUROC on, words alone separate the classes: no set of that kind shows more."""
MIN_SCENARIOS = 3
CONTRASTS = ("sentiment", "politeness", "verbosity", "refusal", "task_focus")


@dataclass(frozen=True)
class Finding:
    """What was found for a claim: the figures it rests on, in words too.

    ``p`` takes part in Holm's correction (None: the claim has none); ``ruling`` is asked with the
    corrected one. ``on_test``: the claim is void where train and test share pairs.
    """

    claim: Claim
    because: str
    p: float | None
    ruling: Callable[[float | None], Ruling]
    of: DirectionEvidence | None = None
    on_test: bool = True


def find_all(evidence: Evidence) -> list[Finding]:
    """What was found for every claim about every direction of the card, in a fixed order."""
    found = [
        finding
        for d in evidence.directions
        for finding in (
            *(find(d, evidence) for find in FINDERS),
            *(_is_not(d, evidence, name) for name in dict.fromkeys([*CONTRASTS, *d.contrasts])),
            _moves(d, evidence),
        )
    ]
    return [*found, _own_acts(evidence)]


def _of_parts(
    claim: Claim,
    of: DirectionEvidence | None,
    parts: Sequence[Part],
    because: str,
    *,
    conditions: bool = True,
    on_test: bool = True,
) -> Finding:
    def ruling(p_holm: float | None) -> Ruling:
        return rule_of_three(parts, p_holm, conditions=conditions)

    return Finding(claim, because, largest_p(parts), ruling, of, on_test)


def _unknown(claim: Claim, d: DirectionEvidence | None, e: Evidence, *parts: str) -> Finding:
    """ "Cannot tell", with the recorded reason of the first part that has one."""
    of = "selected: " if d is not None and d is e.selected else ""
    for part in parts:
        for name, reason in e.not_computed.items():
            if name == of + part or name.startswith(f"{of}{part}: "):
                return Finding(claim, reason, None, lambda p: "cannot tell", d)
    return Finding(claim, "not measured in this run", None, lambda p: "cannot tell", d)


def _separates(d: DirectionEvidence, e: Evidence) -> Finding:
    if d.probe is None:
        return _unknown(SEPARATES, d, e, "probe", "direction")
    because = f"AUROC {d.probe} on test; pairs the right way round {d.paired_accuracy}"
    because += f", d_z {d.d_z}" if d.d_z else ""
    if d.selectivity is not None:
        control = d.selectivity.control
        because += (
            f"; selectivity {d.selectivity.selectivity:.3f} (random labels fitted alike: "
            f"{control.mean:.3f}, sd {control.sd:.3f})"
        )
    because += _could_find(d, "auroc", "AUROC above chance") + named_n(d.probe)
    return _of_parts(SEPARATES, d, [Part(d.probe, CHANCE, SMALLEST_AUROC)], because)


def _beats_random(d: DirectionEvidence, e: Evidence) -> Finding:
    null, probe = d.nulls.random_directions, d.probe
    if probe is None or null is None:
        return _unknown(BEATS_RANDOM, d, e, "probe", "random_directions", "direction")
    because = (
        f"AUROC {probe.value:.3f} against {null.mean:.3f} on average over {null.n} random "
        f"directions (sd {null.sd:.3f}, 95% below {null.p95:.3f}, 99% below {null.p99:.3f}); "
        f"{100 * null.p:.1f}% do as well{named_n(probe)}"
    )
    bar = null.p95

    def ruling(p_holm: float | None) -> Ruling:
        if probe.high < bar:
            return "refuted"
        return "supported" if p_holm is not None and p_holm <= ALPHA else "cannot tell"

    return Finding(BEATS_RANDOM, because, null.p, ruling, d)


def _beyond_words(d: DirectionEvidence, e: Evidence) -> Finding:
    gains = _over_rivals(d.delta_vs_baselines, rivals_of(e.reader, e.baselines))
    if d.probe is None or not gains:
        return _unknown(BEYOND_WORDS, d, e, "probe", "gains", "baselines", "direction")
    counts = d.given_words is not None and d.given_words.low > 0
    room = _has_room(e.baselines, gains)
    refutes = not counts and room
    parts = [
        *(Part(gain, 0.0, SMALLEST_GAIN if refutes else None) for gain in gains.values()),
        Part(d.given_words, 0.0, None),
    ]
    because = (
        f"probe {d.probe}; {_beside(e.baselines, gains)}; coefficient given words "
        f"{d.given_words or 'not computed'}{_could_find(d, 'gain', 'gain')}{named_n(d.probe)}"
    )
    return _of_parts(BEYOND_WORDS, d, parts, because, conditions=room)


def _masked(d: DirectionEvidence, e: Evidence) -> Finding:
    masked = d.lexically_ablated
    if masked is None or masked.auroc is None:
        return _unknown(MASKED, d, e, "lexically_ablated", "direction")
    gains = _over_rivals(masked.gains, masked.rivals)
    because = (
        f"AUROC {masked.auroc} on test pairs with the {masked.n_words} most telling words masked; "
        f"{_beside(masked.baselines, gains)}{named_n(masked.auroc)}"
    )
    return _beside_words(MASKED, d, masked.auroc, masked.baselines, gains, because)


def _hard(d: DirectionEvidence, e: Evidence) -> Finding:
    hard = d.hard_pairs
    if hard is None or hard.all is None:
        return _unknown(HARD, d, e, "hard_pairs", "direction")
    kinds = {kind: one for kind, one in hard.by_kind.items() if one is not None}
    spread = ", ".join(f"{kind} {one.value:.2f}" for kind, one in kinds.items())
    gains = _over_rivals(hard.gains, rivals_of(e.reader, e.baselines))
    parts = [Part(hard.d_z, 0.0, SMALLEST_D_Z), Part(hard.given_words, 0.0, None)]
    behind = [name for name, gain in gains.items() if gain is not None and gain.value < 0]
    because = (
        f"within hard pairs: d_z {hard.d_z}, right way round {hard.paired_accuracy}, sign flips "
        f"{p_text(hard.sign_flip_p)}; coefficient given words "
        f"{hard.given_words or 'not computed'}; AUROC {hard.all}; "
        f"{_beside(hard.baselines, gains)}; "
        f"by kind: {spread or 'too few of any'}{named_n(hard.all)}"
    )
    return _of_parts(HARD, d, parts, because, conditions=not behind)


def _unseen(d: DirectionEvidence, e: Evidence) -> Finding:
    mean = d.leave_one_scenario_out_mean
    if mean is None:
        return _unknown(UNSEEN, d, e, "leave_one_scenario_out", "direction")
    parts = {name: one for name, one in d.leave_one_scenario_out.items() if one is not None}
    below = [name for name, one in parts.items() if one.value < CHANCE]
    reversed_in = [name for name, one in parts.items() if one.high < CHANCE]
    spread = ", ".join(f"{name} {one.value:.2f}" for name, one in parts.items())
    gains = _over_rivals(d.leave_one_scenario_out_gains, rivals_of(e.reader, e.baselines))
    because = (
        f"mean AUROC {mean} over {len(parts)} left-out scenarios: {spread}; "
        f"{_beside({}, gains)}{named_n(mean)}"
    )
    if reversed_in:
        because += f"; reversed in {', '.join(reversed_in)}"
    holds = len(parts) >= MIN_SCENARIOS and not reversed_in and 4 * len(below) <= len(parts)
    return _beside_words(UNSEEN, d, mean, {}, gains, because, conditions=holds)


def _beside_words(
    claim: Claim,
    d: DirectionEvidence,
    auroc: Estimate,
    baselines: Figures,
    gains: Mapping[str, Estimate | None],
    because: str,
    *,
    conditions: bool = True,
) -> Finding:
    """An AUROC above chance, and above what readers of words reach on the same texts."""
    room = _has_room(baselines, gains)
    smallest = SMALLEST_GAIN if room else None
    parts = [Part(auroc, CHANCE, SMALLEST_AUROC)]
    parts += [Part(gain, 0.0, smallest) for gain in gains.values()] or [Part(None, 0.0, None)]
    return _of_parts(claim, d, parts, because, conditions=conditions and room)


def _rubric(d: DirectionEvidence, e: Evidence) -> Finding:
    given = d.rubric_given_words
    if given is None:
        return _unknown(RUBRIC, d, e, "rubric", "direction")
    because = (
        f"rank correlation with the rubric's score {d.rubric or 'not computed'}; given length and "
        f"scenario {d.rubric_partial or 'not computed'}; given what readers of words say too "
        f"{given}; {_beside({}, d.rubric_gains)}, over {given.n} texts{named_n(given)}"
    )
    parts = [Part(given, 0.0, SMALLEST_CORRELATION)]
    parts += [Part(gain, 0.0, None) for gain in d.rubric_gains.values()] or [Part(None, 0.0, None)]
    return _of_parts(RUBRIC, d, parts, because, on_test=False)


def _own_acts(e: Evidence) -> Finding:
    acts = e.own_acts
    if acts is None:
        return Finding(
            OWN_ACTS,
            "not measured in this run: experiments/predict_behaviour.py lets the model play",
            None,
            lambda p: "cannot tell",
        )
    because = f"correlation {acts} over {acts.n} choices{named_n(acts, 'games')}"
    return _of_parts(
        OWN_ACTS, None, [Part(acts, 0.0, SMALLEST_CORRELATION)], because, on_test=False
    )


def _is_not(d: DirectionEvidence, e: Evidence, name: str) -> Finding:
    claim, contrast = is_not(name), d.contrasts.get(name)
    if contrast is None or contrast.auroc is None:
        return _unknown(claim, d, e, f"contrasts: {name}", "contrasts", "direction")
    share = contrast.equivalence
    if share is None:
        return _unknown(claim, d, e, f"contrasts: {name} (share)")
    inside = share.low > -EQUIVALENT and share.high < EQUIVALENT
    outside = share.low > EQUIVALENT or share.high < -EQUIVALENT
    sees = contrast.p_holm is not None and contrast.p_holm <= ALPHA
    ruling: Ruling = "supported" if inside else "refuted" if outside and sees else "cannot tell"
    because = (
        f"{name} pairs show {share.value:.2f} [{share.low:.2f}, {share.high:.2f}] of our own gap "
        f"along the direction (sign flips {p_text(contrast.sign_flip_p)}, "
        f"{p_text(contrast.p_holm)} after Holm over contrast sets); AUROC {contrast.auroc} there"
        f"{_own_direction(contrast, name)}{named_n(contrast.auroc)}"
    )
    if ruling == "cannot tell" and contrast.pairs_needed is not None:
        because += f"; were the share 0, about {contrast.pairs_needed} pairs a set would tell"
    return Finding(claim, because, None, lambda p: ruling, d)


@dataclass(frozen=True)
class SteeredSlope:
    """What the rule reads of a steered direction's movement, whose other entries it passes by."""

    __pydantic_config__ = ConfigDict(extra="ignore", allow_inf_nan=False)

    slope: Estimate
    n_prompts: int
    n_random: int = 0
    p_random: float | None = None
    n_controls: int = 0
    p_controls: float | None = None
    monotone: bool | None = None
    minimal_detectable: float | None = None
    alphas: tuple[float, ...] = ()


@dataclass(frozen=True)
class SteeringOutcome:
    """What the rule reads of ``steering_examples.json``."""

    __pydantic_config__ = ConfigDict(extra="ignore", allow_inf_nan=False)

    layer: int | None = None
    moves: SteeredSlope | None = None


def steered_slope(steering: Mapping[str, JsonValue] | None) -> SteeredSlope | None:
    """The movement in ``steering_examples.json``; None where there is none."""
    if steering is None:
        return None
    return from_plain(dict(steering), SteeringOutcome, "steering").moves


def _moves(d: DirectionEvidence, e: Evidence) -> Finding:
    if e.steering is None:
        return _unknown(MOVES, d, e, "steering")
    if d is e.selected:
        because = "this direction was not steered; experiments/steering_sweep.py does that"
        return Finding(MOVES, because, None, lambda p: "cannot tell", d, on_test=False)
    moves = steered_slope(e.steering)
    if moves is None:
        because = "no strength was steered whose damage stays within its bound"
        return Finding(MOVES, because, None, lambda p: "cannot tell", d, on_test=False)
    enough = moves.n_prompts >= MIN_PROMPTS
    beyond = moves.p_random is not None and max(moves.p_random, moves.p_controls or 0.0) <= ALPHA
    because = (
        f"slope {moves.slope} nats per token and alpha over {moves.n_prompts} prompts"
        f"{'' if enough else f' (fewer than {MIN_PROMPTS})'}, alpha "
        f"{', '.join(f'{alpha:g}' for alpha in moves.alphas)}; {p_text(moves.p_random)} against "
        f"{moves.n_random} random directions, {p_text(moves.p_controls)} against all "
        f"{moves.n_controls} control directions; "
        f"{'a step in dose goes back' if moves.monotone is False else 'no step in dose goes back'}"
    )
    if moves.minimal_detectable is not None:
        because += f"; a slope of {moves.minimal_detectable:.3f} would have been found in 80%"
    return _of_parts(
        MOVES,
        d,
        [Part(moves.slope, 0.0, SMALLEST_SLOPE)],
        because,
        conditions=enough and beyond and moves.monotone is not False,
        on_test=False,
    )


FINDERS: tuple[Callable[[DirectionEvidence, Evidence], Finding], ...] = (
    _separates,
    _beats_random,
    _beyond_words,
    _masked,
    _hard,
    _unseen,
    _rubric,
)


def _over_rivals(gains: Figures, rivals: Sequence[str]) -> dict[str, Estimate | None]:
    return {name: gains[name] for name in rivals if name in gains}


def _has_room(baselines: Figures, rivals: Mapping[str, object]) -> bool:
    """Whether a set leaves anything to be read beyond what its readers of words reach."""
    best = [one.value for name in rivals if (one := baselines.get(name)) is not None]
    return max(best, default=0.0) < WORDS_SUFFICE


def _beside(baselines: Figures, gains: Mapping[str, Estimate | None]) -> str:
    """Each rival reader of words, and how much better the probe is."""
    compared = []
    for name, gain in gains.items():
        reached = baselines.get(name)
        compared.append(
            f"{name.replace('_', ' ')}{'' if reached is None else f' {reached.value:.3f}'} "
            f"(difference {gain or 'not computed'})"
        )
    room = "" if _has_room(baselines, gains) else "words alone separate the classes on this set: "
    return f"{room}readers of words: {', '.join(compared) or 'not computed'}"


def _own_direction(contrast: Contrast, name: str) -> str:
    text = ""
    if contrast.cosine is not None and contrast.cosine_p95 is not None:
        text += f"; cosine {contrast.cosine:.2f} (shuffled: {contrast.cosine_p95:.2f} in 5%)"
    if contrast.own_direction is not None:
        text += f"; the {name} direction itself reaches {contrast.own_direction.value:.3f} there"
    return text


def _could_find(d: DirectionEvidence, name: str, what: str) -> str:
    known = d.minimal_detectable.get(name)
    if known is None:
        return ""
    return (
        f"; could have found {what} by {known.effect:.2f} in 80%, and by {known.wanted:g} with "
        f"{known.n_needed}"
    )


def named_n(estimate: Estimate, units: str = "situations") -> str:
    """How many situations stand behind a figure, and whether they are few."""
    few = f" (few: below {FEW} an interval says little)" if estimate.n_groups < FEW else ""
    return f"; n = {estimate.n_groups} {units}{few}"


def p_text(p: float | None) -> str:
    return f"p = {'not computed' if p is None else f'{p:.3g}'}"
