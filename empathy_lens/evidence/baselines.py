"""What words alone can tell: baselines that a probe must beat to have read more than words.

A baseline is a function ``(train_pairs, test_pairs) -> scores``, one score a text of the test
pairs, positive side before negative, pair by pair: the order of ``extract_activations``. Only
completions are read, since both sides of a pair share the prompt. A higher score means "more
positive"; everything, the sign included, is learnt on the train pairs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.base import BaseEstimator
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from ..errors import DegenerateDataError, InputError
from ..stats import auroc
from ..types import ContrastivePair
from .embeddings import Embed, embedded, remembered
from .ngrams import count_ngrams, tfidf_in_span
from .validation import group_folds

Pairs = Sequence[ContrastivePair]
Baseline = Callable[[Pairs, Pairs], Float[np.ndarray, "item"]]

LENGTH = "length"
TOKEN_EMBEDDING, TOKEN_MEANS = "token_embedding", "token_mean_difference"
TOKEN_READERS = (TOKEN_EMBEDDING, TOKEN_MEANS)
"""What a direction can know before any layer has computed: a probe must beat both."""
MARKS = (r"[.]", r"[,]", r"[!]", r"[?]", r"[;:]", r"[-–—]", r"[\"'“”‘’]", r"[()\[\]]", r"\n")
N_REMEMBERED = 4096
"""Texts whose words and marks are kept, since a card reads the same ones again and again."""

TOKEN_EMBEDDING_C = 64.0
"""Inverse penalty of :func:`token_embedding`. On the shipped train pairs 1/10 and 10 times this
give the same out-of-fold AUROC to within .01 (640 dimensions), a hundredth .06 less."""


def naive_bayes(train: Pairs, test: Pairs) -> Float[np.ndarray, "item"]:
    """Log-odds of a multinomial naive Bayes on word counts (McCallum & Nigam 1998), add-one.

    Log-odds and not probabilities: those round to 0 and 1 on long texts and become ties.
    Raises DegenerateDataError where the train texts hold no words.
    """
    words, model = _reader(CountVectorizer(analyzer=_words), MultinomialNB(), train)
    return _log_odds(model.predict_joint_log_proba(words.transform(texts(test))))


def tfidf_logistic(train: Pairs, test: Pairs) -> Float[np.ndarray, "item"]:
    """Logit of an L2-regularised logistic regression (C = 1) on TF-IDF weights of single words.

    Raises DegenerateDataError where the train texts hold no words.
    """
    tfidf = TfidfVectorizer(analyzer=_words)
    return _decided(_reader(tfidf, LogisticRegression(max_iter=1000), train), texts(test))


def text_length(train: Pairs, test: Pairs) -> Float[np.ndarray, "item"]:
    """Number of white-space words, negated where the train pairs' positive side is shorter."""
    sign = 1.0 if auroc(_n_words(train), text_labels(train)) >= 0.5 else -1.0
    return sign * _n_words(test)


def character_ngrams(train: Pairs, test: Pairs) -> Float[np.ndarray, "item"]:
    """Logit of a logistic regression (C = 1) on TF-IDF of 2 to 5 characters within words.

    Raises DegenerateDataError where the train texts are blank.
    """
    learnt, read = tfidf_in_span(*count_ngrams(texts(train), texts(test)))
    return _decided(LogisticRegression(max_iter=1000).fit(learnt, text_labels(train)), read)


def style(train: Pairs, test: Pairs) -> Float[np.ndarray, "item"]:
    """:func:`shares_reader` of each kind of punctuation mark, digits and capitals."""
    return shares_reader((*MARKS, r"\d", r"[A-Z]"), train, test)


def shares_reader(
    patterns: tuple[str, ...], train: Pairs, test: Pairs
) -> Float[np.ndarray, "item"]:
    """Logit of a logistic regression (C = 1) on how often each pattern matches for each character
    of a text, standardised."""
    return _standardised(_shares(patterns, train), _shares(patterns, test))


def sentence_embedding(train: Pairs, test: Pairs, embed: Embed) -> Float[np.ndarray, "item"]:
    """Logit of a logistic regression (C = 1) on standardised sentence embeddings.

    Raises InputError where ``embed`` does not give one finite vector a text.
    """
    return _standardised(embedded(texts(train), embed), embedded(texts(test), embed))


