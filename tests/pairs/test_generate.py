import json
import logging
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fault_server import FAULTS, FaultServer
from practice import ROOT

from empathy_lens.data import EMPATHY, load_pairs
from empathy_lens.errors import InputError
from empathy_lens.pairs import generate, plan_and_price
from empathy_lens.pairs.dataset import GeneratedSummary
from empathy_lens.pairs.plan import Price, pair_request
from empathy_lens.results import read_result, to_plain
from empathy_lens.vendors import MissingKeysError, read_journal

HARNESS = Path(__file__).with_name("kill_harness.py")
DATA_FILES = ("pairs.jsonl", "rejected.jsonl", "train_pairs.jsonl", "test_pairs.jsonl")


def data_files(folder):
    return {name: (folder / name).read_bytes() for name in DATA_FILES}


def written(made):
    return [w.pair for w in made.written if w.pair is not None]


def test_two_hundred_pairs_come_through_twenty_percent_faults(options_for):
    with FaultServer(faults=0.2, seed=11) as server:
        options = options_for(server, n_pairs=200)
        made = generate(options)
        server.settle()
        assert len(set(FAULTS) - set(server.done)) <= 2  # the draw may leave out a kind
        assert 0.1 < 1 - server.done[None] / len(server.requests) < 0.3

        assert len(written(made)) == 200
        assert len({p.pair_id for p in written(made)}) == 200
        assert {p.source_model for p in written(made)} == {
            "claude-practice", "gpt-practice", "gemini-practice"}  # fmt: skip
        assert max(server.delivered.values()) == 1
        journal = read_journal(options.journal)
        assert len(journal.answered) == sum(server.delivered.values())
        assert journal.in_doubt == 0
        assert made.summary.costs.cost_usd >= server.billed_usd

        n_asked = len(server.requests)
        again = generate(options)
        assert len(server.requests) == n_asked
        assert written(again) == written(made)
        assert again.summary == made.summary


@pytest.mark.parametrize("cap", [0.05, 0.2])
def test_the_cap_is_respected_to_one_call(options_for, cap):
    with FaultServer() as server:
        options = options_for(server, n_pairs=120, max_cost_usd=cap)
        made = generate(options)
        server.settle()
        dearest = max(pair_request(w.slot, 0, 600).most_usd for w in made.written)
        spent = read_journal(options.journal).spent_usd
        assert spent == pytest.approx(server.billed_usd)
        assert cap - dearest < spent <= cap
        assert made.capped
        assert made.unasked == 120 - len(written(made)) > 0

        assert generate(options).capped  # a second run starts from what was spent
        assert server.billed_usd == pytest.approx(spent)

        more = generate(replace(options, max_cost_usd=5.0))
        assert len(written(more)) == 120
        assert max(server.delivered.values()) == 1


def test_the_cap_holds_when_half_of_the_calls_fail(options_for):
    kinds = ("cut_within", "cut_before", "malformed", "wrong_type", "server_error")
    with FaultServer(faults=0.5, seed=3, kinds=kinds) as server:
        options = options_for(server, n_pairs=80, max_cost_usd=0.3)
        made = generate(options)
    assert made.capped
    assert server.billed_usd < 0.3
    assert 0.2 < made.summary.costs.cost_usd <= 0.3 + 1e-9


@pytest.mark.slow
def test_six_kills_change_nothing_in_the_final_set(config_for, options_for, tmp_path):
    changed = {"concurrency": "1"}
    with FaultServer(faults=0.2, seed=5, latency=0.02) as server:
        calm = options_for(server, out="calm", n_pairs=60, changed=changed)
        generate(calm)
        undisturbed = sum(server.delivered.values())
    with FaultServer(faults=0.2, seed=5, latency=0.02) as server:
        config_for(server, **changed)
        out = tmp_path / "killed"
        done = subprocess.run(
            [sys.executable, HARNESS, tmp_path / "practice.toml", out, "60", "6", "1"],
            capture_output=True, text=True, timeout=110)  # fmt: skip
        assert (done.returncode, done.stdout) == (0, "6\n"), done.stderr
        journal = read_journal(out / "journal.jsonl")
    assert data_files(out) == data_files(calm.out)
    asked_twice = sum(server.delivered.values()) - len(server.delivered)
    assert len(server.delivered) == len(journal.answered) == undisturbed
    assert 0 < journal.in_doubt <= 6 * 3
    assert asked_twice <= journal.in_doubt
    assert journal.spent_usd >= server.billed_usd


def test_a_bigger_plan_asks_for_the_new_pairs_alone(options_for):
    with FaultServer() as server:
        small = options_for(server, n_pairs=30)
        first = written(generate(small))
        made = generate(replace(small, n_pairs=50))
    assert len(server.requests) == 50
    assert written(made)[:30] == first


