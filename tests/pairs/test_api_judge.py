import asyncio
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from fault_server import CONFIG, FaultServer
from practice import ROOT, SCENARIOS
from sklearn.metrics import cohen_kappa_score

from empathy_lens.data import load_pairs, load_rubric_completions, load_scenarios
from empathy_lens.errors import InputError
from empathy_lens.pairs import generate, plan_and_price
from empathy_lens.pairs.api_judge import (
    JudgeReport,
    Score,
    Text,
    agreement,
    cross_check,
    judge_texts,
    parse_score,
    steered_texts,
)
from empathy_lens.results import read_result, to_plain
from empathy_lens.vendors import UnreadableReplyError, open_caller, read_journal

GAMES = load_scenarios(SCENARIOS)
RUBRIC = load_rubric_completions(ROOT / "data" / "rubric_completions" / "rubric_completions.jsonl")
TEXTS = [Text(c.completion_id, c.scenario_id, c.prompt, c.text) for c in RUBRIC]
SCORE_OF = {c.text: c.score for c in RUBRIC}
SCRIPT = ROOT / "experiments" / "judge_completions.py"


def knows(asked):
    """A judge that agrees with the shipped scores."""
    return next(score for text, score in SCORE_OF.items() if text in asked)


@pytest.fixture
def judged(config_for, tmp_path):
    def run(server, texts, judge="openai", **changed):
        config = config_for(server, **changed)

        async def ask():
            async with open_caller(config, tmp_path / "journal.jsonl") as caller:
                return await judge_texts(caller, judge, texts, GAMES)

        return asyncio.run(ask())

    return run


def test_completions_are_scored_and_agreement_is_reported(judged):
    with FaultServer(judge=knows, faults=0.2, kinds=("rate_limit", "cut_within", "slow")) as server:
        scores = judged(server, TEXTS)
    assert [s.value for s in scores] == [c.score for c in RUBRIC]
    found = agreement(scores, RUBRIC)
    assert (found.exact.value, found.kappa.value, found.n, found.n_missing) == (1.0, 1.0, 90, 0)
    assert found.spearman.value == pytest.approx(1.0)


@pytest.mark.parametrize("fault", ["refusal", "cut_short", "empty", "malformed"])
def test_a_score_that_cannot_be_read_is_missing_and_never_zero(judged, fault):
    script = [None] * 3 + [fault] + [None] * 2
    with FaultServer(judge=lambda asked: 0, script=script) as server:
        scores = judged(server, TEXTS[:6], concurrency="1")
    assert sorted((s.value, s.missing != "") for s in scores if s.value is not None) == [
        (0, False)] * 5  # fmt: skip
    (missing,) = (s for s in scores if s.value is None)
    assert missing.missing in ("refused", "truncated", "empty", "malformed")
    found = agreement(scores, RUBRIC)
    assert (found.n, found.n_missing) == (5, 1)


@pytest.mark.parametrize("said", ["2 of 2", 3, None, True, 1.0])
def test_a_reply_that_is_no_score_is_repaired_once_and_then_missing(judged, said):
    with FaultServer(judge=lambda asked: said) as server:
        (score,) = judged(server, TEXTS[:1])
    assert (score.value, score.missing) == (None, "unreadable")
    assert len(server.requests) == 2


def test_the_same_content_is_asked_about_once_also_in_a_second_run(judged):
    twins = [*TEXTS[:5], *(replace(t, text_id=f"{t.text_id}-twin") for t in TEXTS[:5])]
    with FaultServer(judge=knows) as server:
        first = judged(server, twins)
        again = judged(server, twins)
        other = judged(server, twins[:5], judge="anthropic")
    assert [s.value for s in first] == [s.value for s in again] == [s.value for s in other] * 2
    assert len(server.requests) == 5 + 5
    assert max(server.delivered.values()) == 1


def test_the_judge_sees_game_rubric_prompt_and_text_and_not_the_score(judged):
    seen = []
    with FaultServer(judge=lambda asked: seen.append(asked) or 0) as server:
        judged(server, TEXTS[:1])
    game = GAMES[TEXTS[0].scenario_id]
    for part in (game.objective, *game.rubric.values(), TEXTS[0].prompt, TEXTS[0].text):
        assert part in seen[0]
    assert TEXTS[0].text_id not in seen[0]


def test_agreement_matches_scikit_learn_and_weighs_distance():
    draw = np.random.default_rng(0)
    noisy = [min(2, max(0, c.score + int(draw.integers(-1, 2)))) for c in RUBRIC]
    found = agreement(
        [Score(c.completion_id, v) for c, v in zip(RUBRIC, noisy, strict=True)], RUBRIC
    )
    truth = [c.score for c in RUBRIC]
    assert found.kappa.value == pytest.approx(cohen_kappa_score(noisy, truth, weights="quadratic"))
    assert found.exact.value == pytest.approx(np.mean(np.array(noisy) == truth))
    assert found.kappa.low < found.kappa.value < found.kappa.high
    assert found.kappa.n_groups == 30


def test_agreement_that_cannot_be_had_is_none_and_not_a_number():
    found = agreement([Score(c.completion_id, 1) for c in RUBRIC], RUBRIC)
    assert found.spearman is None
    assert found.exact.value == pytest.approx(1 / 3)
    assert json.dumps(to_plain(found))
    with pytest.raises(InputError, match="none of the scored texts"):
        agreement([Score("other", 1)], RUBRIC)


