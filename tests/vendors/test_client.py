import asyncio
import json
import shutil
import ssl
import subprocess
import time
from functools import partial

import pytest
from fault_server import FaultServer
from practice import SCENARIOS

from empathy_lens.data import load_scenarios
from empathy_lens.pairs import load_prompts, plan_pairs
from empathy_lens.pairs.generate import write_pairs
from empathy_lens.pairs.plan import pair_request, parse_pair
from empathy_lens.types import Concept
from empathy_lens.vendors import Missing, Parsed, open_caller, read_journal
from empathy_lens.vendors.caller import GIVE_UP_AFTER

GAMES = load_scenarios(SCENARIOS)
VENDORS = ("anthropic", "openai", "gemini")


@pytest.fixture
def ask(config_for, tmp_path):
    """Asks one vendor for ``n`` pairs one after the other; gives what came and the journal."""

    def run(server, vendor, n=1, path=tmp_path / "journal.jsonl", **changed):
        config = config_for(server, **changed).only([vendor])
        slots = plan_pairs(GAMES, config, n, seed=0)

        async def all_slots():
            async with open_caller(config, path) as caller:
                found = []
                for slot in slots:
                    request = pair_request(slot, 0, config.limits.max_output_tokens)
                    read = partial(parse_pair, slot=slot, concept=Concept())
                    found.append(await caller.parsed(request, read, load_prompts().repair))
                return found, dict(caller.halted)

        found, halted = asyncio.run(all_slots())
        return found, halted, read_journal(path)

    return run


def kinds(server):
    return [kind for _, _, kind, _, _ in server.requests]


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(
    "fault", ["rate_limit", "server_error", "overloaded", "cut_before", "cut_within"]
)
def test_what_passes_is_tried_again_until_the_answer_is_there(ask, vendor, fault):
    with FaultServer(script=[fault, fault, None]) as server:
        (found,), _, journal = ask(server, vendor)
    assert isinstance(found, Parsed)
    assert not found.repaired
    assert kinds(server) == [fault, fault, None]
    (record,) = journal.answered.values()
    assert record.retries == 2
    # Nobody can say whether a lost connection was paid for: it counts at its highest price.
    in_doubt = 2 if fault.startswith("cut") else 0
    first_line = json.loads(journal.path.read_text().partition("\n")[0])
    extra = record.cost_usd - server.billed_usd
    assert extra == pytest.approx(in_doubt * first_line["most_usd"])


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("fault", ["slow", "text_type"])
def test_an_answer_that_comes_slowly_or_under_another_name_is_taken(ask, vendor, fault):
    with FaultServer(script=[fault]) as server:
        (found,), _, journal = ask(server, vendor)
    assert isinstance(found, Parsed)
    assert kinds(server) == [fault]
    assert journal.spent_usd == pytest.approx(server.billed_usd)


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("refusal", "refused"),
        ("cut_short", "truncated"),
        ("empty", "empty"),
        ("malformed", "malformed"),
        ("truncated_json", "malformed"),
        ("wrong_type", "malformed"),
    ],
)
def test_what_is_no_answer_is_recorded_as_what_it_is_and_not_asked_again(
    ask, vendor, fault, reason
):
    with FaultServer(script=[fault]) as server:
        (found,), _, journal = ask(server, vendor)
        assert isinstance(found, Missing)
        assert (found.reason, found.final) == (reason, True)
        (again,), _, _ = ask(server, vendor)
    assert again == found
    assert kinds(server) == [fault]
    (record,) = journal.answered.values()
    assert record.stop == reason
    assert journal.spent_usd >= server.billed_usd


@pytest.mark.parametrize("vendor", VENDORS)
def test_an_unreadable_reply_is_repaired_once(ask, vendor):
    with FaultServer(script=["unreadable", None]) as server:
        (found,), _, journal = ask(server, vendor)
    assert isinstance(found, Parsed)
    assert found.repaired
    assert len(journal.answered) == 2
    with FaultServer(script=["unreadable", "unreadable", None]) as server:
        (found,), _, _ = ask(server, vendor, path=journal.path.with_name("other.jsonl"))
    assert (found.reason, found.final) == ("unreadable", True)
    assert len(server.requests) == 2


def test_the_repair_shows_the_model_its_reply_and_the_fault(ask, config_for):
    with FaultServer() as server:
        (slot,) = plan_pairs(GAMES, config_for(server).only(["openai"]), 1, seed=0)
    request = pair_request(slot, 0, 600)
    repaired = request.repaired("Here is a pair", load_prompts().repair.format(fault="it is prose"))
    assert [role for role, _ in repaired.messages] == ["user", "assistant", "user"]
    assert repaired.messages[1][1] == "Here is a pair"
    assert "it is prose" in repaired.messages[2][1]
    assert (repaired.seed, repaired.model, repaired.system) == (
        request.seed, request.model, request.system)  # fmt: skip


