"""Stopping and replacing a router while it serves requests."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests

from svc.router.proxy.send_request import MAX_HELD_BYTES
from tests.integration.router.client import Client, get, post
from tests.integration.router.event_streams import CHUNKED, chunk, last_error
from tests.integration.router.instance import Instance, Peer, ReceivedRequest
from tests.integration.router.routers import Router, router, service, static
from tests.waiting import wait_until

ASK = post({"model": "m"})


class Streams:
    """An instance whose streams go on until `end` is set."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.end = threading.Event()

    def __call__(self, peer: Peer, received: ReceivedRequest) -> None:
        peer.send(CHUNKED + chunk(b"data: 1\n\n"))
        self.end.wait(20)
        with suppress(OSError):
            peer.send(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")


@pytest.fixture
def streams() -> Iterator[Streams]:
    instance = Instance()
    made = Streams(instance)
    yield made
    made.end.set()
    instance.close()


@pytest.fixture
def services(streams: Streams, tmp_path: Path) -> Path:
    return static(tmp_path / "static.json", [service("m", streams.instance.port, "m")])


def refused(own: Router) -> bool:
    try:
        Client(own.port).sock.close()
    except ConnectionRefusedError:
        return True
    return False


def test_sigterm_lets_a_stream_finish_and_accepts_no_connections(streams: Streams, services: Path):
    streams.instance.play(streams)
    with router("--static-services", services) as own, own.client() as stream, own.client() as kept:
        assert kept.send(get(b"/readyz")).answer().status == 200
        stream.send(ASK).head()
        assert stream.chunk() == b"data: 1\n\n"
        own.process.send_signal(signal.SIGTERM)
        wait_until(lambda: refused(own))
        answer = kept.send(get(b"/readyz")).answer()
        assert (answer.status, answer.header(b"connection")) == (503, b"close")
        assert own.process.poll() is None
        streams.end.set()
        assert [stream.chunk(), stream.chunk()] == [b"data: [DONE]\n\n", b""]
        assert own.process.wait(5) == 0
        assert "Traceback" not in own.output()


def test_a_request_on_a_kept_connection_is_served_while_draining(streams: Streams, services: Path):
    with router("--static-services", services) as own, own.client() as stream, own.client() as kept:
        assert kept.send(ASK).answer().header(b"connection") is None
        streams.instance.play(streams)
        stream.send(ASK).head()
        own.process.send_signal(signal.SIGTERM)
        streams.instance.script = lambda peer, received: peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        wait_until(lambda: refused(own))
        answer = kept.send(ASK).answer()
        assert (answer.body, answer.header(b"connection")) == (b"ok", b"close")
        assert kept.ended()


def test_idle_connections_are_closed_and_do_not_delay_the_stop(streams: Streams, services: Path):
    with router("--static-services", services) as own:
        clients = [own.client() for _ in range(5)]
        for client in clients[1:]:
            assert client.send(ASK).answer().status == 200
        own.process.send_signal(signal.SIGTERM)
        for client in clients:
            assert client.ended()
        assert own.process.wait(4) == 0


def test_a_stream_ends_with_an_error_event_after_the_grace_period(streams: Streams, services: Path):
    streams.instance.play(streams)
    with router("--static-services", services, "--graceful-timeout", 0.5) as own, own.client() as stream:
        with own.client() as unsized, own.client() as half:
            stream.send(ASK).head()
            half.send(ASK[:-3])
            begun = b"x" * (MAX_HELD_BYTES + 1)  # so much that the router passes it on before it has the rest
            streams.instance.script = lambda peer, received: peer.send(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(begun) + 1, begun)
            )
            unsized.send(ASK).head()
            own.process.send_signal(signal.SIGTERM)
            *_, last_event = iter(stream.chunk, b"")
            assert last_error(last_event)["message"].startswith("the router is stopping")
            assert unsized.all() == begun
            assert half.all() == b""
        assert own.process.wait(5) == 0


def test_a_request_without_an_answer_is_503_when_the_router_stops(streams: Streams, services: Path):
    streams.instance.play(lambda peer, received: None)
    with router("--static-services", services, "--graceful-timeout", 0.3) as own, own.client() as client:
        client.send(ASK)
        wait_until(lambda: streams.instance.received)
        own.process.send_signal(signal.SIGTERM)
        answer = client.answer()
        assert (answer.status, answer.error()["message"]) == (503, "the router is stopping; send the request again")


def test_ctrl_c_stops_the_router_without_a_traceback(services: Path):
    with router("--static-services", services) as own:
        os.killpg(own.process.pid, signal.SIGINT)
        assert own.process.wait(5) == 0
        assert "Traceback" not in own.output()


def test_a_worker_does_not_outlive_its_master(services: Path):
    with router("--static-services", services) as own:
        worker = own.worker()
        own.process.kill()
        wait_until(lambda: not Path(f"/proc/{worker}/cmdline").exists() or _zombie(worker))


def test_hup_under_load_fails_no_request(streams: Streams, services: Path):
    """Clients have kept connections, a connection for each request, and a stream that is open throughout."""
    with router("--static-services", services) as own, own.client() as stream:
        streams.instance.play(streams)
        stream.send(ASK).head()
        streams.instance.script = lambda peer, received: peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        with load(own.url) as done:
            replace(own, done)
            streams.end.set()
            assert b"".join(iter(stream.chunk, b"")) == b"data: 1\n\ndata: [DONE]\n\n"
            replace(own, done)  # gunicorn does it when the first worker is gone
        assert "Traceback" not in own.output()


def replace(own: Router, done: list[int]) -> None:
    """Replace the worker by another one, and wait until it has served every client."""
    before = own.worker()
    own.process.send_signal(signal.SIGHUP)
    wait_until(lambda: own.worker() != before, description="another worker")
    served = list(done)
    wait_until(lambda: all(now > then + 20 for now, then in zip(done, served, strict=True)))


@contextmanager
def load(url: str) -> Iterator[list[int]]:
    """Run two clients with kept connections and two with a connection for each request; yield their counts."""
    stop, done, failures = threading.Event(), [0] * 4, []

    def work(n: int) -> None:
        with requests.Session() as session:
            call = session.post if n % 2 else requests.post
            while not stop.is_set() and not failures:
                try:
                    assert call(f"{url}/v1/embeddings", json={"model": "m"}, timeout=5).text == "ok"
                    done[n] += 1
                except (requests.RequestException, AssertionError) as error:
                    failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield done
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures


def _zombie(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True
