"""The router with real registries: changes, restarts, failover and the saved table."""

import json
import signal
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.registry.process import Registry
from tests.integration.router.client import post
from tests.integration.router.instance import Instance
from tests.integration.router.registry import instance
from tests.integration.router.routers import Router, router
from tests.waiting import free_port, other_address, wait_until

AT_ONCE = 1.0  # seconds; the sync interval is 10


@pytest.fixture
def registries(tmp_path: Path) -> Iterator[tuple[Registry, Registry]]:
    """Yield two separate registries, the first of them started."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    first, second = (Registry(tmp_path / name, "--store", "sqlite:registry.db") for name in ("one", "two"))
    first.start()
    yield first, second
    for made in (first, second):
        if hasattr(made, "process"):
            made.end()


@pytest.fixture
def backend() -> Iterator[Instance]:
    made = Instance()
    yield made
    made.close()


def listed(made: Instance, name: str, *models: str, **more: object) -> dict[str, object]:
    about = {"babysitter": f"http://127.0.0.1:{made.port}", "health_url": f"http://127.0.0.1:{made.port}/health"}
    return instance(name, made.port, *models, metadata=about, **more)


def urls(*registries: Registry) -> str:
    return ",".join(made.client.urls[0] for made in registries)


def known(own: Router) -> dict[str, str]:
    return {s["name"]: "drained" if s["drained"] else s["status"] for s in own.get("/services").json()["services"]}


def soon(own: Router, wanted: dict[str, str]) -> float:
    """Return the seconds until the router has exactly these instances."""
    began = time.monotonic()
    wait_until(lambda: known(own) == wanted, AT_ONCE, lambda: f"{wanted}, not {known(own)}", interval=0.002)
    return time.monotonic() - began


def test_a_change_in_the_registry_is_in_the_table_at_once(registries, backend):
    first, _ = registries
    with router("--registry-url", urls(first)) as own:
        took = []
        first.client.register(listed(backend, "a", "m"))
        took.append(soon(own, {"a": "running"}))
        for status in ("draining", "running", "failed", "running"):
            first.client.heartbeat("a", status)
            took.append(soon(own, {"a": status}))
        first.client.drain("a")
        took.append(soon(own, {"a": "drained"}))
        first.client.drain("a", drained=False)
        took.append(soon(own, {"a": "running"}))
        first.client.deregister("a")
        took.append(soon(own, {}))
        assert statistics.median(took) < 0.1, took


def test_a_registry_that_was_killed_is_followed_again(registries, backend):
    first, _ = registries
    first.client.register(listed(backend, "a", "m"))
    with router("--registry-url", urls(first)) as own:
        soon(own, {"a": "running"})
        first.end()
        wait_until(lambda: "keeping the 1 instances last known" in own.output(), timeout=3)
        assert own.get("/health").json()["table_source"] == "registry"
        first.start()
        wait_until(lambda: "the registry is back" in own.output(), timeout=5)
        first.client.drain("a")
        soon(own, {"a": "drained"})


def test_the_next_registry_is_followed_and_missing_instances_are_kept(registries, backend):
    first, second = registries
    second.start()
    for made, names in ((first, "abc"), (second, "x")):
        for name in names:
            made.client.register(listed(backend, name, "m"))
    grace = 2
    with router("--registry-url", urls(first, second), "--service-removal-grace-period", grace) as own:
        soon(own, {"a": "running", "b": "running", "c": "running"})
        first.end()
        wait_until(lambda: set(known(own)) == {"a", "b", "c", "x"}, timeout=3)
        second.client.register(listed(backend, "a", "m"))
        second.client.deregister("x")
        soon(own, {"a": "running", "b": "running", "c": "running"})
        wait_until(lambda: set(known(own)) == {"a"}, timeout=grace + 1)


def test_a_router_without_a_registry_starts_with_the_saved_table(tmp_path, registries, backend):
    first, _ = registries
    first.client.register(listed(backend, "a", "m"))
    first.client.register(listed(backend, "gone", "m"))
    path = tmp_path / "var" / "table.json"
    flags = ("--registry-url", urls(first), "--state-file", path)
    with router(*flags) as own:
        wait_until(lambda: path.exists() and b'"a"' in path.read_bytes())
    first.end()
    with router(*flags) as own:
        health = own.get("/health").json()
        assert health["table_source"] == "saved"
        assert 0 <= health["table_age_seconds"] < 60
        assert "starting with the 2 instances that http://127.0.0.1" in own.output()
        with own.client() as client:
            assert client.send(post({"model": "m"})).answer().body == b"ok"
        first.start()
        wait_until(lambda: own.get("/health").json()["table_source"] == "registry", timeout=5)
        first.client.deregister("gone")
        soon(own, {"a": "running"})
        wait_until(lambda: [t["name"] for t in json.loads(path.read_bytes())["targets"]] == ["a"], timeout=3)


def test_a_damaged_saved_table_is_logged_in_one_line(tmp_path):
    path = tmp_path / "table.json"
    path.write_bytes(b'{"format":"svc router table 1","regis')
    with router("--registry-url", f"http://127.0.0.1:{free_port()}", "--state-file", path, ready=False) as own:
        wait_until(lambda: "keeping the 0 instances" in own.output())
        wait_until(lambda: own.get("/livez").ok)
        assert own.get("/readyz").status_code == 503
        assert len([line for line in own.output().splitlines() if str(path) in line]) == 1
        assert "Traceback" not in own.output()


def test_a_router_that_waits_for_the_registry_stops_at_once(registries, backend):
    first, _ = registries
    with router("--registry-url", urls(first)) as own:
        wait_until(lambda: own.get("/health").json()["table_age_seconds"] > 0.2)
        began = time.monotonic()
        own.process.send_signal(signal.SIGTERM)
        own.process.wait(10)
        assert time.monotonic() - began < 2
        assert "Traceback" not in own.output()


def test_an_ejected_instance_that_registers_again_gets_requests(registries, backend):
    first, _ = registries
    port = backend.port
    first.client.register(listed(backend, "a", "m"))
    with router("--registry-url", urls(first), "--health-interval", 0.2, "--max-errors", 1) as own:
        soon(own, {"a": "running"})
        backend.close()
        wait_until(lambda: not own.service("a")["healthy"])
        again = Instance(port)
        first.client.register(listed(again, "a", "m", timestamp="2030-01-01T00:00:00.000Z"))
        wait_until(lambda: own.service("a")["healthy"], timeout=AT_ONCE, interval=0.01)
        again.close()


def test_the_router_sends_the_token_of_its_file_to_the_registry(tmp_path, backend):
    """Loopback needs no token, so the router uses this machine's other address."""
    (tmp_path / "token").write_text("read-word\n")
    flags = ("--host", "0.0.0.0", "--read-token-file", "token", "--store", "sqlite:registry.db")
    made = Registry(tmp_path, *flags).start()
    try:
        made.client.register(listed(backend, "a", "m"))
        far = f"http://{other_address()}:{made.port}"
        with router("--registry-url", far, ready=False) as own:
            wait_until(lambda: "keeping the 0 instances" in own.output())
            assert "read-word" not in own.output()
        with router("--registry-url", far, "--registry-token-file", tmp_path / "token") as own:
            soon(own, {"a": "running"})
    finally:
        made.end()
