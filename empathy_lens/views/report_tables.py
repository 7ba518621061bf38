"""The report's tables: what each holds, as plain text that the template escapes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .play_tables import play_tables
from .runs import estimate, get, numbers_of, rows
from .steering_tables import steering_tables, sweep_table
from .text import estimate_text, number_text, shortened

__all__ = ["Cell", "Table", "criteria", "facts", "run_tables"]

STATUS = {True: ("met", "met"), False: ("not met", "missed")}
ROW_LIMIT = 1000
ESTIMATOR_COLUMNS = {
    "pooling": "pooling",
    "layer": "layer",
    "cv_auroc": "CV AUROC (training)",
    "test_auroc": "held-out AUROC",
    "p_corrected": "p",
    "stability": "stability",
    "agreement": "agreement",
}
SELECTION_ROWS = {
    "estimator": "estimator",
    "pooling": "pooling",
    "layer": "layer",
    "n_tried": "configurations tried",
    "cv_auroc": "CV AUROC (training), too good: the best of all tried",
    "nested_auroc": "AUROC of the whole procedure (training, nested CV)",
    "test_auroc": "held-out AUROC",
    "p": "p",
    "over_headline": "held-out AUROC minus the run's direction",
    "gains.naive_bayes": "minus naive Bayes",
    "gains.tfidf_logistic": "minus TF-IDF and logistic regression",
    "gains.sentence_embedding": "minus sentence embedding",
    "gains.length": "minus text length",
}
CORRELATIONS = {
    "pearson": "Pearson r",
    "spearman": "Spearman ρ",
    "kendall": "Kendall τ-b",
    "partial": "Spearman ρ given length and scenario",
}


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and the number it sorts by (None: by its text)."""

    text: str
    sort: float | None = None


