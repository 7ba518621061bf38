"""Several runs side by side in one offline page: the same measures, claims and curves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TypeVar

import plotly.graph_objects as go

from ..errors import InputError
from ..files import write_text
from ..results import to_plain
from .headline import Measure, measures, verdicts
from .page import render
from .report import charted, mixed
from .run_results import RunResults, read_run
from .tables import criteria, facts
from .text import number_text, plotly_text, ranges, shortened
from .theme import DOTTED, Dot, auroc_dots, colour_of, marker, new_figure

Runs = Mapping[str, RunResults]
T = TypeVar("T")


def build_comparison(folders: Sequence[Path]) -> str:
    """Two or more runs' folders as one self-contained HTML page, a column for each.

    Parts that a run does not have stay empty in its column. Raises InputError for fewer than two
    folders, a folder given twice, or one that is no run's folder.
    """
    places = [Path(folder).resolve() for folder in folders]
    if len(places) < 2 or len(set(places)) < len(places):
        raise InputError(f"expected two or more different runs' folders, got {len(set(places))}")
    read = [read_run(folder) for folder in places]
    names = _names(read, places)
    runs = dict(zip(names, read, strict=True))
    measured = {name: measures(run) for name, run in runs.items()}
    figures = {
        "compared_layers": compared_layers(runs),
        "compared_aurocs": compared_aurocs(measured),
        "compared_dose_response": compared_dose_response(runs),
    }
    claim, fact = itemgetter("claim"), itemgetter(0)
    return render(
        "comparison.html",
        names=names,
        notes=[
            *(shortened(f"Could not be read: {p}", 1000) for run in read for p in run.problems),
            *(
                shortened(f"{name}: {note}", 1000)
                for name, run in runs.items()
                for note in mixed(run)
            ),
        ],
        measures=_matrix(measured.values(), lambda measure: measure.name),
        verdicts=_matrix([verdicts(run.evidence) for run in read], _claim_and_kind),
        criteria=_matrix([criteria(run.summary) for run in read], claim),
        figures=[charted(name, figure) for name, figure in figures.items() if figure is not None],
        facts=_matrix([_facts(run) for run in read], fact),
    )


def _claim_and_kind(row: Mapping[str, str]) -> str:
    """Selected configurations differ from run to run: their claims stand in rows of their own."""
    return f"{row['claim']} (selected)" if row["of"].startswith("selected") else row["claim"]


def write_comparison(folders: Sequence[Path], path: Path) -> Path:
    """Writes several runs side by side as one page; its path."""
    write_text(path, build_comparison(folders))
    return path


def _names(runs: Sequence[RunResults], folders: Sequence[Path]) -> list[str]:
    """Each run by its model, with its folder where two are of one model."""
    models = [
        shortened((run.config and run.config.model_name) or folder.name, 120)
        for run, folder in zip(runs, folders, strict=True)
    ]
    named = [
        model if models.count(model) == 1 else f"{model} ({shortened(folder.name, 60)})"
        for model, folder in zip(models, folders, strict=True)
    ]
    return [name if named.count(name) == 1 else f"{name} {i + 1}" for i, name in enumerate(named)]


def _matrix(
    columns: Iterable[Sequence[T]], name_of: Callable[[T], str]
) -> list[tuple[str, list[T | None]]]:
    """A row for every name in any run's column, a cell for every run."""
    named = [{name_of(row): row for row in reversed(column)} for column in columns]
    names = dict.fromkeys(name for column in named for name in reversed(column))
    return [(name, [column.get(name) for column in named]) for name in names]


def _facts(run: RunResults) -> list[tuple[str, str]]:
    """What was run."""
    rows: list[tuple[str, str]] = []
    if run.identity:
        rows += facts(vars(run.identity), "run: ")
    if config := run.config:
        rows.append(("layers", shortened(ranges(config.layers), 200)))
    rows.append(("chosen layer", number_text(run.selected_layer)))
    if config:
        kept = ("backend", "device", "dtype", "pooling", "seed")
        rows += facts({name: getattr(config, name) for name in kept})
        rows += facts(vars(config.provenance), "provenance: ")
        rows += facts(to_plain(config)["data"], "data: ")
        rows += facts(config.versions, "version: ")
    if run.summary:
        rows.append(("seconds", number_text(run.summary.wall_seconds, 1)))
        rows.append(("peak memory, MB", number_text(run.summary.peak_rss_mb, 0)))
    return rows


