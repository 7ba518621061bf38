"""One file that shows a whole run, anywhere and offline: ``report.html``.

Built from the run's folder alone, and from whatever part of a run is there.
"""

from __future__ import annotations

import html
from pathlib import Path
from typing import Literal

import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from ..engine.token_projections import TokenExample
from ..errors import InputError
from ..files import atomic_path, write_text
from ..results import to_plain
from .figures import GROUPS, run_figures, run_tables
from .headline import by_direction, measures, tally, verdicts
from .page import render
from .run_results import RunResults, cut, read_run
from .steering import side_by_side
from .tables import criteria, facts
from .text import json_island, number_text, prose, ranges, shortened
from .token_page import tokens_fragment

MAX_BYTES = 8_000_000
KALEIDO = "pip install 'kaleido>=1', and have Chrome or Chromium"
# (items kept of each list, characters kept of each text): the first that fits is taken.
LIMITS = ((10**9, 100_000), (1000, 4000), (300, 1000), (100, 300), (20, 100))


def write_report(folder: Path) -> Path:
    """Writes ``figures/*.html`` and ``report.html`` of a run's folder; the report's path.

    Figures share one copy of plotly.js in their folder; the report holds its own.
    """
    run = read_run(folder)
    figures = folder / "figures"
    for name, figure in run_figures(run).items():
        # An id of its own making would be random, and two equal runs would differ in it.
        page = figure.to_html(include_plotlyjs="plotly.min.js", div_id=f"plot-{name}")
        write_text(figures / f"{name}.html", page)
    write_text(figures / "plotly.min.js", get_plotlyjs())
    report = folder / "report.html"
    write_text(report, build_report(folder))
    return report


def write_images(folder: Path, kind: Literal["png", "svg"]) -> list[Path]:
    """Writes ``figures/*.png`` or ``*.svg`` of a run's folder; their paths.

    Raises InputError where kaleido is not installed or finds no browser to draw with.
    """
    run = read_run(folder)
    paths = []
    for name, figure in run_figures(run).items():
        try:
            picture = figure.to_image(format=kind, width=900, scale=2 if kind == "png" else 1)
        except ValueError as error:  # What plotly raises without kaleido.
            raise InputError(f"pictures need kaleido: {KALEIDO} ({_first(error)})") from None
        except RuntimeError as error:
            raise InputError(f"kaleido drew no picture: {KALEIDO} ({_first(error)})") from None
        path = folder / "figures" / f"{name}.{kind}"
        with atomic_path(path) as temporary:
            temporary.write_bytes(picture)
        paths.append(path)
    return paths


