"""A small HTTP server in place of an engine; the test sets its answers."""

import json
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Engine(ThreadingHTTPServer):
    """Answers `health` (a status) at /health, `models` at /v1/models, and 404 elsewhere, also where one is None.

    With a `key` it requires that everywhere but at /health, as vLLM does; `refused` counts the requests without it.
    """

    daemon_threads = True

    def __init__(self, port: int, health: int | None, models: Sequence[str] | None, host: str) -> None:
        self.health = health
        self.models = models
        self.key = ""
        self.refused = 0
        self.paths: set[str] = set()  # requested with the key
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), Handler)


class Handler(BaseHTTPRequestHandler):
    server: Engine

    def do_GET(self) -> None:
        engine = self.server
        if engine.key and self.path != "/health" and self.headers["Authorization"] != f"Bearer {engine.key}":
            engine.refused += 1
            self.answer(401, {"error": "Unauthorized"})
            return
        engine.paths.add(self.path)
        if self.path == "/health" and engine.health is not None:
            self.answer(engine.health, {})
        elif self.path == "/v1/models" and engine.models is not None:
            self.answer(200, {"object": "list", "data": [{"id": model} for model in engine.models]})
        else:
            self.answer(404, {})

    do_POST = do_GET

    def answer(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def engine(
    port: int, health: int | None = 200, models: Sequence[str] | None = ("a",), host: str = "127.0.0.1"
) -> Iterator[Engine]:
    server = Engine(port, health, models, host)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
