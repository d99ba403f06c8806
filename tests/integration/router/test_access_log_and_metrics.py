"""What the router tells of its requests: access log, metrics, and /stats and /services from the same numbers."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.router.client import get, post
from tests.integration.router.event_streams import CHUNKED, chunk
from tests.integration.router.instance import Instance, Peer, ReceivedRequest
from tests.integration.router.routers import WORKERS, Router, router, service, static
from tests.waiting import free_port, wait_until

FIELDS = [
    "time",
    "id",
    "client",
    "key",
    "method",
    "path",
    "model",
    "instance",
    "status",
    "bytes",
    "first_byte",
    "duration",
    "attempts",
    "prompt_tokens",
    "completion_tokens",
    "end",
]
TEXT_FIELDS = [*FIELDS, "resumed", "instances"]  # a line of JSON has the last two only if an answer was resumed
USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 3}}


class Watched:
    """A router with an access log, in front of one instance of model `m`; `dead-m` has nobody who listens."""

    def __init__(self, own: Router, instance: Instance, log: Path) -> None:
        self.router = own
        self.instance = instance
        self.log = log

    def ask(self, request_id: str, model: str = "m", path: str = "/v1/chat/completions") -> requests.Response:
        headers = {"x-request-id": request_id}
        return requests.post(self.router.url + path, json={"model": model}, headers=headers, timeout=10)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def line(self, request_id: str) -> dict[str, Any]:
        """Its line, which is the only one of it."""
        wait_until(
            lambda: any(line["id"] == request_id for line in self.lines()), description=f"the line of {request_id}"
        )
        (line,) = [line for line in self.lines() if line["id"] == request_id]
        return line

    def metrics(self) -> dict[tuple[str, ...], float]:
        """Every sample by its name and the values of its labels, as Prometheus' own parser reads them."""
        text = self.router.get("/metrics").text
        return {
            (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


@contextmanager
def watching(path: Path, *flags: object, log: Path | None = None) -> Iterator[Watched]:
    instance, log = Instance(), log or path / "access.log"
    services = static(path / "s.json", [service("one", instance.port, "m"), service("dead", free_port(), "dead-m")])
    try:
        with router("--static-services", services, "--access-log", log, "--max-errors", 1000, *flags) as own:
            yield Watched(own, instance, log)
            assert "Traceback" not in own.output()
    finally:
        instance.close()


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    flags = ("--first-byte-timeout", 0.5, "--idle-timeout", 0.5)
    with watching(tmp_path_factory.mktemp("telling"), *flags) as watched:
        yield watched


@pytest.fixture
def own(one: Watched) -> Watched:
    one.instance.play()
    return one


def answering(body: bytes) -> Any:
    return lambda peer, received: peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


def streaming(*events: bytes) -> Any:
    return lambda peer, received: peer.send(CHUNKED + b"".join(map(chunk, events)) + b"0\r\n\r\n")


# One line a request, with the reason of its end.


def test_a_line_has_every_field(own: Watched):
    own.instance.play(answering(json.dumps({"id": "x", "usage": USAGE}).encode()))
    size = len(own.ask("whole", path="/v1/chat/completions?a=b").content)
    line = own.line("whole")
    assert list(line) == FIELDS
    told = {"client": "127.0.0.1", "key": "", "method": "POST", "path": "/v1/chat/completions?a=b", "model": "m"}
    told |= {"instance": "one", "status": 200, "bytes": size, "attempts": 1, "end": "done"}
    told |= {"prompt_tokens": 7, "completion_tokens": 5}
    assert told.items() <= line.items()
    assert 0 < line["first_byte"] <= line["duration"] < 5
    assert line["time"].endswith("Z")


def test_a_request_for_an_unknown_model_is_refused(own: Watched):
    assert own.ask("refused", "nobody's").status_code == 503
    line = own.line("refused")
    told = {"status": 503, "end": "refused", "attempts": 0, "instance": "", "model": "nobody's", "first_byte": None}
    assert told.items() <= line.items()


def test_failed_no_instance_could_be_reached(own: Watched):
    assert own.ask("failed", "dead-m").status_code == 502
    assert {"status": 502, "end": "failed", "attempts": 1, "instance": "dead"}.items() <= own.line("failed").items()


def test_a_response_that_broke_off_is_recorded_as_cut(own: Watched):
    def breaks(peer: Peer, received: ReceivedRequest) -> bool:
        peer.send(CHUNKED + chunk(b"data: 1\n\n"))
        return False

    own.instance.play(breaks)
    assert b'"error"' in own.ask("cut").content
    assert {"status": 200, "end": "cut", "bytes": 9}.items() <= own.line("cut").items()


def test_timeout_no_answer_in_time_and_one_that_pauses(own: Watched):
    own.instance.play(lambda peer, received: None)
    assert own.ask("silent").status_code == 504
    assert {"status": 504, "end": "timeout"}.items() <= own.line("silent").items()
    own.instance.play(lambda peer, received: peer.send(CHUNKED + chunk(b"data: 1\n\n")))
    assert b"paused" in own.ask("paused").content
    assert {"status": 200, "end": "timeout"}.items() <= own.line("paused").items()


def test_an_event_that_arrives_slowly_is_no_pause(own: Watched):
    """Twice the idle timeout in all, of which no byte is passed on before the end."""

    def slowly(peer: Peer, received: ReceivedRequest) -> None:
        peer.send(CHUNKED)
        for part in (b"data: ", *[b"A" * 1000] * 10, b"\n\n"):
            peer.send(chunk(part))
            threading.Event().wait(0.1)
        peer.send(b"0\r\n\r\n")

    own.instance.play(slowly)
    assert own.ask("slow").content == b"data: " + b"A" * 10_000 + b"\n\n"
    assert {"status": 200, "end": "done", "bytes": 10_008}.items() <= own.line("slow").items()


def test_done_the_connection_ended_after_the_last_event(own: Watched):
    def closes(peer: Peer, received: ReceivedRequest) -> bool:
        peer.send(CHUNKED + chunk(b"data: 1\n\n") + chunk(b"data: [DONE]\n\n"))
        return False

    own.instance.play(closes)
    before = own.metrics()
    assert own.ask("closed").content == b"data: 1\n\ndata: [DONE]\n\n"
    assert {"status": 200, "end": "done"}.items() <= own.line("closed").items()
    name = ("svc_router_attempts_answered_total", "one")
    assert own.metrics()[name] == before[name] + 1


def test_client_left_before_an_answer_or_in_its_middle(own: Watched):
    own.instance.play(lambda peer, received: None)
    with own.router.client() as client:
        client.send(post({"model": "m"}, b"x-request-id: early"))
        wait_until(lambda: own.instance.received)
    assert {"status": 499, "end": "client", "first_byte": None}.items() <= own.line("early").items()
    own.instance.play(lambda peer, received: peer.send(CHUNKED + chunk(b"data: 1\n\n")))
    with own.router.client() as client:
        client.send(post({"model": "m"}, b"x-request-id: late")).head()
        client.chunk()
    assert {"status": 499, "end": "client", "bytes": 9}.items() <= own.line("late").items()


def test_an_error_of_the_instances_own_is_done(own: Watched):
    own.instance.play(lambda peer, received: peer.send(b"HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n"))
    assert own.ask("teapot").status_code == 418
    assert {"status": 418, "end": "done"}.items() <= own.line("teapot").items()


def test_what_is_the_routers_own_is_not_logged(own: Watched):
    before = len(own.lines())
    own.router.get("/v1/models")
    own.ask("after")
    own.line("after")
    assert len(own.lines()) == before + 1


def test_stopping_what_was_cut_by_the_end_is_written_too(tmp_path: Path):
    with watching(tmp_path, "--graceful-timeout", 0.2) as own:
        own.instance.play(lambda peer, received: peer.send(CHUNKED + chunk(b"data: 1\n\n")))
        with own.router.client() as client:
            client.send(post({"model": "m"}, b"x-request-id: last")).head()
            own.router.process.send_signal(signal.SIGTERM)
            assert list(iter(client.chunk, b""))
        assert own.router.process.wait(8) == 0
        assert own.line("last")["end"] == "stopping"


# The file.


def test_a_file_that_was_moved_away_is_opened_anew(own: Watched):
    own.ask("before")
    own.line("before")
    moved = own.log.with_suffix(".1")
    os.rename(own.log, moved)
    own.ask("after-the-move")
    assert own.line("after-the-move")
    assert "after-the-move" not in moved.read_text()
    own.log.write_bytes(moved.read_bytes() + own.log.read_bytes())


def test_an_unwritable_access_log_is_logged_once_and_fails_no_request(tmp_path: Path):
    log = tmp_path / "not yet" / "access.log"
    with watching(tmp_path, log=log) as own:
        for n in range(3):
            assert own.ask(f"lost-{n}").status_code == 200
            wait_until(lambda: "cannot write the access log" in own.router.output())
        own.metrics()
        message = "cannot write the access log: No such file or directory; lines are lost"
        assert 1 <= own.router.output().count(message) <= WORKERS
        log.parent.mkdir()
        assert own.ask("found").status_code == 200
        assert own.line("found")["end"] == "done"


def test_text_lines_have_a_word_a_field_whatever_clients_say(tmp_path: Path):
    with watching(tmp_path, "--access-log-format", "text") as own, own.router.client() as client:
        client.send(post({"model": "m"}, b"x-request-id: plain")).answer()
        client.send(post({"model": 'a b\n"c" é'}, b'x-request-id: odd;"id"')).answer()
        lines = wait_until(lambda: own.log.exists() and len(found := own.log.read_text().splitlines()) == 2 and found)
        plain, odd = (dict(zip(TEXT_FIELDS, line.split(" "), strict=True)) for line in lines)
        assert (plain["id"], plain["key"], plain["status"], plain["end"]) == ("plain", "-", "200", "done")
        assert float(plain["duration"]) > 0
        assert (json.loads(odd["id"]), json.loads(odd["model"])) == ('odd;"id"', 'a b\n"c" é')
        assert (odd["first_byte"], odd["end"]) == ("-", "refused")
        assert (plain["resumed"], plain["instances"]) == ("-", "-")


def test_a_dash_is_stdout(tmp_path: Path):
    with watching(tmp_path, log=Path("-")) as own:
        own.ask("shown")
        line = wait_until(lambda: [t for t in own.router.output().splitlines() if '"id":"shown"' in t])[0]
        assert json.loads(line)["end"] == "done"


# Metrics.


def test_counts_agree_with_the_traffic_and_with_one_another(tmp_path: Path):
    with watching(tmp_path) as own:
        for n in range(5):
            assert own.ask(f"good-{n}").status_code == 200
        own.instance.script = lambda peer, received: peer.send(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")
        assert own.ask("bad").status_code == 500
        assert own.ask("dead", "dead-m").status_code == 502
        told = own.metrics()
        assert told["svc_router_requests_total", "m", "200"] == 5
        assert told["svc_router_requests_total", "m", "500"] == 1
        assert told["svc_router_requests_total", "dead-m", "502"] == 1
        assert told["svc_router_attempts_total", "one"] == 6
        assert told["svc_router_attempts_answered_total", "one"] == 5
        assert told["svc_router_attempts_answered_total", "dead"] == 0
        assert told["svc_router_attempt_errors_total", "one"] == 1
        assert told["svc_router_attempt_errors_total", "dead"] == 1
        assert told["svc_router_requests_in_flight", "one"] == 0
        assert (told["svc_router_instance_up", "one"], told["svc_router_instance_ejected", "one"]) == (1, 0)
        stats, row = own.router.get("/stats").json(), own.router.service("one")
        assert (row["request_count"], row["error_count"], row["in_flight"]) == (6, 1, 0)
        assert row["response_time"] == pytest.approx(told["svc_router_attempt_seconds_total", "one"] / 6, abs=1e-5)
        assert (stats["total_requests"], stats["total_errors"], stats["in_flight"]) == (7, 2, 0)
        assert next(s for s in stats["services"] if s["name"] == "one") == row


def test_every_endpoint_shows_requests_in_flight(own: Watched):
    own.instance.play(lambda peer, received: peer.send(CHUNKED + chunk(b"data: 1\n\n")))
    with own.router.client() as client:
        client.send(post({"model": "m"})).head()
        assert own.metrics()["svc_router_requests_in_flight", "one"] == 1
        assert own.router.service("one")["in_flight"] == own.router.in_flight() == 1


def test_histograms_are_well_formed(own: Watched):
    own.instance.play(streaming(b"data: 1\n\n", b'data: {"usage": %b}\n\n' % json.dumps(USAGE).encode()))
    assert own.ask("histogram").status_code == 200
    own.line("histogram")
    families = {f.name: f for f in text_string_to_metric_families(own.router.get("/metrics").text)}
    for name in ("svc_router_request_duration_seconds", "svc_router_ttft_seconds", "svc_router_tpot_seconds"):
        family = families[name]
        assert family.type == "histogram"
        of_m = [s for s in family.samples if s.labels["model"] == "m"]
        buckets = [(float(s.labels["le"]), s.value) for s in of_m if s.name.endswith("_bucket")]
        (count,) = [s.value for s in of_m if s.name.endswith("_count")]
        (total,) = [s.value for s in of_m if s.name.endswith("_sum")]
        assert buckets == sorted(buckets, key=lambda b: b[0])
        assert [value for _, value in buckets] == sorted(value for _, value in buckets)
        assert buckets[-1] == (float("inf"), count)
        assert count >= 1
        assert total > 0


BEGUN = b'event: message_start\ndata: {"message": {"usage": {"input_tokens": 25, "output_tokens": 1}}}\n\n'
ENDED = b'event: message_delta\ndata: {"delta": {}, "usage": {"output_tokens": 15}}\n\n'
WORD = b"data: %b\n\n" % (b"x" * 900)


@pytest.mark.parametrize(
    ("script", "prompt", "completion"),
    [
        (answering(b'{"usage":{"prompt_tokens":7,"completion_tokens":5}}'), 7, 5),
        (answering(b'{"usage": {"input_tokens": 8, "output_tokens": 6}}'), 8, 6),
        (answering(b'{"usage": {"prompt_tokens": 9, "total_tokens": 9}, "data": [%b]}' % (b"1," * 5000)), 9, None),
        (streaming(*[WORD] * 5, b'data: {"usage": %b}\n\n' % json.dumps(USAGE).encode(), b"data: [DONE]\n\n"), 7, 5),
        (streaming(BEGUN, *[WORD] * 5, ENDED, b'data: {"type": "message_stop"}\n\n'), 25, 15),
        (streaming(b'data: {"choices": [{"text": "\\"prompt_tokens\\": 99"}]}\n\n'), None, None),
        (answering(b"{}"), None, None),
    ],
    ids=["openai", "anthropic", "embeddings", "openai-stream", "anthropic-stream", "said", "none"],
)
def test_tokens_are_those_in_the_usage_of_the_response(
    own: Watched, script: Any, prompt: int | None, completion: int | None, request: pytest.FixtureRequest
):
    own.instance.play(script)
    before = own.metrics()
    own.ask(request.node.callspec.id)
    line = own.line(request.node.callspec.id)
    assert (line["prompt_tokens"], line["completion_tokens"]) == (prompt, completion)
    after = own.metrics()
    for kind, used in (("prompt", prompt), ("completion", completion)):
        name = ("svc_router_tokens_total", kind, "m")
        assert after.get(name, 0) - before.get(name, 0) == (used or 0)


CHAT = b'data: {"choices":[{"delta":%b}]}\n\n'
TYPED = b'event: %b\ndata: {"type":"%b"%b}\n\n'
PROTOCOLS = {
    "chat": (
        [b": ping\n\n", CHAT % b'{"role":"assistant","content":""}'],
        CHAT % b'{"content":"w"}',
        [CHAT % b"{}", b"data: [DONE]\n\n"],
    ),
    "anthropic": (
        [TYPED % (kind, kind, more) for kind, more in ((b"message_start", b',"message":{}'), (b"ping", b""))],
        TYPED % (b"content_block_delta", b"content_block_delta", b',"delta":{"type":"text_delta","text":"w"}'),
        [TYPED % (kind, kind, b"") for kind in (b"content_block_stop", b"message_delta", b"message_stop")],
    ),
    "responses": (
        [TYPED % (kind, kind, b',"response":{}') for kind in (b"response.created", b"response.in_progress")],
        TYPED % (b"response.output_text.delta", b"response.output_text.delta", b',"delta":"w"'),
        [TYPED % (kind, kind, b"") for kind in (b"response.output_text.done", b"response.completed")],
    ),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_first_token_is_the_first_one_and_tokens_are_counted(own: Watched, protocol: str):
    first, word, last = PROTOCOLS[protocol]
    arrived = threading.Event()

    def script(peer: Peer, received: ReceivedRequest) -> None:
        peer.send(CHUNKED)
        for event in first:
            peer.send(chunk(event))
        assert arrived.wait(5)
        peer.send(b"".join(map(chunk, [word] * 3 + last)) + b"0\r\n\r\n")

    own.instance.play(script)
    before = own.metrics()
    with own.router.client() as client:
        client.send(post({"model": "m"}, b"x-request-id: first-%b" % protocol.encode())).head()
        body = b""
        while body != b"".join(first):
            body += client.chunk()
        passed = time.monotonic()
        threading.Event().wait(0.2)
        waited = time.monotonic() - passed
        arrived.set()
        while client.chunk():
            pass
    line = own.line(f"first-{protocol}")
    after = own.metrics()

    def more(*name: str) -> float:
        return after[name] - before.get(name, 0)

    assert more("svc_router_ttft_seconds_count", "m") == more("svc_router_instance_ttft_seconds_count", "one") == 1
    assert waited < more("svc_router_ttft_seconds_sum", "m") < line["duration"]
    assert line["first_byte"] < more("svc_router_ttft_seconds_sum", "m") - waited / 2
    assert more("svc_router_produced_tokens_total", "m") == more("svc_router_instance_tokens_total", "one") == 3


def test_a_stream_without_a_token_has_no_time_to_the_first(own: Watched):
    own.instance.play(streaming(*PROTOCOLS["chat"][0], *PROTOCOLS["chat"][2]))
    before = own.metrics()
    own.ask("tokenless")
    own.line("tokenless")
    for name in (("svc_router_ttft_seconds_count", "m"), ("svc_router_produced_tokens_total", "m")):
        assert own.metrics().get(name, 0) == before.get(name, 0)


def test_models_that_clients_invent_make_no_labels(own: Watched):
    for n in range(30):
        own.ask(f"invented-{n}", f"invented-{n}")
    own.line("invented-29")
    told = own.router.get("/metrics").text
    assert "invented" not in told
    assert own.metrics()["svc_router_requests_total", "unknown", "503"] >= 30


# Health while draining.


def test_a_draining_router_closes_kept_connections(tmp_path: Path):
    with watching(tmp_path) as own:
        own.instance.play(lambda peer, received: peer.send(CHUNKED + chunk(b"data: 1\n\n")))
        clients = [own.router.client() for _ in range(4)]
        for client in clients[1:]:
            assert client.send(get(b"/readyz")).answer().status == 200
        clients[0].send(post({"model": "m"})).head()
        own.router.process.send_signal(signal.SIGTERM)
        wait_until(lambda: clients[1].send(get(b"/readyz")).answer().status == 503, 2, interval=0.02)
        health = clients[2].send(get(b"/health")).answer()
        assert (health.status, json.loads(health.body)["router"]) == (200, "draining")
        assert clients[3].send(get(b"/livez")).answer().status == 200
        own.instance.peers[-1].send(b"0\r\n\r\n")
        for client in clients:
            client.sock.close()
        assert own.router.process.wait(8) == 0
