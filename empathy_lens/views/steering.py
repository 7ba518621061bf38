"""Steering at one layer: dose, damage, controls, what to use, and the texts side by side."""

from __future__ import annotations

from collections.abc import Iterator

import plotly.graph_objects as go

from ..steering.analysis import ControlSlopes, FrontierPoint
from ..steering.examples import SteeredExample, SteeringResults
from ..types import Concept
from .run_results import RunResults
from .tables import Table, measured, table
from .text import Value, number_text, plotly_text, prose, ranges, shortened, signed_text
from .theme import COLOURS, GREY, POSITIVE, add_band, add_estimates, faint, marker, new_figure

ALPHA = "alpha (steering strength, in mean class gaps)"
SETTING_HEAD = (
    "alpha | log-odds shift (nats per token) | loss on neutral text (increase, nats per token) | "
    "plain questions answered rightly | texts that stay coherent"
)


def dose_response(run: RunResults) -> go.Figure | None:
    """Mean shift of the action's log-odds by alpha, with interval, beside control directions."""
    steering, concept = run.steering_examples, run.concept
    if steering is None or not steering.dose_response:
        return None
    points = sorted(steering.dose_response, key=lambda point: point.alpha)
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
    _add_controls(figure, steering.random, "random directions", "rgba(127,127,127,0.2)", color=GREY)
    _add_controls(figure, steering.shuffled, "shuffled labels", None, color=COLOURS[1], width=1)
    x, shifts = [point.alpha for point in points], [point.shift for point in points]
    low, high = [shift.low for shift in shifts], [shift.high for shift in shifts]
    add_band(figure, x, high, low, "95% interval", faint(POSITIVE))
    add_estimates(
        figure,
        x,
        shifts,
        "alpha %{x}<br>shift ",
        line={"color": POSITIVE, "width": 3},
        marker={"size": 9},
        name="the direction",
    )
    figure.add_hline(
        y=steering.instruction.shift.value,
        line={"color": COLOURS[2], "dash": "dot", "width": 2},
        annotation_text="plain instruction",
    )
    figure.add_hline(y=0, line={"color": GREY, "width": 1})
    return figure


def _add_controls(
    figure: go.Figure, controls: ControlSlopes, what: str, fill: str | None, **line: object
) -> None:
    """Where the mean shift under control directions lies."""
    if controls.by_alpha:
        alphas = sorted(controls.by_alpha, key=float)
        bands = [controls.by_alpha[alpha] for alpha in alphas]
        low, high = [band.low for band in bands], [band.high for band in bands]
        name = plotly_text(f"{number_text(controls.n)} {what}", 60)
        add_band(figure, [float(a) for a in alphas], high, low, name, fill, dash="dash", **line)


def _slope_finding(steering: SteeringResults) -> str:
    share, beside = steering.random.share_below, ""
    if share is not None:
        beside = (
            f", more than under {share:.0%} of {number_text(steering.random.n)} random "
            "directions of equal norm"
        )
    moved = signed_text(round(steering.mean_slope, 4))
    return f"One class gap moves the log-odds by {moved} nats per token on average{beside}."


def steering_damage(run: RunResults) -> go.Figure | None:
    """Effect against damage: log-odds shift and repetition of each completion."""
    steering = run.steering_examples
    if steering is None or not steering.examples:
        return None
    examples = steering.examples
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
            marker=marker(i, 9, opacity=0.8),
            text=[plotly_text(example.completion) for example in mine],
            hovertemplate="%{text}<extra>%{fullData.name}</extra>",
            name=f"alpha {signed_text(alpha)}",
        )
    figure.update_yaxes(range=[-0.02, max(0.4, 1.1 * highest)], zeroline=False)
    return figure


