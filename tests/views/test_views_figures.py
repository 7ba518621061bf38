"""Figures are drawn from saved results alone, and only from those that are there."""

from __future__ import annotations

import json

import pytest
from hostile import READABLE_KINDS
from synthetic_run import results, synthetic_run

from empathy_lens.views import RunResults, run_figures
from empathy_lens.views.figures import GROUPS
from empathy_lens.views.steering import steering_tables

OF_PART = {
    "validation_auroc": {"auroc_by_layer", "projection_distributions"},
    "evidence": {
        "probe_against_baselines",
        "hard_pairs",
        "contrasts",
        "leave_one_scenario_out",
        "leave_one_source_out",
        "leave_one_format_out",
        "estimators",
    },
    "cosines": {"cosine_across_layers", "cosine_to_contrasts"},
    "eia_correlation": {"eia_score_against_projection"},
    "on_policy": {"on_policy_partial", "on_policy_prediction", "on_policy_actions"},
    "steered_play": {"steered_play", "steered_play_help"},
    "steering_examples": {"steering_dose_response", "steering_frontier", "steering_damage"},
    "steering_sweep": {"sweep_by_layer", "sweep_frontier"},
}


def test_a_full_run_gives_every_figure_with_a_title_and_axes() -> None:
    figures = run_figures(results(synthetic_run()))
    assert set(figures) == set().union(*OF_PART.values())
    for figure in figures.values():
        assert figure.layout.title.text
        assert figure.layout.xaxis.title.text or figure.layout.yaxis.title.text
        assert figure.layout.meta["note"]
        assert figure.layout.meta["finding"].endswith(".")


def test_every_figure_belongs_to_one_group() -> None:
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(set().union(*OF_PART.values()))


def test_findings_say_the_saved_numbers() -> None:
    found = {k: f.layout.meta["finding"] for k, f in run_figures(results(synthetic_run())).items()}
    assert "layer 12 reaches 0.960 [0.900, 0.990]" in found["auroc_by_layer"]
    assert "best reader of words, bag of words, 0.920" in found["probe_against_baselines"]
    assert "Cross-validation chose logistic, last pooling, layer 14: 0.910" in found["estimators"]
    assert "0.750 (the listener) to 0.900 (the duel)" in found["leave_one_scenario_out"]
    assert "0.31" in found["on_policy_prediction"]
    assert "100 episodes" in found["on_policy_prediction"]
    assert "0.580" in found["on_policy_actions"]
    assert "512 decisions" in found["on_policy_actions"]
    assert "0.270" in found["on_policy_partial"]
    assert "512 decisions (that it is above 0: cannot tell)" in found["on_policy_partial"]
    assert "0.100" in found["steered_play"]
    assert "25 episodes; against 2 random directions, p\xa0=\xa00.030" in found["steered_play"]
    assert "mean cosine of 0.90" in found["cosine_across_layers"]
    assert "+0.61 nats" in found["steering_dose_response"]
    assert "more than under 90% of 20 random" in found["steering_dose_response"]
    assert "−1 nats per token at layer 12 and alpha −2" in found["steering_frontier"]
    assert "by +0.08" in found["steering_frontier"]
    assert "7 of 12" in found["steering_damage"]
    assert "adding: layer 9 at alpha +2, not shown to work" in found["sweep_by_layer"]
    assert "removing: no setting within the bounds" in found["sweep_by_layer"]
    assert "−1 nats per token at layer 9 and alpha −2" in found["sweep_frontier"]


def test_random_directions_are_drawn_from_where_the_steered_line_starts() -> None:
    figure = run_figures(results(synthetic_run()))["steered_play"]
    band, marks, line = figure.data
    # Their own episodes score 0.8 unsteered, all episodes 1.0: what they move is drawn from there.
    assert dict(zip(line.x, line.y, strict=True))[0.0] == pytest.approx(1.0)
    assert list(marks.x) == [-4.0, 4.0, 4.0]
    assert list(marks.y) == pytest.approx([1.2, 1.1, 1.3])
    assert band.fill == "toself"
    assert list(band.x) == [-4.0, 0.0, 4.0, 4.0, 0.0, -4.0]
    assert list(band.y) == pytest.approx([1.2, 1.0, 1.11, 1.29, 1.0, 1.2])