def token_embedding(train: Pairs, test: Pairs, embed: Embed) -> Float[np.ndarray, "item"]:
    """Logit of a logistic regression on a model's mean token embeddings: what a direction can
    know before any layer has computed, synonyms included.

    Standardised and divided by the root of the dimension, so that the penalty means the same at
    any width. Raises InputError where ``embed`` does not give one finite vector a text.
    """
    learnt, read = embedded(texts(train), embed), embedded(texts(test), embed)
    return _standardised(learnt, read, C=TOKEN_EMBEDDING_C / learnt.shape[1])


def token_mean_difference(train: Pairs, test: Pairs, embed: Embed) -> Float[np.ndarray, "item"]:
    """Projection of mean token embeddings on the difference of the classes' means on train.

    The everyday direction, fitted before any layer: with few pairs it reads more than a regression
    does. Raises InputError where ``embed`` does not give one finite vector a text.
    """
    learnt, read = embedded(texts(train), embed), embedded(texts(test), embed)
    labels = text_labels(train)
    return np.asarray(read @ (learnt[labels].mean(axis=0) - learnt[~labels].mean(axis=0)))


BASELINES: Mapping[str, Baseline] = MappingProxyType(
    {
        "naive_bayes": naive_bayes,
        "tfidf_logistic": tfidf_logistic,
        "character_ngrams": character_ngrams,
        LENGTH: text_length,
        "style": style,
    }
)


def word_baselines(
    embed: Embed | None = None, token_embed: Embed | None = None
) -> dict[str, Baseline]:
    """The baselines by name, before them the readers of token embeddings (:data:`TOKEN_READERS`)
    and ``sentence_embedding`` where their embeddings are given.

    These come first so that ties in :func:`best_reader` go to them: they also read words that no
    train text has. They read each text once, however often the baselines of one call are used.
    """
    readers: dict[str, Baseline] = {}
    if token_embed is not None:
        once = remembered(token_embed)
        readers[TOKEN_EMBEDDING] = partial(token_embedding, embed=once)
        readers[TOKEN_MEANS] = partial(token_mean_difference, embed=once)
    if embed is not None:
        readers["sentence_embedding"] = partial(sentence_embedding, embed=remembered(embed))
    return readers | dict(BASELINES)


@dataclass(frozen=True)
class ReaderChoice:
    """The baseline that reads best on pairs it did not learn from, by name.

    ``cv_auroc``: out-of-fold AUROC on train of each, in [0, 1]; None where it finds nothing.
    """

    name: str
    cv_auroc: Mapping[str, float | None]


def best_reader(readers: Mapping[str, Baseline], train: Pairs, *, seed: int) -> ReaderChoice:
    """The reader with the highest out-of-fold AUROC on the train pairs; ties go to the first.

    Five folds, drawn by ``seed``: a situation never spans them, scenarios are spread over them.
    Raises DegenerateDataError for fewer than four situations, or where no reader finds anything.
    """
    groups, strata = [p.group for p in train], [p.scenario_id for p in train]
    folds = group_folds(groups, strata, seed=seed)
    cv_auroc = {name: _cv_auroc(reader, train, folds) for name, reader in readers.items()}
    found = {name: value for name, value in cv_auroc.items() if value is not None}
    if not found:
        raise DegenerateDataError(f"none of {list(readers)} tells any two train texts apart")
    return ReaderChoice(max(found, key=lambda name: found[name]), cv_auroc)


def out_of_fold(
    reader: Baseline, pairs: Pairs, folds: Int[np.ndarray, "pair"]
) -> Float[np.ndarray, "item"]:
    """Scores of every text by a reader that learnt on the other folds."""
    scores = np.zeros((len(pairs), 2))
    for number in np.unique(folds):
        inside = folds == number
        learnt, read = (
            [pairs[i] for i in np.flatnonzero(part).tolist()] for part in (~inside, inside)
        )
        scores[inside] = reader(learnt, read).reshape(-1, 2)
    return scores.ravel()


