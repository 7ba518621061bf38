"""The whole study on tiny models with short texts, through the library and through its script."""

import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_models import save_tiny_gemma2
from typer.testing import CliRunner

from empathy_lens.cli.study import study_into
from empathy_lens.data import (
    load_pairs,
    load_rubric_completions,
    load_scenarios,
    pairs_from,
    save_pairs,
)
from empathy_lens.directions.store import run_of
from empathy_lens.errors import InputError
from empathy_lens.files import write_json, write_text
from empathy_lens.results import from_plain, to_plain
from empathy_lens.study import (
    CONTRASTS,
    DataFiles,
    StudyOptions,
    parse_layers,
    run_study,
    summarise,
)
from empathy_lens.study.runs import Run
from empathy_lens.types import Estimate
from empathy_lens.views import write_report

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = DataFiles.shipped(ROOT / "data")
SCENARIO_IDS = tuple(load_scenarios(SHIPPED.scenarios))
QUICK = {"n_resamples": 400, "n_null": 100, "n_controls": 3, "estimators": ("mean_difference",)}
EXTRACTED = [
    *(
        f"activations_{name}"
        for name in ("train", "test", "hard", *CONTRASTS, "masked_test", "rubric")
    ),
    "config",
]
RESULTS = (
    "config.json",
    "summary.json",
    "validation_auroc.json",
    "eia_correlation.json",
    "steering_examples.json",
    "evidence.json",
    "cosines.json",
    "token_views.json",
    "directions.safetensors",
    "report.html",
)


def short_pairs(path, per_scenario, sides=("empathic_text", "non_empathic_text")):
    """The first pairs of each scenario with texts cut to 40 characters, without their prompt."""
    kept: dict[str, list] = {}
    for pair in load_pairs(path):
        kept.setdefault(pair.scenario_id, []).append(pair)
    return [
        replace(p, prompt="", positive=p.positive[:40], negative=p.negative[-40:])
        for group in kept.values()
        for p in group[:per_scenario]
    ]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    small = replace(
        SHIPPED,
        pairs_train=folder / "train.jsonl",
        pairs_test=folder / "test.jsonl",
        rubric=folder / "rubric.jsonl",
        steering_prompts=folder / "steering.json",
        hard_pairs=folder / "hard.jsonl",
        contrast_sets=folder,
        neutral_texts=folder / "neutral.jsonl",
        plain_questions=folder / "questions.jsonl",
    )
    save_pairs(small.pairs_train, short_pairs(SHIPPED.pairs_train, 3))
    save_pairs(small.pairs_test, short_pairs(SHIPPED.pairs_test, 2))
    save_pairs(small.hard_pairs, short_pairs(SHIPPED.hard_pairs, 2))
    for name in CONTRASTS:
        save_pairs(
            folder / f"{name}.jsonl", short_pairs(SHIPPED.contrast_sets / f"{name}.jsonl", 6)
        )
    lines = [
        {**vars(c), "text": c.text[:40], "prompt": ""}
        for c in load_rubric_completions(SHIPPED.rubric)
        if c.situation and c.completion_id.split("-r")[1][:2] in ("01", "02")
    ]
    write_text(small.rubric, "".join(json.dumps(line) + "\n" for line in lines))
    for name in ("neutral_texts", "plain_questions"):
        first = getattr(SHIPPED, name).read_text().splitlines()[:6]
        cut = [
            {k: v[:60] if k == "text" else v for k, v in json.loads(line).items()} for line in first
        ]
        write_text(getattr(small, name), "".join(json.dumps(line) + "\n" for line in cut))
    shipped = json.loads(SHIPPED.steering_prompts.read_text())
    # Three scenarios with two situations each: one to choose settings on, one to report on.
    prompts = [shipped[i] for i in (0, 1, 7, 8, 21, 22)]
    write_json(small.steering_prompts, [{**p, "prompt": p["prompt"][:60]} for p in prompts])
    return small


@pytest.fixture(scope="module")
def finished(files, backend, tiny_gemma2_folder, tmp_path_factory):
    options = StudyOptions(files=files, **QUICK, model=str(tiny_gemma2_folder), backend=backend)
    with Run(tmp_path_factory.mktemp("run")) as run:
        run_study(options, run)
        summarise(run, 1.0)
        write_report(run.folder)
    return options, run


def test_every_result_names_its_run(finished):
    _, run = finished
    for path in run.folder.glob("*.json"):
        stored = json.loads(path.read_text())
        assert (stored["schema"], stored["run"]) == (1, to_plain(run.identity)), path.name
    tensors = [*run.folder.glob("*.safetensors"), *run.folder.glob("activations/*.safetensors")]
    assert len(tensors) > 2
    assert {run_of(path) for path in tensors} == {run.identity}


