"""An instance and its babysitter on IPv6."""

import pytest
import requests

from tests.integration.babysitter.engine import engine
from tests.waiting import ipv6, wait_until


@pytest.fixture(autouse=True)
def _needed():
    ipv6()


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_a_babysitter_without_supervisord_registers_an_instance_on_ipv6(babysitter, registry, port, host):
    with engine(port, host="::1"):
        babysitter(registry.url, host=host)
        registry.await_status("q-server", "running")
        service = registry.client.get("q-server")
        assert (service["host"], service["url"]) == ("::1", f"http://[::1]:{port}")
        assert service["metadata"]["babysitter"] == f"http://[::1]:{port + 1}"
        assert requests.get(f"{registry.url}/services/q-server/health", timeout=10).json()["is_healthy"]


def test_supervisord_runs_an_instance_on_ipv6(site, registry, port):
    running = site('type = "mock"\nmodels = ["a"]', host="::1")
    registry.await_status("q-server", "running")
    assert requests.get(f"http://[::1]:{port}/v1/models", timeout=5).ok
    assert requests.get(f"http://[::1]:{port + 1}/health", timeout=5).ok
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{port}/v1/models", timeout=5)
    assert "Traceback" not in running.log("babysitter_q")


def test_a_port_that_is_taken_only_on_ipv6_is_logged(site, port):
    with engine(port, host="::1"):
        running = site('type = "mock"\nmodels = ["a"]', host="::1")
        wait_until(lambda: f"port {port} is taken by" in running.log("server_q"), description="the log names the port")
