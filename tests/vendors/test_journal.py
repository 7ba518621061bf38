import asyncio
import json
import resource
import subprocess
import sys

import pytest

from empathy_lens.errors import InputError
from empathy_lens.vendors.caller import Budget
from empathy_lens.vendors.journal import Answered, Asked, Failed, open_journal, read_journal


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "journal.jsonl"


def ask(journal, call):
    journal.write(Asked(call=call, most_usd=3.0, vendor="v"))


def answer(journal, call, cost=1.0, *, body="", settles=1):
    ask(journal, call)
    body = body or f"body of {call}"
    journal.write(Answered(call=call, body=body, cost_usd=cost, settles=settles, vendor="v"))


def test_answers_and_costs_are_there_when_it_is_opened_again(path):
    with open_journal(path) as journal:
        answer(journal, "a")
        ask(journal, "b")
        journal.write(Failed(call="b", kind="timeout", cost_usd=0.5, vendor="v"))
        ask(journal, "c")
        spent = journal.spent_usd
    with open_journal(path) as again:
        assert again.answered["a"].body == "body of a"
        assert [f.kind for f in again.failures] == ["timeout"]
        assert again.spent_usd == spent == 1.0 + 0.5 + 3.0
        assert again.in_doubt == 1
    assert read_journal(path).spent_usd == spent


def test_a_call_in_doubt_that_is_asked_again_stays_on_the_bill(path):
    with open_journal(path) as journal:
        ask(journal, "a")
        answer(journal, "a", cost=1.0)
    assert read_journal(path).spent_usd == 4.0


def test_an_outcome_settles_every_attempt_that_it_speaks_for(path):
    with open_journal(path) as journal:
        ask(journal, "a")  # killed
        ask(journal, "a")
        answer(journal, "a", cost=4.0, settles=2)
    assert read_journal(path).spent_usd == 3.0 + 4.0


def test_lines_are_only_ever_added(path):
    with open_journal(path) as journal:
        answer(journal, "a")
    before = path.read_bytes()
    with open_journal(path) as journal:
        answer(journal, "b")
    assert path.read_bytes().startswith(before)


def test_a_last_line_without_its_end_of_line_is_whole(path):
    with open_journal(path) as journal:
        answer(journal, "a")
    path.write_bytes(path.read_bytes()[:-1])
    with open_journal(path) as journal:
        answer(journal, "b")
    again = read_journal(path)
    assert list(again.answered) == ["a", "b"]
    assert again.unreadable_lines == 0


@pytest.mark.parametrize("cut", [2, 20, 60])
def test_a_torn_last_line_loses_that_line_alone(path, cut):
    with open_journal(path) as journal:
        answer(journal, "a")
        answer(journal, "b")
    path.write_bytes(path.read_bytes()[:-cut])
    with open_journal(path) as journal:
        assert list(journal.answered) == ["a"]
        assert journal.spent_usd == 1.0 + 3.0  # b was asked
        assert journal.unreadable_lines == 1
        answer(journal, "c")
    again = read_journal(path)
    assert list(again.answered) == ["a", "c"]
    assert again.unreadable_lines == 1
    assert again.spent_usd == 1.0 + 3.0 + 1.0


SPENT = b'{"event": "failed", "call": "x", "vendor": "v", "kind": "timeout", "cost_usd": %s}'


@pytest.mark.parametrize(
    "line",
    [b"\xff\xfe", b"[1]", b'{"call": "x"}', b"null", b'{"event": 3}', b"[" * 100_000,
     *(SPENT % cost for cost in (b"-100", b"NaN", b"1e999", b"9" * 5000, b'"free"'))],
)  # fmt: skip
def test_a_spoilt_line_in_the_middle_is_counted_and_the_rest_read(path, line):
    with open_journal(path) as journal:
        answer(journal, "a")
    with path.open("ab") as file:
        file.write(line + b"\n")
    with open_journal(path) as journal:
        answer(journal, "b")
    again = read_journal(path)
    assert list(again.answered) == ["a", "b"]
    assert again.unreadable_lines == 1


def test_two_runs_do_not_write_one_journal(path):
    code = (
        "import sys; from pathlib import Path\n"
        "from empathy_lens.vendors.journal import open_journal\n"
        "with open_journal(Path(sys.argv[1])): print('open', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "open\n"
        with pytest.raises(InputError, match="another run"), open_journal(path):
            pass
    finally:
        other.communicate()
    with open_journal(path):
        pass


def test_a_full_disk_stops_the_run_with_a_clear_message(path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with open_journal(path) as journal:
        answer(journal, "a")
        size = path.stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
        try:
            for _ in range(2):  # a part of a line fits, then nothing
                with pytest.raises(InputError, match="nothing more is asked"):
                    ask(journal, "b")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with open_journal(path) as journal:
        assert list(journal.answered) == ["a"]


def test_what_is_secret_is_taken_out_before_it_is_written(path):
    with open_journal(path, lambda text: text.replace("sesame", "[key]")) as journal:
        answer(journal, "a", body="open sesame\n")
        assert journal.answered["a"].body == "open [key]\n"
    assert "sesame" not in path.read_text()
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_budget_lets_through_what_fits_and_waits_for_what_is_under_way():
    async def run():
        budget, order = Budget(10.0, spent_usd=1.0), []

        async def call(name, most, cost, seconds):
            if not await budget.reserve(most):
                order.append(f"{name} refused")
                return
            order.append(f"{name} sent")
            await asyncio.sleep(seconds)
            await budget.settle(most, cost)

        first = asyncio.create_task(call("a", 8.0, 2.0, 0.05))
        await asyncio.sleep(0)
        second = asyncio.create_task(call("b", 6.0, 6.0, 0.0))  # fits once a costs 2 and not 8
        await asyncio.gather(first, second)
        await call("c", 1.5, 1.0, 0.0)
        await call("d", 1.0, 1.0, 0.0)
        order += [budget.extend(0.5), budget.extend(0.0)]
        return order, budget.spent_usd

    order, spent = asyncio.run(run())
    assert order == ["a sent", "b sent", "c refused", "d sent", False, True]
    assert spent == 10.0