def estimates_in(data):
    if isinstance(data, dict):
        if {"value", "low", "high", "n_groups"} <= data.keys():
            yield data
        for value in data.values():
            yield from estimates_in(value)
    elif isinstance(data, list):
        for value in data:
            yield from estimates_in(value)


def test_every_file_of_a_run_is_there(finished):
    _, run = finished
    assert [name for name in RESULTS if not (run.folder / name).is_file()] == []
    assert len(list((run.folder / "probes").glob("empathy_direction_layer_*.npy"))) == 4
    assert list((run.folder / "figures").glob("*.html"))
    assert not list(run.folder.rglob("*.part"))


def test_every_figure_is_a_whole_estimate(finished):
    _, run = finished
    found = []
    for name in ("validation_auroc", "eia_correlation", "evidence"):
        found += list(estimates_in(json.loads((run.folder / f"{name}.json").read_text())))
    assert len(found) > 15
    for data in found:
        estimate = from_plain(data, Estimate, "figure")
        assert estimate.low <= estimate.value <= estimate.high
        assert estimate.confidence == 0.95


def test_resuming_repeats_nothing_and_changes_nothing(finished, files):
    options, run = finished
    before = {p: p.stat().st_mtime_ns for p in run.folder.glob("*.json") if p.stem != "summary"}
    with Run(run.folder, resume=True) as again:
        run_study(options, again)
    assert all(record.skipped for record in again.records)
    assert before == {p: p.stat().st_mtime_ns for p in before}


def test_resuming_runs_what_was_damaged_and_what_depends_on_other_inputs(finished, tmp_path):
    options, run = finished
    (run.folder / "eia_correlation.json").write_text("{}")
    with Run(run.folder, resume=True) as again:
        run_study(options, again)
    assert [r.name for r in again.records if not r.skipped] == ["eia_correlation"]
    with Run(run.folder, resume=True) as other:
        run_study(replace(options, skip_steering=True, seed=7), other)
    assert [r.name for r in other.records if r.skipped] == EXTRACTED
    assert not (run.folder / "steering_examples.json").exists()
    with Run(run.folder, resume=True) as last:
        run_study(options, last)


def test_an_interrupted_run_goes_on_after_its_last_stage_to_the_bytes_of_a_whole_one(
    files, tiny_gemma2_folder, tmp_path, monkeypatch
):
    options = StudyOptions(files=files, **QUICK, model=str(tiny_gemma2_folder), skip_steering=True)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    whole, tmp_path = tmp_path / "whole", tmp_path / "interrupted"
    with Run(whole) as run:
        run_study(options, run)

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("empathy_lens.study.stages.predict_rubric", interrupt)
        with pytest.raises(KeyboardInterrupt), Run(tmp_path) as run:
            run_study(options, run)
    assert not (tmp_path / "eia_correlation.json").exists()
    with Run(tmp_path, resume=True) as resumed:
        run_study(options, resumed)
    assert [r.name for r in resumed.records if r.skipped] == [*EXTRACTED, "directions"]
    parts = [
        {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}
        for folder in (whole, tmp_path)
    ]
    assert parts[0] == parts[1]


@pytest.mark.parametrize("at", ["test", "verbosity"])
def test_an_interrupt_while_extracting_keeps_the_sets_that_are_done(
    at, files, tiny_gemma2_folder, tmp_path
):
    options = StudyOptions(files=files, **QUICK, model=str(tiny_gemma2_folder), skip_steering=True)

    def progress(name):
        def report(done, total):
            if name == at:
                raise KeyboardInterrupt

        return report

    with pytest.raises(KeyboardInterrupt):
        run_study(options, Run(tmp_path), progress)
    done = {path.stem.removesuffix("_last") for path in (tmp_path / "activations").iterdir()}
    sets = [name.removeprefix("activations_") for name in EXTRACTED[:-1]]
    assert done == set(sets[: sets.index(at)])


@pytest.mark.parametrize("text", ["", "8,x", "1;2"])
def test_layers_that_cannot_be_read_are_refused(text):
    with pytest.raises(InputError, match="layers"):
        parse_layers(text)


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "experiments" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_script(*arguments):
    import typer

    app = typer.Typer()
    app.command()(script("run_full_pipeline").main)
    return CliRunner().invoke(app, [str(a) for a in arguments])


BAD_LINES = {
    "broken": "{not json\n",
    "unknown scenario": '{"scenario_id": "the_lisener", "empathic_text": "a", '
    '"non_empathic_text": "b"}\n',
    "empty side": '{"scenario_id": "the_maze", "empathic_text": "", "non_empathic_text": "b"}\n',
    "duplicate ids": '{"scenario_id": "the_maze", "pair_id": "x", "empathic_text": "a", '
    '"non_empathic_text": "b"}\n' * 2,
    "empty file": "",
}