def test_a_dry_run_needs_no_key_and_asks_nothing(options_for, monkeypatch, keys):
    with FaultServer() as server:
        options = options_for(server, n_pairs=60)
        for name in keys:
            monkeypatch.delenv(name)
        _, price = plan_and_price(options)
        assert server.requests == []
        assert not options.out.exists()
        with pytest.raises(MissingKeysError, match="EL_TEST_OPENAI_KEY"):
            generate(options)
    assert price.calls == 60
    assert price.by_vendor == {"anthropic": 20, "openai": 20, "gemini": 20}


def test_the_estimate_is_near_what_is_paid_and_sinks_with_what_is_done(options_for):
    with FaultServer() as server:
        options = options_for(server, n_pairs=60)
        _, price = plan_and_price(options)
        made = generate(options)
        server.settle()
        assert price.estimated_cost_usd == pytest.approx(server.billed_usd, rel=0.5)
        _, left = plan_and_price(options)
        assert left == Price(0, {"anthropic": 0, "openai": 0, "gemini": 0}, 0.0)
    assert made.summary.costs.cost_usd == pytest.approx(server.billed_usd)


def test_no_key_is_in_any_file_log_error_or_report(options_for, keys, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    script = ["unauthorized", "rate_limit", "unreadable", "cut_before", "malformed"]
    with FaultServer(script=script * 3, faults=0.2, echo_key=True) as server:
        options = options_for(server, n_pairs=24)
        made = generate(options)
        generate(options)
    files = {p: p.read_text() for p in options.out.rglob("*") if p.is_file()}
    assert len(files) == 6
    seen = "".join(files.values()) + caplog.text + "".join(capfd.readouterr()) + repr(made)
    assert any("[key]" in text for text in files.values())
    for key in keys.values():
        assert any(key in json.dumps(headers) for *_, headers in server.requests)
        assert key not in seen


def test_the_card_counts_sources_rejections_costs_and_hashes(options_for):
    with FaultServer(faults=0.2, seed=2) as server:
        made = generate(options_for(server, n_pairs=40))
    path = options_for(server).out / "dataset_summary.json"
    assert read_result(path, GeneratedSummary) == made.summary
    card = json.loads(path.read_text())
    assert card == to_plain(made.summary)
    train, test = (
        load_pairs(options_for(server).out / f"{s}_pairs.jsonl") for s in ("train", "test")
    )
    assert card["by_split"] == {"test": len(test), "train": len(train)}
    assert card["plan"]["n_pairs"] == 40
    assert card["quality"]["accepted"] + card["quality"]["rejected"] == card["plan"]["written"]
    assert set(card["data_hash"]) == {"train_pairs.jsonl", "test_pairs.jsonl"}
    assert [m["vendor"] for m in card["plan"]["models"]] == ["anthropic", "openai", "gemini"]
    answers = {v: row["answers"] for v, row in card["costs"]["by_vendor"].items()}
    assert sum(answers.values()) == sum(server.delivered.values())
    pair = train[0]
    assert {"vendor", "seed", "facts", "wording"} <= set(pair.extra)
    assert all((pair.format, pair.situation, pair.source_model, pair.prompt))
    assert pair.concept == EMPATHY


def test_nothing_fit_to_train_on_is_said_with_what_became_of_the_pairs(options_for):
    with FaultServer(faults=1.0, kinds=("refusal",)) as server:
        options = options_for(server, n_pairs=4)
        with pytest.raises(InputError, match=r"0 of 4 pairs are left.*'refused': 4"):
            generate(options)
        assert len(server.requests) == 4 * 4  # tries
        assert len(read_journal(options.journal).answered) == 16


def test_shipped_pairs_are_merged_on_their_own_sides(options_for):
    folder = ROOT / "data" / "contrastive_pairs"
    shipped = tuple(load_pairs(folder / f"{s}_pairs.jsonl") for s in ("train", "test"))
    with FaultServer() as server:
        options = options_for(server, n_pairs=20, merged=shipped, known=sum(shipped, ()))
        made = generate(options)
    own = len(made.quality.accepted)
    for side, of_shipped in zip(("train", "test"), shipped, strict=True):
        pairs = load_pairs(options.out / f"{side}_pairs.jsonl")
        own -= len(pairs) - len(of_shipped)
        assert [p.pair_id for p in pairs][-len(of_shipped) :] == [p.pair_id for p in of_shipped]
        assert {p.split for p in pairs} == {side}
    assert own == 0


@pytest.mark.slow
def test_time_grows_with_the_pairs_and_not_faster(options_for):
    seconds = {}
    with FaultServer() as server:
        for n in (50, 200):
            options = options_for(server, out=f"of-{n}", n_pairs=n)
            generate(options)
            started = time.process_time()
            assert len(written(generate(options))) == n  # from the journal: our own time
            seconds[n] = time.process_time() - started
    assert seconds[200] < 4 * 2 * seconds[50]
