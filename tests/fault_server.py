"""A server on loopback that speaks the Anthropic and OpenAI protocols, and misbehaves.

    python tests/fault_server.py --port 8123 --faults 0.2 --config practice.toml

What a paid answer holds follows from a seed and the request's content; whether an attempt fails
before, from how often the request came as well. So a run's outcome does not depend on the order of
its calls, nor on kills. The server counts what it delivered in full, and its price.
"""

import argparse
import contextlib
import hashlib
import json
import random
import re
import socket
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BEFORE_PAYMENT = ("rate_limit", "server_error", "overloaded", "cut_before", "cut_within")
PAID = ("slow", "malformed", "truncated_json", "empty", "refusal", "unreadable", "cut_short",
        "wrong_type", "text_type")  # fmt: skip
FAULTS = BEFORE_PAYMENT + PAID
PRICES = (3.0, 15.0)  # US dollars a million tokens, in and out

CONFIG = """\
[limits]
max_cost_usd = 5.0
max_output_tokens = 600
timeout_s = 10.0
call_deadline_s = 60.0
retries = 6
tries = 4

[vendors.anthropic]
protocol = "anthropic"
base_url = "{url}/anthropic"
key_env = "EL_TEST_ANTHROPIC_KEY"
concurrency = 8
[[vendors.anthropic.models]]
name = "claude-practice"
usd_per_million_input = 3.0
usd_per_million_output = 15.0

[vendors.openai]
protocol = "openai"
base_url = "{url}/openai/v1"
key_env = "EL_TEST_OPENAI_KEY"
concurrency = 8
seed = true
[[vendors.openai.models]]
name = "gpt-practice"
usd_per_million_input = 3.0
usd_per_million_output = 15.0

[vendors.gemini]
protocol = "openai"
base_url = "{url}/gemini/v1beta/openai/"
key_env = "EL_TEST_GEMINI_KEY"
concurrency = 8
structured = "tool"
[[vendors.gemini.models]]
name = "gemini-practice"
usd_per_million_input = 3.0
usd_per_million_output = 15.0
"""

LEXICON = """\
nouns lantern bridge kettle ladder orchard ferry whistle blanket compass cellar harbour window
nouns garden letter candle market bucket station mirror pocket ribbon saddle tunnel violin wagon
nouns anchor basket chimney drawer engine feather hammer island jacket kitchen meadow needle paddle
nouns quarry river shelter teapot umbrella valley willow yard zipper arrow button corner
verbs carry leave watch count follow open mend borrow push wait bring turn hold paint lift drop keep
verbs trade fetch hear mark reach fold close climb cross empty fill guess join kick learn move note
verbs offer pass raise send touch use visit wash write
adjectives old narrow green heavy silent broken early bright hollow wooden cold distant empty gentle
adjectives loose plain quick rough sharp small steep thick warm wet yellow blue crooked dusty
persons I we you they
links and but while before after because until unless so when where or
places by under over behind beside in from with for across between around
articles the a this that my your every no another"""
WORDS = {}
for line in LEXICON.splitlines():
    kind, *listed = line.split()
    WORDS[kind] = WORDS.get(kind, []) + listed