def steering_tables(run: RunResults) -> Iterator[Table]:
    """Damage by strength, the slope beside its controls, whether it moves behaviour, each prompt,
    the judge; every setting of a sweep over layers, and what moves at its layer."""
    if steering := run.steering_examples:
        settings = [row for row in steering.frontier if row.layer == steering.layer]
        yield table(
            "steering_settings",
            "Effect and damage at the steered layer, by alpha",
            SETTING_HEAD,
            (_setting(row) for row in sorted(settings, key=lambda r: str(r.alpha))),
        )
        yield table(
            "steering_slopes",
            "Slope of the log-odds in alpha: the direction beside its controls (nats per token)",
            "what | value",
            measured(_slopes(steering)),
        )
        yield _movement("steering_movement", steering)
        yield table(
            "prompt_slopes",
            "Slope of each prompt (nats per token and alpha)",
            "prompt | scenario | slope",
            ((str(row.prompt), row.scenario_id, row.slope) for row in steering.prompt_slopes),
        )
        yield table(
            "judge",
            "The local judge on completions it has not learnt from",
            "measure | value",
            measured(vars(steering.judge) if steering.judge else {}),
        )
    if sweep := run.steering_sweep:
        yield table(
            "sweep_settings",
            "Effect and damage of every layer and alpha",
            f"layer | {SETTING_HEAD}",
            ((row.layer, *_setting(row)) for row in sweep.frontier),
        )
        yield _movement("sweep_movement", sweep)


def _movement(name: str, steering: SteeringResults) -> Table:
    """Whether the choice follows alpha, prompt by prompt; no rows where that was not judged."""
    moves = steering.moves
    rows: dict[str, Value] = {}
    if moves is not None:
        back = {True: "no", False: "yes", None: None}[moves.monotone]
        rows = {
            "strengths (alpha)": ", ".join(signed_text(alpha) for alpha in moves.alphas),
            "prompts": moves.n_prompts,
            "slope (nats per token and alpha)": moves.slope,
            "p of that slope against 0": moves.slope.p,
            "p against random directions of equal norm": moves.p_random,
            "random directions": moves.n_random,
            "p against these and directions of shuffled labels": moves.p_controls,
            "control directions": moves.n_controls,
            "a step in dose goes back": back,
            "slope found in 80% of such studies": moves.minimal_detectable,
        }
    heading = (
        f"Whether layer {steering.layer}'s direction moves behaviour within the damage bound, "
        "the prompt as the unit"
    )
    return table(name, heading, "what | value", measured(rows))


def _slopes(steering: SteeringResults) -> dict[str, Value]:
    return {
        "mean slope over prompts": steering.slope,
        "share of prompts that move the wrong way": steering.wrong_share,
        "share of random directions below it": steering.random.share_below,
        "p against random directions": steering.random.p,
        "share of shuffled-label directions below it": steering.shuffled.share_below,
        "adding: slope for alpha > 0": steering.asymmetry.adding,
        "removing: slope for alpha < 0": steering.asymmetry.removing,
        "asymmetry: adding minus removing": steering.asymmetry.difference,
        "shift by a plain instruction instead": steering.instruction.shift,
    }


def _setting(row: FrontierPoint) -> tuple[Value, ...]:
    return (row.alpha, row.effect, row.loss_increase, row.accuracy, row.coherent_share)


def _recommended(steering: SteeringResults) -> list[str]:
    """The answer in words for adding and for removing, as far as it was looked for."""
    where = f"of layers {ranges(steering.layers)}, " if len(steering.layers) > 1 else ""
    none = "no setting within the bounds moves the choice."
    return [
        prose(f"{where}{towards}: {answer.text if answer else none}", 1000)
        for towards, answer in steering.recommendation.items()
    ]


def side_by_side(run: RunResults) -> dict[str, object] | None:
    """Completions of one prompt side by side, in the order of alpha; without them the sweep's."""
    steering, sweep = run.steering_examples, run.steering_sweep
    shown = steering or sweep
    if shown is None or not shown.examples:
        return None
    groups: dict[tuple[str, str, int], list[SteeredExample]] = {}
    for example in shown.examples:
        key = (example.scenario_id, example.prompt, example.seed)
        groups.setdefault(key, []).append(example)
    return {
        "rule": prose(shown.rule, 1000),
        "answers": [a for one in (steering, sweep) if one for a in _recommended(one)],
        "groups": [
            {
                "scenario": prose(scenario, 200),
                "prompt": shortened(prompt, 4000),
                "seed": str(seed),
                "columns": [
                    _column(text, run.concept) for text in sorted(texts, key=lambda t: t.alpha)
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
