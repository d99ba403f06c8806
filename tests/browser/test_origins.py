"""A hostile page in a real browser: of another origin, and on a host name that was rebound to this machine.

Both try all that HTML and JavaScript can send at registry, router and babysitter. The
router's own origin tries the same, so that it is known that the page works.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import chromium
from tests.integration.registry.process import Registry
from tests.integration.router.instance import Instance, Peer, ReceivedRequest
from tests.integration.router.routers import BIN, router, service, static
from tests.unit.registry.services import registration
from tests.waiting import free_port_pair, wait_until

SCRIPT = Path(__file__).with_name("hostile_page.js").read_text()
EVIL = "evil.example"
# The browser's own protection of local networks is off: it is not everybody's, and it is not what is tested.
FLAGS = (
    f"--host-resolver-rules=MAP {EVIL} 127.0.0.1",
    "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests,PrivateNetworkAccessSendPreflights",
)
CHAT = '{"model": "a", "messages": []}'
SERVICE = json.dumps(registration("zz", host="localhost"))
REGISTRY = {
    "reads": ["/health", "/services", "/events", "/metrics", "/openapi.json"],
    "writes": [
        ["/services", SERVICE],
        ["/services/qwen", '{"weight": 0}', "PUT"],
        ["/services/qwen", "{}", "DELETE"],
        ["/services/qwen/drain", "{}"],
        ["/services/qwen/heartbeat", '{"status": "failed"}'],
        ["/expire", "{}"],
        ["/events", '{"events": [{"kind": "ejected", "service": "qwen", "source": "x", "message": "forged"}]}'],
    ],
}
ROUTER = {
    "reads": ["/health", "/v1/models", "/services", "/stats", "/metrics", "/ui", "/ui/stream"],
    "writes": [["/v1/chat/completions", CHAT], ["/v1/embeddings", CHAT], ["/ui/drain/a", "{}"]],
    "socket": "/v1/realtime?model=a",
}
BABYSITTER = {"reads": ["/health", "/info", "/models", "/metrics"], "writes": []}


class Site:
    """A registry, a router and a babysitter on loopback, and an instance that records its requests."""

    def __init__(self, registry: Registry, instance: Instance, bases: dict[str, str]) -> None:
        self.registry = registry
        self.instance = instance
        self.bases = bases

    def written(self) -> list[str]:
        """Return what has changed, and what was sent to the instance."""
        listed = [(s["name"], s["weight"], s["status"], s["drained"]) for s in self.registry.client.services()]
        changes = [str(service) for service in listed if service != ("qwen", 1, "running", False)]
        events = [e["kind"] for e in self.registry.client.events()[0] if e["kind"] not in ("started", "registered")]
        return [*changes, *events, *(received.line.decode() for received in self.instance.received)]


def answers(peer: Peer, received: ReceivedRequest) -> None:
    peer.send(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{"a": 1}')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    place = tmp_path_factory.mktemp("origins")
    registry, instance, port = Registry(place).start(), Instance(), free_port_pair()
    instance.play(answers)
    registry.client.register(registration())
    toml = (
        f'name = "b"\nport = {port}\nregistry_url = "http://localhost:1"\n[backend]\ntype = "command"\ncommand = "x"\n'
    )
    (place / "b.toml").write_text(toml)
    babysitter = subprocess.Popen([BIN / "svc", "babysitter", "--config-file", "b.toml"], cwd=place)
    services = static(place / "static.json", [service("a", instance.port, "a")])
    try:
        with router("--static-services", services) as running:
            ports = {"registry": registry.port, "router": running.port, "babysitter": port + 1}
            yield Site(registry, instance, {name: str(port) for name, port in ports.items()})
    finally:
        babysitter.terminate()
        babysitter.wait(20)
        instance.close()
        registry.end()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium(*FLAGS) as opened:
        yield opened


@pytest.fixture
def attack(browser: Any, site: Site) -> Iterator[Any]:
    """Yield attack(origin, target, base), which returns what a page of this origin could read from a server."""
    site.instance.received.clear()
    context = browser.new_context()

    def run(origin: str, target: dict[str, Any], base: str) -> list[str]:
        page = context.new_page()
        page.route(f"{origin}/hostile", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
        page.goto(f"{origin}/hostile")
        page.add_script_tag(content=SCRIPT)
        return page.evaluate("what => attack(what)", {"base": base, "socket": "", **target})

    yield run
    context.close()


TARGETS = pytest.mark.parametrize(
    ("server", "target"), [("registry", REGISTRY), ("router", ROUTER), ("babysitter", BABYSITTER)]
)


@TARGETS
def test_a_page_on_a_rebound_name_reads_and_writes_nothing(attack: Any, site: Site, server: str, target: dict):
    assert attack(f"http://{EVIL}:{site.bases[server]}", target, "") == []
    assert site.written() == []


@TARGETS
def test_a_page_of_another_origin_reads_and_writes_nothing(attack: Any, site: Site, server: str, target: dict):
    assert attack(f"http://{EVIL}:1234", target, f"http://127.0.0.1:{site.bases[server]}") == []
    assert site.written() == []


def test_a_page_of_another_port_of_this_machine_writes_nothing(attack: Any, site: Site):
    assert attack("http://localhost:1234", ROUTER, f"http://localhost:{site.bases['router']}") == []
    assert site.written() == []


def test_the_routers_own_origin_reads_and_writes(attack: Any, site: Site):
    """The same page succeeds here, so that the failures of the others are not its own."""
    target = {"reads": ["/v1/models"], "writes": [["/v1/chat/completions", CHAT]]}
    texts = attack(f"http://localhost:{site.bases['router']}", target, "")
    assert any('"object":"list"' in text for text in texts)
    assert '{"a": 1}' in texts
    wait_until(
        lambda: any(line.startswith("POST /v1/chat/completions") for line in site.written()), description="the request"
    )
