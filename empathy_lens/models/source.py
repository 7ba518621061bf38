"""Where a model's files are: the embedded models, a local folder, or the hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..embedded import EMBEDDED_MODELS, embedded_folder
from ..errors import ModelError

__all__ = ["ModelSource", "embedded_key", "locate_model"]

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")


@dataclass(frozen=True)
class ModelSource:
    """Where a checkpoint is read from (a folder, or an id on the hub), and its name there.

    ``revision`` is a branch, tag or commit of the hub; None means its default branch.
    """

    path: str
    hub_id: str
    local: bool
    revision: str | None = None

    @property
    def options(self) -> dict[str, object]:
        """What transformers must be told to read from here and nowhere else."""
        return {"local_files_only": self.local} | (
            {} if self.revision is None else {"revision": self.revision}
        )


def embedded_key(name: str) -> str | None:
    """The embedded model that ``embedded`` or ``embedded:NAME`` means; None for other names."""
    if name != "embedded" and not name.startswith("embedded:"):
        return None
    return name.partition(":")[2] or "gemma3-270m"


def locate_model(name: str, revision: str | None = None) -> ModelSource:
    """The source that a user's ``--model`` means. An embedded model is prepared on first use.

    Raises ModelError for a folder that is absent or lacks its config or tokenizer.
    """
    key = embedded_key(name)
    if key is not None:
        folder = embedded_folder(key)
        return ModelSource(str(folder), EMBEDDED_MODELS[key].hub_id, True, revision)
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ModelError(f"{folder}: expected a model folder, it has no config.json")
        if not any((folder / file).is_file() for file in TOKENIZER_FILES):
            # transformers would make up an empty tokenizer for the architecture and go on.
            raise ModelError(
                f"{folder}: expected a model folder, it has no tokenizer "
                f"(none of {', '.join(TOKENIZER_FILES)})"
            )
        return ModelSource(str(folder), folder.name, True, revision)
    if name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise ModelError(f"{name}: no such folder, and not a hub id (owner/name)")
    return ModelSource(name, name, False, revision)
