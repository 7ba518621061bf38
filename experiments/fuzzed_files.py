"""A sound file of every kind that the toolkit reads, the reader of each, and what must hold.

The sound files are those of a checkout, or made here by the toolkit's own writers.
"""

from __future__ import annotations

import dataclasses
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from fuzzed_formats import JSON, LINES, RESULTS, ROOT, TOML, Language, Reader
from fuzzed_tensors import tensor_readers

DATA = ROOT / "data"


def make_readers(folder: Path) -> list[Reader]:
    """Every reader with its sound file; what no checkout holds is made in the folder."""
    return [
        *_handwritten(folder),
        *_logs(folder),
        *_runs(folder),
        *tensor_readers(folder),
    ]


def _as_dicts(values: Any) -> Any:
    return [dataclasses.asdict(value) for value in values]


def _handwritten(folder: Path) -> list[Reader]:
    from empathy_lens import data
    from empathy_lens.pairs.plan import DEFAULT_PROMPTS, load_prompts
    from empathy_lens.vendors import DEFAULT_CONFIG, load_config

    scenarios = DATA / "eia_scenarios"

    def lines(*place: str) -> Path:
        """The first lines of a shipped file."""
        path = folder / place[-1]
        path.write_bytes(b"".join(DATA.joinpath(*place).read_bytes().splitlines(True)[:12]))
        return path

    def pairs(read: Any) -> Any:
        names = {"positive": "empathic_text", "negative": "non_empathic_text"}
        return [{names.get(k, k): v for k, v in vars(p).items()} | dict(p.extra) for p in read]

    def prompts(read: Any) -> Any:
        names = {"positive_actions": "empathic_actions", "negative_actions": "task_actions"}
        return [{names.get(k, k): v for k, v in vars(p).items()} for p in read]

    def reader(name: str, file: Path, read: Any, plain: Any, language: Language) -> Reader:
        return Reader(name, file, read, language, plain=plain, lenient=True)

    def settings(read: Any) -> Any:
        return read.model_dump(mode="json")

    texts = lines("neutral", "neutral_texts.jsonl")
    return [
        reader(
            "pairs", lines("contrastive_pairs", "test_pairs.jsonl"), data.load_pairs, pairs, LINES
        ),
        reader(
            "rubric",
            lines("rubric_completions", "rubric_completions.jsonl"),
            data.load_rubric_completions,
            _as_dicts,
            LINES,
        ),
        reader(
            "scenarios",
            scenarios / "scenarios.json",
            data.load_scenarios,
            lambda read: _as_dicts(read.values()),
            JSON,
        ),
        reader(
            "steering prompts",
            scenarios / "steering_prompts.json",
            data.load_steering_prompts,
            prompts,
            JSON,
        ),
        reader(
            "neutral texts",
            texts,
            data.load_neutral_texts,
            lambda read: [{"text": text} for text in read],
            LINES,
        ),
        reader(
            "plain questions",
            lines("neutral", "plain_questions.jsonl"),
            data.load_plain_questions,
            _as_dicts,
            LINES,
        ),
        Reader("vendors.toml", DEFAULT_CONFIG, load_config, TOML, plain=settings),
        Reader("prompts.toml", DEFAULT_PROMPTS, load_prompts.__wrapped__, TOML, plain=settings),
    ]


def _logs(folder: Path) -> list[Reader]:
    from empathy_lens.errors import InputError
    from empathy_lens.pairs.review import Decision, EditedTexts, load_decisions, save_decision
    from empathy_lens.vendors import read_journal
    from empathy_lens.vendors.journal import Answered, Asked, Failed, open_journal

    about: dict[str, Any] = {"call": "a", "vendor": "v", "model": "m", "purpose": "p"}
    journal, reviews = folder / "journal.jsonl", folder / "pairs.reviews.jsonl"
    with open_journal(journal) as opened:
        opened.write(Asked(**about, most_usd=0.2))
        opened.write(Answered(**about, body="{}", cost_usd=0.1, input_tokens=3, output_tokens=4))
        opened.write(Failed(**about, kind="timeout", message="late", cost_usd=0.0))
    texts = EditedTexts("Prompt.", "Positive.", "Negative.")
    save_decision(reviews, Decision("p1", "ann", "edit", "hash", "note", texts))
    save_decision(reviews, Decision("p2", "ann", "accept", "hash"))
    save_decision(reviews, Decision("p3", "ben", "reject", "hash"))

    def whole_journal(path: Path) -> Any:
        """A journal's spoilt lines are counted, which says so."""
        read = read_journal(path)
        if read.unreadable_lines:
            raise InputError(f"{path}: {read.unreadable_lines} lines cannot be read")
        return read

    return [
        Reader("journal", journal, whole_journal, LINES),
        Reader("reviews", reviews, load_decisions, LINES),
    ]


