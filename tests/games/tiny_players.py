"""A tiny random language model with room for a whole game, which it reads byte by byte."""

import json

from tiny_models import save_tiny_llama

from empathy_lens.models import load_model

N_CTX = 4096


def save_tiny_player(folder, **template):
    """The checkpoint's folder; ``chat_template=None`` leaves the chat template out."""
    save_tiny_llama(folder, **template)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": N_CTX}))
    return folder


def tiny_player(folder, backend, **template):
    return load_model(
        save_tiny_player(folder, **template), backend=backend, device="cpu", n_ctx=N_CTX
    )