def telling_words(train: Pairs, n_words: int) -> dict[str, float]:
    """The words whose naive-Bayes log-odds are furthest from 0, with them; positive first.

    Log-odds are of the word under the positive side against the negative (add-one smoothing),
    in nats. Ties go to the alphabet. Raises InputError for a negative number.
    """
    if n_words < 0:
        raise InputError(f"n_words: expected 0 or more, got {n_words}")
    words, model = _reader(CountVectorizer(analyzer=_words), MultinomialNB(), train)
    odds = _log_odds(model.feature_log_prob_.T).tolist()
    log_odds = dict(zip(words.get_feature_names_out(), odds, strict=True))
    kept = sorted(log_odds, key=lambda word: (-round(abs(log_odds[word]), 9), word))[:n_words]
    return {word: log_odds[word] for word in sorted(kept, key=lambda w: -log_odds[w])}


def ablate_words(
    train: Pairs, pairs: Pairs, n_words: int, *, mask: str = "..."
) -> tuple[ContrastivePair, ...]:
    """The pairs with the train pairs' most telling words masked, on both sides and in any case.

    Masking one side only would itself mark the class. Prompts stay. The default mask is no word
    to the baselines, so they see the words gone.
    """
    masked = telling_words(train, n_words)
    if not masked:
        return tuple(pairs)
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, masked))})\b", re.IGNORECASE)
    ablated = partial(pattern.sub, lambda _: mask)
    return tuple(
        replace(p, positive=ablated(p.positive), negative=ablated(p.negative)) for p in pairs
    )


def texts(pairs: Pairs) -> list[str]:
    """Both completions of every pair, positive before negative."""
    return [side for p in pairs for side in (p.positive, p.negative)]


def text_labels(pairs: Pairs) -> Bool[np.ndarray, "item"]:
    """True, False, True, False, …: the labels of :func:`texts`."""
    return np.tile([True, False], len(pairs))


_words = lru_cache(maxsize=N_REMEMBERED)(CountVectorizer().build_analyzer())
"""Lower-case words of two letters or more, as both vectorisers have them."""


def _reader(words: CountVectorizer, classifier: BaseEstimator, train: Pairs) -> Pipeline:
    """The classifier on counted or weighted words, both fitted on the train texts."""
    try:
        return make_pipeline(words, classifier).fit(texts(train), text_labels(train))
    except ValueError as error:
        raise DegenerateDataError(
            f"a bag of words needs train texts with words of two letters or more: {error}"
        ) from None


def _log_odds(log_probability: np.ndarray) -> Float[np.ndarray, "item"]:
    """Second column minus first; sklearn sorts the classes, so True is second."""
    return np.asarray(log_probability[:, 1] - log_probability[:, 0], dtype=np.float64)


def _n_words(pairs: Pairs) -> Float[np.ndarray, "item"]:
    return np.array([len(text.split()) for text in texts(pairs)], dtype=np.float64)


def _standardised(
    learnt: Float[np.ndarray, "text feature"],
    read: Float[np.ndarray, "item feature"],
    *,
    C: float = 1.0,
) -> Float[np.ndarray, "item"]:
    """Logit of a logistic regression on standardised features of train texts, in their order."""
    labels = np.tile([True, False], len(learnt) // 2)
    reader = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=1000))
    return _decided(reader.fit(learnt, labels), read)


def _decided(reader: Pipeline | LogisticRegression, features: object) -> Float[np.ndarray, "item"]:
    return np.asarray(reader.decision_function(features), dtype=np.float64)


def _shares(patterns: tuple[str, ...], pairs: Pairs) -> Float[np.ndarray, "item pattern"]:
    return np.array([_shares_of(patterns, text) for text in texts(pairs)])


@lru_cache(maxsize=N_REMEMBERED)
def _shares_of(patterns: tuple[str, ...], text: str) -> tuple[float, ...]:
    """Matches of each pattern for each character of a text."""
    return tuple(len(re.findall(one, text)) / max(1, len(text)) for one in patterns)


def _cv_auroc(reader: Baseline, train: Pairs, folds: Int[np.ndarray, "pair"]) -> float | None:
    try:
        scores = out_of_fold(reader, train, folds)
    except DegenerateDataError:
        return None
    return None if np.ptp(scores) == 0 else float(auroc(scores, text_labels(train)))
