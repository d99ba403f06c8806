"""Requests of web pages and of proxies on the registry's machine, and bodies of another media type."""

import json
import socket

import pytest
import requests

from tests.integration.registry.process import Registry
from tests.unit.registry.services import registration

EVIL = {"Origin": "https://evil.example"}
REBOUND = {"Host": "evil.example:18000"}


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    running = Registry(tmp_path_factory.mktemp("origins"), "--allowed-hosts", "registry.site").start()
    yield running
    running.end()
    assert "Traceback" not in running.log.read_text()


@pytest.fixture
def ask(registry):
    """ask(method, path, headers, body) returns the status and the code of the error."""
    client = registry.client
    if not any(service["name"] == "qwen" for service in client.services()):
        client.register(registration())

    def send(method, path, headers=None, body=None):
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        all_headers = {**({"Content-Type": "application/json"} if data else {}), **(headers or {})}
        answer = requests.request(method, client.urls[0] + path, data=data, headers=all_headers, timeout=10)
        return answer.status_code, (answer.json().get("error") or {}).get("code")

    return send


WRITES = [
    ("POST", "/services", registration("evil")),
    ("PUT", "/services/qwen", {"weight": 0}),
    ("DELETE", "/services/qwen", None),
    ("POST", "/services/qwen/heartbeat", {"status": "failed"}),
    ("POST", "/services/qwen/drain", None),
    ("POST", "/events", {"events": []}),
    ("POST", "/expire", None),
]


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
def test_a_page_of_another_site_cannot_write(ask, registry, method, path, body):
    for page in (EVIL, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        assert ask(method, path, page, body) == (403, "cross_origin")
    assert ask(method, path, REBOUND, body) == (421, "misdirected_request")
    (service,) = registry.client.services()
    assert (service["name"], service["status"], service["drained"]) == ("qwen", "running", False)


@pytest.mark.parametrize("path", ["/health", "/services", "/services/qwen", "/events", "/metrics", "/openapi.json"])
def test_a_page_on_a_rebound_name_cannot_read(ask, path):
    assert ask("GET", path, REBOUND) == (421, "misdirected_request")


def test_allowed_hosts_and_the_machines_own_names_are_answered(ask):
    for host in ("registry.site:1", "localhost", socket.gethostname(), "127.0.0.1"):
        assert ask("GET", "/health", {"Host": host}) == (200, None)


def test_a_body_of_another_media_type_is_rejected(ask):
    assert ask("PUT", "/services/qwen", {"Content-Type": "text/plain"}, {"weight": 2}) == (
        415,
        "unsupported_media_type",
    )
    assert ask("POST", "/services/qwen/heartbeat", {"Content-Type": "text/plain"}, {"status": "running"})[0] == 415
    assert ask("POST", "/services/qwen/heartbeat", {"Content-Type": ""}, {"status": "running"})[0] == 200


def test_loopback_needs_token_applies_to_local_clients(tmp_path):
    (tmp_path / "token").write_text("word")
    registry = Registry(tmp_path, "--token-file", "token", "--loopback-needs-token").start()
    try:
        refused = requests.post(f"{registry.client.urls[0]}/services", json=registration(), timeout=10)
        assert refused.status_code == 401
        assert "token_file" in refused.json()["error"]["message"]
        registry.client.token_file = str(tmp_path / "token")
        registry.client.register(registration())
        registry.client.heartbeat("qwen", "running")
    finally:
        registry.end()


def test_loopback_needs_token_requires_a_token_file(tmp_path):
    registry = Registry(tmp_path, "--loopback-needs-token")
    registry.launch()
    assert registry.process.wait(20) == 1
    assert "loopback_needs_token" in registry.log.read_text()
