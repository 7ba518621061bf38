"""One file that shows a whole run, anywhere and offline: ``report.html``.

Built from the run's folder alone, and from whatever part of a run is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from markupsafe import Markup

from .figures import GROUPS, run_figures
from .headline import measures, tally, verdicts
from .page import render
from .report_tables import criteria, facts, run_tables
from .runs import estimate, get, plain, read_run, rows
from .steering_tables import recommendations
from .text import json_island, number_text, prose, ranges, shortened, signed_text
from .token_sides import TokenSide, saved_side
from .tokens_html import tokens_fragment

__all__ = ["MAX_BYTES", "build_report"]

MAX_BYTES = 8_000_000
# (items kept of each list, characters kept of each text): the first that fits is taken.
LIMITS = ((None, 100_000), (1000, 4000), (300, 1000), (100, 300), (20, 100))


def build_report(folder: Path) -> str:
    """The report of a run's folder as one self-contained HTML page of at most 8 MB.

    Parts that are not there yet are left out and named; a file that cannot be read is reported
    on the page. A run too large for the limit is shortened, and the page says so. Raises
    InputError where the folder is no run's folder.
    """
    run, problems = read_run(Path(folder))
    page = ""
    for items, characters in LIMITS:
        page = _page(_cut(run, items, characters), problems, items)
        if len(page.encode()) <= MAX_BYTES:
            break
    return page


def _cut(data: Any, items: int | None, characters: int) -> Any:
    """The data with long lists and long texts shortened, all the way down."""
    if isinstance(data, dict):
        kept = list(data.items())[: None if items is None else max(items, 100)]
        cut: dict[str, Any] = {}
        for key, value in kept:
            name = shortened(key, characters)
            while name in cut:  # Two long names may be cut to one.
                name += "′"
            cut[name] = _cut(value, items, characters)
        return cut
    if isinstance(data, list):
        return [_cut(value, items, characters) for value in data[:items]]
    return shortened(data, characters) if isinstance(data, str) else data


def _page(run: Mapping[str, Any], problems: list[str], items: int | None) -> str:
    config, summary, evidence = (run.get(k, {}) for k in ("config", "summary", "evidence"))
    notes = [f"Could not be read: {problem}" for problem in problems]
    if items is not None:
        notes.append(
            f"Shortened to stay below 8 MB: at most {items} items of each list are shown and "
            "drawn. The run's folder holds all of them."
        )
    found_verdicts = verdicts(evidence)
    return render(
        "report.html",
        model=shortened(get(config, "model_name") or get(config, "model") or "unnamed model", 200),
        command=shortened(get(config, "command") or "", 4000),
        asked=_asked(config, run),
        notes=[shortened(note, 1000) for note in notes],
        missing=_missing(run),
        criteria=criteria(summary),
        finding=prose(get(evidence, "headline", "text") or "", 1000),
        verdicts=found_verdicts,
        tally=tally(found_verdicts),
        measures=measures(run),
        figures=_figures(run),
        tables=run_tables(run),
        token_views=_token_views(run.get("token_views")),
        steering=_steering(run.get("steering_examples"), run.get("steering_sweep")),
        provenance=[*facts(get(config, "provenance")), *facts(get(config, "data"), "data.")],
        versions=facts(get(config, "versions") or get(summary, "versions")),
        stages=_stages(summary),
        totals=_totals(summary),
    )


def _asked(config: Any, run: Mapping[str, Any]) -> list[tuple[str, str]]:
    validation = run.get("validation_auroc")
    found = []
    selected = get(validation, "selected_layer")
    if selected is not None:
        found.append(("chosen layer", number_text(selected)))
    if get(validation, "selection"):
        found.append(("chosen by", shortened(get(validation, "selection"), 300)))
    layers = config.get("layers")
    if isinstance(layers, list):
        found.append(("layers", shortened(ranges(layers), 200)))
    files = (
        ("pairs_train", "train", "training pairs"),
        ("pairs_test", "test", "held-out pairs"),
        ("rubric", "rubric", "rubric completions"),
    )
    for part, name, words in files:
        if config.get(part) is not None:
            # The folder is the run's machine's own business.
            file = shortened(str(config[part]).replace("\\", "/").rpartition("/")[2], 200)
            n = get(config, "data", name, "n")
            found.append((words, f"{file} ({n})" if plain(n) else file))
    names = ("pooling", "backend", "dtype", "device", "seed")
    return found + facts({k: config[k] for k in names if config.get(k) is not None})


def _missing(run: Mapping[str, Any]) -> list[str]:
    parts = {
        "validation_auroc": "validation",
        "evidence": "evidence",
        "eia_correlation": "EIA rubric",
        "steering_examples": "steering",
        "cosines": "cosines",
        "summary": "summary",
    }
    return [name for part, name in parts.items() if part not in run]


def _figures(run: Mapping[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """The figures as the template wants them, by group; groups without any are left out."""
    drawn = {name: charted(name, figure) for name, figure in run_figures(run).items()}
    grouped = [
        (group, [drawn[name] for name in names if name in drawn]) for group, names in GROUPS.items()
    ]
    return [(group, found) for group, found in grouped if found]


def charted(name: str, figure: go.Figure) -> dict[str, Any]:
    """One figure with its words, its data as JSON that cannot end its script element."""
    return {
        "name": name,
        "title": figure.layout.title.text,
        "finding": figure.layout.meta["finding"],
        "note": figure.layout.meta["note"],
        "height": figure.layout.height,
        "json": Markup(json_island(figure.to_json())),
    }


def _token_views(views: Any) -> list[dict[str, Any]]:
    """The saved examples, drawn by the same code as ``token_view``; a pair's sides together."""
    layer, layers = get(views, "layer"), get(views, "layers")
    if not isinstance(layers, list) or layer not in layers:
        return []
    grouped: dict[tuple[str, str], list[TokenSide]] = {}
    for row in rows(views, "examples"):
        side = saved_side(row, len(layers))
        if side is not None:
            key = (str(row.get("title", "")), str(row.get("pair_id", "")))
            grouped.setdefault(key, []).append(side)
    return [
        {
            "title": shortened(title, 300),
            "item": shortened(pair_id, 300),
            "html": Markup(tokens_fragment(sides, layers, layer)),
        }
        for (title, pair_id), sides in grouped.items()
    ]


