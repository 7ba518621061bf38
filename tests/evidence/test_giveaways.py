"""What gives a label away is planted and found by the reader that it is for, and by no other."""

from dataclasses import replace

import numpy as np
import pytest
from practice import ROOT

from empathy_lens.data import Overlap, load_pairs
from empathy_lens.errors import DegenerateDataError
from empathy_lens.evidence import Evidence
from empathy_lens.evidence.baselines import out_of_fold, text_labels
from empathy_lens.evidence.giveaways import READERS, giveaways, ten_folds
from empathy_lens.evidence.verdicts import judge_claims
from empathy_lens.results import read_result
from empathy_lens.stats import auroc

FOLDER = ROOT / "data" / "contrastive_pairs"
TRAIN, TEST = (load_pairs(FOLDER / f"{side}_pairs.jsonl") for side in ("train", "test"))


def balanced(pairs):
    """The shipped pairs with sides exchanged at random: nothing tells them apart."""
    swap = np.random.default_rng(1).random(len(pairs)) < 0.5
    return [
        replace(p, positive=p.negative, negative=p.positive) if s else p
        for p, s in zip(pairs, swap, strict=True)
    ]


@pytest.mark.parametrize(
    ("reader", "mark"),
    [
        ("words", lambda text: f"{text} Lantern lantern."),
        ("character_ngrams", lambda text: text.replace("e ", "ee ")),
        ("length", lambda text: f"{text} {text}"),
        ("punctuation", lambda text: text.replace(".", "!")),
        ("courtesy", lambda text: f"Please, {text}"),
    ],
)
def test_each_reader_finds_what_is_planted_for_it(reader, mark):
    plain = balanced(TRAIN)
    planted = [replace(p, positive=mark(p.positive)) for p in plain]
    folds = ten_folds(TRAIN)
    assert auroc(out_of_fold(READERS[reader], planted, folds), text_labels(planted)) > 0.95
    assert 0.3 < auroc(out_of_fold(READERS[reader], plain, folds), text_labels(plain)) < 0.7


def test_two_files_are_read_from_train_to_test_with_an_interval():
    figures = giveaways(TRAIN, TEST, n_resamples=200)
    assert list(figures) == list(READERS)
    assert figures["words"].value == pytest.approx(0.844, abs=0.01)  # naive Bayes on the card
    assert figures["words"].n_groups == len({p.group for p in TEST})


def test_nothing_to_read_is_none_and_few_situations_are_refused():
    plain = [replace(p, positive="I go on now then.", negative="I stay here now.") for p in TRAIN]
    assert giveaways(plain, n_resamples=200)["courtesy"] is None
    with pytest.raises(DegenerateDataError, match="6 situations"):
        giveaways(TRAIN[:4])


def test_no_claim_on_test_pairs_that_train_shares_is_supported():
    card = read_result(ROOT / "results" / "embedded" / "evidence.json", Evidence)
    assert card.overlaps == ()
    shared = replace(card, overlaps=(Overlap("near-duplicate", "a", "b", 0.3),))
    before, after = judge_claims(card), judge_claims(shared)
    changed = [w for v, w in zip(before, after, strict=True) if v != w]
    assert "separates better than random directions" in {verdict.claim for verdict in changed}
    for verdict in changed:
        assert verdict.verdict == "cannot tell"
        assert "a and b share 30%" in verdict.because
