"""Requests to servers that never end their answer."""

import contextlib
import socket
import threading

import pytest
import requests

from svc.base import http

TIMEOUT_SECONDS = 0.2
INTERVAL_SECONDS = 0.02  # each byte restarts the read timeout


@pytest.fixture
def serve():
    """Start a server that answers with `head`, then with `piece` again and again; return its URL."""
    listeners, ended = [], threading.Event()

    def answer(listener, head, piece, interval):
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(head)
                while piece and not ended.wait(interval):
                    connection.sendall(piece)

    def serve(head, piece=b"", interval=INTERVAL_SECONDS):
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threading.Thread(target=answer, args=(listener, head, piece, interval), daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield serve
    ended.set()
    for listener in listeners:
        listener.close()


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nX-Slow: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
    ids=["head", "body with a length", "body without a length"],
)
@pytest.mark.parametrize("keepalive", [False, True])
def test_an_answer_that_never_ends_is_a_timeout(serve, head, keepalive):
    with pytest.raises(requests.Timeout):
        http.fetch("GET", serve(head, b"x"), TIMEOUT_SECONDS, keepalive=keepalive)


def test_the_whole_request_has_a_limit_of_its_own(serve):
    url = serve(b"HTTP/1.1 200 OK\r\n\r\n", b"x")
    with pytest.raises(requests.Timeout, match="the answer does not end within 0.2 s"):
        http.fetch("GET", url, 3600, total=TIMEOUT_SECONDS)


def test_a_body_that_stops_is_a_timeout(serve):
    with pytest.raises(requests.Timeout):
        http.fetch("GET", serve(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b"x", 60), TIMEOUT_SECONDS)


def test_a_body_that_is_too_large_is_refused(serve, monkeypatch):
    monkeypatch.setattr(http, "MAX_RESPONSE_BYTES", 1 << 20)
    with pytest.raises(requests.RequestException, match="more than 1048576 bytes"):
        http.fetch("GET", serve(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * (1 << 18), 0), 10)


def test_a_body_that_ends_is_returned(serve):
    answer = http.fetch("GET", serve(b'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{"a": 1}'), 5)
    assert (answer.json(), answer.content, answer.status_code) == ({"a": 1}, b'{"a": 1}', 200)
