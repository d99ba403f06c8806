"""What a running registry connects to: never itself, and what names have become is judged with each check."""

import http.server
import threading

import pytest

from svc.client import probe
from tests.integration.registry.process import Registry
from tests.unit.registry.services import registration
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    one = Registry(tmp_path_factory.mktemp("registry"), "--health-interval", "0.1", "--health-timeout", "2").start()
    yield one
    one.end()


class Counted(http.server.BaseHTTPRequestHandler):
    """Counts the requests that come."""

    def do_GET(self):
        self.server.count += 1
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def counted():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Counted) as server:
        server.count = 0
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


def test_a_registry_never_checks_itself_and_says_so_once(registry):
    own = f"http://localhost:{registry.port}"
    check = {"health_url": f"http://127.0.0.1:{registry.port}/services/loop/health"}
    registry.client.register(registration("loop", url=own, host="localhost", metadata=check))
    wait_until(lambda: registry.client.get("loop")["health_status"] == "unhealthy", description="the checks to fail")
    assert registry.client.health()["status"] == "healthy"
    lines = [line for line in registry.log.read_text().splitlines() if "is not checked" in line]
    assert len(lines) == 1
    assert "services/loop/health is not checked, which counts as a failed check: it is this server itself" in lines[0]


def test_a_check_by_a_health_check_makes_no_further_one(registry, counted):
    url = f"http://127.0.0.1:{counted.server_address[1]}"
    registry.client.register(registration("a", url=url, host="127.0.0.1", status="stopped"))
    check = f"http://127.0.0.1:{registry.port}/services/a/health"
    assert probe.status(check, 5) == 200
    assert counted.count == 0
    assert probe.fetch("GET", check, 5).json()["health_status"] == "healthy"
    assert counted.count == 1
