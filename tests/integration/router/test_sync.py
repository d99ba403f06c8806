"""The sources of the router's table, as a client sees them: a registry, static services, and health checks."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.integration.fakes import mock
from tests.integration.router.client import post
from tests.integration.router.instance import Instance
from tests.integration.router.registry import Registry, instance, registry
from tests.integration.router.routers import BIN, Router, router, running, service, static
from tests.waiting import free_port, free_port_pair, ipv6, wait_until

QUICK = ("--registry-sync-interval", 0.1, "--health-interval", 0.2, "--health-timeout", 1)


@pytest.fixture(scope="module")
def fake_registry() -> Iterator[Registry]:
    with registry() as made:
        yield made


@pytest.fixture(scope="module")
def synced(fake_registry: Registry) -> Iterator[Router]:
    flags = ("--registry-url", fake_registry.url, *QUICK, "--service-removal-grace-period", 5)
    with router(*flags) as made:
        yield made
        assert "Traceback" not in made.output()


@pytest.fixture
def own(synced: Router, fake_registry: Registry) -> Router:
    """Return the router with an empty table."""
    fake_registry.services, fake_registry.index = [], fake_registry.index + 10
    wait_until(lambda: synced.get("/services").json()["total"] == 0, timeout=3)
    return synced


@pytest.fixture
def backends() -> Iterator[list[tuple[Instance, Instance]]]:
    """Yield two instances, each with its babysitter on the next port."""
    pairs = []
    for _ in range(2):
        port = free_port_pair()
        pairs.append((Instance(port), Instance(port + 1)))
    yield pairs
    for pair in pairs:
        for made in pair:
            made.close()


def listed(own: Router) -> list[str]:
    return [m["id"] for m in own.get("/v1/models").json()["data"]]


def test_changes_in_the_registry_apply_at_the_next_sync(own: Router, fake_registry: Registry, backends):
    (x, _), (y, _) = backends
    fake_registry.services = [
        instance("x", x.port, "mx"),
        instance("y", y.port, "my"),
        {**instance("bs", 1), "metadata": {}},
    ]
    fake_registry.index += 1
    wait_until(lambda: listed(own) == ["mx", "my"])
    assert own.get("/health").json()["healthy_services"] == "2/2"
    for status in ("draining", "failed", "stopped", "stopping", "starting"):
        fake_registry.services[0]["status"] = status
        fake_registry.index += 1
        wait_until(lambda: listed(own) == ["my"], description=status)
        fake_registry.services[0]["status"] = "running"
        fake_registry.index += 1
        wait_until(lambda: listed(own) == ["mx", "my"], description=f"back from {status}")
    fake_registry.services[0]["drained"] = True
    fake_registry.index += 1
    wait_until(lambda: listed(own) == ["my"])
    del fake_registry.services[0]
    fake_registry.index += 1
    wait_until(
        lambda: own.get("/services").json()["total"] == 1, timeout=4, description="the deletion, without the grace"
    )


def test_instances_are_kept_when_the_registry_loses_its_data(own: Router, fake_registry: Registry, backends):
    (x, _), (y, _) = backends
    fake_registry.services, fake_registry.index = (
        [instance("x", x.port, "mx"), instance("y", y.port, "my")],
        fake_registry.index + 10,
    )
    wait_until(lambda: listed(own) == ["mx", "my"])
    requests = fake_registry.requests
    fake_registry.services, fake_registry.index = [instance("y", y.port, "my")], 1
    wait_until(lambda: fake_registry.requests > requests + 2)
    assert listed(own) == ["mx", "my"]
    with own.client() as client:
        assert client.send(post({"model": "mx"})).answer().body == b"ok"
    wait_until(lambda: listed(own) == ["my"], timeout=10)


def test_the_table_stays_while_the_registry_is_away(own: Router, fake_registry: Registry, backends):
    (x, _), _ = backends
    fake_registry.services, fake_registry.index = [instance("x", x.port, "mx")], fake_registry.index + 10
    wait_until(lambda: listed(own) == ["mx"])
    for status, body in ((500, None), (200, b"<html>"), (200, b"[]"), (200, b'{"a": 1}'), (401, b'{"error": "no"}')):
        fake_registry.status, fake_registry.body, requests = status, body, fake_registry.requests
        wait_until(lambda requests=requests: fake_registry.requests > requests + 1)
        assert listed(own) == ["mx"]
    fake_registry.status, fake_registry.body = 200, None
    wait_until(lambda: "the registry is back" in own.output())
    assert listed(own) == ["mx"]


def test_entries_that_cannot_be_used_are_left_out_and_logged_once(own: Router, fake_registry: Registry, backends):
    (x, _), _ = backends
    bad: list[Any] = [
        {"name": "no-port"},
        instance("text-port", 1) | {"port": "x"},
        instance("odd-url", 1, "odd") | {"url": "ftp://127.0.0.1"},
        instance("worse-url", 1, "odd") | {"url": "http://127.0.0.1:x"},
        "text",
        None,
        instance("odd-models", x.port) | {"metadata": {"type": "openai-api", "models": 7, "models_list": "x"}},
    ]
    fake_registry.services, fake_registry.index = [*bad, instance("x", x.port, "mx")], fake_registry.index + 1
    wait_until(lambda: listed(own) == ["mx"])
    requests = fake_registry.requests
    wait_until(lambda: fake_registry.requests > requests + 3)
    warnings = [line for line in own.output().splitlines() if "cannot be used" in line]
    for name in ("'no-port'", "'text-port'", "'odd-url'", "'worse-url'", "'text'", "None"):
        assert len([line for line in warnings if f"lists {name}," in line]) == 1


def test_an_instance_is_out_while_its_babysitter_reports_unhealthy(own: Router, fake_registry: Registry, backends):
    (x, sitter), (y, _) = backends
    fake_registry.services = [instance("x", x.port, "both", health_status="unhealthy"), instance("y", y.port, "both")]
    fake_registry.index += 1
    wait_until(
        lambda: own.get("/health").json()["healthy_services"] == "2/2",
        description="our own check to outweigh the registry's",
    )
    sitter.sick = True
    wait_until(lambda: not own.service("x")["healthy"])
    with own.client() as client:
        for _ in range(4):
            assert client.send(post({"model": "both"})).answer().status == 200
    assert (len(x.received), len(y.received)) == (0, 4)
    sitter.sick = False
    wait_until(lambda: own.service("x")["healthy"], timeout=4)


def test_an_instance_that_refuses_connections_fails_no_request(own: Router, fake_registry: Registry, backends):
    (_, sitter), (y, _) = backends
    gone = Instance(free_port())
    gone.close()
    dead = instance("x", gone.port, "both") | {"metadata": {"type": "openai-api", "models": ["both"]}}
    dead["metadata"]["babysitter"] = f"http://127.0.0.1:{sitter.port}"
    fake_registry.services, fake_registry.index = [dead, instance("y", y.port, "both")], fake_registry.index + 1
    wait_until(lambda: own.get("/health").json()["healthy_services"] == "2/2")
    with own.client() as client:
        for _ in range(12):
            assert client.send(post({"model": "both"})).answer().status == 200
    assert own.service("x")["error_count"] >= 3


def test_weights_are_kept_exactly_over_a_cycle(own: Router, fake_registry: Registry, backends):
    (x, _), (y, _) = backends
    fake_registry.services = [instance("x", x.port, "both", weight=3), instance("y", y.port, "both", weight=1)]
    fake_registry.index += 1
    wait_until(lambda: listed(own) == ["both"] and own.service("x")["weight"] == 3)
    with own.client() as client:
        for _ in range(40):
            assert client.send(post({"model": "both"})).answer().status == 200
    assert (len(x.received), len(y.received)) == (30, 10)


def test_the_router_is_not_ready_before_the_first_list(tmp_path: Path):
    port = free_port()
    with router("--registry-url", f"http://127.0.0.1:{port}", *QUICK[2:], ready=False) as own:
        wait_until(lambda: _answers(own))
        assert own.get("/readyz").status_code == 503
        assert own.get("/livez").status_code == 200
        with own.client() as client:
            assert client.send(post({"model": "m"})).answer().status == 503
        with registry(port):
            wait_until(own.ready, timeout=3, description="the registry to be noticed long before the next sync")


def test_the_router_is_ready_with_static_services_alone(tmp_path: Path):
    made = Instance()
    path = static(tmp_path / "static.json", [service("m", made.port, "m")])
    flags = ("--registry-url", f"http://127.0.0.1:{free_port()}", "--static-services", path)
    with router(*flags) as own, own.client() as client:
        assert client.send(post({"model": "m"})).answer().body == b"ok"
    made.close()


def test_static_services_are_checked_at_their_babysitter_or_directly(tmp_path: Path, backends):
    """`side` and `next` have successive ports, so that no babysitter is on the port after that of `side`."""
    (x, sitter), (side, beside) = backends
    bare = Instance()
    sitter.babysitter = True
    services = [
        service("x", x.port, "x"),
        service("bare", bare.port, "bare"),
        service("side", side.port, "side"),
        service("next", beside.port, "next"),
    ]
    with router("--static-services", static(tmp_path / "s.json", services), *QUICK[2:]) as own:
        wait_until(lambda: own.get("/health").json()["healthy_services"] == "4/4")
        sitter.sick = True
        wait_until(lambda: not own.service("x")["healthy"])
        bare.sick = side.sick = True
        wait_until(lambda: not own.service("bare")["healthy"] and not own.service("side")["healthy"])
        assert own.service("next")["healthy"]
        assert [own.service(name)["babysitter_url"] for name in ("x", "bare")] == [
            f"http://127.0.0.1:{x.port + 1}",
            None,
        ]
    bare.close()


def test_a_static_service_without_health_endpoint_gets_requests(tmp_path: Path, backends):
    """Ollama, koboldcpp and LM Studio have no /health."""
    (made, stranger), _ = backends
    made.no_health = stranger.no_health = True
    path = static(tmp_path / "s.json", [service("x", made.port, "x")])
    with router("--static-services", path, *QUICK[2:]) as own, own.client() as client:
        for _ in range(3):
            assert client.send(post({"model": "x"})).answer().status == 200
        wait_until(lambda: own.get("/health").json()["healthy_services"] == "1/1")
        assert own.service("x")["babysitter_url"] is None


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_a_static_service_on_ipv6_gets_requests(tmp_path: Path, host: str):
    ipv6()
    made = Instance(host="::1")
    path = static(tmp_path / "s.json", [service("x", made.port, "x", host=host)])
    with router("--static-services", path, *QUICK[2:]) as own, own.client() as client:
        wait_until(lambda: own.get("/health").json()["healthy_services"] == "1/1")
        assert client.send(post({"model": "x"})).answer().status == 200
        assert made.received[0].header(b"host") == f"[::1]:{made.port}".encode()
        assert own.service("x")["url"] == f"http://[::1]:{made.port}"
    made.close()


def test_a_static_service_without_models_in_its_file_serves_its_list(tmp_path: Path):
    with mock("a", ["one"]) as served:
        path = tmp_path / "s.json"
        path.write_text(json.dumps([{"name": "a", "host": "127.0.0.1", "port": served.port}]))
        with router("--static-services", path, *QUICK[2:]) as own, own.client() as client:
            assert listed(own) == ["one"]
            assert _ask(client, "one") == "a"
            served.models = ["two"]
            served.start()
            wait_until(lambda: listed(own) == ["two"], description="its new list is taken")


@pytest.mark.parametrize(
    "shape", [lambda s: s, lambda s: {"services": s}, lambda s: {"static_services": {"services": s}}]
)
def test_the_file_of_static_services_has_three_formats(tmp_path: Path, shape):
    made = Instance()
    path = tmp_path / "static.json"
    path.write_text(json.dumps(shape([service("m", made.port, "m")])))
    with router("--static-services", path) as own:
        assert listed(own) == ["m"]
    made.close()


def test_each_wrong_setting_is_one_line_of_error(tmp_path: Path):
    path = tmp_path / "static.json"
    path.write_text(json.dumps([{"name": "a", "host": "h"}, {"name": "b", "host": "h", "port": 0}]))
    for command, warnings in (
        (
            ["--static-services", str(path)],
            [f"svc: {path}: services[0]: port is missing", f"svc: {path}: services[1]: "],
        ),
        (["--static-services", "none.json"], ["svc: none.json: cannot read it: No such file or directory"]),
        ([], ["svc: the router needs --registry-url, or --static-services, or both"]),
    ):
        with running([str(BIN / "svc"), "router", "--port", str(free_port()), *command], 0) as own:
            assert own.process.wait(10) == 1
            lines = own.output().splitlines()
            assert len(lines) == len(warnings)
            assert all(line.startswith(start) for line, start in zip(lines, warnings, strict=True)), lines


def test_a_taken_port_is_one_line_of_error(tmp_path: Path):
    made = Instance()
    path = static(tmp_path / "static.json", [service("m", made.port, "m")])
    command = [str(BIN / "svc"), "router", "--port", str(made.port), "--static-services", str(path)]
    with running(command, 0) as own:
        assert own.process.wait(10) == 1
        assert own.output().startswith(f"svc: router: cannot listen on 127.0.0.1:{made.port}: address already in use")
        assert own.output().count("\n") == 1
    made.close()


def test_three_instances_of_a_real_registry_get_their_requests(tmp_path: Path):
    port = free_port()
    command = [str(BIN / "svc"), "registry", "--port", str(port), "--store", f"sqlite:{tmp_path}/registry.db"]
    with running(command, port) as real, mock("a", ["one"]) as a, mock("b", ["one"]) as b, mock("c", ["two"]) as c:
        wait_until(lambda: _answers(real))
        with router("--registry-url", real.url, *QUICK[:2]) as own:
            for made, model in ((a, "one"), (b, "one"), (c, "two")):
                _register(real, made.name, made.port, model)
            wait_until(lambda: own.get("/health").json()["healthy_services"] == "3/3")
            assert sorted(listed(own)) == ["one", "two"]
            with own.client() as client:
                names = [_ask(client, model) for model in ("one", "one", "two", "one", "one")]
            assert names[2] == "c"
            assert sorted(names[:2]) == sorted(names[3:]) == ["a", "b"]
            _delete(real, "c")
            wait_until(lambda: listed(own) == ["one"])


def _answers(own: Router) -> bool:
    try:
        return bool(own.get("/health").status_code)
    except OSError:
        return False


def _ask(client: Any, model: str) -> str:
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    return client.send(post(body)).answer().header(b"x-mock-name").decode()


def _register(real: Router, name: str, port: int, model: str) -> None:
    assert requests.post(real.url + "/services", json=instance(name, port, model), timeout=5).status_code == 201


def _delete(real: Router, name: str) -> None:
    assert requests.delete(f"{real.url}/services/{name}", timeout=5).ok
