"""What words alone can tell: baselines that a probe must beat to have read more than words.

A baseline is a function ``(train_pairs, test_pairs) -> scores``, one score a text of the test
pairs, positive side before negative, pair by pair: the order of ``extract_activations``. Only
completions are read, since both sides of a pair share the prompt. A higher score means "more
positive"; everything, the sign included, is learnt on the train pairs.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, cast

import numpy as np
from jaxtyping import Bool, Float
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.preprocessing import StandardScaler

from .errors import DegenerateDataError, InputError
from .stats import auroc
from .types import ContrastivePair

__all__ = [
    "BASELINES",
    "LENGTH",
    "Baseline",
    "Embed",
    "ablate_words",
    "naive_bayes",
    "sentence_embedding",
    "telling_words",
    "text_labels",
    "text_length",
    "texts",
    "tfidf_logistic",
    "word_baselines",
]

Pairs = Sequence[ContrastivePair]
Baseline = Callable[[Pairs, Pairs], Float[np.ndarray, "item"]]
Embed = Callable[[Sequence[str]], Any]
"""Texts to an array of shape ``text dimension``; bring your own sentence-embedding model."""

LENGTH = "length"


def naive_bayes(train: Pairs, test: Pairs) -> Float[np.ndarray, "item"]:
    """Log-odds of a multinomial naive Bayes on word counts (McCallum & Nigam 1998), add-one.

    Log-odds and not probabilities: those round to 0 and 1 on long texts and become ties.
    Raises DegenerateDataError where the train texts hold no words.
    """
    words = CountVectorizer()
    model = MultinomialNB().fit(_fit_words(words, train), text_labels(train))
    return _log_odds(model.predict_joint_log_proba(words.transform(texts(test))))


def tfidf_logistic(train: Pairs, test: Pairs) -> Float[np.ndarray, "item"]:
    """Logit of an L2-regularised logistic regression (C = 1) on TF-IDF weights of single words.

    Raises DegenerateDataError where the train texts hold no words.
    """
    words = TfidfVectorizer()
    model = LogisticRegression(max_iter=1000).fit(_fit_words(words, train), text_labels(train))
    return np.asarray(model.decision_function(words.transform(texts(test))), dtype=np.float64)


def text_length(train: Pairs, test: Pairs) -> Float[np.ndarray, "item"]:
    """Number of white-space words, negated where the train pairs' positive side is shorter."""
    sign = 1.0 if auroc(_n_words(train), text_labels(train)) >= 0.5 else -1.0
    return sign * _n_words(test)


def sentence_embedding(train: Pairs, test: Pairs, embed: Embed) -> Float[np.ndarray, "item"]:
    """Logit of a logistic regression (C = 1) on standardised sentence embeddings.

    Raises InputError where ``embed`` does not give one finite vector a text.
    """
    scaler = StandardScaler()
    x_train = scaler.fit_transform(_embedded(train, embed))
    x_test = scaler.transform(_embedded(test, embed))
    model = LogisticRegression(max_iter=1000).fit(x_train, text_labels(train))
    return np.asarray(model.decision_function(x_test), dtype=np.float64)


BASELINES: Mapping[str, Baseline] = MappingProxyType(
    {"naive_bayes": naive_bayes, "tfidf_logistic": tfidf_logistic, LENGTH: text_length}
)


def word_baselines(embed: Embed | None = None) -> dict[str, Baseline]:
    """The baselines by name, with ``sentence_embedding`` where an embedding is given."""
    extra = (
        {} if embed is None else {"sentence_embedding": partial(sentence_embedding, embed=embed)}
    )
    return {**BASELINES, **extra}


def telling_words(train: Pairs, n_words: int) -> dict[str, float]:
    """The words whose naive-Bayes log-odds are furthest from 0, with them; positive first.

    Log-odds are of the word under the positive side against the negative (add-one smoothing),
    in nats. Ties go to the alphabet. Raises InputError for a negative number.
    """
    if n_words < 0:
        raise InputError(f"n_words: expected 0 or more, got {n_words}")
    words = CountVectorizer()
    model = MultinomialNB().fit(_fit_words(words, train), text_labels(train))
    log_odds = dict(
        zip(words.get_feature_names_out(), _log_odds(model.feature_log_prob_.T), strict=True)
    )
    kept = sorted(log_odds, key=lambda word: (-round(abs(log_odds[word]), 9), word))[:n_words]
    return {word: float(log_odds[word]) for word in sorted(kept, key=lambda w: -log_odds[w])}


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
    return tuple(
        replace(
            p,
            positive=pattern.sub(lambda _: mask, p.positive),
            negative=pattern.sub(lambda _: mask, p.negative),
        )
        for p in pairs
    )


def texts(pairs: Pairs) -> list[str]:
    """Both completions of every pair, positive before negative."""
    return [side for p in pairs for side in (p.positive, p.negative)]


def text_labels(pairs: Pairs) -> Bool[np.ndarray, "item"]:
    """True, False, True, False, …: the labels of :func:`texts`."""
    return np.tile([True, False], len(pairs))


def _fit_words(vectorizer: CountVectorizer, train: Pairs) -> Any:
    try:
        return vectorizer.fit_transform(texts(train))
    except ValueError as error:
        raise DegenerateDataError(
            f"a bag of words needs train texts with words of two letters or more: {error}"
        ) from None


def _log_odds(log_probability: np.ndarray) -> Float[np.ndarray, "item"]:
    """Second column minus first; sklearn sorts the classes, so True is second."""
    return np.asarray(log_probability[:, 1] - log_probability[:, 0], dtype=np.float64)


def _n_words(pairs: Pairs) -> Float[np.ndarray, "item"]:
    return np.array([len(text.split()) for text in texts(pairs)], dtype=np.float64)


def _embedded(pairs: Pairs, embed: Embed) -> Float[np.ndarray, "item dimension"]:
    vectors = np.asarray(embed(texts(pairs)), dtype=np.float64)
    if vectors.ndim != 2 or len(vectors) != 2 * len(pairs) or not np.isfinite(vectors).all():
        expected = f"{2 * len(pairs)} finite vectors, one a text"
        raise InputError(f"embed: expected {expected}, got shape {vectors.shape}")
    return cast(np.ndarray, vectors)
