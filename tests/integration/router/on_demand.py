"""Fake instances on demand: an engine, and a babysitter that wakes it as a test says."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.integration.router.instance import Instance
from tests.integration.router.registry import Registry
from tests.integration.router.registry import instance as listed


class OnDemand:
    """An instance of some models; after a demand it is listed as running when `load` seconds are over.

    `offer` is what the babysitter answers to GET /wake; `answer` the status and the body for each POST.
    """

    def __init__(self, registry: Registry, name: str, *models: str, load: float = 0.0, **metadata: Any) -> None:
        self.registry = registry
        self.name = name
        self.load = load
        self.wakes = True  # whether a demand wakes it
        self.offer: dict[str, Any] | bytes = {"possible": True, "now": True, "seconds": 1.0}
        self.answer: tuple[int, dict[str, Any]] = (202, {"status": "asleep", "reason": ""})
        self.asked: list[float] = []  # when an offer was asked for
        self.demands: list[tuple[float, dict[str, Any]]] = []
        self.sleeps: list[dict[str, Any]] = []
        self.keys: list[str | None] = []  # the Authorization header of each request
        self.starts = 0
        self.engine = Instance()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self._lock = threading.Lock()
        about = {
            "on_demand": True,
            "wake_timeout": 20,
            "babysitter": f"http://127.0.0.1:{self._server.server_port}",
            **metadata,
        }
        self.entry = listed(name, self.engine.port, *models, metadata=about)
        self.set_status("asleep")
        registry.services.append(self.entry)

    def set_status(self, status: str) -> None:
        self.entry.update(status=status, is_healthy=status == "running")
        self.registry.index += 1

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.engine.close()

    def _demanded(self, fields: dict[str, Any]) -> None:
        with self._lock:
            self.demands.append((time.monotonic(), fields))
            if not self.wakes or self.entry["status"] != "asleep":
                return
            self.starts += 1
            self.set_status("starting" if self.load else "running")
        if self.load:
            threading.Timer(self.load, self.set_status, ("running",)).start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        babysitter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/wake":
                    babysitter.asked.append(time.monotonic())
                    babysitter.keys.append(self.headers["Authorization"])
                    offer = babysitter.offer
                    self._reply(200, offer if isinstance(offer, bytes) else json.dumps(offer).encode())
                else:
                    self._reply(200, b"{}")

            def do_POST(self) -> None:
                fields = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                babysitter.keys.append(self.headers["Authorization"])
                if self.path == "/sleep":
                    babysitter.sleeps.append(fields)
                elif babysitter.answer[0] == 202:
                    babysitter._demanded(fields)
                self._reply(babysitter.answer[0], json.dumps(babysitter.answer[1]).encode())

            def _reply(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