def compared_layers(runs: Runs) -> go.Figure | None:
    """Held-out AUROC by relative depth, a curve for each run."""
    curves = {
        name: sorted(run.validation_auroc.layers.items())
        for name, run in runs.items()
        if run.validation_auroc and any(run.validation_auroc.layers)
    }
    if not curves:
        return None
    best = {name: max(curve, key=lambda at: at[1].auroc.value) for name, curve in curves.items()}
    said = [f"{name} {number_text(r.auroc.value)} (layer {at})" for name, (at, r) in best.items()]
    figure = new_figure(
        "AUROC on held-out pairs, by relative depth (0 = first layer, 1 = last)",
        "relative depth of the layer",
        "AUROC (0.5 = chance)",
        finding=f"Highest: {', '.join(said)}.",
        note="Each curve is one run. The ring marks the layer that was chosen on training pairs.",
    )
    for i, (name, curve) in enumerate(curves.items()):
        depths = {layer: layer / curve[-1][0] for layer, _ in curve}
        aurocs = {layer: row.auroc for layer, row in curve}
        figure.add_scatter(
            x=list(depths.values()),
            y=[auroc.value for auroc in aurocs.values()],
            mode="lines+markers",
            line={"color": colour_of(i), "width": 2},
            customdata=[[layer, auroc.low, auroc.high] for layer, auroc in aurocs.items()],
            marker=marker(i, 7),
            name=plotly_text(name, 60),
            hovertemplate="layer %{customdata[0]}<br>%{y:.3f} [%{customdata[1]:.3f}, "
            "%{customdata[2]:.3f}]<extra>%{fullData.name}</extra>",
        )
        if (chosen := runs[name].selected_layer) in aurocs:
            figure.add_scatter(
                x=[depths[chosen]],
                y=[aurocs[chosen].value],
                mode="markers",
                marker={"symbol": "circle-open", "size": 16, "color": colour_of(i)},
                showlegend=False,
                hoverinfo="skip",
            )
    figure.add_hline(y=0.5, line=DOTTED)
    figure.update_xaxes(range=[-0.03, 1.03], zeroline=False)
    return figure


def compared_aurocs(measured: Mapping[str, Sequence[Measure]]) -> go.Figure | None:
    """Held-out and hard pairs of each run, row by row."""
    rows = [
        Dot(f"{run}: {m.name.removeprefix('AUROC, ')}", m.value, m.low, m.high, colour_of(i))
        for i, (run, column) in enumerate(measured.items())
        for m in column
        if m.name.startswith("AUROC")
    ]
    best = max(rows, key=lambda row: row.value, default=None)
    return auroc_dots(
        "AUROC of each run's direction on held-out and on hard pairs",
        rows,
        f"Highest: {best.name}, {number_text(best.value)}." if best else "",
        "Bars are confidence intervals.",
    )


def compared_dose_response(runs: Runs) -> go.Figure | None:
    """Mean shift of the action's log-odds by alpha, a curve for each run."""
    curves = {
        name: sorted((point.alpha, point.shift.value) for point in steering.dose_response)
        for name, run in runs.items()
        if (steering := run.steering_examples) and steering.dose_response
    }
    if not curves:
        return None
    poles = {runs[name].concept.positive for name in curves}
    pole = poles.pop() if len(poles) == 1 else "positive"
    figure = new_figure(
        f"Mean shift of the {plotly_text(pole, 40)} action's log-odds by steering strength "
        "(nats per token)",
        "alpha (mean class gaps)",
        "log-odds shift (nats per token)",
        note=f"Above 0 the model leans more to the {pole} action than unsteered. Alpha counts "
        "each model's own class gaps.",
    )
    for i, name in enumerate(runs):
        if name in curves:
            figure.add_scatter(
                x=[alpha for alpha, _ in curves[name]],
                y=[shift for _, shift in curves[name]],
                mode="lines+markers",
                line={"color": colour_of(i), "width": 2},
                marker=marker(i, 8),
                name=plotly_text(name, 60),
                hovertemplate="alpha %{x}<br>shift %{y:.3f}<extra>%{fullData.name}</extra>",
            )
    figure.add_hline(y=0, line=DOTTED)
    return figure
