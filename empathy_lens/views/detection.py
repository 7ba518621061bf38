"""Detection: how held-out texts and rubric completions lie along the direction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import plotly.graph_objects as go

from ..evidence import NullDistribution
from ..evidence.validation import HeldOutProjection, LayerResult
from ..types import Concept
from .run_results import RunResults
from .tables import Table, table
from .text import estimate_text, number_text, plotly_text, words
from .theme import (
    COLOURS,
    DOTTED,
    GREY,
    NEGATIVE,
    POSITIVE,
    add_band,
    add_estimates,
    colour_of,
    faint,
    layer_axis,
    marker,
    new_figure,
)

CORRELATIONS = {
    "pearson": "Pearson r",
    "spearman": "Spearman ρ",
    "kendall": "Kendall τ-b",
    "partial": "Spearman ρ given length and scenario",
    "given_words": "Spearman ρ given length, scenario and a reader of words",
}


def auroc_by_layer(run: RunResults) -> go.Figure | None:
    """AUROC of every layer with its interval, and the random directions' band at the chosen one."""
    validation = run.validation_auroc
    if validation is None or not validation.layers:
        return None
    layers, selected = dict(sorted(validation.layers.items())), validation.selected_layer
    x, aurocs = list(layers), [row.auroc for row in layers.values()]
    null = run.evidence.nulls.random_directions if run.evidence else None
    figure = new_figure(
        "AUROC of the direction on held-out pairs, by layer (0.5 = chance)",
        "layer",
        "AUROC (0 to 1)",
        finding=_layers_finding(layers, selected, null),
        note="Line: held-out AUROC of each layer. Shaded: its confidence interval. "
        "Dotted: cross-validated AUROC on the training pairs, on which the layer was chosen.",
    )
    low, name = [a.low for a in aurocs], f"{aurocs[0].confidence:.0%} interval"
    add_band(figure, x, [a.high for a in aurocs], low, name, faint(POSITIVE))
    line = {"color": POSITIVE, "width": 2}
    add_estimates(figure, x, aurocs, "layer %{x}<br>", name="held-out", line=line)
    figure.add_scatter(
        x=x,
        y=[row.cv_auroc for row in layers.values()],
        mode="lines",
        line={"color": COLOURS[2], "dash": "dot", "width": 2},
        name="cross-validated (training)",
    )
    if null is not None:
        ends = [x[0], x[-1]]
        below, above = max(null.mean - null.sd, 0.0), min(null.mean + null.sd, 1.0)
        name = "random directions, mean ± sd"
        add_band(figure, ends, [below] * 2, [above] * 2, name, faint(GREY))
        figure.add_scatter(
            x=ends,
            y=[null.p95] * 2,
            mode="lines",
            line={"color": GREY, "dash": "dash", "width": 1.5},
            name="random, 95th percentile",
        )
    if selected in layers:
        figure.add_scatter(
            x=[selected],
            y=[layers[selected].auroc.value],
            mode="markers",
            marker={"symbol": "circle-open", "size": 16, "color": NEGATIVE, "line": {"width": 3}},
            name=f"chosen layer {selected}",
        )
    figure.update_yaxes(range=[min(0.4, *low) - 0.02, 1.02])
    figure.update_xaxes(**layer_axis(len(x)))
    return figure


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


def projection_distributions(run: RunResults) -> go.Figure | None:
    """Where the held-out texts of each class project, scenario by scenario."""
    items = run.validation_auroc.projections if run.validation_auroc else ()
    if not items:
        return None
    concept = run.concept
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
    figure.add_hline(y=0, line={**DOTTED, "width": 1.5})
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


def score_against_projection(run: RunResults) -> go.Figure | None:
    """Rubric score of each completion against its projection, with each scenario's means."""
    if run.eia_correlation is None or not run.eia_correlation.rubric.items:
        return None
    rubric, concept = run.eia_correlation.rubric, run.concept
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
        figure.add_scatter(
            x=[item.score + shift for item in mine],
            y=[item.projection for item in mine],
            text=[plotly_text(item.completion_id, 80) for item in mine],
            customdata=[item.score for item in mine],
            mode="markers",
            marker=marker(i, 7, opacity=0.75),
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
                line={"color": colour_of(i), "width": 2},
                legendgroup=str(i),
                showlegend=False,
                hoverinfo="skip",
            )
    figure.add_hline(y=0, line=DOTTED)
    figure.update_xaxes(tickvals=sorted({item.score for item in rubric.items}), zeroline=False)
    return figure


def layer_tables(run: RunResults) -> Iterator[Table]:
    """Each layer's direction on held-out pairs."""
    layers = run.validation_auroc.layers if run.validation_auroc else {}
    yield table(
        "layers",
        "Each layer's direction on held-out pairs [confidence interval]",
        "layer | AUROC | accuracy | separation | CV AUROC (training) | class gap",
        (
            (layer, row.auroc, row.accuracy, row.separation, row.cv_auroc, row.raw_norm)
            for layer, row in sorted(layers.items())
        ),
    )


def rubric_tables(run: RunResults) -> Iterator[Table]:
    """Correlations with the rubric, over all completions and scenario by scenario."""
    if run.eia_correlation is None:
        return
    rubric = run.eia_correlation.rubric
    correlations = {what: getattr(rubric, name) for name, what in CORRELATIONS.items()}
    yield table(
        "rubric_correlation",
        "Projection and rubric score, correlations over completions",
        "correlation | value | p",
        ((what, value, value.p) for what, value in correlations.items() if value is not None),
    )
    yield table(
        "scenarios",
        "Rubric score and projection, by scenario (Spearman correlation; mean projection)",
        "scenario | Spearman | n | score 0 | score 1 | score 2",
        (
            (words(name), row.spearman, row.n, *(row.mean_by_score.get(s) for s in "012"))
            for name, row in rubric.per_scenario.items()
        ),
    )


def text_tables(run: RunResults) -> Iterator[Table]:
    """Every held-out text and every completion."""
    poles = {True: run.concept.positive, False: run.concept.negative}
    texts = run.validation_auroc.projections if run.validation_auroc else ()
    yield table(
        "projections",
        "Held-out texts (projection − threshold, in class gaps)",
        "pair | scenario | side | projection | text",
        ((t.pair_id, words(t.scenario_id), poles[t.label], t.projection, t.text) for t in texts),
    )
    completions = run.eia_correlation.rubric.items if run.eia_correlation else ()
    yield table(
        "rubric",
        "Rubric completions (projection − threshold, in class gaps)",
        "completion | scenario | score | projection",
        ((c.completion_id, words(c.scenario_id), c.score, c.projection) for c in completions),
    )
