"""Health checks of a running registry: it never connects to itself, nor checks in circles."""

import http.server
import threading

import pytest

from svc.base.http import fetch
from svc.client import probe
from tests.integration.registry.process import Registry
from tests.unit.registry.services import registration
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    running = Registry(tmp_path_factory.mktemp("registry"), "--health-interval", "0.1", "--health-timeout", "2").start()
    yield running
    running.end()


class CountingHandler(http.server.BaseHTTPRequestHandler):
    """Counts the requests and answers 200."""

    def do_GET(self):
        self.server.count += 1
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def counting_server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), CountingHandler) as server:
        server.count = 0
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


def test_a_registry_does_not_check_itself_and_logs_that_once(registry):
    own = f"http://localhost:{registry.port}"
    check = {"health_url": f"http://127.0.0.1:{registry.port}/services/loop/health"}
    registry.client.register(registration("loop", url=own, host="localhost", metadata=check))
    wait_until(lambda: registry.client.get("loop")["health_status"] == "unhealthy", description="the checks to fail")
    assert registry.client.health()["status"] == "healthy"
    lines = [line for line in registry.log.read_text().splitlines() if "is not checked" in line]
    assert len(lines) == 1
    assert "services/loop/health is not checked, which counts as a failed check: it is this server itself" in lines[0]


def test_a_health_check_of_the_health_endpoint_causes_no_other(registry, counting_server):
    url = f"http://127.0.0.1:{counting_server.server_address[1]}"
    registry.client.register(registration("a", url=url, host="127.0.0.1", status="stopped"))
    check = f"http://127.0.0.1:{registry.port}/services/a/health"
    assert probe.status(check, 5) == 200
    assert counting_server.count == 0
    assert fetch("GET", check, 5).json()["health_status"] == "healthy"
    assert counting_server.count == 1
