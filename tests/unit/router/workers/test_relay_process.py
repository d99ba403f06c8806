import threading
from collections.abc import Iterator

import pytest

from svc.base.errors import Unavailable
from svc.perimeter.hosts import Hosts
from svc.router.workers import relay_process
from svc.router.workers.channel import Channel, ChannelClosed
from svc.router.workers.channel_listener import ChannelListener
from svc.router.workers.messages import Evidence, Observation, OwnRequest, OwnResponse, Sync, WorkerReport
from svc.router.workers.relay_process import ControlLink
from svc.router.workers.relay_state import RelayState
from svc.router.workers.shared_counts import SharedCounts
from svc.router.wsgi import WsgiResponse
from svc.settings import RouterSettings
from tests.unit.router.examples import request, target
from tests.unit.router.workers.examples import process, snapshot

LONG = 30.0  # seconds, for what comes at once
A = target("a", "m")


class Relaying:
    """A process that relays, whose control process is the test."""

    def __init__(self) -> None:
        self.listener, self._started = ChannelListener(), False
        self.link = ControlLink(self.listener)
        counts = process(SharedCounts(2), 1)
        self.state = RelayState(RouterSettings(), Hosts(), counts, self.link.wake, self.link.synchronize)

    def start(self) -> Channel:
        """Start the link; return the control process's end of its channel of updates."""
        self._started = True
        self.link.start(self.state)
        return self.accept("updates")

    def stop(self) -> None:
        if self._started:
            self.link.stop()

    def accept(self, purpose: str) -> Channel:
        accepted, sock = self.listener.accept()
        assert accepted == purpose
        return Channel(sock)

    def connect(self) -> Channel:
        channel = self.start()
        channel.send(snapshot(A))
        assert self.link.connected.wait(LONG)
        return channel


@pytest.fixture
def relaying() -> Iterator[Relaying]:
    relaying = Relaying()
    yield relaying
    relaying.stop()


class Answer:
    """The answer to a request for one of the router's own endpoints, in a thread of its own."""

    def __init__(self, relaying: Relaying) -> None:
        self.response: WsgiResponse | None = None
        self.error: Exception | None = None
        self._link = relaying.link
        self._thread = threading.Thread(target=self._answer, daemon=True)
        self._thread.start()

    def _answer(self) -> None:
        try:
            self.response = self._link.answer(request(method=b"GET", uri=b"/stats?a=1"), "10.0.0.1")
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    def result(self) -> WsgiResponse:
        self._thread.join(LONG)
        if self.error is not None:
            raise self.error
        assert self.response is not None
        return self.response


def test_a_process_is_connected_with_the_first_snapshot(relaying):
    channel = relaying.start()
    assert not relaying.link.connected.is_set()
    channel.send(snapshot(A))
    assert relaying.link.connected.wait(LONG)
    assert relaying.state.ready


def test_an_observation_is_reported_and_a_sync_answered(relaying):
    channel = relaying.connect()
    relaying.state.unsent.observe(Observation(Evidence.FAILURE, "a", "reset"))
    assert channel.receive(WorkerReport, LONG).observations == [Observation(Evidence.FAILURE, "a", "reset")]
    channel.send(Sync(7))
    assert channel.receive(WorkerReport, LONG).sync == 7


def test_reports_go_to_the_control_process_that_follows(relaying):
    channel = relaying.connect()
    channel.close()
    following = relaying.accept("updates")
    relaying.state.balancer.retries += 3
    following.send(snapshot(A, number=2))
    assert following.receive(WorkerReport, LONG).retries == 3


def test_a_process_that_stops_sends_its_last_counts(relaying):
    channel = relaying.connect()
    relaying.state.balancer.retries += 3
    relaying.link.stop()
    assert channel.receive(WorkerReport, LONG).retries == 3
    with pytest.raises(ChannelClosed):
        channel.receive(WorkerReport, LONG)


def test_the_control_process_answers_for_the_routers_own_endpoints(relaying):
    answer = Answer(relaying)
    channel = relaying.accept("request")
    variables = channel.receive(OwnRequest, LONG).variables
    assert (variables["PATH_INFO"], variables["QUERY_STRING"], variables["REMOTE_ADDR"]) == (
        "/stats",
        "a=1",
        "10.0.0.1",
    )
    channel.send(OwnResponse("200 OK", [("X-A", "b")], b"{}"))
    response = answer.result()
    assert (response.status, response.headers, response.body, response.parts) == ("200 OK", [("X-A", "b")], b"{}", None)
    with pytest.raises(ChannelClosed):
        channel.receive(bytes, LONG)


def test_an_event_stream_goes_on_until_either_side_ends_it(relaying):
    answer = Answer(relaying)
    channel = relaying.accept("request")
    channel.receive(OwnRequest, LONG)
    channel.send(OwnResponse("200 OK", [], streams=True))
    parts = answer.result().parts
    channel.send(b"data: 1\n\n")
    channel.send(b"data: 2\n\n")
    assert [next(parts), next(parts)] == [b"data: 1\n\n", b"data: 2\n\n"]
    channel.close()
    assert list(parts) == []
    parts.close()


def test_a_client_that_leaves_ends_its_event_stream_at_its_source(relaying):
    answer = Answer(relaying)
    channel = relaying.accept("request")
    channel.receive(OwnRequest, LONG)
    channel.send(OwnResponse("200 OK", [], streams=True))
    answer.result().parts.close()
    with pytest.raises(ChannelClosed):
        channel.receive(bytes, LONG)


def test_a_control_process_that_ends_while_it_answers_is_503(relaying):
    answer = Answer(relaying)
    relaying.accept("request").close()
    with pytest.raises(Unavailable, match="control process does not answer; try again"):
        answer.result()


def test_a_control_process_that_does_not_answer_in_time_is_503(relaying, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(relay_process, "RESPONSE_TIMEOUT_SECONDS", 0.05)
    with pytest.raises(Unavailable, match="control process does not answer; try again"):
        Answer(relaying).result()


def test_synchronize_returns_once_the_control_process_says_so(relaying):
    thread = threading.Thread(target=relaying.link.synchronize, daemon=True)
    thread.start()
    channel = relaying.accept("sync")
    with pytest.raises(TimeoutError):  # and not ChannelClosed: it waits
        channel.receive(bytes, 0.05)
    channel.send(True)
    thread.join(LONG)
    assert not thread.is_alive()


def test_synchronize_returns_without_a_control_process(relaying, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(relay_process, "SYNC_TIMEOUT_SECONDS", 0.05)
    relaying.link.synchronize()
