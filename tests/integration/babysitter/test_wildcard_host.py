"""`host = "0.0.0.0"` in a TOML: another host reaches the instance at the address that its machine has there."""

import os
from collections.abc import Iterator
from contextlib import suppress

import pytest
import requests

from tests.integration.registry.hosts import Host, Network, missing
from tests.waiting import wait_until

REGISTRY, ROUTER, INSTANCE = 18000, 8000, 8100
TOML = """name = "q"
host = "0.0.0.0"
port = 8100
registry_url = "http://{control}:18000"
[babysitter]
heartbeat_interval = 1
[backend]
type = "mock"
models = ["m"]
"""


@pytest.fixture
def hosts(tmp_path) -> Iterator[list[Host]]:
    """A control host, and an instance host that first has no route to it."""
    if reason := missing():
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    network = Network(2, tmp_path)
    try:
        control, instance = network.hosts
        instance.cut()
        (instance.directory / "q.toml").write_text(TOML.format(control=control.address))
        control.svc("registry", "--host", "0.0.0.0", "--port", REGISTRY, "--insecure")
        control.svc("router", "--port", ROUTER, "--registry-url", f"http://127.0.0.1:{REGISTRY}")
        instance.svc("mock", "--name", "q", "--host", "0.0.0.0", "--port", INSTANCE, "--models", "m")
        instance.svc("babysitter", "--config-file", "q.toml")
        yield network.hosts
    finally:
        network.close()


def test_it_registers_with_the_address_towards_the_registry_once_there_is_a_route(hosts):
    control, instance = hosts
    wait_until(lambda: "not registered" in instance.log(), timeout=60, description="a failed registration")
    instance.heal()
    wait_until(lambda: chat(control), timeout=60, description="an answer through the router")
    services = control.ask("GET", f"http://127.0.0.1:{REGISTRY}/services").json()["services"]
    assert {(service["name"], service["host"]) for service in services} == {
        ("q", instance.address),
        ("q-server", instance.address),
    }
    assert services[0]["url"].startswith(f"http://{instance.address}:")
    assert control.ask("GET", f"http://{instance.address}:{INSTANCE + 1}/health").json()["status"] == "healthy"


def chat(host: Host) -> bool:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
    with suppress(requests.RequestException):
        return host.ask("POST", f"http://127.0.0.1:{ROUTER}/v1/chat/completions", json=body).ok
    return False
