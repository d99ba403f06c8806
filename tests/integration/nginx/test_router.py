"""TLS in front of real routers: a real nginx with what `svc render --nginx` wrote."""

import json
import re
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.fakes import Mock, mock
from tests.integration.nginx.server import Nginx
from tests.integration.registry.process import alive
from tests.integration.router.client import get, post
from tests.integration.router.event_streams import CHUNKED, one_by_one
from tests.integration.router.instance import Instance, Peer, ReceivedRequest
from tests.integration.router.routers import Router, router, service, static
from tests.waiting import free_port, wait_until

MAX_BODY = 4 << 20
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
ASK = post({"model": "m", "stream": True})


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    made = Instance()
    yield made
    made.close()


@pytest.fixture(scope="module")
def backend() -> Iterator[Mock]:
    with mock("real", ["real"]) as made:
        yield made


@pytest.fixture(scope="module")
def routers(
    instance: Instance, backend: Mock, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Router, Router]]:
    services = [service("m", instance.port, "m"), service("real", backend.port, "real")]
    path = static(tmp_path_factory.mktemp("routers") / "static.json", services)
    flags = ("--static-services", path, "--max-body", MAX_BODY, "--max-errors", 1000)
    with router(*flags) as first, router(*flags) as other:
        yield first, other


@pytest.fixture(scope="module")
def running(nginx: Nginx, routers: tuple[Router, Router]) -> Nginx:
    """In front of both, with a third that is down."""
    addresses = ",".join(f"127.0.0.1:{port}" for port in (routers[0].port, routers[1].port, free_port()))
    nginx.settings(f'routers = "{addresses}"', f"[router]\nmax_body = {MAX_BODY}\n")
    assert nginx.render() == "nginx/server.conf: new\nnginx/upstream.conf: new\n"
    return nginx.start()


@pytest.fixture
def front(running: Nginx, instance: Instance) -> Nginx:
    instance.play()
    return running


def test_a_chat_with_a_mock_over_tls(front: Nginx):
    body = {"model": "real", "messages": [{"role": "user", "content": "Hello"}]}
    with front.client() as client:
        for _ in range(3):  # on one connection
            answer = client.send(post(body)).answer()
            assert answer.status == 200
            assert json.loads(answer.body)["model"] == "real"


def test_a_router_that_is_down_costs_no_request(front: Nginx):
    with front.client() as client:
        assert [client.send(post({"model": "m"})).answer().status for _ in range(12)] == [200] * 12


def test_each_event_arrives_before_the_next_is_sent(front: Nginx, instance: Instance):
    arrived = threading.Event()
    instance.play(one_by_one(arrived, 5, patience=10))
    with front.client() as client:
        status, _, headers = client.send(ASK).head()
        assert (status, dict(headers)[b"Content-Type"]) == (200, b"text/event-stream; charset=utf-8")
        for n in range(5):
            assert client.chunk() == b"data: %d\n\n" % n
            arrived.set()
        assert client.chunk() == b""


