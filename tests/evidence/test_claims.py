"""The rules of the card's claims, on figures made up for them."""

from dataclasses import fields, replace

import pytest

from empathy_lens.evidence import CLAIMS, Evidence, judge_claims
from empathy_lens.evidence.card import DirectionEvidence
from empathy_lens.evidence.claims import MIN_PROMPTS, Part, is_not, rule_of_three
from empathy_lens.evidence.contrasts import Contrast
from empathy_lens.evidence.transfer import HardPairs, MaskedPairs
from empathy_lens.types import Estimate

MADE = {
    "layer": 1,
    "estimator": "mean_difference",
    "pooling": "mean",
    "n_train_pairs": 40,
    "n_test_pairs": 30,
}


def estimate(value, low, high, n_groups=30, p=None):
    return Estimate(value, low, high, 0.95, 2 * n_groups, n_groups, "made up", p=p)


SURE, WEAK, NONE = (
    estimate(0.8, 0.7, 0.9, p=1e-5),
    estimate(0.58, 0.53, 0.595, p=1e-3),
    estimate(0.55, 0.4, 0.7, p=0.4),
)
GAIN, NO_GAIN, OPEN_GAIN = (
    estimate(0.3, 0.1, 0.5, p=1e-4),
    estimate(-0.2, -0.3, 0.01, p=0.05),
    estimate(0.05, -0.1, 0.2, p=0.5),
)


def judged(**fields):
    return {v.claim: v for v in judge_claims(Evidence(**MADE, **fields))}


def ruled(claim, **fields):
    return judged(**fields)[claim].verdict


@pytest.mark.parametrize(
    ("figure", "p_holm", "ruling"),
    [
        (SURE, 0.01, "supported"),
        (SURE, 0.2, "cannot tell"),
        (SURE, None, "cannot tell"),
        (NONE, 0.4, "cannot tell"),
        (estimate(0.5, 0.4, 0.59), 0.9, "refuted"),
        (WEAK, 0.001, "refuted"),  # surely there, and surely too small to matter
        (None, None, "cannot tell"),
    ],
)
def test_the_rule_of_three(figure, p_holm, ruling):
    assert rule_of_three([Part(figure, 0.5, 0.6)], p_holm) == ruling


def test_a_claim_needs_all_its_figures_and_what_else_it_says():
    parts = [Part(SURE, 0.5, 0.6), Part(GAIN, 0.0, 0.05)]
    assert rule_of_three(parts, 0.01) == "supported"
    assert rule_of_three(parts, 0.01, conditions=False) == "cannot tell"
    assert rule_of_three([parts[0], Part(OPEN_GAIN, 0.0, 0.05)], 0.01) == "cannot tell"
    assert rule_of_three([parts[0], Part(NO_GAIN, 0.0, 0.05)], 0.01) == "refuted"
    assert rule_of_three([parts[0], Part(None, 0.0, None)], None) == "cannot tell"


def test_nothing_measured_is_nothing_told():
    verdicts = judge_claims(Evidence(**MADE))
    assert {v.verdict for v in verdicts} == {"cannot tell"}
    assert {v.claim for v in verdicts} >= {claim.name for claim in CLAIMS}
    assert all("not measured in this run" in v.because for v in verdicts)


def test_every_verdict_prints_its_rule_and_names_its_direction():
    card = Evidence(**MADE, probe=SURE)
    card = replace(card, selected=DirectionEvidence(layer=9, estimator="lda", pooling="last"))
    verdicts = judge_claims(card)
    assert all(v.rule for v in verdicts)
    ours = [
        v.claim for v in verdicts if v.configuration == "mean_difference, layer 1, mean pooling"
    ]
    theirs = [v.claim for v in verdicts if v.configuration == "lda, layer 9, last pooling"]
    assert ours == theirs
    assert len(ours) == len(set(ours))
    assert [v.claim for v in verdicts if not v.configuration] == ["predicts the model's own acts"]
    assert "rule: AUROC on test pairs" in str(replace(card, verdicts=verdicts))


def test_claims_of_one_card_are_corrected_together():
    p = 0.02
    lone = judged(probe=replace(SURE, p=p))["separates the classes"]
    assert (lone.verdict, lone.p_holm) == ("supported", p)
    acts = estimate(0.3, 0.1, 0.5, p=0.9)
    other = DirectionEvidence(layer=2, estimator="lda", pooling="mean", probe=replace(SURE, p=0.5))
    among = judged(probe=replace(SURE, p=p), own_acts=acts)["separates the classes"]
    assert among.p_holm == pytest.approx(2 * p)
    three = judge_claims(Evidence(**MADE, probe=replace(SURE, p=p), own_acts=acts, selected=other))
    first = next(v for v in three if v.claim == "separates the classes")
    assert (first.verdict, first.p_holm) == ("cannot tell", pytest.approx(3 * p))


