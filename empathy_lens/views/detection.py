"""Detection: how held-out texts and rubric completions lie along the direction."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from ..evidence import Evidence, NullDistribution
from ..evidence.rubric import EiaCorrelation
from ..evidence.validation import HeldOutProjection, LayerResult, ValidationResult
from ..types import Concept
from .tables import Table, table
from .text import estimate_text, number_text, plotly_text, words
from .theme import COLOURS, GREY, NEGATIVE, POSITIVE, SYMBOLS, faint, new_figure

__all__ = [
    "auroc_by_layer",
    "layer_table",
    "projection_distributions",
    "projection_table",
    "rubric_tables",
    "score_against_projection",
]

CORRELATIONS = {
    "pearson": "Pearson r",
    "spearman": "Spearman ρ",
    "kendall": "Kendall τ-b",
    "partial": "Spearman ρ given length and scenario",
}


def auroc_by_layer(
    validation: ValidationResult, evidence: Evidence | None = None
) -> go.Figure | None:
    """AUROC of every layer with its interval, and the random directions' band at the chosen one."""
    layers = _by_number(validation)
    if not layers:
        return None
    x, aurocs = list(layers), [row.auroc for row in layers.values()]
    null = evidence.nulls.random_directions if evidence else None
    figure = new_figure(
        "AUROC of the direction on held-out pairs, by layer (0.5 = chance)",
        "layer",
        "AUROC (0 to 1)",
        finding=_layers_finding(layers, validation.selected_layer, null),
        note="Line: held-out AUROC of each layer. Shaded: its confidence interval. "
        "Dotted: cross-validated AUROC on the training pairs, on which the layer was chosen.",
    )
    figure.add_scatter(
        x=x + x[::-1],
        y=[a.high for a in aurocs] + [a.low for a in aurocs[::-1]],
        mode="lines",
        fill="toself",
        fillcolor=faint(POSITIVE),
        line={"width": 0},
        hoverinfo="skip",
        name=f"{aurocs[0].confidence:.0%} interval",
    )
    figure.add_scatter(
        x=x,
        y=[a.value for a in aurocs],
        customdata=[[a.low, a.high] for a in aurocs],
        mode="lines+markers",
        line={"color": POSITIVE, "width": 2},
        name="held-out",
        hovertemplate="layer %{x}<br>%{y:.3f} [%{customdata[0]:.3f}, %{customdata[1]:.3f}]"
        "<extra></extra>",
    )
    figure.add_scatter(
        x=x,
        y=[row.cv_auroc for row in layers.values()],
        mode="lines",
        line={"color": COLOURS[2], "dash": "dot", "width": 2},
        name="cross-validated (training)",
    )
    if null is not None:
        _add_random_band(figure, x, null)
    if validation.selected_layer in layers:
        figure.add_scatter(
            x=[validation.selected_layer],
            y=[layers[validation.selected_layer].auroc.value],
            mode="markers",
            marker={"symbol": "circle-open", "size": 16, "color": NEGATIVE, "line": {"width": 3}},
            name=f"chosen layer {validation.selected_layer}",
        )
    figure.update_yaxes(range=[min(0.4, *(a.low for a in aurocs)) - 0.02, 1.02])
    figure.update_xaxes(dtick=max(1, -(-len(x) // 12)), zeroline=False)
    return figure


def _by_number(validation: ValidationResult) -> dict[int, LayerResult]:
    return dict(sorted(validation.layers.items(), key=lambda at: at[0]))


def _layers_finding(
    layers: dict[int, LayerResult], selected: int, null: NullDistribution | None
) -> str:
    chosen = layers.get(selected)
    said = f"The chosen layer {selected} reaches {estimate_text(chosen.auroc)}. " if chosen else ""
    if null is None:
        return said
    above = sum(row.auroc.value > null.p95 for row in layers.values())
    return (
        f"{said}{above} of {len(layers)} layers lie above the 95th percentile of "
        f"{number_text(null.n)} random directions at the chosen layer ({number_text(null.p95)})."
    )


def _add_random_band(figure: go.Figure, x: list[int], null: NullDistribution) -> None:
    low, high = max(null.mean - null.sd, 0.0), min(null.mean + null.sd, 1.0)
    figure.add_scatter(
        x=[x[0], x[-1], x[-1], x[0]],
        y=[low, low, high, high],
        mode="lines",
        fill="toself",
        fillcolor="rgba(127,127,127,0.18)",
        line={"width": 0},
        hoverinfo="skip",
        name="random directions, mean ± sd",
    )
    figure.add_scatter(
        x=[x[0], x[-1]],
        y=[null.p95, null.p95],
        mode="lines",
        line={"color": GREY, "dash": "dash", "width": 1.5},
        name="random, 95th percentile",
    )


def projection_distributions(validation: ValidationResult, concept: Concept) -> go.Figure | None:
    """Where the held-out texts of each class project, scenario by scenario."""
    items = validation.projections
    if not items:
        return None
    figure = new_figure(
        "Projection of held-out texts, by class and scenario (0 = threshold)",
        "",
        "projection − threshold (mean class gaps)",
        height=440,
        finding=_sides_finding(items, concept),
        note=f"Each point is one text. Above 0 a text is read as {concept.positive}. One unit is "
        "the gap between the class means on the training pairs.",
    )
    scenarios = list(dict.fromkeys(item.scenario_id for item in items))
    for label, name, colour, symbol in (
        (True, concept.positive, POSITIVE, "circle"),
        (False, concept.negative, NEGATIVE, "diamond"),
    ):
        mine = [item for item in items if item.label is label]
        figure.add_box(
            # A scenario's name is text to be shown: as a category it could be read as a number.
            x=[scenarios.index(item.scenario_id) for item in mine],
            y=[item.projection for item in mine],
            text=[f"{plotly_text(i.pair_id, 80)}<br>{plotly_text(i.text)}" for i in mine],
            hovertemplate="%{text}<br>projection %{y:.3f}<extra></extra>",
            name=plotly_text(name, 40),
            offsetgroup=plotly_text(name, 40),
            boxpoints="all",
            jitter=0.5,
            pointpos=0,
            fillcolor=faint(colour),
            line={"color": colour, "width": 1},
            marker={"color": colour, "symbol": symbol, "size": 6, "opacity": 0.8},
        )
    figure.add_hline(y=0, line={"color": GREY, "dash": "dot", "width": 1.5})
    figure.update_layout(boxmode="group")
    figure.update_xaxes(
        tickvals=list(range(len(scenarios))),
        ticktext=[plotly_text(words(name), limit=40, width=10) for name in scenarios],
        tickangle=0,
        range=[-0.5, len(scenarios) - 0.5],
        showgrid=False,
        zeroline=False,
    )
    return figure


def _sides_finding(items: Sequence[HeldOutProjection], concept: Concept) -> str:
    parts = []
    for label, name in ((True, concept.positive), (False, concept.negative)):
        right = [(item.projection > 0) == label for item in items if item.label is label]
        parts.append(f"{sum(right)} of {len(right)} {name}")
    return f"{' and '.join(parts)} texts lie on their side of the threshold."


def score_against_projection(eia: EiaCorrelation, concept: Concept) -> go.Figure | None:
    """Rubric score of each completion against its projection, with each scenario's means."""
    rubric = eia.rubric
    if not rubric.items:
        return None
    figure = new_figure(
        "Projection of rubric completions, by score (0 to 2)",
        "rubric score "
        f"(0 = {plotly_text(concept.negative, 40)}, 2 = {plotly_text(concept.positive, 40)})",
        "projection − threshold (mean class gaps)",
        height=440,
        finding=f"Pearson r = {estimate_text(rubric.pearson)} over {len(rubric.items)} "
        "completions.",
        note="Each point is one completion written to earn a score of the rubric; points are "
        "spread sideways by scenario. Lines join the scenario's means.",
    )
    scenarios = list(dict.fromkeys(item.scenario_id for item in rubric.items))
    for i, scenario in enumerate(scenarios):
        mine = [item for item in rubric.items if item.scenario_id == scenario]
        shift = 0.5 * ((i + 0.5) / len(scenarios) - 0.5)
        style = {"color": COLOURS[i % len(COLOURS)], "symbol": SYMBOLS[i % len(SYMBOLS)]}
        figure.add_scatter(
            x=[item.score + shift for item in mine],
            y=[item.projection for item in mine],
            text=[plotly_text(item.completion_id, 80) for item in mine],
            customdata=[item.score for item in mine],
            mode="markers",
            marker={**style, "size": 7, "opacity": 0.75},
            hovertemplate="%{text}<br>score %{customdata}, projection %{y:.3f}<extra></extra>",
            name=plotly_text(words(scenario), 40),
            legendgroup=str(i),
        )
        if scenario in rubric.per_scenario:
            by_score = rubric.per_scenario[scenario].mean_by_score
            means = sorted((int(score), mean) for score, mean in by_score.items())
            figure.add_scatter(
                x=[s + shift for s, _ in means],
                y=[mean for _, mean in means],
                mode="lines",
                line={"color": style["color"], "width": 2},
                legendgroup=str(i),
                showlegend=False,
                hoverinfo="skip",
            )
    figure.add_hline(y=0, line={"color": GREY, "dash": "dot", "width": 1})
    figure.update_xaxes(tickvals=sorted({item.score for item in rubric.items}), zeroline=False)
    return figure


def layer_table(validation: ValidationResult) -> Table | None:
    """Each layer's direction on held-out pairs."""
    return table(
        "layers",
        "Each layer's direction on held-out pairs [confidence interval]",
        ("layer", "AUROC", "accuracy", "separation", "CV AUROC (training)", "class gap"),
        (
            (layer, row.auroc, row.accuracy, row.separation, row.cv_auroc, row.raw_norm)
            for layer, row in _by_number(validation).items()
        ),
    )


def projection_table(validation: ValidationResult, concept: Concept) -> Table | None:
    """Every held-out text."""
    return table(
        "projections",
        "Held-out texts (projection − threshold, in class gaps)",
        ("pair", "scenario", "side", "projection", "text"),
        (
            (
                item.pair_id,
                words(item.scenario_id),
                concept.positive if item.label else concept.negative,
                item.projection,
                item.text,
            )
            for item in validation.projections
        ),
    )


def rubric_tables(eia: EiaCorrelation) -> list[Table | None]:
    """Correlations with the rubric, scenario by scenario, and every completion."""
    rubric = eia.rubric
    return [
        table(
            "rubric_correlation",
            "Projection and rubric score, correlations over completions",
            ("correlation", "value", "p"),
            (
                (what, value, value.p)
                for name, what in CORRELATIONS.items()
                if (value := getattr(rubric, name)) is not None
            ),
        ),
        table(
            "scenarios",
            "Rubric score and projection, by scenario (Spearman correlation; mean projection)",
            ("scenario", "Spearman", "n", "score 0", "score 1", "score 2"),
            (
                (words(name), row.spearman, row.n, *(row.mean_by_score.get(s) for s in "012"))
                for name, row in rubric.per_scenario.items()
            ),
        ),
        table(
            "rubric",
            "Rubric completions (projection − threshold, in class gaps)",
            ("completion", "scenario", "score", "projection"),
            (
                (item.completion_id, words(item.scenario_id), item.score, item.projection)
                for item in rubric.items
            ),
        ),
    ]