def test_a_websocket_passes_both_ways(front: Nginx, instance: Instance):
    def script(peer: Peer, received: ReceivedRequest) -> bool:
        peer.send(SWITCHED)
        while data := peer.sock.recv(65536):
            peer.send(data)
        return False

    instance.play(script)
    with front.client() as client:
        client.send(
            get(b"/v1/realtime?model=m", b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: a2V5")
        )
        assert client.head()[0] == 101
        assert client.send(b"ping").take(4) == b"ping"


@pytest.mark.parametrize("leave", ["close", "half-close"])
def test_a_client_that_disconnects_cancels_the_request_upstream(front: Nginx, instance: Instance, leave: str):
    began, cut = threading.Event(), threading.Event()

    def script(peer: Peer, received: ReceivedRequest) -> bool:
        peer.send(CHUNKED)
        began.set()
        if peer.sock.recv(1) == b"":
            cut.set()
        return False

    instance.play(script)
    with front.client() as client:
        client.send(ASK).head()
        assert began.wait(10)
        if leave == "close":
            client.sock.close()
        else:
            client.sock.shutdown(socket.SHUT_WR)
        assert cut.wait(10)


def test_a_large_body_passes_without_touching_the_disk(front: Nginx, instance: Instance):
    text = "x" * (MAX_BODY - 100)
    with front.client() as client:
        assert client.send(post({"model": "m", "text": text})).answer().status == 200
    (received,) = instance.received
    assert json.loads(received.body)["text"] == text
    assert not [path for path in (front.place / "body").rglob("*") if path.is_file()]
    assert "buffered to a temporary file" not in front.errors()


def test_a_body_over_the_routers_limit_gets_the_routers_error(front: Nginx):
    with front.client() as client:
        answer = client.send(b"POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY + 1)).answer()
    assert answer.status == 413
    assert answer.error()["code"] == "request_too_large"


def test_client_address_and_request_id_are_passed_on(front: Nginx, instance: Instance):
    with front.client() as client:
        named = client.send(post({"model": "m"}, b"X-Request-Id: mine", b"X-Forwarded-For: 192.0.2.9")).answer()
        other = client.send(post({"model": "m"}, b"X-Correlation-Id: theirs")).answer()
        made = client.send(post({"model": "m"})).answer()
    first, second, third = instance.received
    assert [named.header(b"x-request-id"), first.header(b"x-request-id")] == [b"mine", b"mine"]
    assert [other.header(b"x-request-id"), second.header(b"x-request-id")] == [b"theirs", b"theirs"]
    assert re.fullmatch(rb"[0-9a-f]{32}", made.header(b"x-request-id"))
    assert made.header(b"x-request-id") == third.header(b"x-request-id")
    assert first.header(b"x-forwarded-for") == b"192.0.2.9, 127.0.0.1, 127.0.0.1"
    assert third.header(b"x-forwarded-for") == b"127.0.0.1, 127.0.0.1"


def test_internal_paths_are_hidden(front: Nginx):
    with front.client() as client:
        for path in (b"/metrics", b"//metrics", b"/./metrics", b"/%6detrics"):
            answer = client.send(get(path)).answer()
            assert (answer.status, answer.error()["code"]) == (404, "not_found")
        assert client.send(get(b"/v1/models")).answer().status == 200


def test_a_router_that_is_replaced_under_load_costs_no_request(front: Nginx, routers: tuple[Router, Router]):
    """SIGHUP: connections that nginx keeps end with an answer, or while nobody asks on them."""
    asked: list[int] = []
    statuses: list[int] = []

    def ask() -> None:
        while not over.is_set():
            with front.client() as client:
                for _ in range(100):
                    asked.append(1)
                    statuses.append(client.send(post({"model": "m"})).answer().status)

    over = threading.Event()
    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        for first in (*routers, *routers):
            worker, before = first.worker(), len(statuses)
            first.process.send_signal(signal.SIGHUP)
            wait_until(lambda: not alive(worker), 60, description="the old worker is gone")  # noqa: B023 - called here
            wait_until(lambda: len(statuses) > before + 20, 60, description="requests go on")  # noqa: B023
    finally:
        over.set()
        for client in clients:
            client.join(30)
    assert set(statuses) == {200}
    assert len(statuses) == len(asked), "one was not answered at all"


def test_the_routers_own_errors_pass_unchanged(front: Nginx):
    with front.client() as client:
        answer = client.send(post({"model": "nobody"})).answer()
    assert answer.status == 503
    assert answer.error()["message"] == "No healthy services available for model 'nobody'"


def test_without_a_router_nginx_answers_in_the_routers_format(pair, tmp_path):
    front = Nginx(tmp_path, pair.cert, pair.key, f'routers = "127.0.0.1:{free_port()}"')
    front.render()
    try:
        with front.start().client() as client:
            answer = client.send(post({"model": "m"})).answer()
            assert (answer.status, answer.error()["code"]) == (502, "bad_gateway")
    finally:
        front.end()


def test_connections_to_the_router_are_reused(front: Nginx, instance: Instance, routers: tuple[Router, Router]):
    """Else each request would cost another handshake."""

    def established() -> set[str]:
        wanted = {f"0100007F:{r.port:04X}" for r in routers}
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return {row[1] for row in rows if row[2] in wanted and row[3] == "01"}

    with front.client() as client:
        client.send(post({"model": "m"})).answer()
        kept = wait_until(established, description="a connection is kept")
        for _ in range(10):
            client.send(post({"model": "m"})).answer()
        assert established() & kept
        assert len(established()) <= 2 + len(kept)


@pytest.mark.parametrize("form", ["443", "192.0.2.1:443", "[::1]:8443", "127.0.0.1:1, 127.0.0.1:2", "*:443"])
def test_nginx_accepts_every_form_of_the_settings(pair, tmp_path, form: str):
    """`nginx -t` binds nothing that is taken, but resolves and parses all."""
    front = Nginx(tmp_path, pair.cert, pair.key)
    toml = (tmp_path / "config" / "svc.toml").read_text()
    toml = re.sub("listen = .*", f'listen = "{form}"', toml)
    toml = toml.replace('"localhost"', '"llm.example.org *.llm.example.org _"')
    (tmp_path / "config" / "svc.toml").write_text(toml + 'routers = "[::1]:8000,127.0.0.2:1"\n')
    if "192.0.2.1" in form:  # which no interface has
        assert front.svc("render", "--nginx").returncode == 0
    else:
        front.render()
