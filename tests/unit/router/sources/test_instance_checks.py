import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from svc.base.errors import Unavailable
from svc.client.probe import ModelList
from svc.router.balance.routing_request import RoutingRequest
from svc.router.sources.instance_checks import UNHEALTHY_INTERVAL_SECONDS, InstanceChecks
from tests.unit.router.examples import Clock, state, target
from tests.waiting import free_port_pair


class World:
    """Checks that are started when they are due, and run by `finish`."""

    def __init__(self, *names: str) -> None:
        self.clock = Clock()
        self.state = state(*(target(n, "m") for n in names), health_interval=30, max_errors=1)
        self.started: list = []
        self.checks = InstanceChecks(self.state, self.clock, lambda work, target: self.started.append((work, target)))
        self.well = dict.fromkeys(names, True)

    def due(self, after: float = 0) -> list[str]:
        """Return the instances whose check starts now."""
        self.clock.now += after
        self.checks.run_round()
        return [t.name for _, t in self.started]

    def finish(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for work, checked in self.started:
            monkeypatch.setattr("svc.client.probe.status", lambda *_, t=checked: 200 if self.well[t.name] else 503)
            work(checked)
        self.started.clear()


def test_unhealthy_instances_are_checked_more_often(monkeypatch: pytest.MonkeyPatch):
    world = World("a", "b")
    world.well["b"] = False
    assert world.due() == ["a", "b"]
    world.finish(monkeypatch)
    assert world.state.balancer.table.candidates == {"a"}
    assert world.due(UNHEALTHY_INTERVAL_SECONDS - 0.1) == []
    assert world.due(0.2) == ["b"]
    world.well["b"] = True
    world.finish(monkeypatch)
    assert world.due(UNHEALTHY_INTERVAL_SECONDS) == ["b"]
    world.finish(monkeypatch)
    assert world.state.balancer.table.candidates == {"a", "b"}
    assert world.due(25) == []
    assert world.due(2) == ["a"]


def test_a_slow_check_delays_no_other(monkeypatch: pytest.MonkeyPatch):
    world = World("slow", "b")
    assert world.due() == ["b", "slow"]
    slow = world.started.pop()
    world.finish(monkeypatch)
    assert world.due(31) == ["b"]
    world.started.append(slow)
    world.finish(monkeypatch)
    assert world.due(31) == ["b", "slow"]


def test_a_check_that_raises_is_repeated(monkeypatch: pytest.MonkeyPatch):
    world = World("a")
    world.due()
    monkeypatch.setattr("svc.client.probe.status", lambda *_: 1 / 0)
    work, checked = world.started.pop()
    with pytest.raises(ZeroDivisionError):
        work(checked)
    assert world.due(31) == ["a"]


def test_a_forbidden_address_is_not_checked_and_logged_once(caplog: pytest.LogCaptureFixture):
    world = World()
    world.state.replace_targets([target("a", metadata={"health_url": "http://169.254.169.254/latest"})])
    for _ in range(2):
        world.due(31)
        work, checked = world.started.pop()
        work(checked)
    assert not world.state.balancer.table.candidates
    (line,) = [r.getMessage() for r in caplog.records if "is not checked" in r.getMessage()]
    assert line.startswith("a is not checked, which counts as failed: http://169.254.169.254/latest: ")


def test_only_running_instances_that_are_not_drained_are_checked():
    world = World()
    world.state.replace_targets([target("a", status="starting"), target("b", drained=True), target("c")])
    assert world.due() == ["c"]
    world.state.replace_targets([target("a"), target("b", drained=True)])
    assert world.due() == ["c", "a"]


def test_a_request_for_an_unlisted_model_triggers_discovery(monkeypatch: pytest.MonkeyPatch):
    world, lists = World(), ["m"]
    world.state.replace_targets([target("a", static=True, discovers_models=True), target("b", "n", static=True)])
    monkeypatch.setattr("svc.client.probe.answer", lambda *_: (0, b""))
    monkeypatch.setattr(
        "svc.client.probe.model_list", lambda *_, **__: ModelList([{"id": name} for name in lists], 200)
    )
    world.well = {"a": True, "b": True}
    assert world.due() == ["a", "b"]
    world.finish(monkeypatch)
    for model in ("m", "n", None):
        assert world.state.balancer.pick(RoutingRequest(model))
    assert world.due(1) == []
    lists.append("sql")
    for _ in range(3):
        with pytest.raises(Unavailable):
            world.state.balancer.pick(RoutingRequest("sql"))
    assert world.due(1) == ["a"]
    world.finish(monkeypatch)
    assert world.state.balancer.pick(RoutingRequest("sql")).name == "a"
    assert world.due(1) == []


class Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class Sick(Health):
    def do_GET(self) -> None:
        self.send_error(503)


class Bare(Health):
    """A server without /health."""

    def do_GET(self) -> None:
        self.send_error(404)


class Sitter(Health):
    """A babysitter."""

    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(b'{"service": "q", "babysitter": "running", "status": "any"}')


class SickSitter(Sitter):
    status = 503


@pytest.fixture
def serve() -> Iterator:
    servers = []

    def serve(port: int, handler: type[BaseHTTPRequestHandler] = Health) -> None:
        servers.append(ThreadingHTTPServer(("127.0.0.1", port), handler))
        threading.Thread(target=servers[-1].serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("static", "own", "sitter", "neighbour", "well"),
    [
        (True, Health, None, False, True),
        (True, Bare, None, False, True),
        (True, Sick, None, False, False),
        (True, Sick, Sitter, False, True),
        (True, Health, SickSitter, False, False),
        (True, Health, Bare, False, True),
        (True, Health, Sick, False, True),
        (True, Sick, Health, False, False),
        (True, Sick, Sitter, True, False),
        (True, Health, SickSitter, True, True),
        (False, Health, None, False, False),
        (False, Sick, Health, True, True),
    ],
)
def test_an_instance_is_checked_at_its_babysitter_or_directly(
    serve, static: bool, own, sitter, neighbour: bool, well: bool
):
    """A static service without a babysitter on the next port is checked directly."""
    port = free_port_pair()
    serve(port, own)
    if sitter:
        serve(port + 1, sitter)
    targets = [target("a", port=port, url=f"http://127.0.0.1:{port}", static=static)]
    if neighbour:
        targets.append(target("b", port=port + 1, url=f"http://127.0.0.1:{port + 1}", static=static))
    router = state(*targets, max_errors=1)
    InstanceChecks(router, Clock(), lambda work, checked: work(checked) if checked.name == "a" else None).run_round()
    assert ("a" in router.balancer.table.candidates) is well


@pytest.mark.parametrize(
    ("static", "handler", "well"), [(True, Health, True), (True, Bare, False), (False, Health, True)]
)
def test_a_health_url_is_checked_and_must_exist(serve, static: bool, handler, well: bool):
    port = free_port_pair()
    serve(port, handler)
    url = f"http://127.0.0.1:{port}/health"
    router = state(
        target("a", port=1, url="http://127.0.0.1:1", static=static, metadata={"health_url": url}), max_errors=1
    )
    InstanceChecks(router, Clock(), lambda work, checked: work(checked)).run_round()
    assert ("a" in router.balancer.table.candidates) is well


def test_a_babysitter_in_the_metadata_is_checked(serve):
    port = free_port_pair()
    serve(port + 1)
    router = state(
        target(
            "a", port=1, url="http://127.0.0.1:1", static=True, metadata={"babysitter": f"http://127.0.0.1:{port + 1}"}
        )
    )
    InstanceChecks(router, Clock(), lambda work, checked: work(checked)).run_round()
    assert router.health.by_instance["a"].healthy
