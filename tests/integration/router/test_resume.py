"""Streams that break off: which ones another instance continues, and what the client of any other gets."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.router.client import Client, post
from tests.integration.router.event_streams import CHUNKED, HEAD, chunk
from tests.integration.router.instance import Instance, Peer, ReceivedRequest
from tests.integration.router.listed import Gate
from tests.integration.router.resumable import CHAT, TEXT, USAGE, WORDS, Engines, View, event, view
from tests.integration.router.routers import Router, router, service, static
from tests.waiting import wait_until

USAGE_OPTION = {"stream_options": {"include_usage": True}}


class Site:
    """A router with two instances that continue answers (model `m`), and one that does not (with one of them: `n`)."""

    def __init__(self, own: Router, instances: list[Instance], log: Path) -> None:
        self.router = own
        self.instances = instances
        self._log = log

    def play(self, script: Callable[[Peer, ReceivedRequest], object]) -> None:
        for instance in self.instances:
            instance.play(script)

    def answer(self, body: dict[str, Any], *headers: bytes) -> View:
        with self.router.client().send(post(body, *headers)) as client:
            return view(client.answer().body)

    def resumptions(self) -> dict[str, dict[str, int]]:
        return self.router.get("/stats").json()["resumptions"]

    def last_line(self) -> dict[str, Any]:
        return json.loads(self._log.read_text().splitlines()[-1])

    def waiting(self) -> int:
        return self.router.get("/stats").json()["waiting"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("resume")
    instances = [Instance() for _ in range(3)]
    a, b, other = instances
    proven = {"continues": True, "continues_messages": True}
    services = [
        service("a", a.port, metadata={"models": ["m", "n", "off"], **proven, "max_concurrency": 4}),
        service("b", b.port, metadata={"models": ["m", "off", "only-b"], **proven, "max_concurrency": 4}),
        service("other", other.port, "n"),
    ]
    flags = ("--max-errors", 1000, "--policy", "round_robin", "--queue-size", 4, "--queue-timeout", 20)
    flags += ("--resume-models", "off=off", "--access-log", folder / "access.log", "--resume-max-text", 4000)
    flags += ("--stream-usage",)
    with router("--static-services", static(folder / "static.json", services), *flags) as own:
        yield Site(own, instances, folder / "access.log")
        own.assert_no_exception()
    for instance in instances:
        instance.close()


@pytest.fixture
def site(made: Site) -> Site:
    return made


def whole(seen: View) -> bool:
    """Return whether the answer is as it would have been, and one stream."""
    return (seen.text, seen.roles, len(seen.identities)) == (TEXT, 1, 1) and (
        seen.finish_reasons,
        seen.errors,
        seen.done,
    ) == (["stop"], [], 1)


@pytest.mark.parametrize(
    "engines",
    [
        pytest.param(Engines(6), id="between two events"),
        pytest.param(Engines(6, lambda data: data[:70]), id="within an event"),
        pytest.param(Engines(6, lambda data: data[:1]), id="within the size of a chunk"),
        pytest.param(Engines(6, lambda data: data[:-2]), id="before the end of a chunk"),
        pytest.param(Engines(0), id="before the first event"),
        pytest.param(Engines(1), id="after the role"),
        pytest.param(Engines(len(WORDS) + 1), id="before the reason to finish"),
        pytest.param(Engines(len(WORDS) + 2), id="after the reason to finish"),
        pytest.param(Engines(len(WORDS) + 3), id="before [DONE]"),
    ],
)
def test_a_broken_answer_goes_on_as_if_nothing_had_happened(site: Site, engines: Engines):
    site.play(engines)
    before = site.resumptions()["resumed"].get("broken", 0)
    seen = site.answer({**CHAT, **USAGE_OPTION})
    assert whole(seen), seen
    assert len(seen.usages) == 1
    assert seen.usages[0]["completion_tokens"] == USAGE["completion_tokens"]
    assert site.resumptions()["resumed"]["broken"] == before + 1


def test_the_rest_is_asked_with_the_text_so_far(site: Site):
    engines = Engines(6)
    site.play(engines)
    assert whole(site.answer({**CHAT, "max_tokens": 50}))
    _, second = engines.received
    assert second["messages"] == [*CHAT["messages"], {"role": "assistant", "content": "".join(WORDS[:5]).rstrip()}]
    assert (second["continue_final_message"], second["add_generation_prompt"], second["max_tokens"]) == (
        True,
        False,
        45,
    )


def test_the_access_log_and_the_metrics_report_it(site: Site):
    site.play(Engines(6))
    site.answer(CHAT)
    line = wait_until(lambda: (line := site.last_line()).get("resumed") and line, description="the line")
    assert (line["resumed"], sorted(line["instances"]), line["end"]) == (1, ["a", "b"], "done")
    assert (line["attempts"], line["completion_tokens"]) == (2, len(WORDS))  # the usage, which the client did not get
    assert line["instance"] == line["instances"][-1]
    assert 'svc_router_resumed_total{outcome="resumed",reason="broken"}' in site.router.get("/metrics").text


def test_a_client_of_http_1_0_gets_the_whole_answer(site: Site):
    site.play(Engines(6))
    request = post(CHAT).replace(b"HTTP/1.1", b"HTTP/1.0")
    with site.router.client().send(request) as client:
        client.until(b"\r\n\r\n")
        assert whole(view(client.all()))


def test_a_long_answer_is_folded_and_goes_on(site: Site):
    """160 KB of events with little text, broken off in the middle."""
    deltas = [{"content": "x", "annotations": None, "padding": None} for _ in range(800)]
    engines = Engines(700, deltas=deltas, continuation=_continues_with("y"))
    site.play(engines)
    seen = site.answer(CHAT)
    assert (seen.text, seen.errors, seen.done) == ("x" * 699 + "y", [], 1)
    assert engines.received[1]["messages"][-1]["content"] == "x" * 699


def test_events_without_text_do_not_end_the_wait_for_the_rest(site: Site):
    """An engine may send its role, and white space that the answer has already, any number of times."""

    def repeats(peer: Peer, received: ReceivedRequest) -> None:
        peer.send(CHUNKED)
        for _ in range(3000):
            peer.send(chunk(event("z", {"delta": {"role": "assistant", "content": ""}})))
        finish = event("z", {"delta": {}, "finish_reason": "stop"})
        peer.send(chunk(event("z", {"delta": {"content": "end"}}) + finish + b"data: [DONE]\n\n") + b"0\r\n\r\n")

    site.play(Engines(6, continuation=repeats))
    seen = site.answer(CHAT)
    assert (seen.text.split()[-1], seen.roles, seen.errors, seen.done) == ("end", 1, [], 1)


@pytest.mark.parametrize("option", [{}, USAGE_OPTION])
def test_an_instance_is_left_once_the_answer_ends_at_a_stop_that_began_before_the_break(
    site: Site, option: dict[str, Any]
):
    """It would generate on, because it does not notice the stop, whose beginning is in its request."""
    gone: list[bool] = []

    def generates_on(peer: Peer, received: ReceivedRequest) -> bool:
        peer.send(CHUNKED + chunk(event("z", {"delta": {"content": " the end"}})))
        gone.append(peer.request() is None)
        return False

    site.play(Engines(6, continuation=generates_on))
    seen = site.answer({**CHAT, **option, "stop": ["4 the end"]})
    assert (seen.text, seen.finish_reasons, seen.errors, seen.done) == ("".join(WORDS[:5]), ["stop"], [], 1)
    assert [usage["completion_tokens"] for usage in seen.usages] == [5] * bool(option)
    wait_until(lambda: gone == [True], description="the router to leave the instance")
    wait_until(lambda: site.last_line()["end"] == "done" and site.last_line().get("resumed"), description="the line")


class Busy:
    """Requests that take all places of the instance `b`; all others go to `engines`."""

    def __init__(self, site: Site, engines: Engines) -> None:
        self.gate = Gate()
        self.clients: list[Client] = []
        self._site = site
        self._engines = engines
        site.play(self)
        self.ask(4)
        wait_until(lambda: self.gate.now == 4, description="all places to be taken")

    def __call__(self, peer: Peer, received: ReceivedRequest) -> object:
        return (self.gate if b"only-b" in received.body else self._engines)(peer, received)

    def ask(self, count: int) -> None:
        self.clients += [self._site.router.client().send(post({"model": "only-b"})) for _ in range(count)]

    def end(self) -> None:
        self.gate.let(len(self.clients))
        for client in self.clients:
            with client:
                assert client.answer().status == 200


def test_an_answer_waits_for_a_place_at_a_busy_instance(site: Site):
    busy = Busy(site, Engines(6))
    with site.router.client().send(post(CHAT)) as client:
        wait_until(lambda: site.waiting() == 1, description="the answer to wait")
        busy.end()
        assert whole(view(client.answer().body))


def test_where_the_queue_is_full_the_error_says_so(site: Site):
    busy = Busy(site, engines := Engines(6))
    busy.ask(4)
    wait_until(lambda: site.waiting() == 4, description="the queue to be full")
    seen = site.answer(CHAT)
    assert "no other instance of the model that can continue it was available" in seen.errors[0]["message"]
    assert len(engines.received) == 1
    busy.end()


def _continues_with(text: str) -> Callable[[Peer, ReceivedRequest], object]:
    def script(peer: Peer, received: ReceivedRequest) -> None:
        finish = event("z", {"delta": {}, "finish_reason": "stop"})
        data = event("z", {"delta": {"role": "assistant", "content": text}}) + finish + b"data: [DONE]\n\n"
        peer.send(CHUNKED + chunk(data) + b"0\r\n\r\n")

    return script


# What is not continued.


@pytest.mark.parametrize(
    ("changes", "deltas", "reason"),
    [
        ({"model": "off"}, None, "the router's settings do not allow it"),
        ({"n": 2}, None, "several answers"),
        ({"response_format": {"type": "json_object"}}, None, "a format"),
        ({"logprobs": True}, None, "log probabilities"),
        ({}, [{"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]}] * 9, "a tool"),
        ({}, [{"reasoning_content": "hm"}] * 9, "reasoning"),
        ({}, [{"content": "long " * 200}] * 9, "too long"),
        ({}, [{"unknown": {"field": 1}}] * 9, "does not understand"),
        ({"messages": [{"role": "user", "content": "x" * 1_100_000}]}, None, "too large"),
        ({"model": "n"}, None, "no other instance of the model"),
    ],
)
def test_what_cannot_be_continued_ends_with_the_reason(
    site: Site, changes: dict[str, Any], deltas: list[dict[str, Any]] | None, reason: str
):
    """It is asked only once. The model `n` has one instance that continues answers, which breaks off this one."""
    engines = Engines(8, deltas=deltas)
    site.play(engines)
    if changes.get("model") == "n":
        site.instances[2].play(lambda peer, received: peer.send(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n"))
    seen = site.answer({**CHAT, **changes})
    assert len(engines.received) == 1
    assert (len(seen.errors), seen.done, seen.finish_reasons) == (1, 1, [])
    assert "the instance's answer broke off" in seen.errors[0]["message"]
    assert "it could not be continued: " in seen.errors[0]["message"]
    assert seen.errors[0]["message"].endswith("; send the request again")
    assert reason in seen.errors[0]["message"]


def test_a_client_may_refuse(site: Site):
    engines = Engines(6)
    site.play(engines)
    seen = site.answer(CHAT, b"X-No-Resume: 1")
    assert "X-No-Resume" in seen.errors[0]["message"]
    assert len(engines.received) == 1
    received = [received for instance in site.instances for received in instance.received]
    assert [r.header(b"x-no-resume") for r in received] == [None]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 400 X\r\nContent-Length: 2\r\n\r\n{}", "it answered 400"),
        (b"HTTP/1.1 500 X\r\nContent-Length: 2\r\n\r\n{}", "it answered 500"),
        (
            b"HTTP/1.1 503 X\r\nContent-Length: 2\r\n\r\n{}",
            "no other instance of the model that can continue it was available",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "it answered 200 instead of"),
        (CHUNKED + chunk(b'data: {"error": {"message": "no"}}\n\n'), "does not continue it"),
        (CHUNKED + chunk(b"data: nonsense\n\n"), "does not continue it"),
        (CHUNKED + chunk(b"no event\n\n") + b"0\r\n\r\n", "without a reason to finish"),
    ],
)
def test_an_instance_that_does_not_continue_is_reported(site: Site, answer: bytes, reason: str):
    engines = Engines(6, continuation=lambda peer, received: peer.send(answer))
    site.play(engines)
    seen = site.answer(CHAT)
    assert (seen.text, seen.done, seen.finish_reasons) == ("".join(WORDS[:5]), 1, [])
    assert reason in seen.errors[0]["message"]
    assert len(engines.received) == 2


def test_answers_that_break_off_in_their_first_packet_end_with_the_error(site: Site):
    """The client does not even have the head of the response then."""
    site.play(lambda peer, received: peer.send(CHUNKED + chunk(b"data: {")) or False)
    seen = site.answer(CHAT)
    assert (seen.text, seen.done, len(seen.errors)) == ("", 1, 1)
    site.router.assert_no_exception()


@pytest.mark.parametrize("rest", [b"", b"0\r\n\r\n"])
def test_what_an_instance_sends_after_the_end_changes_nothing(site: Site, rest: bytes):
    """Then it breaks the connection off, or ends its answer in order."""
    finish = event("z", {"delta": {"content": "!"}, "finish_reason": "stop"})
    answer = CHUNKED + chunk(finish + b"data: [DONE]\n\ndata: {nonsense") + rest
    site.play(Engines(6, continuation=lambda peer, received: peer.send(answer) or False))
    seen = site.answer(CHAT)
    assert (seen.finish_reasons, seen.done, seen.errors) == (["stop"], 1, [])


def test_a_request_that_killed_two_instances_is_not_sent_on(site: Site):
    """The instances listen no more for a moment, and again afterwards."""
    text = {"messages": [{"role": "user", "content": "POISON"}]}
    listening = [(instance.port, instance) for instance in site.instances[:2]]

    def dies(peer: Peer, received: ReceivedRequest) -> bool:
        next(i for _, i in listening if peer in i.peers).stop_listening()
        return False

    engines = Engines(6, continuation=dies)
    engines._dies = lambda: _victim(site).stop_listening()
    site.play(engines)
    seen = site.answer({**CHAT, **text})
    assert seen.errors[0]["code"] == "request_kills_instances"
    assert len(engines.received) == 2
    site.instances[:2] = [Instance(port) for port, _ in listening]


def _victim(site: Site) -> Instance:
    return next(instance for instance in site.instances if instance.received)


def test_the_end_of_a_client_ends_the_wait_for_the_rest(site: Site):
    gone: list[bool] = []

    def waits(peer: Peer, received: ReceivedRequest) -> bool:
        gone.append(peer.request() is None)
        return False

    engines = Engines(6, continuation=waits)
    site.play(engines)
    client = site.router.client().send(post(CHAT))
    wait_until(lambda: len(engines.received) == 2, description="the rest to be asked for")
    client.sock.close()
    wait_until(lambda: gone == [True], description="the router to end the request for the rest")
    wait_until(lambda: site.router.in_flight() == 0, description="nothing to be in flight")


# Answers that are not streamed.


def test_an_answer_that_is_no_stream_is_asked_for_again(site: Site):
    received: list[bytes] = []

    def breaks(peer: Peer, request: ReceivedRequest) -> object:
        received.append(request.body)
        body = b"x" * 1000
        if len(received) == 1:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + body[:500])
            return False
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        peer.send(body)
        return None

    site.play(breaks)
    with site.router.client().send(post({"model": "m", "messages": []})) as client:
        answer = client.answer()
    assert (answer.status, answer.body) == (200, b"x" * 1000)
    assert len(received) == 2


def test_an_answer_that_breaks_off_twice_is_an_error(site: Site):
    def breaks(peer: Peer, request: ReceivedRequest) -> bool:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 500)
        return False

    site.play(breaks)
    with site.router.client().send(post({"model": "m", "messages": []})) as client:
        answer = client.answer()
    assert answer.status == 502
    assert answer.error()["message"].count("in the middle of its answer") == 2


def test_a_long_answer_is_passed_on_as_it_comes(site: Site):
    """More than 64 KB of it; then it breaks off, so the client's connection is cut."""

    def breaks(peer: Peer, request: ReceivedRequest) -> bool:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 100_000)
        return False

    site.play(breaks)
    with site.router.client().send(post({"model": "m", "messages": []})) as client:
        status, _, _ = client.head()
        assert status == 200
        assert len(client.all()) == 100_000


def test_a_stream_without_a_length_is_not_held_back(site: Site):
    """Ollama streams lines of JSON in chunks: the first one passes before the second is sent."""
    steps: list[Peer] = []

    def lines(peer: Peer, request: ReceivedRequest) -> None:
        peer.send(HEAD.replace(b"text/event-stream", b"application/x-ndjson") + b"Transfer-Encoding: chunked\r\n\r\n")
        steps.append(peer)
        peer.send(chunk(b"{}\n"))

    site.play(lines)
    with site.router.client().send(post({"model": "m", "messages": []})) as client:
        client.head()
        assert client.chunk() == b"{}\n"
        steps[0].send(b"0\r\n\r\n")
        assert client.chunk() == b""