@dataclass(frozen=True)
class Table:
    """A table with a caption; ``note`` says what was left off."""

    name: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""

    @property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers."""
        return [any(row[i].sort is not None for row in self.rows) for i in range(len(self.columns))]


def cell(value: Any, limit: int = 400) -> Cell:
    """A cell for an Estimate, a number, a yes/no or a text."""
    point = estimate(value)
    if point is not None:
        return Cell(estimate_text(value), point[0])
    if value is None or isinstance(value, bool | dict | list):
        return Cell(number_text(value) if isinstance(value, bool) else "–")
    return Cell(shortened(value, limit))


def table(
    name: str, caption: str, columns: Sequence[str], found: Iterable[Sequence[Any]]
) -> Table | None:
    """A table, or None without rows; beyond ``ROW_LIMIT`` rows it says how many are left off."""
    listed = [list(row) for row in found]
    if not listed:
        return None
    left = len(listed) - ROW_LIMIT
    note = f"{left:,} more rows are in the run's folder." if left > 0 else ""
    cells = [[cell(value) for value in row] for row in listed[:ROW_LIMIT]]
    return Table(name, caption, columns, cells, note)


def run_tables(run: Mapping[str, Any]) -> list[Table]:
    """All tables that the saved parts allow, in the order of the report."""
    validation, evidence = run.get("validation_auroc"), run.get("evidence")
    eia, steering = run.get("eia_correlation"), run.get("steering_examples")
    layers = sorted(
        ((int(k), row) for k, row in numbers_of(validation, "layers").items() if k.isdecimal()),
        key=lambda pair: pair[0],
    )
    of_layers = get(run.get("cosines"), "layers")
    measures = ("auroc", "accuracy", "separation", "cv_auroc", "raw_norm")
    made = [
        table(
            "layers",
            "Each layer's direction on held-out pairs [confidence interval]",
            ("layer", "AUROC", "accuracy", "separation", "CV AUROC (training)", "class gap"),
            ([k, *(get(row, m) for m in measures)] for k, row in layers),
        ),
        table(
            "baselines",
            "AUROC of the probe and of baselines, held-out pairs",
            ("reader", "AUROC"),
            _named({"the probe": get(evidence, "probe")}, numbers_of(evidence, "baselines")),
        ),
        table(
            "nulls",
            "What directions without meaning reach (AUROC)",
            ("null", "mean", "sd", "95th percentile", "99th percentile", "draws"),
            (
                [_words(name), *(get(row, key) for key in ("mean", "sd", "p95", "p99", "n"))]
                for name, row in numbers_of(evidence, "nulls").items()
                if estimate(get(row, "mean")) is not None
            ),
        ),
        table(
            "estimators",
            "Ways of making the direction (p allows for all rows having been tried)",
            ("estimator", *ESTIMATOR_COLUMNS.values()),
            (
                [_words(name), *(get(row, key) for key in ESTIMATOR_COLUMNS)]
                for name, row in numbers_of(evidence, "estimators").items()
            ),
        ),
        table(
            "selection",
            "Layer, estimator and pooling chosen by cross-validation on training pairs",
            ("figure", "value"),
            (
                [words, value]
                for key, words in SELECTION_ROWS.items()
                if (value := get(evidence, "selection", *key.split("."))) is not None
            ),
        ),
        table(
            "transfer",
            "AUROC beyond the held-out pairs",
            ("test", "AUROC"),
            _named(
                {"all hard pairs": get(evidence, "hard_pairs", "all")},
                numbers_of(evidence, "hard_pairs", "by_kind"),
                {"telling words masked": get(evidence, "lexically_ablated", "auroc")},
                {
                    f"telling words masked: {name}": value
                    for name, value in numbers_of(
                        evidence, "lexically_ablated", "baselines"
                    ).items()
                },
                *(
                    {
                        f"left-out {what}: {name}": value
                        for name, value in numbers_of(evidence, f"leave_one_{what}_out").items()
                    }
                    for what in ("scenario", "source", "format")
                ),
            ),
        ),
        table(
            "contrasts",
            "Other contrasts that the direction should not read",
            ("contrast", "AUROC", "p after Holm", "cosine of the directions"),
            (
                [_words(name), *(get(row, key) for key in ("auroc", "p_holm", "cosine"))]
                for name, row in numbers_of(evidence, "contrasts").items()
            ),
        ),
        table(
            "rubric_correlation",
            "Projection and rubric score, correlations over completions",
            ("correlation", "value", "p"),
            (
                [words, value, get(value, "p")]
                for key, words in CORRELATIONS.items()
                if estimate(value := get(eia, "rubric", key)) is not None
            ),
        ),
        table(
            "scenarios",
            "Rubric score and projection, by scenario (Spearman correlation; mean projection)",
            ("scenario", "Spearman", "n", "score 0", "score 1", "score 2"),
            (
                [
                    _words(name),
                    get(row, "spearman"),
                    get(row, "n"),
                    *(get(row, "mean_by_score", score) for score in "012"),
                ]
                for name, row in numbers_of(eia, "rubric", "per_scenario").items()
            ),
        ),
        *(table(*found) for found in play_tables(get(eia, "on_policy"), run.get("steered_play"))),
        table(
            "cosines",
            "Cosine of our direction with each contrast's own (95% of shuffled ones are below)",
            ("layer", "contrast", "cosine", "shuffled, 95%"),
            (
                [layer, _words(name), get(row, "cosine"), get(row, "shuffled_p95")]
                for name, by_layer in numbers_of(run.get("cosines"), "contrasts").items()
                if isinstance(by_layer, list) and isinstance(of_layers, list)
                for layer, row in zip(of_layers, by_layer, strict=False)
            ),
        ),
        *(table(*found) for found in steering_tables(steering)),
        table(*sweep_table(run.get("steering_sweep"))),
        table(
            "projections",
            "Held-out texts (projection − threshold, in class gaps)",
            ("pair", "scenario", "side", "projection", "text"),
            (
                [
                    row.get("pair_id"),
                    _words(str(row.get("scenario_id"))),
                    {True: "empathic", False: "task-focused"}.get(row.get("label") is True),
                    row.get("projection"),
                    row.get("text"),
                ]
                for row in rows(validation, "projections")
            ),
        ),
        table(
            "rubric",
            "Rubric completions (projection − threshold, in class gaps)",
            ("completion", "scenario", "score", "projection"),
            (
                [
                    row.get("completion_id"),
                    _words(str(row.get("scenario_id"))),
                    row.get("score"),
                    row.get("projection"),
                ]
                for row in rows(eia, "rubric", "items")
            ),
        ),
    ]
    return [one for one in made if one is not None]


def criteria(summary: Any) -> Sequence[Mapping[str, str]]:
    """The criteria with their state in words: met, not met or not measured."""
    found = []
    for row in rows(summary, "criteria"):
        met = row.get("met")
        state, css = STATUS[met] if isinstance(met, bool) else ("not measured", "unknown")
        found.append(
            {
                "level": shortened(row.get("level", ""), 40),
                "name": shortened(row.get("name", ""), 300),
                "value": cell(row.get("value")).text,
                "state": state,
                "css": css,
                "detail": shortened(row.get("detail") or "", 1000),
            }
        )
    return found


def facts(data: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Name and value of every leaf of a mapping, nested names joined by a dot."""
    found: list[tuple[str, str]] = []
    for key, value in (data if isinstance(data, dict) else {}).items():
        name = f"{prefix}{shortened(key, 100)}"
        if isinstance(value, dict) and estimate(value) is None:
            found += facts(value, f"{name}.")
        elif isinstance(value, list):
            found.append((name, shortened(", ".join(map(str, value)) or "none", 400)))
        else:
            is_text = isinstance(value, str)
            found.append((name, shortened(value, 1000) if is_text else estimate_text(value)))
    return found


def _named(*mappings: Mapping[str, Any]) -> list[list[Any]]:
    return [
        [_words(name), value]
        for mapping in mappings
        for name, value in mapping.items()
        if value is not None
    ]


def _words(name: str) -> str:
    return name.replace("_", " ")
