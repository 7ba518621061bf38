"""Character n-grams within words, counted by arrays in a fraction of scikit-learn's time.

The same counts as ``CountVectorizer(analyzer="char_wb", ngram_range=(2, 5))``, whose columns stand
in another order. A card reads the same texts many times, and these took most of that time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int, UInt64
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfTransformer

from ..errors import DegenerateDataError

SIZES = (2, 3, 4, 5)
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
"""Of a polynomial hash in 64 bits: two n-grams of a million share one in some 10^-7 of cases."""
N_REMEMBERED = 1024
"""Texts whose n-grams are kept, some 10 kB each."""


def count_ngrams(learnt: Sequence[str], read: Sequence[str]) -> tuple[csr_matrix, csr_matrix]:
    """Counts in the texts to learn from and in those to read, each of shape ``text ngram``.

    N-grams that no text to learn from holds count 0. Raises DegenerateDataError where all those
    texts are blank.
    """
    rows = [_ngrams(text) for text in (*learnt, *read)]
    starts = np.cumsum([0, *(len(hashes) for hashes, _ in rows)])
    n_learnt = starts[len(learnt)]
    if n_learnt == 0:
        raise DegenerateDataError("character n-grams need train texts that are not blank")
    hashes, column = np.unique(np.concatenate([one for one, _ in rows]), return_inverse=True)
    known = np.bincount(column[:n_learnt], minlength=len(hashes)) > 0
    counts = np.concatenate([one for _, one in rows]) * known[column]
    shape = (len(rows), len(hashes))
    both = csr_matrix((counts.astype(np.float64), column, starts), shape=shape)
    return both[: len(learnt)], both[len(learnt) :]


def tfidf_in_span(
    learnt: csr_matrix, read: csr_matrix
) -> tuple[Float[np.ndarray, "text axis"], Float[np.ndarray, "item axis"]]:
    """TF-IDF weights on orthonormal axes of the space that the texts to learn from span.

    An L2-penalised classifier is the same there as on the n-grams, of which there are a hundred
    times as many: so many that their sums are given to threads that wait for one another.
    """
    tfidf = TfidfTransformer().fit(learnt)
    learnt, read = tfidf.transform(learnt), tfidf.transform(read)
    products = (learnt @ learnt.T).toarray()
    squares, axes = np.linalg.eigh(products)
    kept = squares > 1e-10 * squares[-1]
    axes = axes[:, kept] / np.sqrt(squares[kept])
    return products @ axes, (read @ learnt.T).toarray() @ axes


@lru_cache(maxsize=N_REMEMBERED)
def _ngrams(text: str) -> tuple[UInt64[np.ndarray, "distinct"], Int[np.ndarray, "distinct"]]:
    """Hashes of the n-grams in ascending order, and how often each occurs."""
    padded = " ".join(["", *text.lower().split(), ""])
    codes = np.frombuffer(padded.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    n_spaces = np.cumsum(codes == ord(" "))
    hashes = codes.astype(np.uint64)
    found = [hashes[:0]]
    for size in SIZES:
        n_starts = len(codes) - size + 1
        if n_starts < 1:
            break
        hashes = hashes[:-1] * MULTIPLIER + codes[size - 1 :]
        # A space may begin or end an n-gram, as sklearn pads words; one inside parts two words.
        inside = n_spaces[size - 2 : size - 2 + n_starts] - n_spaces[:n_starts]
        found.append(hashes[inside == 0])
    distinct, counts = np.unique(np.concatenate(found), return_counts=True)
    return distinct, counts
