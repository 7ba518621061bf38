"""A sweep as a file, and sweeps of single layers as one: so that a long sweep can be resumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..files import read_json, write_json
from ..types import Completion, Direction, SteeringPrompt
from .coherence import Coherence
from .damage import Damage
from .sweep import Controls, SteeredText, SteeringSweep

__all__ = ["join_sweeps", "load_sweep", "save_sweep"]

ARRAYS = ("log_odds", "instruction")


def save_sweep(path: Path, sweep: SteeringSweep) -> None:
    """Writes everything that was measured as JSON; directions and prompts are kept elsewhere."""
    content = {
        "layers": sweep.layers,
        "alphas": sweep.alphas,
        "pushes": sweep.pushes,
        "choosing": sweep.choosing,
        "reporting": sweep.reporting,
        "seed": sweep.seed,
        **{name: _array(getattr(sweep, name)) for name in ARRAYS},
        "controls": {
            str(k): {"random": _array(c.random), "shuffled": _array(c.shuffled)}
            for k, c in sweep.controls.items()
        },
        "losses": {str(k): _array(v) for k, v in sweep.damage.losses.items()},
        "correct": {str(k): v.tolist() for k, v in sweep.damage.correct.items()},
        "texts": [asdict(text) for text in sweep.texts],
    }
    write_json(path, content)


def load_sweep(
    path: Path, directions: Mapping[int, Direction], prompts: Sequence[SteeringPrompt]
) -> SteeringSweep:
    """A sweep equal to the one saved, given its directions and prompts.

    Raises InputError for another kind of file, or a layer without its direction.
    """
    content = read_json(path)
    try:
        return SteeringSweep(
            directions={layer: directions[layer] for layer in content["layers"]},
            alphas=tuple(content["alphas"]),
            pushes=tuple(content["pushes"]),
            prompts=tuple(prompts),
            choosing=tuple(content["choosing"]),
            reporting=tuple(content["reporting"]),
            **{name: _read_array(content[name]) for name in ARRAYS},
            controls={
                int(k): Controls(_read_array(c["random"]), _read_array(c["shuffled"]))
                for k, c in content["controls"].items()
            },
            damage=Damage(
                losses={int(k): _read_array(v) for k, v in content["losses"].items()},
                correct={int(k): np.array(v, dtype=bool) for k, v in content["correct"].items()},
            ),
            texts=tuple(
                SteeredText(
                    **text
                    | {
                        "completion": Completion(**text["completion"]),
                        "coherence": Coherence(**text["coherence"]),
                    }
                )
                for text in content["texts"]
            ),
            seed=content["seed"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a sweep of these layers ({error!r}); run it again") from None


def join_sweeps(sweeps: Sequence[SteeringSweep]) -> SteeringSweep:
    """Sweeps of different layers, alike in all else, as one over all their layers.

    Raises InputError where two hold the same layer or differ in strengths, prompts or seed.
    """
    if not sweeps:
        raise InputError("expected at least one sweep, got none")
    first, layers = sweeps[0], [layer for s in sweeps for layer in s.layers]
    for name in ("alphas", "pushes", "prompts", "choosing", "reporting", "seed"):
        if any(getattr(s, name) != getattr(first, name) for s in sweeps):
            raise InputError(f"sweeps to be joined differ in {name}")
    if layers != sorted(set(layers)):
        raise InputError(f"expected sweeps of different layers in rising order, got {layers}")
    return replace(
        first,
        directions={k: d for s in sweeps for k, d in s.directions.items()},
        log_odds=np.concatenate([s.log_odds for s in sweeps]),
        controls={k: c for s in sweeps for k, c in s.controls.items()},
        damage=Damage(
            losses={k: v for s in sweeps for k, v in s.damage.losses.items()},
            correct={k: v for s in sweeps for k, v in s.damage.correct.items()},
        ),
        texts=tuple(text for s in sweeps for text in s.texts),
    )


def _array(values: np.ndarray) -> dict[str, list[float] | tuple[int, ...]]:
    """Shape and numbers apart: a list cannot say how wide an array without rows is."""
    return {"shape": values.shape, "values": values.astype(float).ravel().tolist()}


def _read_array(saved: Mapping[str, list[Any]]) -> np.ndarray:
    return np.array(saved["values"], dtype=np.float64).reshape(saved["shape"])