def test_cosines_that_do_not_fit_together_draw_nothing() -> None:
    run = {"cosines": synthetic_run()["cosines"]}
    run["cosines"]["across_layers"].pop()
    run["cosines"]["contrasts"] = {"short": [None], "none": [None] * 18}
    assert run_figures(results(run)) == {}


@pytest.mark.parametrize("part", OF_PART)
def test_an_absent_part_takes_only_its_own_figures_away(part: str) -> None:
    run = synthetic_run()
    only = {part: run.pop(part)}
    assert set(run_figures(results(only))) == OF_PART[part]
    assert set(run_figures(results(run))) == set().union(*OF_PART.values()) - OF_PART[part]


def test_an_empty_run_gives_no_figures() -> None:
    assert run_figures(RunResults()) == {}


def test_numbers_in_the_figure_are_the_saved_ones() -> None:
    run = synthetic_run()
    figure = run_figures(results(run))["auroc_by_layer"]
    line = next(trace for trace in figure.data if trace.name == "held-out")
    saved = [row["auroc"]["value"] for row in run["validation_auroc"]["layers"].values()]
    assert list(line.y) == saved
    chosen = next(trace for trace in figure.data if trace.name == "chosen layer 12")
    assert list(chosen.y) == [saved[12]]


def test_a_sweep_shows_every_setting_what_is_too_costly_and_what_is_chosen() -> None:
    sweep = synthetic_run()["steering_sweep"]
    figures = run_figures(results({"steering_sweep": sweep}))
    grid, broken, chosen = figures["sweep_by_layer"].data
    saved = {(str(r["layer"]), r["alpha"]): r["effect"]["value"] for r in sweep["frontier"]}
    assert [value for row in grid.z for value in row] == list(saved.values())
    costly = [row for row in sweep["frontier"] if not row["within"]]
    assert len(broken.x) == len(costly) == 18
    assert (list(chosen.x), list(chosen.y)) == (["+2"], ["9"])
    lines = figures["sweep_frontier"].data
    assert [line.name for line in lines] == [f"layer {layer}" for layer in range(18)]
    assert len({line.line.color for line in lines}) == 18


def test_the_random_band_is_drawn_only_with_evidence() -> None:
    run = synthetic_run()
    with_band = run_figures(results(run))["auroc_by_layer"]
    assert any("random directions" in (trace.name or "") for trace in with_band.data)
    del run["evidence"]
    without = run_figures(results(run))["auroc_by_layer"]
    assert not any("random directions" in (trace.name or "") for trace in without.data)


@pytest.mark.parametrize("number", range(len(READABLE_KINDS)))
def test_no_text_reaches_plotly_as_markup(number: int) -> None:
    for figure in run_figures(results(synthetic_run(READABLE_KINDS[number]))).values():
        for text in _texts(json.loads(figure.to_json())["data"]):
            bare = text.replace("<br>", "").replace("<extra></extra>", "")
            bare = bare.replace("<extra>%{fullData.name}</extra>", "")
            assert "<" not in bare, text
            assert len(text) < 3000


def _texts(data: object) -> list[str]:
    if isinstance(data, str):
        return [data]
    if isinstance(data, dict):
        return [text for value in data.values() for text in _texts(value)]
    if isinstance(data, list):
        return [text for value in data for text in _texts(value)]
    return []


def test_a_table_says_whether_the_direction_moves_behaviour():
    run = results({"steering_examples": synthetic_run()["steering_examples"]})
    (shown,) = (t for t in steering_tables(run) if t.name == "steering_movement")
    rows = {what.text: value.text for what, value in shown.rows}
    assert rows["strengths (alpha)"] == "−2, +2"
    assert rows["p against random directions of equal norm"] == "0.125"
    assert rows["a step in dose goes back"] == "yes"
    assert not any("80%" in what for what in rows)
