"""One request to many instances: what becomes of each, and how many run at once."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from svc.management.engine_request import (
    MAX_ANSWER_BYTES,
    MAX_CONCURRENT_REQUESTS,
    EngineResponse,
    ManagementRequest,
    fan_out,
    send,
)
from tests.waiting import free_port


class Engine(BaseHTTPRequestHandler):
    """Answers with its request, with a redirect, or with more than is read."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        kind, key = self.headers["Content-Type"], self.headers["Authorization"]
        self.answer(200, f"{self.path} {kind} {key} {body.decode()}".encode())

    def do_GET(self) -> None:
        if self.path == "/moved":
            self.answer(307, b"", ("Location", "/elsewhere"))
        else:
            self.answer(200, b"x" * (MAX_ANSWER_BYTES + 1))

    def answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for header in (*headers, ("Content-Length", str(len(body)))):
            self.send_header(*header)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def engine() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Engine) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_body_is_sent_as_json_with_the_engine_s_key(engine, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    outcome = send(ManagementRequest("POST", "/load?x=1", b'{"a": 1}'), engine, {"Authorization": "Bearer k"})
    assert (outcome.ok, outcome.text()) == (True, '/load?x=1 application/json Bearer k {"a": 1}')


def test_a_request_without_a_body_has_no_content_type(engine):
    assert send(ManagementRequest("POST", "/sleep"), engine, {}).text() == "/sleep None None "


def test_a_redirect_is_an_answer_and_not_followed(engine):
    outcome = send(ManagementRequest("GET", "/moved"), engine, {})
    assert (outcome.status, outcome.ok) == (307, False)


def test_of_an_endless_answer_only_so_much_is_read(engine):
    assert len(send(ManagementRequest("GET", "/much"), engine, {}).body) == MAX_ANSWER_BYTES


def test_a_server_that_is_not_there_is_an_outcome():
    outcome = send(ManagementRequest("GET", "/"), f"http://127.0.0.1:{free_port()}", {})
    assert (outcome.ok, outcome.reason) == (False, "connection refused")


@pytest.mark.parametrize(("method", "doubt"), [("POST", True), ("GET", False)])
def test_after_a_time_out_a_change_may_have_been_made(method, doubt):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        outcome = send(ManagementRequest(method, "/", timeout=0.1), f"http://127.0.0.1:{silent.getsockname()[1]}", {})
    assert outcome.reason.startswith("no answer within 0.1 s")
    assert ("may have done it" in outcome.reason) is doubt


@pytest.mark.parametrize(("method", "doubt"), [("POST", True), ("GET", False)])
def test_after_a_connection_that_ends_a_change_may_have_been_made(method, doubt):
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: close_after_a_request(server), daemon=True).start()
        outcome = send(ManagementRequest(method, "/"), f"http://127.0.0.1:{server.getsockname()[1]}", {})
    assert outcome.reason.startswith("the connection ended before the answer did")
    assert ("may have done it" in outcome.reason) is doubt


def close_after_a_request(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(1000)


def test_each_instance_has_its_own_outcome_and_few_run_at_once():
    running, most, lock = 0, 0, threading.Lock()

    def call() -> EngineResponse:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.01)
        with lock:
            running -= 1
        return EngineResponse(200)

    outcomes = fan_out(5, {str(n): call for n in range(3 * MAX_CONCURRENT_REQUESTS)})
    assert {outcome.status for outcome in outcomes.values()} == {200}
    assert len(outcomes) == 3 * MAX_CONCURRENT_REQUESTS
    assert most <= MAX_CONCURRENT_REQUESTS


def test_an_answer_that_trickles_for_ever_is_given_up():
    outcomes = fan_out(
        0.01, {"a": lambda: EngineResponse(200), "b": lambda: threading.Event().wait(30) or EngineResponse()}
    )
    assert outcomes["a"].ok
    assert outcomes["b"].reason == "no whole answer within 0.01 s"


def test_numbers_that_json_does_not_have_make_an_answer_a_text():
    assert EngineResponse(200, b'{"score": NaN}').json() is None
    assert EngineResponse(200, b'{"score": 1e3}').json() == {"score": 1000.0}