def _steering(steering: Any, sweep: Any) -> dict[str, Any] | None:
    """Completions of one prompt side by side, in the order of alpha; without them the sweep's."""
    answers = recommendations(steering) + recommendations(sweep)
    steering = steering or sweep
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows(steering, "examples"):
        key = (str(row.get("scenario_id", "")), str(row.get("prompt", "")), str(row.get("seed")))
        groups.setdefault(key, []).append(row)
    if not groups:
        return None
    return {
        "rule": prose(get(steering, "rule") or "", 1000),
        "answers": [prose(answer, 1000) for answer in answers],
        "groups": [
            {
                "scenario": prose(scenario, 200),
                "prompt": shortened(prompt, 4000),
                "seed": shortened(seed, 40),
                "columns": [
                    _completion(row)
                    for row in sorted(found, key=lambda r: (estimate(r.get("alpha")) or (0.0,))[0])
                ],
            }
            for (scenario, prompt, seed), found in groups.items()
        ],
    }


def _completion(row: Mapping[str, Any]) -> dict[str, str]:
    alpha = row.get("alpha")
    shift, success = row.get("shift"), row.get("success")
    measured = []
    if plain(shift):
        measured.append(f"log-odds shift {signed_text(round(shift, 3))}")
    if plain(row.get("repetition")):
        measured.append(f"repetition {number_text(float(row['repetition']), 2)}")
    if row.get("finished") is False:
        measured.append("cut at the token limit")
    if isinstance(success, bool):
        measured.append("success" if success else "no success")
    if plain(row.get("judged")):
        measured.append(f"judged empathic {number_text(float(row['judged']), 2)}")
    perplexity = get(row, "coherence", "perplexity")
    if plain(perplexity):
        measured.append(f"perplexity {number_text(float(perplexity), 1)}")
    return {
        "alpha": signed_text(float(alpha)) if plain(alpha) else number_text(alpha),
        "unsteered": "yes" if alpha == 0 else "",
        "text": shortened(row.get("completion", ""), 4000),
        "measured": " · ".join(measured),
    }


def _stages(summary: Any) -> list[tuple[str, str, str]]:
    return [
        (
            shortened(row.get("name", ""), 100),
            number_text(row.get("seconds"), 1),
            number_text(row.get("peak_rss_mb"), 0),
        )
        for row in rows(summary, "stages")
    ]


def _totals(summary: Any) -> tuple[str, str] | None:
    seconds, peak = get(summary, "wall_seconds"), get(summary, "peak_rss_mb")
    return None if seconds is None else (number_text(seconds, 1), number_text(peak, 0))
