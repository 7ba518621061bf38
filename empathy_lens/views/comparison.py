"""Several runs side by side in one offline page: the same measures, claims and curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from .comparison_figures import compared_aurocs, compared_dose_response, compared_layers
from .headline import measures, verdicts
from .page import render
from .report import charted
from .report_tables import criteria, facts
from .runs import get, plain, read_run
from .text import number_text, ranges, shortened

__all__ = ["build_comparison"]


def build_comparison(folders: Sequence[Path]) -> str:
    """Two or more runs' folders as one self-contained HTML page, a column for each.

    Parts that a run does not have stay empty in its column. Raises InputError for fewer than two
    folders, a folder given twice, or one that is no run's folder.
    """
    places = [Path(folder).resolve() for folder in folders]
    if len(places) < 2 or len(set(places)) < len(places):
        raise InputError(f"expected two or more different runs' folders, got {len(set(places))}")
    read = [read_run(folder) for folder in places]
    names = _names([run for run, _ in read], places)
    runs = dict(zip(names, (run for run, _ in read), strict=True))
    found = {name: measures(run) for name, run in runs.items()}
    listed = list(dict.fromkeys(m.name for column in found.values() for m in column))
    figures = {
        "compared_layers": compared_layers(runs),
        "compared_aurocs": compared_aurocs(found),
        "compared_dose_response": compared_dose_response(runs),
    }
    return render(
        "comparison.html",
        names=names,
        notes=[
            shortened(f"Could not be read: {p}", 1000) for _, problems in read for p in problems
        ],
        measures=[
            (name, [next((m for m in found[run] if m.name == name), None) for run in names])
            for name in listed
        ],
        verdicts=_matrix({name: verdicts(run.get("evidence")) for name, run in runs.items()}),
        criteria=_matrix(
            {
                name: [
                    {**row, "claim": row["name"], "verdict": row["state"], "because": row["detail"]}
                    for row in criteria(run.get("summary"))
                ]
                for name, run in runs.items()
            }
        ),
        figures=[charted(name, figure) for name, figure in figures.items() if figure is not None],
        facts=_matrix_of_facts(runs),
    )


def _names(runs: Sequence[Mapping[str, Any]], folders: Sequence[Path]) -> list[str]:
    """Each run by its model, with its folder where two are of one model."""
    models = [
        shortened(get(run.get("config"), "model_name") or folder.name, 120)
        for run, folder in zip(runs, folders, strict=True)
    ]
    named = [
        model if models.count(model) == 1 else f"{model} ({shortened(folder.name, 60)})"
        for model, folder in zip(models, folders, strict=True)
    ]
    return [name if named.count(name) == 1 else f"{name} {i + 1}" for i, name in enumerate(named)]


def _matrix(
    columns: Mapping[str, Sequence[Mapping[str, str]]],
) -> list[tuple[str, list[Mapping[str, str] | None]]]:
    """A row for every claim that any run makes, a cell for every run."""
    claims = dict.fromkeys(row["claim"] for column in columns.values() for row in column)
    return [
        (
            claim,
            [next((r for r in column if r["claim"] == claim), None) for column in columns.values()],
        )
        for claim in claims
    ]


def _matrix_of_facts(runs: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """What was run: one row for each fact, a cell for every run."""
    columns = []
    for run in runs.values():
        config, summary = run.get("config", {}), run.get("summary")
        column = {}
        layers = config.get("layers")
        column["layers"] = shortened(ranges(layers), 200) if isinstance(layers, list) else ""
        chosen = get(run.get("validation_auroc"), "selected_layer")
        column["chosen layer"] = number_text(chosen)
        kept = ("backend", "device", "dtype", "pooling", "seed")
        column |= dict(facts({k: config[k] for k in kept if config.get(k) is not None}))
        column |= dict(facts(get(config, "provenance"), "provenance: "))
        column |= dict(facts(get(config, "data"), "data: "))
        column |= dict(facts(get(config, "versions"), "version: "))
        if plain(seconds := get(summary, "wall_seconds")):
            column["seconds"] = number_text(seconds, 1)
        if plain(peak := get(summary, "peak_rss_mb")):
            column["peak memory, MB"] = number_text(peak, 0)
        columns.append(column)
    names = dict.fromkeys(name for column in columns for name in column)
    return [(name, [column.get(name, "–") or "–" for column in columns]) for name in names]
