"""The babysitter's HTTP server, and the requests that it refuses."""

import socket
from collections.abc import Callable

import gevent
import pytest
from gevent.pywsgi import WSGIServer

from svc.babysitter.http_server import MAX_REQUEST_BYTES, BabysitterServer
from svc.perimeter.connections import ConnectionDeadlines

OK = b"HTTP/1.1 200 OK"


def app(environ, start_response):
    body = environ["wsgi.input"].read() if environ["PATH_INFO"] == "/read" else b""
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


@pytest.fixture
def server():
    babysitter_server = BabysitterServer(("127.0.0.1", 0), app, ConnectionDeadlines(idle=0.2, request=0.2, answer=0.2))
    babysitter_server.start()
    assert isinstance(babysitter_server, WSGIServer)
    yield babysitter_server
    babysitter_server.stop(timeout=0.1)


def talk(server, data: bytes, ends: bool = False) -> bytes:
    """Return the bytes until the connection ends; sweep the server meanwhile. With `ends`, nothing follows the data."""

    def client() -> bytes:
        with gevent.socket.create_connection(("127.0.0.1", server.server_port), 5) as sock:
            sock.sendall(data)
            if ends:
                sock.shutdown(socket.SHUT_WR)
            answer = b""
            while part := sock.recv(65536):
                answer += part
            return answer

    talking = gevent.spawn(client)
    while not talking.ready():
        server.sweep()
        talking.join(0.02)
    return talking.get()


def serve_until(condition: Callable[[], object]) -> None:
    """Let the server, which runs in this thread, work until the condition holds; fail after 5 seconds."""
    with gevent.Timeout(5):
        while not condition():
            gevent.sleep(0.01)


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" * 2, OK),
        (b"GET /read HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", OK),
        (b"", b""),
        (b"GET / HTTP/1.1\r\nHost: h\r\n", b"HTTP/1.1 408 Request Timeout"),
        (b"GE", b"HTTP/1.1 408 Request Timeout"),
        (b"GET / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MAX_REQUEST_BYTES + 1), b"HTTP/1.1 413 "),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"HTTP/1.1 411 Length Required"),
        (b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * 101 + b"\r\n", b"HTTP/1.1 431 "),
        (b"GET / HTTP/1.1\r\n" + b"X: %b\r\n" % (b"x" * 9000) * 9, b"HTTP/1.1 431 "),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", b"HTTP/1.1 414 "),
    ],
)
def test_each_request_gets_its_answer_and_its_connection_ends(server, data, answer, capfd):
    assert talk(server, data).startswith(answer)
    assert not server.limits.clients.open
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("rest", [b"", b"\r\n", b"\r\nHost: h", b"\r\nHost: h\r\n", b"\r\nHost: h\r\nContent-Le"])
def test_a_head_that_the_client_does_not_finish_is_no_request(server, rest):
    assert talk(server, b"POST /sleep HTTP/1.1" + rest, ends=True).startswith(b"HTTP/1.1 400 ")


def test_a_long_body_is_refused_with_its_length_and_the_limit(server):
    answer = talk(server, b"GET / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MAX_REQUEST_BYTES + 1))
    assert f"the body is {MAX_REQUEST_BYTES + 1} bytes, the limit is {MAX_REQUEST_BYTES}".encode() in answer


def test_a_body_that_does_not_arrive_ends_the_connection(server, capfd):
    assert OK in talk(server, b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc")
    assert "Traceback" not in capfd.readouterr().err


def test_a_client_that_resets_its_connection_leaves_no_traceback(server, capfd):
    sock = socket.create_connection(("127.0.0.1", server.server_port), 5)
    sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n")
    serve_until(lambda: server.limits.clients.open)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()
    serve_until(lambda: not server.limits.clients.open)
    assert "Traceback" not in capfd.readouterr().err
