"""Heartbeats: which requests are usual ones, and how they are handled; the application gets every other request."""

import json

import pytest

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


def test_the_head_tells_a_heartbeat_from_other_requests():
    assert heartbeats.begins_heartbeat(USUAL)
    assert heartbeats.begins_heartbeat(USUAL[: USUAL.index(b"\r\n\r\n")]), "its body follows"


@pytest.mark.parametrize(
    "data", [b"", b"POST /serv", b"GET / HTTP/1.1\r\n", b"POST /services HTTP/1.1\r\n", b"\x16\x03\x01", b"\r\n"]
)
def test_another_request_is_not_taken_for_a_heartbeat(data):
    assert not heartbeats.begins_heartbeat(data)


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP", "CF-Connecting-IP"])
def test_a_forwarded_heartbeat_is_left_to_the_application(name):
    assert heartbeats.parse_heartbeat(USUAL.replace(b"\r\n", f"\r\n{name}: x\r\n".encode(), 1)) is None


def test_a_request_over_the_size_limit_is_not_taken_for_a_heartbeat():
    assert not heartbeats.begins_heartbeat(USUAL + b"x" * heartbeats.MAX_HEARTBEAT_BYTES)


def test_the_response_is_valid_http():
    response = heartbeats.response(b"{}", 0.0, closes_connection=True)
    assert response == (
        b"HTTP/1.1 200 OK\r\nServer: gunicorn\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    )


STARTING = USUAL.replace(b"running", b"starting").replace(b"Content-Length: 21", b"Content-Length: 22")


@pytest.fixture
def store(tmp_path):
    store = SqliteStore(tmp_path / "registry.db")
    store.change("qwen-server", lambda old: service("qwen-server", status="starting"))
    yield store
    store.close()


def handler(store):
    metrics = RegistryMetrics(store, RegistryHealth(store))
    return heartbeats.HeartbeatHandler(store, Admission(Guard(), Hosts()), metrics, lambda: NOW + 5)


def answers(store, *data, peer="127.0.0.1"):
    return handler(store).handle_batch([(peer, heartbeats.parse_heartbeat(request)) for request in data])


def test_a_batch_renews_leases(store):
    store.change("other", lambda old: service("other"))
    second = USUAL.replace(b"qwen-server", b"other")
    messages = [json.loads(answer)["message"] for answer in answers(store, STARTING, second)]
    assert messages == ["qwen-server is alive", "other is alive"]
    assert [store.get(name).last_heartbeat for name in ("qwen-server", "other")] == [NOW + 5, NOW + 5]


@pytest.mark.parametrize(
    ("peer", "part", "replacement"),
    [
        ("127.0.0.1", b"qwen-server", b"unknown"),
        ("127.0.0.1", b'"starting"', b"1234567890"),
        ("127.0.0.1", b'"starting"', b'"draining"'),
        ("10.0.0.9", b"User-Agent: x", b"User-Agent: y"),
    ],
)
def test_what_the_application_has_to_decide_changes_nothing(store, peer, part, replacement):
    """The other heartbeats of its batch count."""
    before, other = store.get("qwen-server"), USUAL.replace(b"qwen-server", b"other")
    store.change("other", lambda old: service("other"))
    first, second = answers(store, STARTING.replace(part, replacement), other, peer=peer)
    assert first is None
    assert (second is None) == (peer != "127.0.0.1")
    assert store.get("qwen-server") == before


LOAD = b'{"running":3,"waiting":1,"kv_cache":0.5,"interval":2}'
REPORT = (
    b"POST /services/qwen-server/load HTTP/1.1\r\nHost: h:18000\r\nConnection: keep-alive\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(LOAD), LOAD)
)


def test_a_batch_with_heartbeats_and_loads_is_answered_in_order(store):
    store.change("other", lambda old: service("other"))
    second = USUAL.replace(b"qwen-server", b"other")
    messages = [json.loads(answer)["message"] for answer in answers(store, REPORT, second, REPORT, STARTING)]
    assert [message.split()[-1] for message in messages] == ["known", "alive", "known", "alive"]
    (listed,) = store.loads(NOW + 6)
    assert (listed.service, listed.running, listed.waiting, listed.kv_cache, listed.age) == (
        "qwen-server",
        3,
        1,
        0.5,
        1,
    )


def test_a_load_renews_no_lease_and_raises_no_revision(store):
    before = store.snapshot()
    assert answers(store, REPORT) != [None]
    assert store.snapshot() == before


@pytest.mark.parametrize(
    ("part", "replacement"),
    [
        (b"qwen-server", b"unknown-one"),
        (b'"running":3', b'"running":-'),
        (b'"running":3', b'"running":x'),
        (b'"waiting":1', b'"waitinG":1'),
        (b'"kv_cache":0.5', b'"kv_cache":1.5'),
        (b'"kv_cache":0.5', b'"kv_cache":"5"'),
        (b'"interval":2', b'"interval":0'),
        (b"{", b"["),
    ],
)
def test_a_load_that_is_refused_is_left_to_the_application(store, part, replacement):
    head, body = REPORT.replace(part, replacement).split(b"\r\n\r\n")
    head = head.replace(b"Length: %d" % len(LOAD), b"Length: %d" % len(body))
    assert answers(store, head + b"\r\n\r\n" + body) == [None]
    assert store.loads(NOW + 5) == []
