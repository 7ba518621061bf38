"""A run's folder read back: the saved JSON files by name, as far as the run has got."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, TypeGuard

from ..errors import InputError
from ..files import read_json

__all__ = ["PARTS", "estimate", "get", "numbers_of", "plain", "read_run", "rows"]

PARTS = (
    "config",
    "validation_auroc",
    "eia_correlation",
    "steering_examples",
    "steering_sweep",
    "evidence",
    "cosines",
    "steered_play",
    "summary",
    "token_views",
)
"""The files of a run's folder that are drawn, without ``.json``."""


def read_run(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """The parts that are there, by file stem, and what is wrong with those that cannot be read.

    Raises InputError where the folder holds no part of a run at all.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a run's folder, there is none")
    run: dict[str, Any] = {}
    problems: list[str] = []
    for part in PARTS:
        path = folder / f"{part}.json"
        if not path.exists():
            continue
        try:
            data = read_json(path)
        except InputError as error:
            problems.append(str(error))
            continue
        if isinstance(data, dict):
            run[part] = data
        else:
            problems.append(f"{path}: expected a JSON object, got {type(data).__name__}")
    if not run and not problems:
        raise InputError(
            f"{folder}: not a run's folder (none of {', '.join(PARTS)}.json is there); "
            "expected the folder given to run_full_pipeline.py --out"
        )
    return run, problems


def get(data: Any, *path: str) -> Any:
    """The value at a path of keys, or None where any step of it is missing."""
    for key in path:
        if not isinstance(data, dict):
            return None
        data = data.get(key)
    return data


def rows(data: Any, *path: str) -> list[dict[str, Any]]:
    """The objects of a list at a path, empty where there is none."""
    found = get(data, *path)
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def numbers_of(data: Any, *path: str) -> dict[str, Any]:
    """The mapping at a path, empty where there is none."""
    found = get(data, *path)
    return found if isinstance(found, dict) else {}


def plain(data: Any) -> TypeGuard[float]:
    """Whether a value is a finite number (JSON read by Python may hold NaN)."""
    return isinstance(data, int | float) and not isinstance(data, bool) and math.isfinite(data)


def estimate(data: Any) -> tuple[float, float, float] | None:
    """(value, low, high) of a saved Estimate; None unless there is a number in it."""
    value = get(data, "value") if isinstance(data, dict) else data
    if not plain(value):
        return None
    low, high = get(data, "low"), get(data, "high")
    return (
        float(value),
        float(low) if plain(low) else float(value),
        float(high) if plain(high) else float(value),
    )
