"""Heartbeats as bytes, sent to a real registry: the fast path and the application answer alike."""

import json
import socket
import time

import pytest
import requests

from tests.integration.registry.process import Registry
from tests.unit.registry.services import registration
from tests.waiting import wait_until

SECRET = "s" * 40


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    directory = tmp_path_factory.mktemp("fast-path")
    (directory / "token").write_text("word\n")
    running = Registry(directory, "--token-file", "token").start()
    running.client.register(registration())
    owned = {"X-Service-Secret": SECRET}
    assert requests.post(f"{running.client.urls[0]}/services", json=registration("owned"), headers=owned, timeout=5).ok
    yield running
    running.end()
    assert "Traceback" not in running.log.read_text()


@pytest.fixture
def wire(registry):
    with socket.create_connection(("127.0.0.1", registry.port), 10) as sock:
        yield sock


def heartbeat(name="qwen", body=b'{"status":"running"}', *fields, connection="keep-alive"):
    lines = [f"POST /services/{name}/heartbeat HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join([*lines, f"Connection: {connection}", "", ""]).encode() + body


def answer(sock) -> tuple[int, dict, dict]:
    """Return the status, the headers and the JSON of a response."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += sock.recv(65536) or pytest.fail(f"closed after {data!r}")
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:])}
    while len(body) < int(headers["content-length"]):
        body += sock.recv(65536) or pytest.fail("closed in the body")
    return int(lines[0].split()[1]), headers, json.loads(body)


def exchange(sock, data):
    sock.sendall(data)
    return answer(sock)


def test_heartbeats_share_a_connection_with_other_requests(wire, registry):
    before = registry.client.get("qwen")["last_heartbeat"]
    for status in ("draining", "running"):
        code, headers, body = exchange(wire, heartbeat(body=json.dumps({"status": status}).encode()))
        assert (code, body["message"], headers["connection"]) == (200, "qwen is alive", "keep-alive")
        assert registry.client.get("qwen")["status"] == status
    assert registry.client.get("qwen")["last_heartbeat"] > before
    assert exchange(wire, b"GET /services/qwen HTTP/1.1\r\nHost: localhost\r\n\r\n")[2]["name"] == "qwen"
    assert exchange(wire, heartbeat())[0] == 200, "a heartbeat after another request"


def test_both_paths_answer_alike(wire, registry):
    fast, slow = exchange(wire, heartbeat()), exchange(wire, heartbeat("qwen", b'{"status":"running"}', "X-Odd_One: 1"))
    assert fast[0] == slow[0] == 200
    assert fast[1].keys() == slow[1].keys()
    assert fast[2].keys() == slow[2].keys()
    assert fast[1]["content-type"] == slow[1]["content-type"]


def test_a_heartbeat_in_pieces_is_accepted(wire):
    data = heartbeat()
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for start in range(0, len(data), 40):
        wire.sendall(data[start : start + 40])
    assert answer(wire)[0] == 200


def test_many_heartbeats_at_once_are_all_answered(registry):
    """Some connections stay open and some are closed by their clients; more heartbeats come on those that stay."""
    socks = [socket.create_connection(("127.0.0.1", registry.port), 10) for _ in range(60)]
    for sock in socks:
        sock.sendall(heartbeat())
    assert [answer(sock)[0] for sock in socks] == [200] * 60
    for sock in socks[:30]:
        sock.close()
    for sock in socks[30:]:
        assert exchange(sock, heartbeat())[0] == 200
        sock.close()


def test_a_body_that_arrives_later_is_waited_for(wire):
    head, _, body = heartbeat().partition(b"\r\n\r\n")
    wire.sendall(head + b"\r\n\r\n")
    time.sleep(0.2)  # longer than a batch
    wire.sendall(body)
    assert answer(wire)[0] == 200


def test_two_pipelined_heartbeats_are_both_answered(wire):
    wire.sendall(heartbeat() + heartbeat(connection="close"))
    assert answer_all(wire).count(b" 200 OK") == 2


def answer_all(sock) -> bytes:
    data = b""
    while more := sock.recv(65536):
        data += more
    return data


def test_connection_close_is_honoured(wire):
    assert exchange(wire, heartbeat(connection="close"))[1]["connection"] == "close"
    assert wire.recv(1) == b""


@pytest.mark.parametrize(
    ("data", "code", "reason"),
    [
        (heartbeat("nobody"), 404, "unknown_service"),
        (heartbeat(body=b'{"status":"a\\u0000b"}'), 400, "bad_request"),
        (heartbeat(body=b"{"), 400, "invalid_json"),
        (heartbeat("owned"), 403, "not_owner"),
        (heartbeat("owned", b"{}", "X-Service-Secret: other"), 403, "not_owner"),
        (heartbeat("qwen", b"{}", "X-Forwarded-For: 10.0.0.9"), 401, "invalid_token"),
    ],
)
def test_rejections_are_those_of_the_application(wire, data, code, reason):
    status, _, body = exchange(wire, data)
    assert (status, body["error"]["code"]) == (code, reason)


def test_the_owner_and_the_operator_are_accepted(wire):
    assert exchange(wire, heartbeat("owned", b"{}", f"X-Service-Secret: {SECRET}"))[0] == 200
    assert exchange(wire, heartbeat("owned", b"{}", "Authorization: Bearer word"))[0] == 200


def test_an_incomplete_request_ends_with_its_connection(registry):
    for data in (b"", b"POST /serv", heartbeat()[:-3]):
        with socket.create_connection(("127.0.0.1", registry.port), 15) as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            assert b" 200 " not in answer_all(sock)
    wait_until(registry.answers)
