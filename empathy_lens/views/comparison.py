"""Several runs side by side in one offline page: the same measures, claims and curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import plotly.graph_objects as go

from ..errors import InputError
from ..files import write_text
from ..results import to_plain
from .headline import Measure, measures, verdicts
from .page import render
from .report import charted
from .run_results import RunResults, read_run
from .tables import criteria, facts
from .text import number_text, plotly_text, ranges, shortened
from .theme import COLOURS, GREY, SYMBOLS, Dot, dots, new_figure

__all__ = [
    "build_comparison",
    "compared_aurocs",
    "compared_dose_response",
    "compared_layers",
    "write_comparison",
]

Runs = Mapping[str, RunResults]


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
    listed = list(dict.fromkeys(m.name for column in measured.values() for m in column))
    figures = {
        "compared_layers": compared_layers(runs),
        "compared_aurocs": compared_aurocs(measured),
        "compared_dose_response": compared_dose_response(runs),
    }
    return render(
        "comparison.html",
        names=names,
        notes=[shortened(f"Could not be read: {p}", 1000) for run in read for p in run.problems],
        measures=[
            (name, [next((m for m in measured[run] if m.name == name), None) for run in names])
            for name in listed
        ],
        verdicts=_matrix({name: verdicts(run.evidence) for name, run in runs.items()}),
        criteria=_matrix(
            {
                name: [
                    {**row, "claim": row["name"], "verdict": row["state"], "because": row["detail"]}
                    for row in criteria(run.summary)
                ]
                for name, run in runs.items()
            }
        ),
        figures=[charted(name, figure) for name, figure in figures.items() if figure is not None],
        facts=_matrix_of_facts(runs),
    )


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


def _matrix_of_facts(runs: Runs) -> list[tuple[str, list[str]]]:
    """What was run: one row for each fact, a cell for every run."""
    columns = []
    for run in runs.values():
        column = {}
        if config := run.config:
            column["layers"] = shortened(ranges(config.layers), 200)
        column["chosen layer"] = number_text(run.selected_layer)
        if config:
            kept = ("backend", "device", "dtype", "pooling", "seed")
            column |= dict(facts({name: getattr(config, name) for name in kept}))
            column |= dict(facts(vars(config.provenance), "provenance: "))
            column |= dict(facts(to_plain(config)["data"], "data: "))
            column |= dict(facts(config.versions, "version: "))
        if run.summary:
            column["seconds"] = number_text(run.summary.wall_seconds, 1)
            column["peak memory, MB"] = number_text(run.summary.peak_rss_mb, 0)
        columns.append(column)
    names = dict.fromkeys(name for column in columns for name in column)
    return [(name, [column.get(name, "–") or "–" for column in columns]) for name in names]


def compared_layers(runs: Runs) -> go.Figure | None:
    """Held-out AUROC by relative depth, a curve for each run."""
    curves = {}
    for name, run in runs.items():
        layers = run.validation_auroc.layers if run.validation_auroc else {}
        deepest = max(layers, default=0)
        if deepest:
            curves[name] = [
                (layer / deepest, layer, layers[layer].auroc) for layer in sorted(layers)
            ]
    if not curves:
        return None
    best = {name: max(curve, key=lambda p: p[2].value) for name, curve in curves.items()}
    said = [f"{name} {number_text(p[2].value)} (layer {p[1]})" for name, p in best.items()]
    figure = new_figure(
        "AUROC on held-out pairs, by relative depth (0 = first layer, 1 = last)",
        "relative depth of the layer",
        "AUROC (0.5 = chance)",
        finding=f"Highest: {', '.join(said)}.",
        note="Each curve is one run. The ring marks the layer that was chosen on training pairs.",
    )
    for i, (name, curve) in enumerate(curves.items()):
        style = {"color": COLOURS[i % len(COLOURS)], "symbol": SYMBOLS[i % len(SYMBOLS)]}
        figure.add_scatter(
            x=[depth for depth, _, _ in curve],
            y=[auroc.value for _, _, auroc in curve],
            customdata=[[layer, auroc.low, auroc.high] for _, layer, auroc in curve],
            mode="lines+markers",
            line={"color": style["color"], "width": 2},
            marker={**style, "size": 7},
            name=plotly_text(name, 60),
            hovertemplate="layer %{customdata[0]}<br>%{y:.3f} [%{customdata[1]:.3f}, "
            "%{customdata[2]:.3f}]<extra>%{fullData.name}</extra>",
        )
        for depth, layer, auroc in curve:
            if layer == runs[name].selected_layer:
                figure.add_scatter(
                    x=[depth],
                    y=[auroc.value],
                    mode="markers",
                    marker={"symbol": "circle-open", "size": 16, "color": style["color"]},
                    showlegend=False,
                    hoverinfo="skip",
                )
    figure.add_hline(y=0.5, line={"color": GREY, "dash": "dot", "width": 1})
    figure.update_xaxes(range=[-0.03, 1.03], zeroline=False)
    return figure


def compared_aurocs(measured: Mapping[str, Sequence[Measure]]) -> go.Figure | None:
    """Held-out and hard pairs of each run, row by row."""
    rows = [
        Dot(
            f"{run}: {m.name.removeprefix('AUROC, ')}",
            m.value,
            m.low,
            m.high,
            COLOURS[i % len(COLOURS)],
        )
        for i, (run, column) in enumerate(measured.items())
        for m in column
        if m.name.startswith("AUROC")
    ]
    if not rows:
        return None
    best = max(rows, key=lambda row: row.value)
    return dots(
        "AUROC of each run's direction on held-out and on hard pairs",
        "AUROC (0.5 = chance)",
        rows,
        finding=f"Highest: {best.name}, {number_text(best.value)}.",
        note="Bars are confidence intervals.",
        chance=0.5,
        span=(0.4, 1.0),
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
            colour = COLOURS[i % len(COLOURS)]
            figure.add_scatter(
                x=[alpha for alpha, _ in curves[name]],
                y=[shift for _, shift in curves[name]],
                mode="lines+markers",
                line={"color": colour, "width": 2},
                marker={"color": colour, "symbol": SYMBOLS[i % len(SYMBOLS)], "size": 8},
                name=plotly_text(name, 60),
                hovertemplate="alpha %{x}<br>shift %{y:.3f}<extra>%{fullData.name}</extra>",
            )
    figure.add_hline(y=0, line={"color": GREY, "dash": "dot", "width": 1})
    return figure
