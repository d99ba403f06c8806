"""Record what the original's programs send and answer: `python -m tests.integration.original.record > exchanges.json`.

ORIGINAL_SVC_BIN names the directory with the programs. Texts for people are left out of the answers.
"""

import json
import sys
import tempfile
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests

from tests.integration.fakes import mock
from tests.integration.original import programs
from tests.integration.original.test_mixed_fleet import TOML
from tests.waiting import free_port, free_port_pair, wait_until

SERVICE = {"name": "x", "host": "127.0.0.1", "hostname": "127.0.0.1", "port": 9, "url": "http://127.0.0.1:9"}
OPERATOR_REQUESTS: tuple[tuple[str, str, Any], ...] = (
    ("POST", "/services", {**SERVICE, "status": "running", "metadata": {"type": "demo"}}),
    ("POST", "/services", {"name": "x"}),
    ("GET", "/services", None),
    *[("GET", f"/services?{query}", None) for query in ("healthy=true", "healthy=True", "healthy=false")],
    *[("GET", f"/services?{query}", None) for query in ("status=running", "status=nothing")],
    ("GET", "/services/x", None),
    ("PUT", "/services/x", {}),
    ("PUT", "/services/x", {"status": "maintenance", "metadata": {"a": 1}}),
    ("GET", "/services?status=maintenance", None),
    ("POST", "/services/x/heartbeat", None),
    ("POST", "/services/x/heartbeat", {}),
    ("POST", "/services/x/heartbeat", {"status": "running"}),
    ("GET", "/services/x/health", None),
    ("GET", "/health", None),
    ("GET", "/stats", None),
    ("DELETE", "/services/x", None),
    ("GET", "/services/x", None),
    ("PUT", "/services/x", {}),
    ("DELETE", "/services/x", None),
    ("POST", "/services/x/heartbeat", None),
    ("GET", "/services/x/health", None),
)
OWN_PATHS = {
    "babysitter": ("/health", "/models", "/info"),
    "router": ("/health", "/status", "/models", "/services", "/stats"),
}
TEXTS = ("message", "error")


class Recorder:
    """The exchanges, each kind once. `proxy` passes the requests of one client on to a server, and records them."""

    def __init__(self) -> None:
        self.exchanges: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def send(self, client: str, server: str, url: str, request: tuple[str, str, Any]) -> requests.Response:
        method, path, body = request
        answer = requests.request(method, url + path, json=body, timeout=10)
        self._add({"client": client, "server": server, "method": method, "path": path, "body": body}, answer)
        return answer

    def proxy(self, client: str, server: str, url: str) -> str:
        """Start a proxy in front of the server at `url`, and return its URL."""
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                request = (self.command, self.path, json.loads(body) if body else None)
                answer = recorder.send(client, server, url, request)
                self.send_response(answer.status_code)
                self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            do_POST = do_PUT = do_DELETE = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        http.daemon_threads = True
        threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{http.server_port}"

    def heartbeats(self) -> set[str]:
        """Return the names for which a heartbeat was answered with 200."""
        paths = [e["path"] for e in self.exchanges if e["status"] == 200 and e["path"].endswith("/heartbeat")]
        return {path.split("/")[2] for path in paths}

    def _add(self, exchange: dict[str, Any], answer: requests.Response) -> None:
        content = None
        with suppress(ValueError):
            content = without_texts(answer.json())
        recorded = {**exchange, "status": answer.status_code, "answer": content}
        with self._lock:
            if not any(kind(recorded) == kind(other) for other in self.exchanges):
                self.exchanges.append(recorded)


def kind(exchange: dict[str, Any]) -> tuple[Any, ...]:
    body = json.dumps(exchange["body"], sort_keys=True)
    return (*(exchange[key] for key in ("client", "server", "method", "path", "status")), body)


def without_texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: "" if k in TEXTS and isinstance(v, str) else without_texts(v) for k, v in value.items()}
    return [without_texts(item) for item in value] if isinstance(value, list) else value


def record(place: Path) -> list[dict[str, Any]]:
    recorder = Recorder()
    registry_url, router_url = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    ports = {url: int(url.rpartition(":")[2]) for url in (registry_url, router_url)}
    running = [programs.registry(ports[registry_url], place)]
    try:
        with mock("a", ["a"], free_port_pair()) as instance:
            toml = place / "a.toml"
            proxied = recorder.proxy("babysitter", "registry", registry_url)
            toml.write_text(TOML.format(name="a", port=instance.port, registry=proxied))
            wait_until(lambda: answers(f"{registry_url}/health"))
            running.append(programs.babysitter("a", instance.port, proxied, toml, place))
            running.append(
                programs.router(ports[router_url], recorder.proxy("router", "registry", registry_url), place)
            )
            wait_until(lambda: answers(f"{router_url}/services", '"a-server"'), 60)
            wait_until(lambda: recorder.heartbeats() == {"a", "a-server"}, 30)
            for request in OPERATOR_REQUESTS:
                recorder.send("operator", "registry", registry_url, request)
            urls = {"babysitter": f"http://127.0.0.1:{instance.port + 1}", "router": router_url}
            for server, paths in OWN_PATHS.items():
                for path in paths:
                    recorder.send("operator", server, urls[server], ("GET", path, None))
    finally:
        for program in running:
            program.end()
    return recorder.exchanges


def answers(url: str, text: str = "") -> bool:
    with suppress(requests.ConnectionError):
        answer = requests.get(url, timeout=5)
        return answer.ok and text in answer.text
    return False


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        lines = ",\n".join(json.dumps(exchange) for exchange in record(Path(directory)))
        sys.stdout.write(f"[\n{lines}\n]\n")
