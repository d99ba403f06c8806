"""Heartbeats: which requests are usual ones, and how they are handled; the application gets every other request."""

import json

import pytest

from svc.base.errors import BadRequest, NotFound, Unauthorized
from svc.perimeter.hosts import Hosts
from svc.registry import heartbeats
from svc.registry.access.guard import Admission, Guard
from svc.registry.metrics import RegistryMetrics
from svc.registry.registry_health import RegistryHealth
from svc.registry.store.sqlite import SqliteStore
from tests.unit.registry.services import NOW, service

BODY = b'{"status": "running"}'
USUAL = (
    b"POST /services/qwen-server/heartbeat HTTP/1.1\r\nHost: h:18000\r\nUser-Agent: x\r\nX-Service-Secret: s\r\n"
    b"Connection: keep-alive\r\nContent-Type: application/json\r\nContent-Length: 21\r\n\r\n" + BODY
)


def test_a_usual_heartbeat_is_parsed():
    heartbeat = heartbeats.parse_heartbeat(USUAL)
    assert (heartbeat.name, heartbeat.body, heartbeat.closes_connection) == ("qwen-server", BODY, False)
    assert heartbeat.headers["x-service-secret"] == "s"
    assert heartbeats.parse_heartbeat(USUAL.replace(b"keep-alive", b"close")).closes_connection


def test_a_heartbeat_without_a_body_is_parsed():
    heartbeat = heartbeats.parse_heartbeat(b"POST /services/q/heartbeat HTTP/1.1\r\nHost: h\r\n\r\n")
    assert (heartbeat.name, heartbeat.body) == ("q", b"")


@pytest.mark.parametrize(
    ("part", "replacement"),
    [
        (b"POST", b"PUT"),
        (b"/heartbeat", b"/drain"),
        (b"/heartbeat", b"/heartbeat?x=1"),
        (b"qwen-server", b"qwen%2dserver"),
        (b"qwen-server", b"-qwen"),
        (b"qwen-server", b"../x"),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"Host: h:18000\r\n", b""),
        (b"User-Agent: x", b"Transfer-Encoding: chunked"),
        (b"User-Agent: x", b"Expect: 100-continue"),
        (b"User-Agent: x", b"Upgrade: h2c"),
        (b"User-Agent: x", b"X-Forwarded-For: 10.0.0.1"),
        (b"User-Agent: x", b"Forwarded: for=10.0.0.1"),
        (b"User-Agent: x", b"User-Agent : x"),
        (b"User-Agent: x", b"X_Service_Secret: t"),
        (b"User-Agent: x", b"X-Service-Secret: t"),
        (b"User-Agent: x", b"Content-Length: 21"),
        (b"User-Agent: x", b" folded"),
        (b"User-Agent: x", b"User-Agent: \x00"),
        (b"User-Agent: x", b"User-Agent: \xc3\xa9"),
        (b"keep-alive", b"upgrade"),
        (b"Content-Length: 21", b"Content-Length: 20"),
        (b"Content-Length: 21", b"Content-Length: 22"),
        (b"Content-Length: 21", b"Content-Length: +21"),
        (BODY, BODY + b"GET / HTTP/1.1\r\n\r\n"),
        (b"\r\n", b"\n"),
    ],
)
def test_an_unusual_request_is_left_to_the_application(part, replacement):
    assert heartbeats.parse_heartbeat(USUAL.replace(part, replacement)) is None


def test_an_incomplete_heartbeat_is_waited_for():
    head = USUAL.index(b"\r\n\r\n")
    for cut in (0, 1, 5, 20, head, head + 4, len(USUAL) - 1):
        assert not heartbeats.is_complete(USUAL[:cut]), cut
        assert heartbeats.parse_heartbeat(USUAL[:cut]) is None
    assert heartbeats.is_complete(USUAL)


@pytest.mark.parametrize(
    "data", [b"G", b"GET / HTTP/1.1\r\n", b"POST /services HTTP/1.1\r\n", b"\x16\x03\x01", b"\r\n"]
)
def test_another_request_is_not_waited_for(data):
    assert heartbeats.is_complete(data)


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP", "CF-Connecting-IP"])
def test_a_forwarded_heartbeat_is_left_to_the_application(name):
    assert heartbeats.parse_heartbeat(USUAL.replace(b"\r\n", f"\r\n{name}: x\r\n".encode(), 1)) is None


def test_a_request_over_the_size_limit_is_not_waited_for():
    assert heartbeats.is_complete(b"POST /services/" + b"x" * heartbeats.MAX_HEARTBEAT_BYTES)


def test_the_response_is_valid_http():
    response = heartbeats.response(b"{}", 0.0, closes_connection=True)
    assert response == (
        b"HTTP/1.1 200 OK\r\nServer: gunicorn\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    )


@pytest.fixture
def store(tmp_path):
    store = SqliteStore(tmp_path / "registry.db")
    store.change("qwen-server", lambda old: service("qwen-server", status="starting"))
    yield store
    store.close()


def handler(store):
    metrics = RegistryMetrics(store, RegistryHealth(store))
    return heartbeats.HeartbeatHandler(store, Admission(Guard(), Hosts()), metrics, lambda: NOW + 5)


def test_a_heartbeat_renews_the_lease_and_sets_the_status(store):
    answer = json.loads(handler(store).handle("127.0.0.1", heartbeats.parse_heartbeat(USUAL)))
    assert answer["message"] == "qwen-server is alive"
    renewed = store.get("qwen-server")
    assert (renewed.last_heartbeat, renewed.status) == (NOW + 5, "running")


@pytest.mark.parametrize(
    ("peer", "change", "error"),
    [
        ("127.0.0.1", (b"qwen-server", b"unknown"), NotFound),
        ("127.0.0.1", (b'"running"', b"1234567.8"), BadRequest),
        ("10.0.0.9", (b"User-Agent: x", b"User-Agent: y"), Unauthorized),
    ],
)
def test_a_refused_heartbeat_changes_nothing(store, peer, change, error):
    before = store.get("qwen-server")
    with pytest.raises(error):
        handler(store).handle(peer, heartbeats.parse_heartbeat(USUAL.replace(*change)))
    assert store.get("qwen-server") == before