@pytest.mark.parametrize("vendor", VENDORS)
def test_retry_after_is_honoured(ask, vendor):
    with FaultServer(script=["rate_limit", None], retry_after="1.5") as server:
        ask(server, vendor)
    first, second = (at for _, _, _, at, _ in server.requests)
    assert 1.5 <= second - first < 4


@pytest.mark.parametrize("vendor", VENDORS)
def test_endless_bytes_and_a_retry_after_of_hours_end_at_the_deadline(ask, vendor):
    started = time.monotonic()
    with FaultServer(script=["drip", None]) as server:
        (found,), _, journal = ask(server, vendor, timeout_s="1.0")
    assert isinstance(found, Parsed)
    assert kinds(server) == ["drip", None]
    assert journal.spent_usd > server.billed_usd / 2
    with FaultServer(script=["rate_limit"], retry_after="7200") as server:
        path = journal.path.with_name("other.jsonl")
        (found,), _, _ = ask(server, vendor, path=path, call_deadline_s="1.0")
    assert isinstance(found, Missing)
    assert not found.final
    assert time.monotonic() - started < 15


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(
    ("fault", "kind"), [("unauthorized", "authentication"), ("unknown_model", "not found")]
)
def test_a_vendor_that_refuses_us_is_asked_once(ask, vendor, fault, kind):
    with FaultServer(script=[fault] * 3) as server:
        found, halted, journal = ask(server, vendor, n=3)
    assert [f.reason for f in found] == [kind, "not asked", "not asked"]
    assert not any(f.final for f in found)
    assert list(halted) == [vendor]
    assert len(server.requests) == 1
    assert journal.spent_usd == 0


def test_a_vendor_that_fails_on_and_on_is_left_alone(ask):
    with FaultServer(faults=1.0, kinds=("server_error",)) as server:
        found, halted, journal = ask(server, "openai", n=GIVE_UP_AFTER + 2, retries="0")
    assert [f.reason for f in found] == ["server error"] * GIVE_UP_AFTER + ["not asked"] * 2
    assert list(halted) == ["openai"]
    assert len(journal.failures) == GIVE_UP_AFTER


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_server_that_is_not_there_costs_nothing(ask, vendor):
    with FaultServer() as server:
        pass
    (found,), _, journal = ask(server, vendor, retries="1")
    assert (found.reason, found.final) == ("connection", False)
    assert (journal.spent_usd, journal.in_doubt) == (0, 0)


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_redirect_is_not_followed_with_the_key(ask, vendor):
    with FaultServer() as elsewhere, FaultServer(script=["redirect"]) as server:
        server.elsewhere = elsewhere.url + "/anthropic/v1/messages"
        (found,), halted, _ = ask(server, vendor)
    assert found.reason == "redirect"
    assert halted
    assert elsewhere.requests == []


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
@pytest.mark.parametrize("vendor", VENDORS)
def test_an_untrusted_certificate_stops_the_vendor_before_anything_is_sent(ask, vendor, tmp_path):
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out",
         certificate], check=True, capture_output=True)  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with FaultServer() as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.tls = True
        found, halted, journal = ask(server, vendor, n=2, retries="1")
    assert [f.reason for f in found] == ["certificate", "not asked"]
    assert "certificate is not trusted" in halted[vendor]
    assert (server.requests, journal.spent_usd) == ([], 0)


def test_a_vendor_is_never_asked_more_at_once_than_its_limit(config_for, tmp_path):
    with FaultServer(latency=0.05) as server:
        config = config_for(server, concurrency="3")
        slots = plan_pairs(GAMES, config, 45, seed=0)

        async def run():
            async with open_caller(config, tmp_path / "journal.jsonl") as caller:
                await write_pairs(caller, slots, lambda done, total: None)

        asyncio.run(run())
    assert dict(server.most_in_flight) == dict.fromkeys(VENDORS, 3)


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_key_that_a_server_sends_back_is_taken_out(ask, vendor, keys, tmp_path):
    script = ["unreadable", None, "unauthorized"]
    with FaultServer(script=script, echo_key=True) as server:
        found, halted, journal = ask(server, vendor, n=2)
    key = keys[f"EL_TEST_{vendor.upper()}_KEY"]
    sent = server.requests[0][4]
    assert key in json.dumps(sent)
    written = "".join(p.read_text() for p in tmp_path.rglob("*") if p.is_file())
    assert "[key]" in written
    assert key not in written + repr(found) + repr(halted) + repr(
        (journal.answered, journal.failures)
    )
