"""A model whose action log-odds provably follow a planted direction, swept and recommended."""

import doctest
import json
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import byte_tokenizer, tiny_llama_config
from transformers import LlamaForCausalLM

from empathy_lens import steering
from empathy_lens.activations import extract_activations
from empathy_lens.data import load_steering_prompts
from empathy_lens.errors import InputError
from empathy_lens.files import read_json, write_json
from empathy_lens.models import load_model, model_card
from empathy_lens.results import read_result, write_result
from empathy_lens.steering import (
    Coherence,
    SweepSettings,
    action_log_odds,
    add_controls,
    add_direction,
    join_sweeps,
    load_sweep,
    random_controls,
    recommend,
    save_sweep,
    shuffled_controls,
    steering_sweep,
)
from empathy_lens.steering.analysis import (
    RandomSlopes,
    asymmetry,
    dose_response,
    effect,
    frontier,
    slopes,
)
from empathy_lens.steering.examples import SteeringResults, sweep_summary
from empathy_lens.steering.sweep import first_of_each
from empathy_lens.study import DataFiles
from empathy_lens.types import (
    Concept,
    ContrastivePair,
    Direction,
    PlainQuestion,
    Site,
    SteeringPrompt,
)

GIVE, TAKE = "g", "t"
ALPHAS = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0)
PROMPTS = tuple(
    SteeringPrompt(f"s{i % 3}", f"{word} fell. I", (f"{GIVE}{GIVE}",), (f"{TAKE}{TAKE}",))
    for i, word in enumerate(["Ann", "Bo", "Cy", "Dee", "Eve", "Flo", "Gus", "Hal", "Ida"])
)
TEXTS = tuple(f"{noun} is old." for noun in ("Fog", "Salt", "Glass", "Tin", "Rope", "Clay", "Ink"))
QUESTIONS = tuple(PlainQuestion(f"q{i}", f"{i}?", ("a", "b"), i % 2) for i in range(8))


def sweep_of(model, directions, alphas, prompts, **options):
    """``steering_sweep``, the fields of its settings given beside its other options."""
    named = [k for k in SweepSettings.__dataclass_fields__ if k in options]
    settings = SweepSettings(**{k: options.pop(k) for k in named})
    return steering_sweep(model, directions, alphas, prompts, settings=settings, **options)


OPTIONS = {"neutral_texts": TEXTS, "questions": QUESTIONS, "max_new_tokens": 6, "every": 2}


