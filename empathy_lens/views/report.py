"""One file that shows a whole run, anywhere and offline: ``report.html``.

Built from the run's folder alone, and from whatever part of a run is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from .figures import run_figures
from .page import security_policy, template_text
from .report_tables import criteria, facts, run_tables
from .runs import estimate, get, numbers_of, plain, read_run, rows
from .steering_tables import recommendations
from .text import estimate_text, json_island, number_text, shortened, signed_text
from .token_sides import TokenSide, saved_side
from .tokens_html import tokens_fragment

__all__ = ["MAX_BYTES", "build_report"]

MAX_BYTES = 8_000_000
# (items kept of each list, characters kept of each text): the first that fits is taken.
LIMITS = ((None, 100_000), (1000, 4000), (300, 1000), (100, 300), (20, 100))
VERDICTS = {"supported": "yes", "not supported": "no", "cannot tell": "unknown"}


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
    environment = Environment(
        loader=PackageLoader("empathy_lens.views", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Only what this package wrote itself is exempt from escaping.
    plotly_js = get_plotlyjs().replace("\r", "")
    own_js = template_text("tokens.js") + template_text("report.js")
    config, summary, evidence = (run.get(k, {}) for k in ("config", "summary", "evidence"))
    notes = [f"Could not be read: {problem}" for problem in problems]
    if items is not None:
        notes.append(
            f"Shortened to stay below 8 MB: at most {items} items of each list are shown and "
            "drawn. The run's folder holds all of them."
        )
    return environment.get_template("report.html").render(
        policy=security_policy(plotly_js, own_js),
        plotly_js=Markup(plotly_js),
        own_js=Markup(own_js),
        css=Markup(template_text("tokens.css") + template_text("report.css")),
        model=shortened(get(config, "model_name") or get(config, "model") or "unnamed model", 200),
        command=shortened(get(config, "command") or "", 4000),
        asked=_asked(config, run),
        notes=[shortened(note, 1000) for note in notes],
        missing=_missing(run),
        criteria=criteria(summary),
        verdicts=_verdicts(evidence),
        headline=[(name.replace("_", " "), value) for name, value in _headline(run)],
        figures=_figures(run),
        tables=run_tables(run),
        token_views=_token_views(run.get("token_views")),
        steering=_steering(run.get("steering_examples")),
        provenance=[*facts(get(config, "provenance")), *facts(get(config, "data"), "data.")],
        versions=facts(get(config, "versions") or get(summary, "versions")),
        stages=_stages(summary),
        totals=_totals(summary),
    )


def _asked(config: Any, run: Mapping[str, Any]) -> list[tuple[str, str]]:
    names = ("backend", "device", "dtype", "pooling", "layers", "seed")
    files = ("pairs_train", "pairs_test", "rubric")
    found = facts({k: config[k] for k in (*names, *files) if config.get(k) is not None})
    selected = get(run.get("validation_auroc"), "selected_layer")
    selection = get(run.get("validation_auroc"), "selection")
    if selected is not None:
        reason = f", {shortened(selection, 300)}" if selection else ""
        found.append(("chosen layer", f"{number_text(selected)}{reason}"))
    return [(name.replace("_", " "), value) for name, value in found]


def _missing(run: Mapping[str, Any]) -> list[str]:
    parts = {
        "validation_auroc": "validation",
        "evidence": "evidence",
        "eia_correlation": "EIA rubric",
        "steering_examples": "steering",
        "summary": "summary",
    }
    return [name for part, name in parts.items() if part not in run]


def _verdicts(evidence: Any) -> list[dict[str, str]]:
    return [
        {
            "claim": shortened(row.get("claim", ""), 500),
            "verdict": shortened(row.get("verdict", "cannot tell"), 60),
            "css": VERDICTS.get(str(row.get("verdict")), "unknown"),
            "because": shortened(row.get("because") or "", 1500),
        }
        for row in rows(evidence, "verdicts")
    ]


def _headline(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The few numbers to remember, each with its interval."""
    evidence, eia = run.get("evidence"), run.get("eia_correlation")
    validation, steering = run.get("validation_auroc"), run.get("steering_examples")
    layer = str(get(validation, "selected_layer"))
    auroc = get(evidence, "probe") or get(validation, "layers", layer, "auroc")
    measured = {
        "AUROC, held-out pairs": auroc,
        "probe minus best baseline (AUROC)": get(evidence, "delta_vs_best_baseline"),
        "hard pairs (AUROC)": get(evidence, "hard_pairs", "all"),
        "p, corrected for the choice of layer": get(evidence, "permutation_p_corrected"),
        "rubric score, Pearson r": get(eia, "rubric", "pearson"),
        "rubric score, Spearman ρ": get(eia, "rubric", "spearman"),
    }
    found = [(k, estimate_text(v)) for k, v in measured.items() if estimate(v) is not None]
    out_of = get(steering, "out_of")
    if out_of is not None:
        successes = number_text(get(steering, "successes"))
        found.append(("steering successes", f"{successes} of {number_text(out_of)}"))
    return found


def _figures(run: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "title": figure.layout.title.text,
            "note": figure.layout.meta["note"],
            "height": figure.layout.height,
            "json": Markup(json_island(figure.to_json())),
        }
        for name, figure in run_figures(run).items()
    ]


def _token_views(views: Any) -> list[dict[str, Any]]:
    """The saved examples, drawn by the same code as ``token_view``; a pair's sides together."""
    layer = get(views, "layer")
    number = layer if isinstance(layer, int) else 0
    grouped: dict[tuple[str, str], list[TokenSide]] = {}
    for row in rows(views, "examples"):
        side = saved_side(row)
        if side is not None:
            key = (str(row.get("title", "")), str(row.get("pair_id", "")))
            grouped.setdefault(key, []).append(side)
    return [
        {
            "title": shortened(f"{title}: {pair_id}" if pair_id else title, 300),
            "html": Markup(tokens_fragment(sides, [number], number)),
        }
        for (title, pair_id), sides in grouped.items()
    ]


def _steering(steering: Any) -> dict[str, Any] | None:
    """Completions of one prompt side by side, in the order of alpha."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows(steering, "examples"):
        key = (str(row.get("scenario_id", "")), str(row.get("prompt", "")), str(row.get("seed")))
        groups.setdefault(key, []).append(row)
    if not groups:
        return None
    return {
        "rule": shortened(get(steering, "rule") or "", 1000),
        "answers": [shortened(answer, 1000) for answer in recommendations(steering)],
        "random": facts(
            {k.replace("_", " "): v for k, v in numbers_of(steering, "random").items() if plain(v)}
        ),
        "groups": [
            {
                "scenario": shortened(scenario, 200),
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
