"""Heartbeats as bytes, at the real registry: the short way and the long one answer alike."""

import json
import socket

import pytest
import requests

from tests.integration.registry.process import Registry
from tests.unit.registry.services import registration
from tests.waiting import wait_until

SECRET = "s" * 40


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    place = tmp_path_factory.mktemp("short")
    (place / "token").write_text("word\n")
    made = Registry(place, "--token-file", "token").start()
    made.client.register(registration())
    owned = {"X-Service-Secret": SECRET}
    assert requests.post(f"{made.client.urls[0]}/services", json=registration("owned"), headers=owned, timeout=5).ok
    yield made
    made.end()
    assert "Traceback" not in made.log.read_text()


@pytest.fixture
def wire(registry):
    with socket.create_connection(("127.0.0.1", registry.port), 10) as sock:
        yield sock


def beat(name="qwen", body=b'{"status":"running"}', *fields, connection="keep-alive"):
    lines = [f"POST /services/{name}/heartbeat HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join([*lines, f"Connection: {connection}", "", ""]).encode() + body


def answer(sock) -> tuple[int, dict, dict]:
    """Status, headers and what the body tells."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += sock.recv(65536) or pytest.fail(f"closed after {data!r}")
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:])}
    while len(body) < int(headers["content-length"]):
        body += sock.recv(65536) or pytest.fail("closed in the body")
    return int(lines[0].split()[1]), headers, json.loads(body)


def asked(sock, data):
    sock.sendall(data)
    return answer(sock)


def test_heartbeats_share_a_connection_with_anything_else(wire, registry):
    before = registry.client.get("qwen")["last_heartbeat"]
    for status in ("draining", "running"):
        code, headers, body = asked(wire, beat(body=json.dumps({"status": status}).encode()))
        assert (code, body["message"], headers["connection"]) == (200, "qwen is alive", "keep-alive")
        assert registry.client.get("qwen")["status"] == status
    assert registry.client.get("qwen")["last_heartbeat"] > before
    assert asked(wire, b"GET /services/qwen HTTP/1.1\r\nHost: localhost\r\n\r\n")[2]["name"] == "qwen"
    assert asked(wire, beat())[0] == 200, "the long way, after something else"


def test_both_ways_tell_the_same(wire, registry):
    short, long = asked(wire, beat()), asked(wire, beat("qwen", b'{"status":"running"}', "X-Odd_One: 1"))
    assert short[0] == long[0] == 200
    assert short[1].keys() == long[1].keys()
    assert short[2].keys() == long[2].keys()
    assert short[1]["content-type"] == long[1]["content-type"]


def test_one_that_comes_in_pieces_is_taken(wire):
    data = beat()
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for start in range(0, len(data), 40):
        wire.sendall(data[start : start + 40])
    assert answer(wire)[0] == 200


def test_two_at_once_are_both_answered(wire):
    wire.sendall(beat() + beat(connection="close"))
    assert answer_all(wire).count(b" 200 OK") == 2


def answer_all(sock) -> bytes:
    data = b""
    while more := sock.recv(65536):
        data += more
    return data


def test_it_closes_when_that_is_asked(wire):
    assert asked(wire, beat(connection="close"))[1]["connection"] == "close"
    assert wire.recv(1) == b""


@pytest.mark.parametrize(
    ("data", "code", "reason"),
    [
        (beat("nobody"), 404, "unknown_service"),
        (beat(body=b'{"status":"asleep"}'), 400, "bad_request"),
        (beat(body=b"{"), 400, "invalid_json"),
        (beat("owned"), 403, "not_owner"),
        (beat("owned", b"{}", "X-Service-Secret: other"), 403, "not_owner"),
        (beat("qwen", b"{}", "X-Forwarded-For: 10.0.0.9"), 401, "invalid_token"),
    ],
)
def test_refusals_are_the_applications(wire, data, code, reason):
    status, _, body = asked(wire, data)
    assert (status, body["error"]["code"]) == (code, reason)


def test_its_owner_and_the_operator_are_heard(wire):
    assert asked(wire, beat("owned", b"{}", f"X-Service-Secret: {SECRET}"))[0] == 200
    assert asked(wire, beat("owned", b"{}", "Authorization: Bearer word"))[0] == 200


def test_a_client_that_says_nothing_or_half_is_let_go(registry):
    for data in (b"", b"POST /serv", beat()[:-3]):
        with socket.create_connection(("127.0.0.1", registry.port), 15) as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            assert b" 200 " not in answer_all(sock)
    wait_until(registry.answers)
