"""Studies whose truth is planted, and the check that counts the card's verdicts on them."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from empathy_lens.directions import fit_direction
from empathy_lens.evidence import Draws, scores
from empathy_lens.evidence.baselines import naive_bayes, text_labels, token_embedding
from empathy_lens.evidence.claims import BEYOND_WORDS, CLAIMS, HARD, MOVES, SEPARATES, is_not
from empathy_lens.evidence.findings import CONTRASTS
from empathy_lens.results import from_plain, to_plain
from empathy_lens.stats import auroc


def script(name):
    folder = Path(__file__).resolve().parents[2] / "experiments"
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(folder)  # as for python experiments/NAME.py
        return importlib.import_module(name)


kinds, studies, verdicts = map(script, ("planted_kinds", "planted_studies", "check_verdicts"))
SMALL = kinds.Size("small", n_test=30, n_contrast=10, n_train=25, n_hard=20, n_rubric=8)


def planted(kind):
    return studies.plant(kinds.KINDS[kind], kinds.LARGE, seed=3)


def word_aurocs(study):
    """AUROC on test of naive Bayes and of the token embedding."""
    pairs = study.data.train_pairs, study.data.test_pairs
    read = naive_bayes(*pairs), token_embedding(*pairs, embed=study.embed)
    return [auroc(values, text_labels(pairs[1])) for values in read]


def direction_aurocs(study, layer=1):
    """AUROC of the mean difference on test and on hard pairs."""
    direction = fit_direction(study.data.train, layer)
    sets = study.data.test, study.data.hard[0]
    return [auroc(scores(direction, items), items.labels.numpy()) for items in sets]


def test_synonyms_share_no_word_with_train_but_their_embeddings():
    study = planted("synonyms only")
    blind, sees = word_aurocs(study)
    assert blind == pytest.approx(0.5, abs=0.1)
    assert sees > 0.65


def test_words_are_seen_by_both_readers_and_mislead_the_direction_on_hard_pairs():
    study = planted("words only")
    assert min(word_aurocs(study)) > 0.6
    test, hard = direction_aurocs(study)
    assert test > 0.65
    assert hard < 0.35


def test_a_deed_is_read_at_its_layer_alone_whatever_the_words_say():
    study = planted("signal beyond words")
    assert min(direction_aurocs(study)) > 0.85
    assert direction_aurocs(study, layer=0)[1] < 0.5


def test_texts_have_12_to_25_words_and_leaked_ones_are_those_of_train():
    study = planted("leakage")
    lengths = [
        len(text.split()) for p in study.data.train_pairs for text in (p.positive, p.negative)
    ]
    assert (min(lengths) >= 12, max(lengths) <= 25) == (True, True)
    train, test = (
        [p.positive for p in pairs] for pairs in (study.data.train_pairs, study.data.test_pairs)
    )
    assert test == train[: len(test)]


@pytest.mark.parametrize(
    ("kind", "share"), [("sentiment only by half", 0.5), ("sentiment only", 1.0)]
)
def test_sentiment_pairs_show_their_share_of_the_gap_along_any_direction(kind, share):
    study = planted(kind)
    direction = fit_direction(study.data.train, 1)
    sets = study.data.contrasts["sentiment"], study.data.test
    theirs, ours = (np.reshape(scores(direction, items), (-1, 2)) @ [1, -1] for items in sets)
    assert theirs.mean() / ours.mean() == pytest.approx(share, abs=0.15)


def test_every_kind_says_of_every_claim_whether_it_is_true():
    claims = {claim.name for claim in (*CLAIMS, *map(is_not, CONTRASTS))}
    assert list(kinds.TRUTHS) == list(kinds.KINDS)
    assert all(set(truths) == claims for truths in kinds.TRUTHS.values())


@pytest.fixture(scope="module")
def counted():
    """A small study of two kinds each, as ``--draws 1`` counts them."""
    asked = {"estimators": ("mean_difference",), "draws": Draws(0, 300, 100, 100)}
    some = [kinds.KINDS[name] for name in ("words only", "steering that acts")]
    cells = verdicts.planned(some, [SMALL])
    return verdicts.together([verdicts.count(*cell, 1, **asked) for cell in cells], **asked)


def rows_of(counted, kind):
    return {row.claim: row for row in counted.rows if row.kind == kind}


def test_what_is_planted_is_found_and_words_alone_are_not_taken_for_more(counted):
    acts, words = (rows_of(counted, kind) for kind in ("steering that acts", "words only"))
    assert acts[SEPARATES.name].supported.value == 1.0
    assert acts[MOVES.name].supported.value == 1.0
    assert words[BEYOND_WORDS.name].supported.value == 0.0
    assert words[HARD.name].supported.value == 0.0
    assert not any(row.harmful.value for row in counted.rows if row.harmful is not None)


def test_rates_are_exact_counts_that_can_be_stored(counted):
    assert from_plain(to_plain(counted), verdicts.VerdictCheck, "verdicts") == counted
    for row in counted.rows:
        rates = (row.supported, row.refuted, row.cannot_tell)
        assert (row.n, sum(rate.value for rate in rates)) == (1, 1.0)
    none, half = verdicts.rate(0, 10), verdicts.rate(5, 10)
    assert (none.low, none.high) == (0.0, 0.3085)  # Clopper & Pearson 1934: 1 - 0.025 ** (1 / 10)
    assert (half.low, half.high) == (0.1871, 0.8129)
