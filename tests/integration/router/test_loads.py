"""Routers that choose by the loads that engines report to a real registry."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.integration.registry.process import Registry
from tests.integration.router.client import post
from tests.integration.router.instance import Instance
from tests.integration.router.registry import instance
from tests.integration.router.routers import Router, router
from tests.waiting import wait_until

NAMES = ("a", "b")
BUSY, IDLE = {"running": 50, "waiting": 0}, {"running": 0, "waiting": 0}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Registry, dict[str, Instance]]]:
    registry = Registry(tmp_path_factory.mktemp("registry")).start()
    instances = {name: Instance() for name in NAMES}
    for name, made in instances.items():
        about = {"babysitter": f"http://127.0.0.1:{made.port}", "health_url": f"http://127.0.0.1:{made.port}/health"}
        registry.client.register(instance(name, made.port, "m", metadata=about))
    yield registry, instances
    registry.end()
    for made in instances.values():
        made.close()


def report(registry: Registry, interval: float = 30.0, **loads: dict[str, float]) -> None:
    for name, load in loads.items():
        url = f"{registry.client.urls[0]}/services/{name}/load"
        assert requests.post(url, json={**load, "interval": interval}, timeout=5).status_code == 200


def loads_of(own: Router) -> dict[str, dict[str, float] | None]:
    return {entry["name"]: entry["load"] for entry in own.get("/services").json()["services"]}


def counts(own: Router) -> dict[str, int]:
    return {entry["name"]: entry["request_count"] for entry in own.get("/services").json()["services"]}


def chosen(own: Router, count: int = 6) -> set[str]:
    """Return the instances that `count` requests reach."""
    before = counts(own)
    for _ in range(count):
        with own.client() as client:
            assert client.send(post({"model": "m"})).answer().status == 200
    after = counts(own)
    return {name for name in NAMES if after[name] > before[name]}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("policy", ["auto", "least_load"])
def test_two_routers_follow_the_same_loads(fleet, workers: int, policy: str, tmp_path: Path):
    registry, _ = fleet
    report(registry, a={**BUSY, "kv_cache": 0.5}, b=IDLE)
    flags = (
        "--registry-url",
        registry.client.urls[0],
        "--policy",
        policy,
        "--workers",
        workers,
        "--load-interval",
        0.2,
    )
    with router(*flags) as first, router(*flags) as second:
        for own in (first, second):
            wait_until(lambda own=own: loads_of(own)["a"] is not None, description="the loads have come")
            assert loads_of(own)["a"] == {**BUSY, "kv_cache": 0.5, "tokens_per_second": None}
            wait_until(lambda own=own: chosen(own) == {"b"}, description="only the idle instance gets requests")
        report(registry, a=IDLE, b=BUSY)
        for own in (first, second):
            wait_until(lambda own=own: chosen(own) == {"a"}, description="the other instance gets them")
        report(registry, interval=0.1, a=IDLE, b=BUSY)
        for own in (first, second):
            wait_until(lambda own=own: not any(loads_of(own).values()), description="the loads are too old")
            wait_until(lambda own=own: chosen(own) == {"a", "b"}, description="both get requests again")
            own.assert_no_exception()


def test_auto_keeps_requests_from_a_full_cache_also_those_of_sessions(fleet):
    registry, _ = fleet
    report(registry, a={**IDLE, "kv_cache": 0.97}, b={**IDLE, "kv_cache": 0.2})
    with router("--registry-url", registry.client.urls[0], "--load-interval", 0.2) as own:
        wait_until(lambda: loads_of(own)["a"] is not None, description="the loads have come")
        for number in range(8):
            with own.client() as client:
                assert client.send(post({"model": "m", "prompt_cache_key": f"s{number}"})).answer().status == 200
        assert counts(own) == {"a": 0, "b": 8}


def test_no_loads_are_read_where_no_policy_uses_them(fleet):
    registry, _ = fleet
    report(registry, a=BUSY, b=IDLE)
    with router("--registry-url", registry.client.urls[0], "--policy", "round_robin", "--load-interval", 0.1) as own:
        assert chosen(own) == {"a", "b"}
        assert loads_of(own) == {"a": None, "b": None}
