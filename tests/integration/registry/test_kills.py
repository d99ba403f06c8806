"""A registry that is killed at random under load loses nothing it acknowledged, and no router loses an instance."""

import os
import random
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress

import pytest

from svc.base.errors import Unavailable
from svc.client.registry import RegistryClient
from tests.integration.registry.process import Registry, alive
from tests.integration.registry.writers import Reader, Workers, Writer
from tests.integration.router.client import post
from tests.integration.router.instance import Instance
from tests.integration.router.routers import Router, router
from tests.unit.registry.services import registration
from tests.waiting import wait_until

STEADY = ("steady-1", "steady-2", "steady-3")
WRITER_COUNT = 4
NAMES_PER_WRITER = 5
MAX_LOAD_SECONDS = 0.5  # before a kill
STORES = {
    "sqlite": lambda request, place: "sqlite:registry.db",
    "redis": lambda request, place: f"{request.getfixturevalue('shared_redis').url}?prefix={place.name}",
}


@pytest.fixture(params=STORES)
def registry(request, tmp_path) -> Iterator[Registry]:
    running = Registry(tmp_path, "--store", STORES[request.param](request, tmp_path)).start()
    yield running
    running.end()


@pytest.fixture
def instance() -> Iterator[Instance]:
    """A server that answers for all instances and babysitters."""
    running = Instance()
    yield running
    running.close()


def test_nothing_acknowledged_is_lost_in_five_kills(registry, instance):
    kills(registry, instance, 5)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_nothing_acknowledged_is_lost_in_a_hundred_kills(registry, instance):
    kills(registry, instance, 100)


def kills(registry: Registry, instance: Instance, count: int) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # pytest shows it when the test fails
    rng = random.Random(seed)

    def registration_of(name: str) -> dict:
        """Return the registration of an instance that answers."""
        base_url = f"http://127.0.0.1:{instance.port}"
        metadata = {"type": "openai-api", "models": [name], "babysitter": base_url, "health_url": f"{base_url}/health"}
        return registration(name, host="127.0.0.1", port=instance.port, url=base_url, metadata=metadata)

    url = registry.client.urls[0]
    steady, reader = SteadyInstances(url), Reader(url)
    writers = [
        Writer(url, [f"w{n}-{m}" for m in range(NAMES_PER_WRITER)], registration_of, rng.randrange(1 << 32))
        for n in range(WRITER_COUNT)
    ]
    for name in STEADY:
        registry.client.register(registration_of(name))
    reader.read()
    with router("--registry-url", url, "--registry-sync-interval", 0.1, "--health-interval", 0.5) as own:
        wait_until(lambda: set(STEADY) <= in_use(own), description="the router knows the steady ones")
        steady_load, load = Workers(pause=0.05), Workers()
        with steady_load.at_work([steady.send_heartbeats, lambda: request_steady_instances(own)]):
            for _ in range(count):
                before = reader.index
                with load.at_work([reader.watch, *[w.operate for w in writers]]):
                    load.halt.wait(rng.uniform(0.02, MAX_LOAD_SECONDS))
                    kill(registry, rng)
                check(registry, reader, writers, before)
                assert not steady_load.problems, steady_load.problems[0]
        wait_for_router(own, reader)
        assert steady_instances_never_left(own)
        assert "Traceback" not in own.output()
    assert "Traceback" not in registry.log.read_text()


class SteadyInstances:
    """Sends the heartbeats of instances that are always healthy; the registry must never lose them."""

    def __init__(self, url: str) -> None:
        self.client = RegistryClient(url)

    def send_heartbeats(self) -> None:
        for name in STEADY:
            self.client.heartbeat(name, "running")


def request_steady_instances(own: Router) -> None:
    """Send one request to each of the steady instances."""
    with own.client() as client:
        for name in STEADY:
            answer = client.send(post({"model": name})).answer()
            assert answer.status == 200, f"{name} has left the router: {answer.body!r}"


def kill(registry: Registry, rng: random.Random) -> None:
    """Kill all processes, or the worker, or the master; sometimes kill the registry again while it starts."""
    kind = rng.choice(("all", "worker", "master"))
    if kind == "worker":
        worker = registry.worker()
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: not alive(worker), description="the worker is gone")
        return
    if kind == "master":
        worker = registry.worker()
        os.kill(registry.process.pid, signal.SIGKILL)
        wait_until(lambda: not alive(worker), description="the worker goes with its master")
    registry.end()
    if rng.random() < 0.2:
        registry.launch()
        with suppress(subprocess.TimeoutExpired):
            registry.process.wait(rng.uniform(0, 0.7))
        registry.end()


def check(registry: Registry, reader: Reader, writers: list[Writer], before: int) -> None:
    """Assert that everything acknowledged is there; `before` is the revision at the last check."""
    if registry.process.poll() is not None:
        registry.start()
    services = wait_until(lambda: read_or_none(reader), description="the registry answers again")
    changes = sum(writer.check(services) for writer in writers)
    assert reader.index >= before + changes, f"{changes} changes took the revision from {before} to {reader.index}"
    for name in STEADY:
        assert services[name]["is_healthy"], services[name]


def read_or_none(reader: Reader) -> dict | None:
    with suppress(Unavailable):
        return reader.read()
    return None


def in_use(own: Router) -> set[str]:
    return {s["name"] for s in own.get("/services").json()["services"] if s["healthy"]}


def wait_for_router(own: Router, reader: Reader) -> None:
    """Wait until the router uses what the registry lists."""
    wanted = {s["name"] for s in reader.read().values() if s["status"] == "running" and not s["drained"]}
    wait_until(lambda: in_use(own) == wanted, description=f"the router has {wanted}")


def steady_instances_never_left(own: Router) -> bool:
    """Return whether the router, by its log, always used the steady instances once it had them."""
    logged = [
        line.partition("instances in use: ")[2] for line in own.output().splitlines() if "instances in use" in line
    ]
    tables = [set(line.split(", ")) for line in logged]
    first = next(n for n, table in enumerate(tables) if set(STEADY) <= table)
    assert len(tables) > first + 1, "the load has reached the router"
    return all(set(STEADY) <= table for table in tables[first:])