def _first(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def build_report(folder: Path) -> str:
    """The report of a run's folder as one self-contained HTML page of at most 8 MB.

    Parts that are not there yet are left out and named; a file that cannot be read is reported
    on the page. A run too large for the limit is shortened, and the page says so. Raises
    InputError where the folder is no run's folder.
    """
    run = read_run(Path(folder))
    notes = [f"Could not be read: {problem}" for problem in run.problems]
    notes += mixed(run)
    page = ""
    for items, characters in LIMITS:
        shortening = (
            f"Shortened to stay below 8 MB: at most {items} items of each list are shown and "
            "drawn. The run's folder holds all of them."
        )
        page = _page(cut(run, items, characters), [*notes, *([shortening] if page else [])])
        if len(page.encode()) <= MAX_BYTES:
            break
    return page


def mixed(run: RunResults) -> list[str]:
    """What a page says where its folder holds files of several runs."""
    if not (others := run.from_elsewhere):
        return []
    whose = f"run {run.identity}" if run.identity else "a run that its files do not name"
    return [f"Files of several runs: this is {whose}; {'; '.join(others)}."]


def _page(run: RunResults, notes: list[str]) -> str:
    config, summary, evidence = run.config, run.summary, run.evidence
    claims, concept = verdicts(evidence), run.concept
    origin = config or summary
    return render(
        "report.html",
        model=shortened((config and config.model_name) or "unnamed model", 200),
        concept=shortened(concept.name, 60),
        poles=(shortened(concept.positive, 60), shortened(concept.negative, 60)),
        command=shortened(config.command if config else "", 4000),
        asked=_asked(run),
        notes=[shortened(note, 1000) for note in notes],
        missing=_missing(run),
        criteria=criteria(summary),
        finding=prose(evidence.headline.text if evidence else "", 1000),
        verdicts=by_direction(claims),
        tally=tally(claims),
        measures=measures(run),
        figures=_figures(run),
        tables=run_tables(run),
        token_views=_token_views(run),
        steering=side_by_side(run),
        provenance=_provenance(run),
        versions=facts(origin.versions if origin else {}),
        stages=[
            (shortened(stage.name, 100), *_cost(stage.seconds, stage.peak_rss_mb))
            for stage in (summary.stages if summary else ())
        ],
        totals=summary and _cost(summary.wall_seconds, summary.peak_rss_mb),
    )


def _cost(seconds: float, peak_rss_mb: float) -> tuple[str, str]:
    return number_text(seconds, 1), number_text(peak_rss_mb, 0)


def _asked(run: RunResults) -> list[tuple[str, str]]:
    asked = [("run", shortened(str(run.identity), 200))] if run.identity else []
    if validation := run.validation_auroc:
        asked.append(("chosen layer", number_text(validation.selected_layer)))
        asked.append(("chosen by", shortened(validation.selection, 300)))
    if config := run.config:
        asked.append(("layers", shortened(ranges(config.layers), 200)))
        for file, part, what in (
            (config.pairs_train, "train", "training pairs"),
            (config.pairs_test, "test", "held-out pairs"),
            (config.rubric, "rubric", "rubric completions"),
        ):
            if file:
                # The folder is the run's machine's own business.
                name = shortened(file.replace("\\", "/").rpartition("/")[2], 200)
                read = config.data.get(part)
                asked.append((what, f"{name} ({read.n})" if read else name))
        kept = ("pooling", "backend", "dtype", "device", "seed")
        asked += facts({name: getattr(config, name) for name in kept})
    return asked


def _provenance(run: RunResults) -> list[tuple[str, str]]:
    rows = facts(vars(run.identity), "run.") if run.identity else []
    if (config := run.config) is None:
        return rows
    return [*rows, *facts(vars(config.provenance)), *facts(to_plain(config)["data"], "data.")]


def _missing(run: RunResults) -> list[str]:
    parts = {
        "validation": run.validation_auroc,
        "evidence": run.evidence,
        "rubric scores": run.eia_correlation,
        "steering": run.steering_examples,
        "cosines": run.cosines,
        "summary": run.summary,
    }
    return [name for name, part in parts.items() if part is None]


def _figures(run: RunResults) -> list[tuple[str, list[dict[str, str]]]]:
    """The figures as the template wants them, by group; groups without any are left out."""
    drawn = {name: charted(name, figure) for name, figure in run_figures(run).items()}
    grouped = [
        (group, [drawn[name] for name in names if name in drawn]) for group, names in GROUPS.items()
    ]
    return [(group, charts) for group, charts in grouped if charts]


def charted(name: str, figure: go.Figure) -> dict[str, str]:
    """One figure with its words, its data as JSON that cannot end its script element."""
    return {
        "name": name,
        "title": html.unescape(figure.layout.title.text),
        "finding": figure.layout.meta["finding"],
        "note": figure.layout.meta["note"],
        "height": figure.layout.height,
        "json": Markup(json_island(figure.to_json())),
    }


def _token_views(run: RunResults) -> list[dict[str, str]]:
    """The saved examples, drawn by the same code as ``token_view``; a pair's sides together."""
    if (views := run.token_views) is None:
        return []
    grouped: dict[tuple[str, str], list[TokenExample]] = {}
    for example in views.examples:
        grouped.setdefault((example.title, example.pair_id), []).append(example)
    return [
        {
            "title": shortened(title, 300),
            "item": shortened(pair_id, 300),
            "html": Markup(tokens_fragment(sides, views.layers, views.layer, run.concept)),
        }
        for (title, pair_id), sides in grouped.items()
    ]
