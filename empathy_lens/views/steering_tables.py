"""The report's tables of steering: damage by strength, controls, asymmetry, what to use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .runs import get, numbers_of, rows
from .text import ranges

__all__ = ["recommendations", "steering_tables", "sweep_table"]

SETTING_COLUMNS = (
    "log-odds shift (nats per token)",
    "loss on neutral text (increase, nats per token)",
    "plain questions answered rightly",
    "texts that stay coherent",
)
Found = tuple[str, str, tuple[str, ...], Iterable[list[Any]]]


def steering_tables(steering: Any) -> list[Found]:
    """Name, caption, columns and rows of each table."""
    layer = get(steering, "layer")
    settings = [row for row in rows(steering, "frontier") if row.get("layer") == layer]
    settings.sort(key=lambda row: str(row.get("alpha")))
    return [
        (
            "steering_settings",
            "Effect and damage at the steered layer, by alpha",
            ("alpha", *SETTING_COLUMNS),
            (_setting(row, "alpha") for row in settings),
        ),
        (
            "steering_slopes",
            "Slope of the log-odds in alpha: the direction beside its controls (nats per token)",
            ("what", "value"),
            _named(
                ("mean slope over prompts", get(steering, "slope")),
                ("share of prompts that move the wrong way", get(steering, "wrong_share")),
                ("share of random directions below it", get(steering, "random", "share_below")),
                ("p against random directions", get(steering, "random", "p")),
                (
                    "share of shuffled-label directions below it",
                    get(steering, "shuffled", "share_below"),
                ),
                ("adding: slope for alpha > 0", get(steering, "asymmetry", "adding")),
                ("removing: slope for alpha < 0", get(steering, "asymmetry", "removing")),
                ("asymmetry: adding minus removing", get(steering, "asymmetry", "difference")),
                (
                    "shift by a plain instruction instead",
                    get(steering, "instruction", "shift"),
                ),
            ),
        ),
        (
            "prompt_slopes",
            "Slope of each prompt (nats per token and alpha)",
            ("prompt", "scenario", "slope"),
            (
                [str(row.get("prompt")), row.get("scenario_id"), row.get("slope")]
                for row in rows(steering, "prompt_slopes")
            ),
        ),
        (
            "judge",
            "The local judge on completions it has not learnt from",
            ("measure", "value"),
            _named(*numbers_of(steering, "judge").items()),
        ),
    ]


def sweep_table(sweep: Any) -> Found:
    """Every setting of a sweep over layers."""
    return (
        "sweep_settings",
        "Effect and damage of every layer and alpha",
        ("layer", "alpha", *SETTING_COLUMNS),
        (_setting(row, "layer", "alpha") for row in rows(sweep, "frontier")),
    )


def recommendations(steering: Any) -> list[str]:
    """The answer in words for adding and for removing, as far as it was looked for."""
    layers = get(steering, "layers")
    where = f"of layers {ranges(layers)}, " if isinstance(layers, list) and len(layers) > 1 else ""
    found = []
    for towards, answer in numbers_of(steering, "recommendation").items():
        text = get(answer, "text")
        said = text if isinstance(text, str) else "no setting within the bounds moves the choice."
        found.append(f"{where}{towards}: {said}")
    return found


def _setting(row: Any, *keys: str) -> list[Any]:
    return [row.get(k) for k in (*keys, "effect", "loss_increase", "accuracy", "coherent_share")]


def _named(*pairs: tuple[str, Any]) -> list[list[Any]]:
    return [[name, value] for name, value in pairs if value is not None]