class FaultServer(ThreadingHTTPServer):
    """Answers requests; ``faults`` is the share that goes wrong, ``script`` says how, in order.

    ``delivered`` counts complete paid responses by request, ``billed_usd`` adds up their price.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *, port=0, faults=0.0, script=(), kinds=FAULTS, seed=0, latency=0.0,
                 retry_after="0.05", judge=None, echo_key=False):  # fmt: skip
        super().__init__(("127.0.0.1", port), Handler)
        self.faults, self.script, self.kinds, self.seed = faults, list(script), kinds, seed
        self.latency, self.retry_after, self.judge = latency, retry_after, judge
        self.echo_key = echo_key
        self.lock = threading.Lock()
        self.seen, self.delivered, self.done = Counter(), Counter(), Counter()
        self.requests, self.billed_usd = [], 0.0
        self.in_flight, self.most_in_flight = Counter(), Counter()

    @property
    def url(self):
        scheme = "https" if getattr(self, "tls", False) else "http"
        return f"{scheme}://127.0.0.1:{self.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.settle()
        self.shutdown()
        self.server_close()

    def settle(self):
        """Waits for requests that are still being answered, so that the counts are whole."""
        deadline = time.monotonic() + 10
        while sum(self.in_flight.values()) and time.monotonic() < deadline:
            time.sleep(0.005)

    def handle_error(self, request, client_address):
        pass  # clients that are killed or give up close their connections in the middle

    def fault_for(self, digest):
        with self.lock:
            nth, self.seen[digest] = self.seen[digest], self.seen[digest] + 1
            if self.script:
                return self.script.pop(0)
        of_content = self.draw(f"{self.seed}/{digest}")
        if of_content in PAID:
            return of_content
        of_attempt = self.draw(f"{self.seed}/{digest}/{nth}")
        return of_attempt if of_attempt in BEFORE_PAYMENT else None

    def draw(self, seed):
        draw = random.Random(seed)
        return draw.choice(self.kinds) if draw.random() < self.faults else None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        request = json.loads(raw)
        vendor, server = self.path.split("/")[1], self.server
        digest = hashlib.sha256(
            f"{vendor} {json.dumps(request, sort_keys=True)}".encode()
        ).hexdigest()
        fault = server.fault_for(digest)
        with server.lock:
            server.requests.append((vendor, digest, fault, time.monotonic(), dict(self.headers)))
            server.in_flight[vendor] += 1
            server.most_in_flight[vendor] = max(
                server.most_in_flight[vendor], server.in_flight[vendor]
            )
        try:
            time.sleep(server.latency)
            self.answer(vendor, request, digest, fault)
            with server.lock:
                server.done[fault] += 1
        finally:
            with server.lock:
                server.in_flight[vendor] -= 1

    def answer(self, vendor, request, digest, fault):
        statuses = {"rate_limit": 429, "server_error": 500, "overloaded": 529, "unauthorized": 401,
                    "unknown_model": 404, "redirect": 307}  # fmt: skip
        if fault == "cut_before":
            self.cut()
        elif fault in statuses:
            self.complain(statuses[fault])
        else:
            text = written(request, digest, self.server.judge)
            body, usage = envelope(vendor, request, text, fault)
            price = (usage[0] * PRICES[0] + usage[1] * PRICES[1]) / 1e6
            self.deliver(body, fault)
            if fault == "cut_within":
                return
            with self.server.lock:
                self.server.delivered[digest] += 1
                if fault != "wrong_type":
                    self.server.billed_usd += price

    def complain(self, status):
        said = "this went wrong"
        if self.server.echo_key:
            said += f" for {self.headers.get('x-api-key')} {self.headers.get('authorization')}"
        body = json.dumps({"type": "error", "error": {"type": "error", "message": said}}).encode()
        self.send_response(status)
        if status == 429:
            self.send_header("Retry-After", self.server.retry_after)
        if status == 307:
            self.send_header("Location", self.server.elsewhere)
        self.finish_with(body, "application/json")

    def deliver(self, body, fault):
        data = json.dumps(body).encode()
        if self.server.echo_key:
            data = json.dumps({**body, "headers": dict(self.headers)}).encode()
        self.send_response(200)
        if fault == "malformed":
            self.finish_with(b"upstream said: " + data[:200], "application/json")
        elif fault == "truncated_json":
            self.finish_with(data[: len(data) // 2], "application/json")
        elif fault == "wrong_type":
            self.finish_with(b"<html><body>Sign in to this network</body></html>", "text/html")
        elif fault == "text_type":
            self.finish_with(data, "text/plain")
        elif fault == "cut_within":
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            self.cut()
        elif fault in ("slow", "drip"):
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            step = max(1, len(data) // 10)
            for start in range(0, len(data), step):
                self.wfile.write(data[start : start + step])
                self.wfile.flush()
                time.sleep(0.5 if fault == "drip" else 0.03)
        else:
            self.finish_with(data, "application/json")

    def finish_with(self, data, content_type):
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def cut(self):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def envelope(vendor, request, text, fault):
    """The protocol's JSON around a model's text, and the tokens it bills."""
    text = {"empty": "", "unreadable": "Here is a pair: " + text, "cut_short": text[:60]}.get(
        fault, text
    )
    if fault == "refusal":
        text = "I can't help with that."
    usage = (len(json.dumps(request)) // 4, max(1, len(text) // 4))
    as_tool = "tools" in request and fault not in ("empty", "unreadable", "cut_short", "refusal")
    if vendor == "anthropic":
        stop = {"refusal": "refusal", "cut_short": "max_tokens"}.get(fault, "end_turn")
        block = {"type": "text", "text": text}
        if as_tool:
            block = {"type": "tool_use", "id": "t", "name": "answer", "input": json.loads(text)}
        return {
            "id": "msg", "type": "message", "role": "assistant", "model": request["model"],
            "content": [] if fault == "empty" else [block], "stop_reason": stop,
            "stop_sequence": None,
            "usage": {"input_tokens": usage[0], "output_tokens": usage[1]},
        }, usage  # fmt: skip
    message = {"role": "assistant", "content": None if fault == "empty" else text}
    if fault == "refusal":
        message = {"role": "assistant", "content": None, "refusal": text}
    if as_tool:
        called = {"name": "answer", "arguments": text}
        message = {"role": "assistant", "content": None, "tool_calls": [
            {"id": "t", "type": "function", "function": called}]}  # fmt: skip
    return {
        "id": "c", "object": "chat.completion", "created": 0, "model": request["model"],
        "choices": [{"index": 0, "message": message, "logprobs": None,
                     "finish_reason": "length" if fault == "cut_short" else "stop"}],
        "usage": {"prompt_tokens": usage[0], "completion_tokens": usage[1],
                  "total_tokens": sum(usage)},
    }, usage  # fmt: skip


def written(request, digest, judge):
    """What the model says: a pair that keeps to the figures it was given, or a score."""
    asked = next(m["content"] for m in request["messages"] if m["role"] == "user")
    if "Which score does the rubric give?" in asked:
        return json.dumps({"score": judge(asked) if judge else int(digest, 16) % 3})
    draw = random.Random(digest)
    facts = re.search(r"in digits: (.*)\.\n", asked)[1]
    say = prose(draw, 45)
    prompt = f"{facts}. {say} B, {draw.choice(WORDS['nouns'])}, D, door, coins, match?"
    texts = {"positive_text": prose(draw, 66), "negative_text": prose(draw, 66)}
    return json.dumps({"prompt": prompt, **texts})


def prose(draw, n_words):
    words = []
    while len(words) < n_words:
        adjective = ["adjectives"] * draw.randrange(2)
        kinds = ["persons", "verbs", "articles", *adjective, "nouns", "places", "articles", "nouns"]
        words += [draw.choice(WORDS[kind]) for kind in [*kinds, "links"]]
    return " ".join(words[:n_words]) + "."


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--faults", type=float, default=0.2)
    parser.add_argument("--config", type=Path, required=True, help="where to write what reaches it")
    args = parser.parse_args()
    with FaultServer(port=args.port, faults=args.faults) as server:
        args.config.write_text(CONFIG.format(url=server.url))
        print(f"listening on {server.url}; {args.config} is written; Ctrl-C ends it", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