@pytest.fixture(scope="module")
def planted_folder(tmp_path_factory):
    """A Llama whose last layers do nothing and whose head reads one axis for g and against t.

    Adding to that axis raises the logit of ``g`` and lowers that of ``t``: the shift of the
    log-odds has the sign of alpha and grows with it.
    """
    tokenizer = byte_tokenizer()
    config = tiny_llama_config(tokenizer, n_ctx=2048)
    model = LlamaForCausalLM(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.fill_(1.0)
            else:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
        for name, parameter in model.model.layers[2].named_parameters():
            if "norm" not in name:
                parameter.zero_()
        model.lm_head.weight[:, 5] = 0.0
        model.lm_head.weight[tokenizer.encode(GIVE)[-1], 5] = 1.0
        model.lm_head.weight[tokenizer.encode(TAKE)[-1], 5] = -1.0
    folder = tmp_path_factory.mktemp("planted")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def planted(planted_folder, backend):
    return load_model(planted_folder, backend=backend, device="cpu")


def axis(model, number, layer=1, norm=1.0):
    vector = torch.zeros(32)
    vector[number] = 1.0
    return Direction(vector, Site(layer), "planted", norm, 0.0, model_card(model).provenance)


@pytest.fixture(scope="module")
def train(planted):
    pairs = [ContrastivePair(f"p{i}", "s", f"{GIVE} {i}", f"{TAKE} {i}") for i in range(8)]
    return extract_activations(planted, pairs)


@pytest.fixture(scope="module")
def swept(planted, train):
    directions = [axis(planted, 5, layer=1), axis(planted, 7, layer=0)]
    return sweep_of(
        planted,
        directions,
        ALPHAS,
        PROMPTS,
        train=train,
        judge=lambda texts: np.array([float(t.count(GIVE) > t.count(TAKE)) for t in texts]),
        n_shuffled=6,
        **OPTIONS,
    )


def test_the_planted_direction_moves_every_prompt_with_alpha(swept):
    shifts = swept.shifts[swept.layers.index(1)]
    assert (np.diff(shifts, axis=0) > 0).all()
    shift_at = dose_response(swept, 1, n_resamples=500)
    assert shift_at[0.0].value == 0
    assert shift_at[1.0].low > 0
    assert shift_at[-1.0].high < 0
    own = slopes(swept, 1, n_resamples=500)
    assert own.wrong_share.value == 0
    assert own.random.share_below == 1
    assert own.random.p == pytest.approx(1 / 21)


def test_turning_the_direction_round_turns_the_effect_round(planted):
    options = {**OPTIONS, "n_random": 2}
    there = sweep_of(planted, [axis(planted, 5)], (-1.0, 0.0, 1.0), PROMPTS, **options)
    back = sweep_of(planted, [-axis(planted, 5)], (-1.0, 0.0, 1.0), PROMPTS, **options)
    np.testing.assert_allclose(back.shifts[:, ::-1], there.shifts, atol=1e-4)
    assert slopes(back, 1, n_resamples=500).wrong_share.value == 1


def test_recommend_finds_the_planted_layer_and_reports_on_other_prompts(swept):
    answer = recommend(swept, max_loss_increase=10.0, max_accuracy_drop=1.0, n_resamples=500)
    assert answer is not None
    assert answer.works
    assert "It works by these measures, beyond 100% of random directions." in str(answer)
    assert (answer.layer, answer.alpha) == (1, 2.0)
    chosen_on = swept.shifts[1][:, list(swept.choosing)].mean(axis=1)
    enough = [a for a, s in zip(ALPHAS, chosen_on, strict=True) if s >= chosen_on[-1] / 2]
    assert answer.alphas == (min(enough), 2.0)
    assert (answer.n_choosing, answer.n_reporting, answer.held_out) == (3, 6, True)
    assert answer.effect.n == 6
    reported = swept.shifts[1, -1, list(swept.reporting)].mean()
    assert answer.effect.value == pytest.approx(reported)
    removing = recommend(
        swept, towards="removing", max_loss_increase=10.0, max_accuracy_drop=1.0, n_resamples=500
    )
    assert removing is not None
    assert removing.alpha == -2.0
    assert removing.effect.high < 0


def test_what_prompts_for_reporting_do_never_changes_the_choice(swept):
    bounds = {"max_loss_increase": 10.0, "max_accuracy_drop": 1.0, "n_resamples": 500}
    before = recommend(swept, **bounds)
    spoilt = swept.log_odds.copy()
    spoilt[:, :, list(swept.reporting)] *= -3
    after = recommend(replace(swept, log_odds=spoilt), **bounds)
    assert (after.layer, after.alpha, after.alphas) == (before.layer, before.alpha, before.alphas)
    assert after.effect.value != before.effect.value
    assert not after.works
    assert "the interval does not exclude 0" in after.doubts
    assert "100% of random directions of equal norm do as much" in str(after)


def test_damage_out_of_bounds_leaves_nothing_to_recommend(swept):
    ruined = {layer: losses.copy() for layer, losses in swept.damage.losses.items()}
    for losses in ruined.values():
        losses[[a != 0 for a in ALPHAS]] += 1
    broken = replace(swept, damage=replace(swept.damage, losses=ruined))
    assert recommend(broken, n_resamples=500) is None


def test_adding_and_removing_are_compared(swept):
    compared = asymmetry(swept, 1, n_resamples=500)
    assert compared.adding.value > 0
    assert compared.removing.value > 0
    assert compared.difference.value == pytest.approx(
        compared.adding.value - compared.removing.value
    )


def test_the_frontier_has_every_setting_and_no_damage_without_steering(swept):
    points = {(p.layer, p.alpha): p for p in frontier(swept, n_resamples=500)}
    assert set(points) == {(layer, a) for layer in (0, 1) for a in ALPHAS}
    assert points[1, 0.0].loss_increase.value == points[1, 0.0].effect.value == 0
    assert points[1, 2.0].loss_increase.value != 0


def test_a_sweep_takes_any_hook_and_its_controls_take_the_same(planted):
    """Turning alpha round in a method of the test's own turns every shift round."""

    def backwards(direction, alpha):
        return add_direction(direction, -alpha)

    options = {**OPTIONS, "n_random": 2}
    there = sweep_of(planted, [axis(planted, 5)], (-1.0, 0.0, 1.0), PROMPTS, **options)
    back = sweep_of(
        planted, [axis(planted, 5)], (-1.0, 0.0, 1.0), PROMPTS, method=backwards, **options
    )
    np.testing.assert_allclose(back.shifts[:, ::-1], there.shifts, atol=1e-4)
    own, turned = there.controls_at(1).random, back.controls_at(1).random
    np.testing.assert_allclose(turned[:, ::-1], own, atol=1e-4)


def test_texts_do_not_depend_on_what_else_is_swept(planted, swept):
    alone = sweep_of(planted, [axis(planted, 5)], (0.0, 2.0), PROMPTS, **{**OPTIONS, "n_random": 1})
    written = {
        (t.prompt_index, t.completion.layer, t.completion.alpha): t.completion.text
        for t in swept.texts
    }
    for text in alone.texts:
        key = (text.prompt_index, text.completion.layer, text.completion.alpha)
        assert written[key] == text.completion.text


def test_a_sweep_comes_back_from_its_file_as_it_was(swept, tmp_path):
    save_sweep(tmp_path / "sweep.json", swept)
    back = load_sweep(tmp_path / "sweep.json", swept.directions, PROMPTS)
    assert sweep_summary(back, 1, n_resamples=200) == sweep_summary(swept, 1, n_resamples=200)
    assert back.texts == swept.texts
    with pytest.raises(InputError, match="not a sweep of these layers"):
        load_sweep(tmp_path / "sweep.json", {0: swept.directions[0]}, PROMPTS)
    stored = read_json(tmp_path / "sweep.json")
    for change, named in (
        ({"alphas": [float(a) for a in range(len(stored["alphas"]) - 1)]}, "log_odds: expected"),
        ({"choosing": [99]}, "choosing: expected only"),
        ({"instruction": {"shape": [0], "values": []}}, "log_odds: expected the shape"),
        ({"pushes": [0.125, 0.25]}, "pushes: expected only|controls.*: expected the shape"),
    ):
        write_json(tmp_path / "other.json", stored | change)
        with pytest.raises(InputError, match=rf"other\.json: .*({named})"):
            load_sweep(tmp_path / "other.json", swept.directions, PROMPTS)
    with pytest.raises(InputError, match="not a sweep of these 1 prompts"):
        load_sweep(tmp_path / "sweep.json", swept.directions, PROMPTS[:1])
    write_json(tmp_path / "other.json", {"layers": [1]})
    with pytest.raises(InputError, match="not a sweep"):
        load_sweep(tmp_path / "other.json", swept.directions, PROMPTS)


def test_a_stored_sweep_goes_on_with_the_method_that_made_it_and_no_other(swept, tmp_path):
    def backwards(direction, alpha):
        return add_direction(direction, -alpha)

    path = tmp_path / "sweep.json"
    turned = replace(swept, method=backwards)
    save_sweep(path, turned)
    assert load_sweep(path, swept.directions, PROMPTS, method=backwards).method is backwards
    with pytest.raises(InputError, match="the method backwards, not with add_direction"):
        load_sweep(path, swept.directions, PROMPTS)
    with pytest.raises(InputError, match="differ in method"):
        join_sweeps([swept, turned])
    save_sweep(path, swept)
    stored = json.loads(path.read_text())
    assert stored.pop("method") == "add_direction"
    write_json(path, stored)
    assert load_sweep(path, swept.directions, PROMPTS).method is add_direction
    with pytest.raises(InputError, match="the method add_direction, not with backwards"):
        load_sweep(path, swept.directions, PROMPTS, method=backwards)


def assert_same_controls(measured, wanted):
    assert set(measured.controls) == set(wanted.controls)
    for layer, controls in wanted.controls.items():
        for name in ("random", "shuffled"):
            mine, theirs = getattr(measured.controls[layer], name), getattr(controls, name)
            np.testing.assert_allclose(mine, theirs, atol=1e-4)


def test_controls_can_be_added_where_the_answer_lies(planted, train, swept):
    bounds = {"max_loss_increase": 10.0, "max_accuracy_drop": 1.0, "n_resamples": 500}
    bare = replace(swept, controls={})
    answer = recommend(bare, **bounds)
    assert (answer.layer, answer.alpha) == (1, 2.0)
    assert answer.share_beyond is None
    assert not answer.works
    assert answer.doubts == ("it was not compared with random directions",)
    assert "Not shown to work: it was not compared with random directions." in str(answer)
    summary = sweep_summary(bare, 1, n_resamples=200)
    assert summary.random == RandomSlopes(0, (), {}, None, None)
    assert summary.out_of == 0
    options = {"train": train, "n_shuffled": 6}
    one = add_controls(planted, bare, [1], **options)
    assert recommend(one, **bounds) == recommend(swept, **bounds)
    assert_same_controls(add_controls(planted, one, [0], **options), swept)
    with pytest.raises(InputError, match="layer 2 was not swept"):
        add_controls(planted, bare, [2], **options)


def test_controls_are_shifts_by_random_directions_of_equal_norm(planted, swept):
    drawn = random_controls(swept.directions[1], 20, seed=swept.seed + 1)[3]
    prompt = PROMPTS[swept.reporting[2]]
    steered, plain = action_log_odds(planted, prompt, [drawn, drawn], [swept.pushes[0], 0.0])
    assert swept.controls[1].random[3, 0, 2] == pytest.approx(steered - plain, abs=1e-4)


FINE = Coherence(20, 8.0, 0.1, 0.9, truncated=False)


def readable(sweep, judged=lambda text: 0.5):
    """The sweep as if every text read well: a tiny model writes letters, not sentences."""
    return replace(
        sweep,
        texts=tuple(replace(t, coherence=FINE, judged=judged(t.completion)) for t in sweep.texts),
    )


def test_a_planted_direction_succeeds_in_every_coherent_text_and_in_no_other(swept):
    summary = sweep_summary(readable(swept), 1, n_resamples=200)
    assert summary.successes == summary.out_of == 18
    spoilt = readable(swept)
    broken = replace(
        spoilt, texts=tuple(replace(t, coherence=replace(FINE, n_words=3)) for t in spoilt.texts)
    )
    assert sweep_summary(broken, 1, n_resamples=200).successes == 0


def test_a_direction_that_means_nothing_neither_succeeds_nor_is_recommended(planted):
    works, successes, out_of = 0, 0, 0
    drawn = random_controls(axis(planted, 5), 6, seed=123)
    for some in (drawn[:3], drawn[3:]):
        nothing = [replace(d, site=Site(layer)) for layer, d in enumerate(some)]
        meaningless = sweep_of(planted, nothing, (-1.0, 0.0, 1.0), PROMPTS, **OPTIONS)
        bounds = {"max_loss_increase": 10.0, "max_accuracy_drop": 1.0, "n_resamples": 500}
        for towards in ("adding", "removing"):
            answer = recommend(meaningless, towards=towards, **bounds)
            works += answer is not None and answer.works
        for layer in meaningless.layers:
            summary = sweep_summary(readable(meaningless), layer, n_resamples=200)
            successes, out_of = successes + summary.successes, out_of + summary.out_of
    assert works <= 1
    assert successes <= 0.2 * out_of


def test_the_stricter_count_wants_a_moved_text_to_be_coherent(swept):
    moved = readable(swept, judged=lambda c: 0.5 + c.alpha / 10)
    summary = sweep_summary(moved, 1, n_resamples=200)
    assert summary.moved == summary.moved_and_coherent == summary.judged == 18
    other_way = readable(swept, judged=lambda c: 0.5 - c.alpha / 10)
    assert sweep_summary(other_way, 1, n_resamples=200).moved == 0
    broken = tuple(replace(t, coherence=replace(FINE, repetition=0.9)) for t in moved.texts)
    summary = sweep_summary(replace(moved, texts=broken), 1, n_resamples=200)
    assert (summary.moved, summary.moved_and_coherent) == (18, 0)


def test_the_rule_for_moved_texts_names_the_pole_of_the_data(swept):
    calm = Concept("calm", "calm", "hurried")
    directions = {k: replace(d, concept=calm) for k, d in swept.directions.items()}
    rule = sweep_summary(replace(swept, directions=directions), 1, n_resamples=200).moved_rule
    assert "more (alpha > 0) or less (alpha < 0) calm than the unsteered one" in rule


def test_sweeps_of_single_layers_join_to_the_sweep_of_all(planted, train):
    options = OPTIONS | {"train": train, "n_random": 2, "n_shuffled": 2}
    directions = [axis(planted, 7, layer=0), axis(planted, 5, layer=1)]
    whole, *parts = (
        sweep_of(planted, some, (-1.0, 0.0, 1.0), PROMPTS[:6], **options)
        for some in (directions, directions[:1], directions[1:])
    )
    joined = join_sweeps(parts)
    assert joined.layers == whole.layers
    for name in ("log_odds", "instruction"):
        np.testing.assert_allclose(getattr(joined, name), getattr(whole, name), atol=1e-4)
    assert_same_controls(joined, whole)
    assert [t.completion for t in joined.texts] == [t.completion for t in whole.texts]
    with pytest.raises(InputError, match="rising order"):
        join_sweeps(parts[::-1])
    with pytest.raises(InputError, match="differ in seed"):
        join_sweeps([parts[0], replace(parts[1], seed=1)])


def test_the_summary_is_json_and_counts_what_it_holds(swept, tmp_path):
    summary = sweep_summary(swept, 1, n_resamples=500)
    write_result(tmp_path / "steering_examples.json", summary)
    assert len(summary.examples) == 3 * len(ALPHAS)
    assert summary.out_of == sum(e.success is not None for e in summary.examples) == 18
    assert summary.random.n == 20
    assert summary.shuffled.n == 6
    assert [row.alpha for row in summary.dose_response] == list(ALPHAS)
    assert summary.recommendation["adding"] is None or summary.recommendation["adding"].text


def test_the_examples_in_the_docstrings_run(planted):
    have = {"model": planted, "direction": axis(planted, 5), "directions": [axis(planted, 5)]}
    have |= {"tokens": torch.tensor([[1, 2, 3]]), "prompts": PROMPTS[:6]}
    have |= {"texts": TEXTS, "questions": QUESTIONS, "steered": steering.steered}
    for documented in (steering, add_direction):
        (example,) = doctest.DocTestFinder(recurse=False).find(
            documented, name=documented.__name__, globs={**have, "add_direction": add_direction}
        )
        outcome = doctest.DocTestRunner().run(example)
        assert outcome.attempted
        assert not outcome.failed


def test_controls_at_some_strengths_only_leave_the_others_unjudged(planted):
    swept = sweep_of(
        planted,
        [axis(planted, 5)],
        (-1.0, 0.0, 1.0),
        PROMPTS,
        control_alphas=(1.0,),
        **{**OPTIONS, "n_random": 3},
    )
    assert swept.controls_at(1).random.shape == (3, 1, 6)
    judged = {e.alpha: e.success for e in sweep_summary(swept, 1, n_resamples=500).examples}
    assert judged[-1.0] is None
    assert judged[0.0] is None
    assert judged[1.0] is not None


def test_controls_can_stand_at_the_furthest_strengths_within_the_damage_bound(planted):
    """Pushes of this size are harmless."""
    alphas = (-0.02, -0.01, 0.0, 0.01, 0.02)
    options = {**OPTIONS, "n_random": 2}
    swept = sweep_of(
        planted, [axis(planted, 5)], alphas, PROMPTS, control_alphas="furthest", **options
    )
    assert swept.pushes == (-0.02, 0.02)
    assert swept.controls_at(1).random.shape == (2, 2, 6)


def test_shuffled_controls_have_the_norm_and_none_of_the_planted_gap(planted, train):
    direction = axis(planted, 5, norm=3.0)
    shuffled = shuffled_controls(direction, train, 12, seed=0)
    assert {d.raw_norm for d in shuffled} == {3.0}
    assert all(float(d.vector.norm()) == pytest.approx(1, abs=1e-5) for d in shuffled)
    gap = (train.at(1)[train.labels] - train.at(1)[~train.labels]).mean(0)
    cosines = [float(d.vector @ gap / gap.norm()) for d in shuffled]
    assert abs(np.mean(cosines)) < 0.4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alphas": (1.0, 2.0)}, "0 and at least one other"),
        ({"alphas": (0.0, float("nan"))}, "finite"),
        ({"alphas": (0.0, 1.0, 1.0)}, "all new"),
        ({"prompts": ()}, "empty list"),
        ({"prompts": PROMPTS[:2]}, "at least three"),
        ({"control_alphas": (3.0,)}, "control_alphas"),
        ({"neutral_texts": ()}, "neutral text"),
        ({"directions": []}, "at least one"),
    ],
)
def test_bad_requests_are_refused(planted, change, message):
    request = {"directions": [axis(planted, 5)], "alphas": (0.0, 1.0), "prompts": PROMPTS[:3]}
    options = {**OPTIONS, **request, **change}
    with pytest.raises(InputError, match=message):
        sweep_of(
            planted,
            options.pop("directions"),
            options.pop("alphas"),
            options.pop("prompts"),
            **options,
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights_hash": "other"}, "differ in weights: other, not"),
        ({"weight_basis": "processed"}, "differ in weight processing: processed, not hub"),
    ],
)
def test_a_direction_of_another_model_or_basis_is_refused(planted, change, message):
    direction = axis(planted, 5)
    foreign = replace(direction, provenance=replace(direction.provenance, **change))
    with pytest.raises(InputError, match=message):
        sweep_of(planted, [foreign], (0.0, 1.0), PROMPTS, **OPTIONS)


