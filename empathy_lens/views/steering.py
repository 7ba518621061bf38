"""Steering at one layer: dose, damage, controls, what to use, and the texts side by side."""

from __future__ import annotations

import plotly.graph_objects as go

from ..steering.examples import ControlSlopes, Setting, SteeredExample, SteeringResults
from ..types import Concept
from .tables import Table, table
from .text import (
    Value,
    number_text,
    plotly_text,
    prose,
    ranges,
    shortened,
    signed_text,
)
from .theme import COLOURS, GREY, POSITIVE, SYMBOLS, faint, new_figure

__all__ = [
    "ALPHA",
    "dose_response",
    "side_by_side",
    "steering_damage",
    "steering_tables",
    "sweep_table",
]

ALPHA = "alpha (steering strength, in mean class gaps)"
SETTING_COLUMNS = (
    "log-odds shift (nats per token)",
    "loss on neutral text (increase, nats per token)",
    "plain questions answered rightly",
    "texts that stay coherent",
)


def dose_response(steering: SteeringResults, concept: Concept) -> go.Figure | None:
    """Mean shift of the action's log-odds by alpha, with interval, beside control directions."""
    points = [(p.alpha, p.shift) for p in sorted(steering.dose_response, key=lambda p: p.alpha)]
    if not points:
        return None
    figure = new_figure(
        f"Shift of the {plotly_text(concept.positive, 40)} action's log-odds by steering strength "
        "(nats per token)",
        ALPHA,
        "log-odds shift (nats per token)",
        height=460,
        finding=_slope_finding(steering),
        note=f"Above 0 the model leans more to the {concept.positive} actions than unsteered. "
        "Line: mean over the prompts that settings were not chosen on. Shaded around it: 95% "
        "interval over situations. Grey and dashed: where 95% of control directions of equal norm "
        "lie. Dotted: what a plain instruction does instead.",
    )
    _add_band(figure, steering.random, "random directions", GREY, fill=True)
    _add_band(figure, steering.shuffled, "shuffled labels", COLOURS[1], fill=False)
    x = [alpha for alpha, _ in points]
    figure.add_scatter(
        x=x + x[::-1],
        y=[shift.high for _, shift in points] + [shift.low for _, shift in points[::-1]],
        mode="lines",
        fill="toself",
        fillcolor=faint(POSITIVE),
        line={"width": 0},
        hoverinfo="skip",
        name="95% interval",
    )
    figure.add_scatter(
        x=x,
        y=[shift.value for _, shift in points],
        customdata=[[shift.low, shift.high] for _, shift in points],
        mode="lines+markers",
        line={"color": POSITIVE, "width": 3},
        marker={"size": 9},
        hovertemplate="alpha %{x}<br>shift %{y:.3f} [%{customdata[0]:.3f}, %{customdata[1]:.3f}]"
        "<extra></extra>",
        name="the direction",
    )
    figure.add_hline(
        y=steering.instruction.shift.value,
        line={"color": COLOURS[2], "dash": "dot", "width": 2},
        annotation_text="plain instruction",
    )
    figure.add_hline(y=0, line={"color": GREY, "width": 1})
    return figure


def _add_band(
    figure: go.Figure, controls: ControlSlopes, what: str, colour: str, *, fill: bool
) -> None:
    """Where the mean shift under control directions lies."""
    band = [(a, controls.by_alpha[a]) for a in sorted(controls.by_alpha, key=float)]
    if not band:
        return
    figure.add_scatter(
        x=[float(a) for a, _ in band] + [float(a) for a, _ in band[::-1]],
        y=[ends.high for _, ends in band] + [ends.low for _, ends in band[::-1]],
        mode="lines",
        fill="toself" if fill else "none",
        fillcolor="rgba(127,127,127,0.2)" if fill else None,
        line={"width": 0 if fill else 1, "color": colour, "dash": "dash"},
        hoverinfo="skip",
        name=plotly_text(f"{number_text(controls.n)} {what}", 60),
    )


def _slope_finding(steering: SteeringResults) -> str:
    share, beside = steering.random.share_below, ""
    if share is not None:
        beside = (
            f", more than under {share:.0%} of {number_text(steering.random.n)} random "
            "directions of equal norm"
        )
    moved = signed_text(round(steering.mean_slope, 4))
    return f"One class gap moves the log-odds by {moved} nats per token on average{beside}."


def steering_damage(steering: SteeringResults) -> go.Figure | None:
    """Effect against damage: log-odds shift and repetition of each completion."""
    examples = steering.examples
    if not examples:
        return None
    highest = max(example.repetition for example in examples)
    figure = new_figure(
        "Texts under steering: log-odds shift and repetition of each completion",
        "log-odds shift against unsteered (nats)",
        "repetition (0 to 1)",
        height=440,
        finding=f"The highest repetition of {len(examples)} texts is {number_text(highest, 2)}; "
        f"{number_text(steering.successes)} of {number_text(steering.out_of)} steered texts count "
        "as success.",
        note="Each point is one completion. High points repeat themselves: the strength broke "
        "the text rather than steered it.",
    )
    for i, alpha in enumerate(sorted({example.alpha for example in examples})):
        mine = [example for example in examples if example.alpha == alpha]
        figure.add_scatter(
            x=[example.shift for example in mine],
            y=[example.repetition for example in mine],
            mode="markers",
            marker={
                "color": COLOURS[i % len(COLOURS)],
                "symbol": SYMBOLS[i % len(SYMBOLS)],
                "size": 9,
                "opacity": 0.8,
            },
            text=[plotly_text(example.completion) for example in mine],
            hovertemplate="%{text}<extra>%{fullData.name}</extra>",
            name=f"alpha {signed_text(alpha)}",
        )
    figure.update_yaxes(range=[-0.02, max(0.4, 1.1 * highest)], zeroline=False)
    return figure


