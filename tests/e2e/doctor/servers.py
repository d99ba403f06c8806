"""What stands for other machines: a server of JSON documents, and services that nothing here runs."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.e2e.sites import Site, http

SECRET = {"X-Service-Secret": "a word of sixteen letters"}


@contextmanager
def json_server(port: int, documents: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Iterator[None]:
    """Answer GET requests for these paths with 200 and a document, and others with 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            body = json.dumps(documents.get(path, {"error": "not found"})).encode()
            self.send_response_only(200 if path in documents else 404)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, format: str, *arguments: object) -> None:
            """Write nothing to stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def render_instance_host(site: Site, registry_url: str) -> None:
    """Make a site with one instance, which registers at a registry on another machine."""
    launch = f'[launch]\ncomponents = "babysitter"\nregistry_url = "{registry_url}"\n'
    (site.root / "config" / "svc.toml").write_text(launch)
    site.mock("one", heartbeat_interval=1)
    site.svc("render")


def register(site: Site, name: str, lease_seconds: float, **fields: object) -> None:
    """Register a service as a babysitter on another machine does."""
    service = {"name": name, "host": "127.0.0.1", "hostname": "elsewhere", "port": 9, "url": "http://127.0.0.1:9"}
    http.post(
        f"{site.registry}/services",
        json={**service, "status": "running", "lease_seconds": lease_seconds, **fields},
        headers=SECRET,
        timeout=5,
    ).raise_for_status()
