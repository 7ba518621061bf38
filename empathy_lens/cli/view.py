"""What ``empathy-lens view`` reads: a text from anywhere, a saved direction, the model it needs."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from pydantic import ConfigDict

from ..directions.store import load_directions
from ..engine.token_projections import TokenProjections
from ..errors import InputError
from ..models.zoo import EMBEDDED_MODELS
from ..results import read_result
from ..types import Direction, Provenance


@dataclass(frozen=True)
class ChosenLayer:
    """What is read of ``validation_auroc.json`` here; the rest is passed by."""

    __pydantic_config__ = ConfigDict(extra="ignore")

    selected_layer: int


def given_text(text: str | None, file: Path | None) -> str:
    """The text of the argument, of a file, or of standard input (``-`` or no text at all).

    One line break at the end of a file or of standard input is left off. Raises InputError for
    two texts, none, or one that is not UTF-8.
    """
    if file is not None:
        if text is not None:
            raise InputError("expected a text or --file, got both")
        data, name = file.read_bytes(), str(file)
    elif text == "":
        raise InputError("expected a text, the argument is empty")
    elif text is not None and text != "-":
        return text
    elif sys.stdin.isatty():
        raise InputError("expected a text: as an argument, with --file, or on standard input")
    else:
        data, name = sys.stdin.buffer.read(), "standard input"
    try:
        read = data.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: expected UTF-8 text, byte {error.start} is none") from None
    if not read:
        raise InputError(f"{name}: expected a text, it is empty")
    return read


def saved_directions(path: Path, layer: int | None) -> tuple[dict[int, Direction], int]:
    """The directions of a file or of a run's folder, and the layer to show first.

    That is ``layer``, or the run's chosen one, or the only one. Raises InputError where a file
    of several layers leaves it open, or does not hold the layer.
    """
    file = path / "directions.safetensors" if path.is_dir() else path
    if not file.is_file():
        what = "it holds no directions.safetensors" if path.is_dir() else "there is no such file"
        raise InputError(f"{path}: expected a saved direction or the folder of a run; {what}")
    directions = load_directions(file)
    if layer is None:
        validation = file.parent / "validation_auroc.json"
        if validation.is_file():
            layer = read_result(validation, ChosenLayer).selected_layer
        elif len(directions) == 1:
            layer = next(iter(directions))
    held = ", ".join(map(str, directions))
    if layer is None:
        raise InputError(f"{file} holds layers {held}; choose one with --layer")
    if layer not in directions:
        raise InputError(f"{file} holds layers {held}, not layer {layer}")
    return directions, layer


def model_of(provenance: Provenance) -> str:
    """What to give ``load_model`` for the model that a direction was made from."""
    for name, spec in EMBEDDED_MODELS.items():
        if spec.hub_id == provenance.model_name:
            return f"embedded:{name}"
    if "/" not in provenance.model_name:
        raise InputError(
            f"the direction was made from a local model called {provenance.model_name!r}; "
            "give its folder with --model"
        )
    return provenance.model_name


def context_needed(text: str) -> int:
    """A context length (in tokens) that holds the text: few texts have a token per 2 characters."""
    return max(2048, len(text) // 2 + 64)


def projections_json(projections: TokenProjections, direction: Direction) -> dict[str, object]:
    """Plain data for JSON. Projections are in activation units, a row for each layer."""
    return {
        "model": direction.provenance.model_name,
        "tokens": list(projections.tokens),
        "pooled": projections.pooled.tolist(),
        "bos": projections.bos.tolist(),
        "layers": list(projections.layers),
        "projections": projections.values.tolist(),
        "pooled_projections": projections.pooled_projection().tolist(),
        "thresholds": list(projections.thresholds),
        "raw_norms": list(projections.raw_norms),
    }
