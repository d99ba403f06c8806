"""A fake registry that lists the services of a test."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Registry:
    def __init__(self) -> None:
        self.services: list[Any] = []
        self.index = 1
        self.status = 200
        self.body: bytes | None = None  # in place of the listing
        self.events: list[dict[str, Any]] = []  # that were posted
        self.requests = 0
        self.url = ""

    def listing(self) -> bytes:
        return self.body or json.dumps({"services": self.services, "total": len(self.services)}).encode()


def instance(name: str, port: int, *models: str, **more: Any) -> dict[str, Any]:
    metadata = {"type": "openai-api", "models": list(models), **more.pop("metadata", {})}
    return {
        "name": name,
        "host": "127.0.0.1",
        "hostname": "h",
        "port": port,
        "url": f"http://127.0.0.1:{port}",
        "status": "running",
        "timestamp": "2025-01-01T00:00:00.000Z",
        "last_heartbeat": 1.5,
        "lease_seconds": 90,
        "health_status": "healthy",
        "is_healthy": True,
        "drained": False,
        "weight": 1,
        "metadata": metadata,
        **more,
    }


@contextmanager
def registry(port: int = 0) -> Iterator[Registry]:
    """Run a registry as long as the context is open."""
    fake = Registry()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/loads":
                self.send_error(404)  # as an older registry
                return
            fake.requests += 1
            body = fake.listing()
            self.send_response(fake.status)
            self.send_header("X-Registry-Index", str(fake.index))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            posted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            fake.events += posted["events"]
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    fake.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
