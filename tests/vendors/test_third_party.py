"""The real SDK clients against llm-katan: a server of both protocols that we did not write."""

import asyncio
import importlib.util
import json
import socket
import subprocess
import sys
import time
from urllib.request import urlopen

import pytest
from practice import ROOT, SCENARIOS

from empathy_lens.data import load_pairs, load_rubric_completions, load_scenarios
from empathy_lens.errors import InputError
from empathy_lens.pairs import GenerateOptions, generate
from empathy_lens.pairs.api_judge import Text, agreement, judge_texts
from empathy_lens.results import to_plain
from empathy_lens.vendors import load_config, open_caller, read_journal

if importlib.util.find_spec("llm_katan") is None:
    pytest.skip("needs the package llm-katan (in the test extra)", allow_module_level=True)

KEYS = {"anthropic": "katan-anthropic-4711", "openai": "katan-openai-4711"}
RUBRIC = load_rubric_completions(ROOT / "data" / "rubric_completions" / "rubric_completions.jsonl")


@pytest.fixture
def katan(tmp_path, monkeypatch):
    """Starts the server with options; gives a configuration for it with ``structured`` as asked."""
    started, log = [], (tmp_path / "server.log").open("w")

    def start(*options, structured="tool", retries=1):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        keys = [f"{name}={key}" for name, key in KEYS.items()]
        code = "from llm_katan.cli import main; main()"
        started.append(subprocess.Popen(
            [sys.executable, "-c", code, "--model", "echo", "--backend", "echo", "--host",
             "127.0.0.1", "--port", str(port), "--providers", "anthropic,openai",
             "--max-concurrent", "8", "--validate-keys", "--api-keys", ",".join(keys), *options],
            stdout=log, stderr=log))  # fmt: skip
        wait_for(port, started[-1], tmp_path / "server.log")
        vendors = [
            f"""[vendors.{name}]
            protocol = "{name}"
            base_url = "http://127.0.0.1:{port}{path}"
            key_env = "KATAN_{name.upper()}_KEY"
            structured = "{structured}"
            {more}
            [[vendors.{name}.models]]
            name = "m-{name}"
            usd_per_million_input = 1.0
            usd_per_million_output = 2.0
            """
            for name, path, more in (
                ("anthropic", "", 'key_header = "x-api-key"'),  # the SDK sends a bearer token
                ("openai", "/v1", 'token_limit = "max_tokens"'),
            )
        ]
        path = tmp_path / "katan.toml"
        path.write_text(f"[limits]\nretries = {retries}\ntries = 2\n" + "\n".join(vendors))
        return load_config(path)

    for name, key in KEYS.items():
        monkeypatch.setenv(f"KATAN_{name.upper()}_KEY", key)
    yield start
    for process in started:
        process.terminate()
        process.wait(timeout=10)
    log.close()


def wait_for(port, process, log):
    for _ in range(600):
        try:
            with urlopen(f"http://127.0.0.1:{port}/health", timeout=1):
                return
        except OSError:
            if process.poll() is not None:
                pytest.fail(f"the server ended: {log.read_text()[-500:]}")
            time.sleep(0.1)
    pytest.fail("the server did not start")


def options(config, tmp_path, n_pairs):
    return GenerateOptions(
        config=config, scenarios=SCENARIOS, out=tmp_path / "out", n_pairs=n_pairs, max_cost_usd=1.0
    )


def test_answers_through_tools_are_read_paid_once_and_checked(katan, tmp_path):
    chosen = options(katan(), tmp_path, 8)
    for _ in range(2):
        with pytest.raises(InputError, match="0 of 8 pairs are left"):
            generate(chosen)
        journal = read_journal(chosen.journal)
        assert len(journal.answered) == 8
    assert {r.model for r in journal.answered.values()} == {"m-anthropic", "m-openai"}
    assert all(r.input_tokens > 100 and r.stop == "done" for r in journal.answered.values())
    assert journal.spent_usd == pytest.approx(
        sum((r.input_tokens + 2 * r.output_tokens) / 1e6 for r in journal.answered.values())
    )
    # Its texts are names of the fields: real pairs in form, and nothing to train on.
    rejected = load_pairs(chosen.out / "rejected.jsonl")
    assert {(p.prompt, p.positive) for p in rejected} == {("test_prompt", "test_positive_text")}


def test_prose_instead_of_json_is_repaired_once_and_then_unreadable(katan, tmp_path):
    chosen = options(katan(structured="text"), tmp_path, 4)
    with pytest.raises(InputError, match="'unreadable': 4"):
        generate(chosen)
    answered = read_journal(chosen.journal).answered.values()
    assert len(answered) == 4 * 2 * 2  # pairs, tries, and a repair of each
    assert all("[echo]" in r.body for r in answered)


@pytest.mark.parametrize(
    ("failure", "kind"), [(("--rate-limit-after", "4"), "rate limit"),
                          (("--timeout-after", "4"), "server error")]
)  # fmt: skip
def test_its_failures_are_recorded_and_what_it_answered_is_kept(katan, tmp_path, failure, kind):
    chosen = options(katan(*failure, retries=0), tmp_path, 12)
    with pytest.raises(InputError, match=f"'{kind}'"):
        generate(chosen)
    journal = read_journal(chosen.journal)
    assert len(journal.answered) == 4
    assert {f.kind for f in journal.failures} == {kind}


def test_random_errors_are_retried_away(katan, tmp_path):
    chosen = options(katan("--error-rate", "0.3", retries=8), tmp_path, 10)
    with pytest.raises(InputError, match="0 of 10 pairs are left"):
        generate(chosen)
    assert len(read_journal(chosen.journal).answered) == 10


def test_a_wrong_key_halts_the_vendor_and_is_not_repeated(katan, tmp_path, monkeypatch):
    """The server sends the wrong key and the right one back in its error."""
    config = katan()
    monkeypatch.setenv("KATAN_OPENAI_KEY", "katan-wrong-key-0815")
    chosen = options(config.only(["openai"]), tmp_path, 20)
    with pytest.raises(InputError, match="'authentication': "):
        generate(chosen)
    failures = read_journal(chosen.journal).failures
    assert 1 <= len(failures) <= config.vendors["openai"].concurrency
    assert all("invalid API key for openai: got '[key]'" in f.message for f in failures)
    written = "".join(p.read_text() for p in chosen.out.rglob("*") if p.is_file())
    assert "katan-wrong-key-0815" not in written


def test_its_scores_are_read_strictly(katan, tmp_path):
    """With a tool it always picks the first value that the schema allows: the score 0."""
    config = katan()
    texts = [Text(c.completion_id, c.scenario_id, c.prompt, c.text) for c in RUBRIC[:30]]

    async def judge(name):
        async with open_caller(config, tmp_path / "journal.jsonl") as caller:
            return await judge_texts(caller, name, texts, load_scenarios(SCENARIOS))

    for name in KEYS:
        scores = asyncio.run(judge(name))
        assert {s.value for s in scores} == {0}
        found = agreement(scores, RUBRIC)
        assert found.exact.value == pytest.approx(1 / 3)
        assert json.dumps(to_plain(found))