def test_a_wrong_width_or_layer_and_a_long_prompt_are_refused(planted):
    direction = axis(planted, 5)
    wide = replace(direction, vector=torch.eye(33)[0])
    deep = replace(direction, site=Site(9))
    for wrong in (wide, deep):
        with pytest.raises(InputError, match="does not fit"):
            sweep_of(planted, [wrong], (0.0, 1.0), PROMPTS, **OPTIONS)
    long = [replace(p, prompt="x" * 2000) for p in PROMPTS]
    with pytest.raises(InputError, match="tokens"):
        sweep_of(planted, [direction], (0.0, 1.0), long, **OPTIONS)


def test_a_layer_or_alpha_that_was_not_swept_is_named(swept):
    with pytest.raises(InputError, match="layer 2 was not swept"):
        effect(swept, 2, 1.0)
    with pytest.raises(InputError, match=r"alpha 9\.0 was not swept"):
        effect(swept, 1, 9.0)


def test_the_shipped_prompts_hold_out_six_of_seven_for_reporting():
    data = Path(__file__).resolve().parents[2] / "data" / "eia_scenarios"
    prompts = load_steering_prompts(data / "steering_prompts.json")
    assert (len(prompts), len(first_of_each(prompts))) == (35, 5)


@pytest.fixture
def script(monkeypatch):
    """Runs experiments/steering_sweep.py with the given arguments."""
    path = Path(__file__).resolve().parents[2] / "experiments" / "steering_sweep.py"

    def run(*arguments):
        monkeypatch.setattr("sys.argv", [str(path), *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(path), run_name="__main__")
        return ended.value.code

    return run


@pytest.fixture
def few_files(monkeypatch, tmp_path_factory):
    """The shipped files with two prompts of each scenario, six neutral texts and questions."""
    shipped, folder = DataFiles.shipped(), tmp_path_factory.mktemp("few")
    few = replace(
        shipped,
        steering_prompts=folder / "prompts.json",
        neutral_texts=folder / "neutral.jsonl",
        plain_questions=folder / "questions.jsonl",
    )
    prompts = json.loads(shipped.steering_prompts.read_text())
    kept = [p for i, p in enumerate(prompts) if i % 7 < 2]
    few.steering_prompts.write_text(json.dumps(kept))
    for name in ("neutral_texts", "plain_questions"):
        lines = getattr(shipped, name).read_text().splitlines(keepends=True)
        getattr(few, name).write_text("".join(lines[:6]))
    monkeypatch.setattr(DataFiles, "shipped", lambda: few)


@pytest.mark.slow
def test_the_script_writes_the_sweep_and_says_what_to_use(
    script, few_files, planted_folder, tmp_path, capsys
):
    small = ["--n-random", 2, "--n-shuffled", 2, "--n-samples", 1, "--max-new-tokens", 4]
    small += ["--every", 64, "--layers", "1", "--alphas=-1,0,1", "--out", tmp_path]
    assert script("--model", planted_folder, *small) == 0
    results = read_result(tmp_path / "steering_sweep.json", SteeringResults)
    assert results.layers == (1,)
    assert len(results.examples) == 15
    assert results.random.n == results.shuffled.n == 2
    assert (tmp_path / "sweep" / "directions.safetensors").is_file()
    printed = capsys.readouterr().out
    assert "adding:" in printed
    assert "Judge on held-out completions: accuracy 0.78" in printed
    assert "already done" not in printed
    written = (tmp_path / "steering_sweep.json").read_bytes()
    assert script("--model", planted_folder, *small, "--resume") == 0
    shown = capsys.readouterr().err
    assert "layer 1: already done" in shown
    assert "controls 1: already done" in shown
    assert (tmp_path / "steering_sweep.json").read_bytes() == written


def test_the_script_names_bad_strengths_and_layers(script, planted_folder, tmp_path, capsys):
    assert script("--model", planted_folder, "--alphas=much", "--out", tmp_path) == 2
    assert "--alphas: expected numbers such as -4,0,4, got 'much'" in capsys.readouterr().err
    assert script("--model", planted_folder, "--control-layers", 9, "--out", tmp_path) == 2
    assert "--control-layers: layers [9] are not among those swept" in capsys.readouterr().err
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {".lock"}