def _runs(folder: Path) -> list[Reader]:
    from empathy_lens.games.steered_play import Outcome
    from empathy_lens.models.embedded import Manifest
    from empathy_lens.pairs.api_judge import steered_texts
    from empathy_lens.results import read_result, read_stored, to_plain, write_result
    from empathy_lens.study.runs import RECORDS, Run
    from empathy_lens.views.report import build_report
    from empathy_lens.views.run_results import KINDS, read_run

    staged = folder / "staged"

    def work() -> None:
        (staged / "out.txt").write_text("what the stage writes", encoding="utf-8")

    def resumed(path: Path) -> str:
        with Run(staged, resume=True) as run:
            run.stage("work", [1], ["out.txt"], work)
        return (staged / "out.txt").read_text(encoding="utf-8")

    with Run(staged) as first:
        first.stage("work", [1], ["out.txt"], work)
    outcome, manifest = folder / "steered.json", folder / "manifest.json"
    write_result(outcome, Outcome((0.0, 2.0), (0.25, 1.0)))
    write_result(manifest, Manifest(1, "sha", "owner/name", {"config.json": "sha"}))
    readers = [
        Reader("stage record", staged / RECORDS / "work.json", resumed, JSON, whole=True),
        Reader("steered play", outcome, partial(read_result, kind=Outcome), JSON, plain=to_plain),
        Reader("manifest", manifest, partial(read_result, kind=Manifest), JSON, plain=to_plain),
        Reader("judged texts", RESULTS / "steering_examples.json", steered_texts, JSON, weight=2),
        _sweep(folder),
    ]

    def report(path: Path) -> str:
        """Drawn, and every file that cannot be read is named on it."""
        page = build_report(path.parent)
        for problem in read_run(path.parent).problems:
            if "Could not be read" not in page or path.name not in page:
                raise AssertionError(f"the report does not say: {problem}")
        return ""

    run = folder / "run"
    shutil.copytree(RESULTS, run)
    for name, kind in KINDS.items():
        path = RESULTS / f"{name}.json"
        if path.is_file():
            read = partial(read_stored, kind=kind)
            readers += [
                Reader(path.name, path, read, JSON, weight=2, plain=_with_stamp),
                Reader(f"report: {path.name}", run / path.name, report, JSON, weight=0.05),
            ]
    return readers


def _with_stamp(stored: tuple[Any, Any]) -> dict[str, Any]:
    """A result as it stands in its file, beside what the file says of itself."""
    from empathy_lens.results import to_plain

    result, stamp = stored
    return {**to_plain(stamp), **to_plain(result)}


def _sweep(folder: Path) -> Reader:
    from empathy_lens.directions.store import load_directions
    from empathy_lens.results import read_result, to_plain
    from empathy_lens.steering.controls import Coherence, Damage
    from empathy_lens.steering.measured import (
        Controls,
        SteeredText,
        SteeringSweep,
        StoredSweep,
        load_sweep,
        save_sweep,
    )
    from empathy_lens.types import Completion, SteeringPrompt

    path, draw = folder / "layer_3.json", np.random.default_rng(0)
    directions = {3: load_directions(RESULTS / "directions.safetensors")[3]}
    prompts = tuple(
        SteeringPrompt(s, f"Prompt of {s}.", ("I help.",), ("I go on.",)) for s in ("a", "b", "c")
    )
    alphas = (-2.0, 0.0, 2.0)
    texts = tuple(
        SteeredText(
            i,
            Completion(prompts[i].prompt, "Text.", prompts[i].scenario_id, alpha, 3, 0, 4, True),
            Coherence(12, 9.5, 0.1, 0.9, False),
            0.5,
        )
        for i in range(2)
        for alpha in alphas
    )
    sweep = SteeringSweep(
        directions=directions,
        alphas=alphas,
        pushes=(-2.0, 2.0),
        prompts=prompts,
        choosing=(0,),
        reporting=(1, 2),
        log_odds=draw.normal(size=(1, 3, 3)),
        controls={3: Controls(draw.normal(size=(2, 2, 2)), draw.normal(size=(1, 2, 2)))},
        instruction=draw.normal(size=3),
        damage=Damage({3: draw.normal(size=(3, 2))}, {3: np.ones((3, 2), dtype=bool)}),
        texts=texts,
        seed=0,
    )
    save_sweep(path, sweep)

    def read(file: Path) -> Any:
        load_sweep(file, directions, prompts)
        return read_result(file, StoredSweep)

    return Reader("sweep", path, read, JSON, plain=to_plain)
