"""Requests that change the protocol, such as WebSocket: what passes through the tunnel, and how it ends."""

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.integration.router.client import Client, get, post
from tests.integration.router.instance import Instance
from tests.integration.router.routers import Router, router, service, static
from tests.integration.router.tunnels import SWITCHED, UPGRADE, echoes
from tests.waiting import wait_until


def upgrade(model: bytes, *headers: bytes) -> bytes:
    return get(b"/v1/realtime?model=" + model, *UPGRADE, *headers)


def switched(client: Client) -> None:
    status, _, headers = client.head()
    assert status == 101
    assert b"Transfer-Encoding" not in dict(headers)  # RFC 9112, 6.1
    assert {(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"), (b"Sec-WebSocket-Accept", b"x")} < set(headers)
    assert client.take(7) == b"welcome"


@pytest.fixture(scope="module")
def own(instances: list[Instance], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    """Two instances with a model of their own each; an alias; and little patience with what is idle."""
    services = [service(name, made.port, name) for name, made in zip("ab", instances[:2], strict=True)]
    path = static(tmp_path_factory.mktemp("upgrades") / "static.json", services)
    with router(
        "--static-services",
        path,
        "--aliases",
        "voice=b",
        "--idle-timeout",
        1,
        "--max-errors",
        1000,
        "--allow-paths",
        "/v1/x",
    ) as running:
        yield running
        assert "Traceback" not in running.output()


@pytest.fixture(autouse=True)
def a_new_script(instances: list[Instance]) -> None:
    for instance in instances:
        instance.play(echoes)


def test_bytes_pass_both_ways_to_an_instance_of_the_model(own: Router, instances: list[Instance]):
    with own.client() as client:
        client.send(upgrade(b"b", b"X-Served-By: ?") + b"already here")
        switched(client)
        assert client.take(12) == b"already here"
        for size in (1, 100_000, 2_000_000):
            threading.Thread(target=client.send, args=(b"x" * size,)).start()
            assert client.take(size) == b"x" * size
        assert own.service("b")["in_flight"] == 1
        client.send(b"stop")
        assert client.ended()
    (received,) = instances[1].received
    assert (received.header(b"connection"), received.header(b"upgrade")) == (b"Upgrade", b"websocket")
    assert received.header(b"sec-websocket-key") == b"a2V5"
    wait_until(lambda: own.in_flight() == 0, description="the count to be released")


def test_a_client_that_leaves_ends_the_tunnel(own: Router):
    with own.client() as client:
        client.send(upgrade(b"a"))
        switched(client)
        client.sock.shutdown(socket.SHUT_WR)
        assert client.ended()
    wait_until(lambda: own.in_flight() == 0, description="the count to be released")


def test_a_tunnel_lasts_as_long_as_something_passes(own: Router):
    """Nothing for `idle_timeout` ends it."""
    with own.client() as client:
        client.send(upgrade(b"a"))
        switched(client)
        for _ in range(8):
            assert not threading.Event().wait(0.2)  # the client's own pace, longer in all than the timeout
            assert client.send(b"x").take(1) == b"x"
        assert client.ended()


def test_an_alias_stands_for_its_model(own: Router, instances: list[Instance]):
    with own.client() as client:
        client.send(upgrade(b"voice"))
        switched(client)
    assert instances[1].received[0].line == b"GET /v1/realtime?model=b HTTP/1.1"


def test_the_refusal_of_an_upgrade_is_passed_on(own: Router, instances: list[Instance]):
    instances[0].play(lambda peer, received: peer.send(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"))
    with own.client() as client:
        answer = client.send(upgrade(b"a")).answer()
        assert (answer.status, answer.body, answer.header(b"connection")) == (403, b"no", b"close")
        assert client.ended()


@pytest.mark.parametrize("rest", [b"\r\n", b"Content-Length: 2\r\n\r\nhi", b"\r\nwelcome", b"Upgrade: x\r\n\r\n"])
def test_a_101_that_switches_to_nothing_is_502(own: Router, instances: list[Instance], rest: bytes):
    instances[0].play(lambda peer, received: peer.send(b"HTTP/1.1 101 Switching Protocols\r\n" + rest))
    with own.client() as client:
        assert client.send(upgrade(b"a")).answer().status == 502


def test_the_protocol_is_the_one_that_the_instance_chose(own: Router, instances: list[Instance]):
    instances[0].play(lambda peer, received: peer.send(SWITCHED.replace(b"websocket", b"other/2")))
    with own.client() as client:
        status, _, headers = client.send(upgrade(b"a")).head()
        assert (status, dict(headers)[b"Upgrade"]) == (101, b"other/2")


def test_a_tunnel_without_a_byte_ends_after_the_idle_timeout(own: Router, instances: list[Instance]):
    instances[0].play(lambda peer, received: peer.send(SWITCHED))
    with own.client() as client:
        assert client.send(upgrade(b"a")).head()[0] == 101
        assert client.ended()


def test_an_own_endpoint_ignores_an_upgrade(own: Router):
    with own.client() as client:
        assert client.send(get(b"/health", *UPGRADE)).answer().status == 200


def test_without_a_model_it_is_426(own: Router, instances: list[Instance]):
    with own.client() as client:
        answer = client.send(get(b"/v1/responses", *UPGRADE)).answer()
        assert (answer.status, answer.header(b"upgrade")) == (426, b"websocket")
        assert "?model=" in answer.error()["message"]
    assert not any(instance.received for instance in instances)


def test_a_model_that_no_instance_has_is_503(own: Router):
    with own.client() as client:
        assert client.send(upgrade(b"x")).answer().status == 503


@pytest.mark.parametrize(
    "request_",
    [
        get(b"/v1/x?model=a", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AA"),
        post({"model": "a"}, *UPGRADE),
        get(b"/v1/x?model=a", b"Upgrade: websocket"),
    ],
)
def test_an_upgrade_that_is_none_is_ignored(own: Router, instances: list[Instance], request_: bytes):
    for instance in instances:
        instance.play()
    with own.client() as client:
        for _ in range(2):
            assert client.send(request_).answer().body == b"ok"
    assert all(h.header(b"upgrade") is None for instance in instances for h in instance.received)
