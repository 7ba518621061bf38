import re
from pathlib import Path

import numpy as np
import pytest

from empathy_lens.data import load_pairs
from empathy_lens.errors import DegenerateDataError, InputError
from empathy_lens.evidence.baselines import (
    BASELINES,
    TOKEN_READERS,
    ablate_words,
    naive_bayes,
    sentence_embedding,
    telling_words,
    text_labels,
    text_length,
    texts,
    tfidf_logistic,
    word_baselines,
)
from empathy_lens.stats import auroc
from empathy_lens.types import ContrastivePair

DATA = Path(__file__).resolve().parents[2] / "data"
FILLER = ["the", "carrier", "walks", "on", "over", "grey", "stones", "and", "counts", "each", "way"]


def pairs_of(positive_word, negative_word, n=20, seed=0, extra=0):
    """Pairs of filler and one class-telling word a side; positives ``extra`` words longer."""
    rng = np.random.default_rng(seed)

    def text(word, more):
        return " ".join([word, *rng.choice(FILLER, size=8 + more)])

    return tuple(
        ContrastivePair(
            pair_id=f"p{i}",
            scenario_id="s",
            positive=text(positive_word, extra),
            negative=text(negative_word, 0),
        )
        for i in range(n)
    )


@pytest.mark.parametrize("baseline", [naive_bayes, tfidf_logistic])
def test_a_telling_word_lets_a_bag_of_words_separate_the_classes(baseline):
    train, test = pairs_of("gently", "swiftly"), pairs_of("gently", "swiftly", seed=1)
    assert auroc(baseline(train, test), text_labels(test)) == 1.0


@pytest.mark.parametrize("baseline", [naive_bayes, tfidf_logistic])
def test_a_bag_of_words_learns_from_the_train_pairs_only(baseline):
    train = pairs_of("gently", "swiftly")
    swapped = pairs_of("swiftly", "gently", seed=1)
    assert auroc(baseline(train, swapped), text_labels(swapped)) == 0.0
    unseen = baseline(train, pairs_of("kindly", "harshly", seed=2))
    assert auroc(unseen, text_labels(train)) == pytest.approx(0.5, abs=0.25)


def test_scores_come_in_the_order_of_the_texts():
    train = pairs_of("gently", "swiftly")
    assert texts(train[:2]) == [
        train[0].positive,
        train[0].negative,
        train[1].positive,
        train[1].negative,
    ]
    whole = naive_bayes(train, train)
    np.testing.assert_allclose(naive_bayes(train, train[5:]), whole[10:])


def test_naive_bayes_scores_do_not_saturate_into_ties_on_long_texts():
    train = pairs_of("gently " * 200, "swiftly " * 200)
    longer = pairs_of("gently " * 400, "swiftly " * 400, seed=1)
    assert naive_bayes(train, longer).max() > naive_bayes(train, train).max()


def test_length_learns_its_sign_on_train():
    longer, shorter = pairs_of("a", "b", extra=3), pairs_of("a", "b", extra=-3)
    assert auroc(text_length(longer, longer), text_labels(longer)) == 1.0
    assert auroc(text_length(shorter, shorter), text_labels(shorter)) == 1.0
    assert auroc(text_length(longer, shorter), text_labels(longer)) == 0.0


def test_embeddings_join_the_baselines_only_where_they_are_given_and_read_each_text_once():
    read = []

    def embed(some_texts):
        read.extend(some_texts)
        return [[text.count("gently"), len(text)] for text in some_texts]

    assert list(word_baselines()) == list(BASELINES)
    train, test = pairs_of("gently", "swiftly"), pairs_of("gently", "swiftly", seed=1)
    train = (*train, train[0])
    for names, joined in (
        (["sentence_embedding"], word_baselines(embed)),
        (list(TOKEN_READERS), word_baselines(token_embed=embed)),
    ):
        assert list(joined) == [*names, *BASELINES]
        scored = {name: joined[name](train, test) for name in names}
        assert auroc(scored[names[0]], text_labels(test)) == 1.0
        assert sorted(read) == sorted({*texts(train), *texts(test)})
        read.clear()


@pytest.mark.parametrize("vectors", [[[1.0]], [1.0] * 40, [[float("nan")]] * 40])
def test_an_embedding_of_the_wrong_shape_or_with_nan_is_refused(vectors):
    train = pairs_of("gently", "swiftly")
    with pytest.raises(InputError, match="finite vectors"):
        sentence_embedding(train, train, lambda _: vectors)


@pytest.mark.parametrize("baseline", [naive_bayes, tfidf_logistic])
def test_texts_without_words_are_degenerate(baseline):
    wordless = [ContrastivePair(pair_id="p", scenario_id="s", positive="1 !", negative="?")]
    with pytest.raises(DegenerateDataError, match="words"):
        baseline(wordless, wordless)


def test_the_telling_words_are_those_of_both_classes():
    found = telling_words(pairs_of("gently", "swiftly"), 2)
    assert list(found) == ["gently", "swiftly"]
    assert found["gently"] > 1 > -1 > found["swiftly"]
    assert telling_words(pairs_of("gently", "swiftly"), 0) == {}
    with pytest.raises(InputError, match="n_words"):
        telling_words(pairs_of("gently", "swiftly"), -1)


def test_ablation_masks_both_sides_in_any_case_and_whole_words_only():
    train = pairs_of("gently", "swiftly")
    pair = ContrastivePair(
        pair_id="x",
        scenario_id="s",
        prompt="gently",
        positive="Gently, swiftly!",
        negative="GENTLY ungently swiftly",
    )
    (masked,) = ablate_words(train, [pair], 2)
    assert masked.positive == "..., ...!"
    assert masked.negative == "... ungently ..."
    assert (masked.prompt, masked.pair_id) == ("gently", "x")
    assert ablate_words(train, [pair], 0) == (pair,)


def test_ablation_takes_from_a_bag_of_words_what_it_lived_on():
    train, test = pairs_of("gently", "swiftly"), pairs_of("gently", "swiftly", seed=1)
    masked = ablate_words(train, test, 2)
    assert auroc(naive_bayes(train, masked), text_labels(masked)) < 0.8
    assert not re.search("gently|swiftly", " ".join(texts(masked)))


def test_on_the_shipped_data_they_score_what_the_data_card_says():
    train = load_pairs(DATA / "contrastive_pairs" / "train_pairs.jsonl")
    test = load_pairs(DATA / "contrastive_pairs" / "test_pairs.jsonl")
    hard = load_pairs(DATA / "hard_pairs" / "hard_pairs.jsonl")
    found = {name: auroc(one(train, test), text_labels(test)) for name, one in BASELINES.items()}
    assert found["naive_bayes"] == pytest.approx(0.84, abs=0.02)
    assert found["tfidf_logistic"] == pytest.approx(0.82, abs=0.02)
    for baseline in (naive_bayes, tfidf_logistic):
        assert auroc(baseline(train, hard), text_labels(hard)) <= 0.60