def steering_tables(steering: SteeringResults) -> list[Table | None]:
    """Damage by strength, the slope beside its controls, each prompt, the judge."""
    settings = [row for row in steering.frontier if row.layer == steering.layer]
    random, asymmetry = steering.random, steering.asymmetry
    slopes: list[tuple[str, Value]] = [
        ("mean slope over prompts", steering.slope),
        ("share of prompts that move the wrong way", steering.wrong_share),
        ("share of random directions below it", random.share_below),
        ("p against random directions", random.p),
        ("share of shuffled-label directions below it", steering.shuffled.share_below),
        ("adding: slope for alpha > 0", asymmetry.adding),
        ("removing: slope for alpha < 0", asymmetry.removing),
        ("asymmetry: adding minus removing", asymmetry.difference),
        ("shift by a plain instruction instead", steering.instruction.shift),
    ]
    judge = steering.judge
    return [
        table(
            "steering_settings",
            "Effect and damage at the steered layer, by alpha",
            ("alpha", *SETTING_COLUMNS),
            ((row.alpha, *_setting(row)) for row in sorted(settings, key=lambda r: str(r.alpha))),
        ),
        table(
            "steering_slopes",
            "Slope of the log-odds in alpha: the direction beside its controls (nats per token)",
            ("what", "value"),
            [(what, value) for what, value in slopes if value is not None],
        ),
        table(
            "prompt_slopes",
            "Slope of each prompt (nats per token and alpha)",
            ("prompt", "scenario", "slope"),
            ((str(row.prompt), row.scenario_id, row.slope) for row in steering.prompt_slopes),
        ),
        table(
            "judge",
            "The local judge on completions it has not learnt from",
            ("measure", "value"),
            (("accuracy", judge.accuracy), ("auroc", judge.auroc), ("spearman", judge.spearman)),
        )
        if judge
        else None,
    ]


def sweep_table(sweep: SteeringResults) -> Table | None:
    """Every setting of a sweep over layers."""
    return table(
        "sweep_settings",
        "Effect and damage of every layer and alpha",
        ("layer", "alpha", *SETTING_COLUMNS),
        ((row.layer, row.alpha, *_setting(row)) for row in sweep.frontier),
    )


def _setting(row: Setting) -> tuple[Value, ...]:
    return (row.effect, row.loss_increase, row.accuracy, row.coherent_share)


def recommendations(steering: SteeringResults) -> list[str]:
    """The answer in words for adding and for removing, as far as it was looked for."""
    where = f"of layers {ranges(steering.layers)}, " if len(steering.layers) > 1 else ""
    none = "no setting within the bounds moves the choice."
    return [
        prose(f"{where}{towards}: {answer.text if answer else none}", 1000)
        for towards, answer in steering.recommendation.items()
    ]


def side_by_side(
    steering: SteeringResults | None, sweep: SteeringResults | None, concept: Concept
) -> dict[str, object] | None:
    """Completions of one prompt side by side, in the order of alpha; without them the sweep's."""
    shown = steering or sweep
    if shown is None or not shown.examples:
        return None
    groups: dict[tuple[str, str, int], list[SteeredExample]] = {}
    for example in shown.examples:
        key = (example.scenario_id, example.prompt, example.seed)
        groups.setdefault(key, []).append(example)
    return {
        "rule": prose(shown.rule, 1000),
        "answers": [a for one in (steering, sweep) if one for a in recommendations(one)],
        "groups": [
            {
                "scenario": prose(scenario, 200),
                "prompt": shortened(prompt, 4000),
                "seed": str(seed),
                "columns": [
                    _column(example, concept) for example in sorted(texts, key=lambda e: e.alpha)
                ],
            }
            for (scenario, prompt, seed), texts in groups.items()
        ],
    }


def _column(example: SteeredExample, concept: Concept) -> dict[str, str]:
    measured = [
        f"log-odds shift {signed_text(round(example.shift, 3))}",
        f"repetition {number_text(example.repetition, 2)}",
    ]
    if not example.finished:
        measured.append("cut at the token limit")
    if example.success is not None:
        measured.append("success" if example.success else "no success")
    if example.judged is not None:
        measured.append(
            f"judged {shortened(concept.positive, 60)} {number_text(example.judged, 2)}"
        )
    if example.coherence.perplexity is not None:
        measured.append(f"perplexity {number_text(example.coherence.perplexity, 1)}")
    return {
        "alpha": signed_text(example.alpha),
        "unsteered": "" if example.alpha else "yes",
        "text": shortened(example.completion, 4000),
        "measured": " · ".join(measured),
    }
