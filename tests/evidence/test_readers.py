"""Strong readers of words: each finds what is planted for it, and the best is chosen on train."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from empathy_lens.errors import DegenerateDataError
from empathy_lens.evidence.baselines import (
    best_reader,
    character_ngrams,
    naive_bayes,
    style,
    text_labels,
    text_length,
    texts,
    token_embedding,
    word_baselines,
)
from empathy_lens.evidence.ngrams import count_ngrams, tfidf_in_span
from empathy_lens.stats import auroc
from empathy_lens.types import ContrastivePair

WIDTH = 64
LETTERS = np.array([*"abcdefghijklmnopqrstuvwxyz"])
WORDS = ["".join(word) for word in np.random.default_rng(9).choice(LETTERS, size=(232, 8))]
FILLER = WORDS[:200]
SYNONYMS = {
    ("kind", "seen"): WORDS[200:208],
    ("kind", "new"): WORDS[208:216],
    ("cold", "seen"): WORDS[216:224],
    ("cold", "new"): WORDS[224:],
}


def pairs_of(positive, negative, n=40, seed=0):
    """Pairs of random filler, each side with one of its class's words behind it."""
    rng = np.random.default_rng(seed)

    def text(words):
        return " ".join([*rng.choice(FILLER, size=15), rng.choice(words)])

    return tuple(
        ContrastivePair(f"p{i}", f"s{i % 2}", positive=text(positive), negative=text(negative))
        for i in range(n)
    )


@pytest.fixture(scope="module")
def embed():
    """The mean of a vector a word: synonyms share a direction, all else about a word is its own."""
    rng = np.random.default_rng(3)
    vector = {word: rng.standard_normal(WIDTH) for word in FILLER}
    sense = 2 * rng.standard_normal(WIDTH)
    for (side, _), words in SYNONYMS.items():
        sign = 1 if side == "kind" else -1
        vector |= {word: sign * sense + rng.standard_normal(WIDTH) for word in words}
    return lambda some: [np.mean([vector[w] for w in text.split()], axis=0) for text in some]


SEEN = pairs_of(SYNONYMS["kind", "seen"], SYNONYMS["cold", "seen"], n=70)
NEW = pairs_of(SYNONYMS["kind", "new"], SYNONYMS["cold", "new"], n=40, seed=1)


def test_token_embeddings_read_synonyms_that_no_train_text_has(embed):
    assert auroc(token_embedding(SEEN, NEW, embed), text_labels(NEW)) > 0.9
    for counts in (naive_bayes, character_ngrams):
        assert auroc(counts(SEEN, NEW), text_labels(NEW)) < 0.65
    assert best_reader(word_baselines(token_embed=embed), SEEN, seed=0).name == "token_embedding"


@pytest.mark.parametrize("width", [1, 4000])
def test_token_embeddings_are_read_alike_at_any_scale_and_width(embed, width):
    """Beside the scale of the vectors, how often each dimension is repeated plays no part."""

    def wide(some):
        return 1e-3 * np.tile(embed(some), (1, max(1, width // WIDTH))) + 5

    np.testing.assert_allclose(
        token_embedding(SEEN, NEW, wide), token_embedding(SEEN, NEW, embed), atol=0.15
    )


def test_the_best_reader_is_the_one_for_which_the_label_was_planted(embed):
    plain = pairs_of(FILLER, FILLER)
    longer = tuple(
        ContrastivePair(
            p.pair_id, p.scenario_id, positive=f"{p.positive} {p.negative}", negative=p.negative
        )
        for p in plain
    )
    marked = tuple(
        ContrastivePair(p.pair_id, p.scenario_id, positive=p.positive + "!", negative=p.negative)
        for p in plain
    )
    readers = {"words": naive_bayes, "length": text_length, "style": style}
    for name, pairs in {"words": SEEN, "length": longer, "style": marked}.items():
        chosen = best_reader(readers, pairs, seed=0)
        assert chosen.name == name
        assert chosen.cv_auroc[name] > 0.75
    assert best_reader(readers, SEEN, seed=0).cv_auroc["style"] is None  # no marks to read
    twice = {"first": naive_bayes, "second": naive_bayes}
    assert best_reader(twice, SEEN, seed=0).name == "first"


def test_readers_are_chosen_on_situations_that_they_did_not_learn_from():
    """Every situation has two words of its own, which its three pairs repeat."""
    side = [(f"one{i}", f"other{i}") for i in range(20)]
    pairs = tuple(
        ContrastivePair(f"p{i}", "s", *side[i // 3], situation=str(i // 3)) for i in range(60)
    )
    with pytest.raises(DegenerateDataError, match="tells any two"):
        best_reader({"words": naive_bayes}, pairs, seed=0)


def test_where_nothing_is_read_or_nothing_can_be_held_out_no_reader_is_chosen():
    same = pairs_of(["word"], ["word"])
    with pytest.raises(DegenerateDataError, match="tells any two"):
        best_reader({"style": style}, same, seed=0)
    with pytest.raises(DegenerateDataError, match="4 groups"):
        best_reader(word_baselines(), SEEN[:3], seed=0)


def test_character_ngrams_are_weighed_as_by_sklearn():
    """Spaces of many kinds, letters beyond ASCII and half of one, words shorter than an n-gram."""
    odd = pairs_of(["Ünlöved  \t\nNaïve", "so ."], ["\ud83d I, a 漢字 İ"], n=6)
    train, test = texts((*SEEN[:20], *odd)), texts((*NEW[:20], *odd))
    tfidf = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5))
    expected = tfidf.fit_transform(train)
    learnt, read = tfidf_in_span(*count_ngrams(train, test))
    for found, same in ((learnt, expected), (read, tfidf.transform(test))):
        np.testing.assert_allclose(found @ learnt.T, (same @ expected.T).toarray(), atol=1e-9)


def test_character_ngrams_of_blank_texts_are_degenerate():
    blank = [ContrastivePair("p", "s", positive=" ", negative="\n")]
    with pytest.raises(DegenerateDataError, match="not blank"):
        character_ngrams(blank, SEEN)