@pytest.mark.parametrize("kind", [*BAD_LINES, "missing file"])
def test_bad_pairs_end_in_one_message_and_exit_code_2(kind, tmp_path):
    path = tmp_path / "pairs.jsonl"
    if kind in BAD_LINES:
        path.write_text(BAD_LINES[kind])
    done = run_script("--pairs-train", path, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert str(path) in done.stderr
    assert "Traceback" not in done.output
    assert not (tmp_path / "out" / "validation_auroc.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "./no/such/folder"], "no such folder"),
        (["--device", "tpu"], "device"),
        (["--dtype", "float16", "--device", "cpu"], "hundreds of times slower"),
        (["--layers", "8,x"], "layers"),
        (["--out", "/proc/nowhere"], "cannot write"),
        (["--backend", "best"], "backend"),
    ],
)
def test_bad_arguments_end_in_one_message_and_exit_code_2(arguments, message, tmp_path):
    out = [] if "--out" in arguments else ["--out", tmp_path]
    done = run_script(*arguments, *out)
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.output


def test_a_layer_that_the_model_lacks_is_named(files, tiny_gemma2_folder, tmp_path):
    options = StudyOptions(files=files, **QUICK, model=str(tiny_gemma2_folder), layers=(2, 99))
    with pytest.raises(InputError, match=r"0\.\.3.*99"):
        run_study(options, Run(tmp_path))


def test_pairs_without_prompt_and_with_unknown_fields_are_taken(files, tmp_path):
    folder = save_tiny_gemma2(tmp_path / "model", n_layers=2)
    lines = [
        {
            "scenario_id": p.scenario_id,
            "empathic_text": p.positive,
            "non_empathic_text": p.negative,
            "annotator": 7,
        }
        for p in short_pairs(SHIPPED.pairs_train, 2)
    ]
    path = tmp_path / "theirs.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    options = StudyOptions(
        **QUICK, files=replace(files, pairs_train=path), model=str(folder), skip_steering=True
    )
    run_study(options, Run(tmp_path / "out"))
    saved = json.loads((tmp_path / "out" / "config.json").read_text())
    assert saved["data"]["train"]["n"] == len(lines)


FILLER = ["river", "stone", "cloud", "lamp", "table", "green", "walk", "chair", "paper", "north"]