def words(gain, known=0.6, **more):
    return {
        "probe": SURE,
        "baselines": {"token_embedding": estimate(known, known - 0.04, known + 0.04)},
        "delta_vs_baselines": {"token_embedding": gain},
        "given_words": estimate(1.0, 0.3, 1.7, p=0.001),
        **more,
    }


def test_beyond_words_needs_the_gain_and_the_coefficient_and_room():
    claim, no_more = "beyond words", estimate(0.1, -0.5, 0.7, p=0.7)
    assert ruled(claim, **words(GAIN)) == "supported"
    assert ruled(claim, **words(GAIN, given_words=no_more)) == "cannot tell"
    assert ruled(claim, **words(OPEN_GAIN)) == "cannot tell"
    assert ruled(claim, **words(NO_GAIN, given_words=no_more)) == "refuted"
    assert ruled(claim, **words(NO_GAIN)) == "cannot tell"  # the coefficient says otherwise
    assert ruled(claim, **words(NO_GAIN, known=0.95, given_words=no_more)) == "cannot tell"


def test_masked_and_hard_pairs_are_held_against_words_too():
    beside = {"baselines": {"token_embedding": NONE}, "rivals": ("token_embedding",)}

    def masked(auroc, gain):
        pairs = MaskedPairs(n_words=50, auroc=auroc, gains={"token_embedding": gain}, **beside)
        return ruled("holds with the telling words masked", lexically_ablated=pairs)

    assert masked(SURE, GAIN) == "supported"
    assert masked(SURE, OPEN_GAIN) == "cannot tell"
    assert masked(SURE, NO_GAIN) == "refuted"
    d_z, counts = estimate(0.5, 0.3, 0.7, p=1e-4), estimate(0.8, 0.3, 1.3, p=1e-3)

    def hard(d_z, given_words, gain=GAIN):
        pairs = HardPairs(
            all=WEAK,
            by_kind={},
            baselines={},
            gains={"token_embedding": gain},
            d_z=d_z,
            given_words=given_words,
        )
        known = {"token_embedding": NONE}
        return ruled("holds where words and deeds part", hard_pairs=pairs, baselines=known)

    assert hard(d_z, counts) == "supported"
    assert hard(d_z, counts, NO_GAIN) == "cannot tell"
    assert hard(d_z, estimate(0.1, -0.5, 0.7, p=0.7)) == "cannot tell"
    assert hard(estimate(0.0, -0.1, 0.1, p=0.9), counts) == "refuted"


@pytest.mark.parametrize(
    ("share", "p_holm", "ruling"),
    [
        (estimate(0.1, -0.2, 0.4), 0.6, "supported"),
        (estimate(-0.23, -0.43, -0.03), 0.025, "supported"),  # there, and surely less than half
        (estimate(0.4, 0.1, 0.7), 0.01, "cannot tell"),
        (estimate(1.0, 0.7, 1.4), 0.001, "refuted"),
        (estimate(-1.0, -1.5, -0.6), 0.001, "refuted"),
        (None, 0.5, "cannot tell"),
    ],
)
def test_is_not_another_concept_only_where_its_share_is_surely_small(share, p_holm, ruling):
    contrast = Contrast(NONE, p_holm, None, None, None, None, equivalence=share, pairs_needed=60)
    verdict = judged(contrasts={"sentiment": contrast})["is not sentiment"]
    assert verdict.verdict == ruling
    assert verdict.rule == is_not("sentiment").rule
    if ruling == "cannot tell" and share is not None:
        assert "about 60 pairs" in verdict.because


def test_steering_is_judged_by_its_slope_over_prompts():
    slope = estimate(0.05, 0.02, 0.08, p=1e-4)

    def moved(**changed):
        made = {
            "slope": {f.name: getattr(slope, f.name) for f in fields(slope)},
            "n_prompts": MIN_PROMPTS,
            "n_random": 20,
            "p_random": 0.0476,
            "n_controls": 25,
            "p_controls": 0.0385,
            "monotone": True,
            "alphas": (-4.0, 4.0),
        }
        return ruled("moves behaviour", steering={"layer": 1, "moves": {**made, **changed}})

    assert moved() == "supported"
    assert moved(n_prompts=MIN_PROMPTS - 1) == "cannot tell"
    assert moved(p_random=0.095) == "cannot tell"
    assert moved(p_controls=0.077) == "cannot tell"
    assert moved(monotone=False) == "cannot tell"
    small = estimate(0.001, -0.002, 0.004, p=0.5)
    assert moved(slope={f.name: getattr(small, f.name) for f in fields(small)}) == "refuted"
    assert ruled("moves behaviour", steering={"layer": 1, "successes": 12}) == "cannot tell"


def test_agreement_with_the_rubric_and_own_acts_are_two_claims():
    sure, none = estimate(0.4, 0.2, 0.6, p=1e-3), estimate(0.0, -0.05, 0.05, p=0.9)
    gains = {"token_embedding": GAIN}
    found = judged(rubric_given_words=sure, rubric_gains=gains, own_acts=none)
    assert found["agrees with the rubric"].verdict == "supported"
    assert found["predicts the model's own acts"].verdict == "refuted"