def test_pairs_are_cross_checked_by_a_model_that_did_not_write_them(config_for, tmp_path):
    pairs = load_pairs(ROOT / "data" / "contrastive_pairs" / "test_pairs.jsonl")[:6]
    pairs = [replace(p, source_model=m) for p, m in zip(
        pairs, ["gpt-practice", "claude-practice", "other"] * 2, strict=True)]  # fmt: skip
    scores = {p.positive: 2 for p in pairs} | {p.negative: 0 for p in pairs}
    with FaultServer(
        judge=lambda asked: next(v for t, v in scores.items() if t in asked)
    ) as server:
        config = config_for(server)

        async def ask(judges):
            async with open_caller(config, tmp_path / "journal.jsonl") as caller:
                return await cross_check(caller, judges, pairs, GAMES)

        both = asyncio.run(ask(["openai", "anthropic"]))
        alone = asyncio.run(ask(["openai"]))
    assert both == dict.fromkeys((p.pair_id for p in pairs), (2, 0))
    assert set(alone) == {p.pair_id for p in pairs if p.source_model != "gpt-practice"}
    asked = [vendor for vendor, *_ in server.requests]
    assert (asked.count("openai"), asked.count("anthropic")) == (8, 4)


def test_a_generation_rejects_what_the_judge_scores_the_wrong_way(options_for):
    with FaultServer(judge=lambda asked: len(asked) % 2) as server:
        options = options_for(server, n_pairs=24, judges=("anthropic", "openai"))
        _, price = plan_and_price(options)
        made = generate(options)
        generate(options)
    assert price.calls == 24 * 3
    assert len(server.requests) == 24 + 2 * (24 - made.quality.reasons.get("near-duplicate", 0))
    wrong = [r for r in made.quality.rejected if ("judge" in dict(r.reasons))]
    assert wrong
    for rejection in wrong:
        positive, negative = rejection.pair.extra["judge_scores"]
        assert positive <= negative
    for pair in made.quality.accepted:
        positive, negative = pair.extra["judge_scores"]
        assert positive > negative
    assert made.quality.giveaway.n_pairs == len(made.quality.accepted)


def test_unknown_judges_and_scenarios_are_refused(judged):
    with FaultServer() as server:
        with pytest.raises(InputError, match="openai:gpt-practice"):
            judged(server, TEXTS[:1], judge="mistral")
        with pytest.raises(InputError, match="chess"):
            judged(server, [replace(TEXTS[0], scenario_id="chess")])


def test_the_script_judges_rubric_and_steered_texts_and_needs_no_key_to_price(tmp_path, keys):
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    example = {"scenario_id": "the_duel", "prompt": "P", "alpha": 2.0, "seed": 0,
               "completion": RUBRIC[0].text}  # fmt: skip
    (run_folder / "steering_examples.json").write_text(json.dumps({"examples": [example]}))
    with FaultServer(judge=knows) as server:
        (tmp_path / "c.toml").write_text(CONFIG.format(url=server.url))
        args = [sys.executable, SCRIPT, "--judge", "gemini", "--run", run_folder, "--out",
                tmp_path / "out", "--config", tmp_path / "c.toml"]  # fmt: skip
        no_keys = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
        dry = subprocess.run([*args, "--dry-run"], capture_output=True, text=True, env=no_keys)
        assert json.loads(dry.stdout)["calls"] == 91, dry.stderr
        done = subprocess.run([*args, "--json"], capture_output=True, text=True, env=no_keys | keys)
    report = json.loads(done.stdout)
    written = json.loads((tmp_path / "out" / "judge_scores.json").read_text())
    assert written.pop("schema") == 1
    assert written.pop("run")["version"]
    assert report == written
    stored = read_result(tmp_path / "out" / "judge_scores.json", JudgeReport)
    assert to_plain(stored) == report
    assert stored.agreement.exact.value == 1.0
    steered = [s for s in report["scores"] if s["text_id"].startswith("steered/the_duel/alpha=2")]
    assert [s["value"] for s in steered] == [RUBRIC[0].score]
    assert len(read_journal(tmp_path / "out" / "journal.jsonl").answered) == 91


def test_the_committed_steered_texts_are_read_whatever_else_stands_beside_them():
    assert len(steered_texts(ROOT / "results" / "embedded" / "steering_examples.json")) > 10


def test_a_file_that_is_no_steering_result_is_named(tmp_path):
    path = tmp_path / "steering_examples.json"
    path.write_text('{"examples": [{}]}')
    with pytest.raises(InputError, match="steering_examples"):
        steered_texts(path)


@pytest.mark.parametrize("score", [0, 1, 2])
def test_a_score_is_read(score):
    assert parse_score(f'{{"score": {score}}}') == score


@pytest.mark.parametrize(
    "text",
    ["2", '{"score": 3}', '{"score": "2"}', '{"score": 1.0}', '{"score": true}', '{"score": null}',
     "score: 2", "", '{"score": 2, "why": "kind"}', '{"score": 1, "score": 2}'],
)  # fmt: skip
def test_an_unreadable_score_is_never_a_number(text):
    with pytest.raises(UnreadableReplyError):
        parse_score(text)