def plain_pairs(path, n, sides=("", ""), **fields):
    """Texts of random words without prompts, as published sets have; ``sides`` open the two."""
    rng = np.random.default_rng(n)
    lines = [
        {
            "scenario_id": SCENARIO_IDS[i % len(SCENARIO_IDS)],
            "empathic_text": f"{sides[0]} {' '.join(rng.choice(FILLER, 8))}",
            "non_empathic_text": f"{sides[1]} {' '.join(rng.choice(FILLER, 8))}",
            **fields,
        }
        for i in range(n)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def evidence_of(files, folder, out):
    options = StudyOptions(**QUICK, files=files, model=str(folder), skip_steering=True)
    run_study(options, Run(out))
    return json.loads((out / "evidence.json").read_text())


def test_a_set_whose_words_alone_separate_the_classes_is_not_called_beyond_them(
    files, tiny_gemma2_folder, tmp_path
):
    words = ("gently", "swiftly")
    chosen = replace(
        files,
        pairs_train=plain_pairs(tmp_path / "train.jsonl", 30, words),
        pairs_test=plain_pairs(tmp_path / "test.jsonl", 15, words),
    )
    card = evidence_of(chosen, tiny_gemma2_folder, tmp_path / "out")
    assert card["baselines"]["naive_bayes"]["value"] == 1.0
    about = [v["verdict"] for v in card["verdicts"] if v["claim"] == "beyond words"]
    assert about
    assert "supported" not in about
    assert {row["pooling"] for row in card["estimators"].values()} == {"mean", "last"}
    assert card["lexically_ablated"]["n_words"] == 50
    # There are fewer than 50 words, so that all texts become one.
    assert card["lexically_ablated"]["auroc"] is None
    assert "same activations" in card["not_computed"]["lexically_ablated"]
    assert set(card["nulls"]["random_directions"]) >= {"mean", "sd", "p95", "p99", "n"}
    assert {"probe", "delta_vs_best_baseline", "permutation_p_corrected"} <= set(card)
    assert set(card["leave_one_scenario_out"]) == set(SCENARIO_IDS)
    assert card["not_computed"]["sentence_embedding"].startswith("no sentence embedding")


@pytest.mark.parametrize(
    ("n_train", "n_test", "fields", "says"),
    [
        (3, 10, {}, "train pairs: expected at least 6 situations, got 3"),
        (20, 3, {}, "test pairs: expected at least 6 situations, got 3"),
        (20, 10, {"situation": "one", "scenario_id": "the_maze"}, "at least 6 situations, got 1"),
    ],
)
def test_too_few_pairs_or_situations_are_a_clear_error(
    n_train, n_test, fields, says, files, tiny_gemma2_folder, tmp_path
):
    chosen = replace(
        files,
        pairs_train=plain_pairs(tmp_path / "train.jsonl", n_train, **fields),
        pairs_test=plain_pairs(tmp_path / "test.jsonl", n_test, **fields),
    )
    with pytest.raises(InputError, match=says):
        evidence_of(chosen, tiny_gemma2_folder, tmp_path / "out")


def test_texts_without_words_go_on_without_a_bag_of_words(files, tiny_gemma2_folder, tmp_path):
    lines = [
        {"scenario_id": "the_maze", "pair_id": str(i)}
        | {"empathic_text": "1 " * (i + 1), "non_empathic_text": "2 " * (i + 1)}
        for i in range(12)
    ]
    path = tmp_path / "signs.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    card = evidence_of(replace(files, pairs_train=path), tiny_gemma2_folder, tmp_path / "out")
    assert card["baselines"]["naive_bayes"] is None
    assert card["baselines"]["character_ngrams"] is not None
    ruled = {v["claim"]: v["verdict"] for v in card["verdicts"]}
    assert ruled["beyond words"] != "supported"
    assert ruled["holds with the telling words masked"] == "cannot tell"


def test_an_embedding_that_is_unknown_or_not_installed_ends_before_any_work(tmp_path, monkeypatch):
    done = run_script("--embedding", "best", "--out", tmp_path)
    assert done.exit_code == 2
    assert "expected one of none, minilm, got 'best'" in done.stderr
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    done = run_script("--embedding", "minilm", "--out", tmp_path)
    assert done.exit_code == 2
    assert "pip install -e '.[embedding]'" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_study_of_another_concept_speaks_of_that_concept_alone(
    files, tiny_gemma2_folder, tmp_path, capsys
):
    """What is about empathy alone is left out, and its words stand in no file of the run."""
    told = [f"I told her about number {i} at once." for i in range(30)]
    hid = [f"I hid number {i} from her, and smiled." for i in range(30)]
    pairs = pairs_from(told, hid, concept="honesty", poles=("honest", "dishonest"))
    save_pairs(tmp_path / "train.jsonl", pairs[:20])
    save_pairs(tmp_path / "test.jsonl", pairs[20:])
    chosen = files.of_pairs(tmp_path / "train.jsonl", tmp_path / "test.jsonl")
    folder = tmp_path / "out"
    options = StudyOptions(files=chosen, **QUICK, model=str(tiny_gemma2_folder))
    study_into(folder, options, resume=False)
    assert f"Report: {folder / 'report.html'}" in capsys.readouterr().out
    report = (folder / "report.html").read_text()
    assert "honest" in report
    assert "dishonest" in report
    assert not (folder / "eia_correlation.json").exists()
    assert (folder / "probes" / "honesty_direction_layer_1.npy").is_file()
    for path in folder.rglob("*"):
        if path.suffix in (".json", ".html"):
            words = re.sub(r"empathy[-_ ]lens", "", path.read_text(), flags=re.IGNORECASE)
            assert not re.findall(r"empath\w*|task.focused", words, flags=re.IGNORECASE), path.name


@pytest.mark.embedded
@pytest.mark.slow
def test_the_embedded_model_finds_a_direction_better_than_chance(files, tmp_path):
    train, test = (
        [replace(p, prompt="") for p in load_pairs(path)[::step]]
        for path, step in ((SHIPPED.pairs_train, 3), (SHIPPED.pairs_test, 2))
    )
    save_pairs(tmp_path / "train.jsonl", train)
    save_pairs(tmp_path / "test.jsonl", test)
    chosen = replace(
        files, pairs_train=tmp_path / "train.jsonl", pairs_test=tmp_path / "test.jsonl"
    )
    # Steering is tested on tiny models, and on this one in the notebook.
    options = StudyOptions(files=chosen, **QUICK, layers=(9, 11), skip_steering=True)
    run = Run(tmp_path / "out")
    run_study(options, run)
    summary = summarise(run, 1.0)
    assert summary.selected_layer in (9, 11)
    found = json.loads((run.folder / "validation_auroc.json").read_text())
    assert found["layers"][str(summary.selected_layer)]["auroc"]["value"] > 0.5
    assert write_report(run.folder).stat().st_size < 8_000_000
