"""The registry killed under load, at random: nothing acknowledged is lost, no healthy instance leaves a router."""

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
from tests.integration.registry.writers import Crew, Reader, Writer
from tests.integration.router.client import post
from tests.integration.router.instance import Instance
from tests.integration.router.routers import Router, router
from tests.unit.registry.services import registration
from tests.waiting import wait_until

STEADY = ("steady-1", "steady-2", "steady-3")
WRITERS = 4
NAMES = 5  # a writer's
LONGEST = 0.5  # seconds under load before a kill
STORES = {
    "sqlite": lambda request, place: "sqlite:registry.db",
    "redis": lambda request, place: f"{request.getfixturevalue('shared_redis').url}?prefix={place.name}",
}


@pytest.fixture(params=STORES)
def registry(request, tmp_path) -> Iterator[Registry]:
    made = Registry(tmp_path, "--store", STORES[request.param](request, tmp_path)).start()
    yield made
    made.end()


@pytest.fixture
def instance() -> Iterator[Instance]:
    """All instances and babysitters at one address."""
    made = Instance()
    yield made
    made.close()


def test_five_kills(registry, instance):
    kills(registry, instance, 5)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_hundred_kills(registry, instance):
    kills(registry, instance, 100)


def kills(registry: Registry, instance: Instance, count: int) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # pytest shows it when the test fails
    chance = random.Random(seed)

    def about(name: str) -> dict:
        """An instance that answers, whatever becomes of its registration."""
        here = f"http://127.0.0.1:{instance.port}"
        metadata = {"type": "openai-api", "models": [name], "babysitter": here, "health_url": f"{here}/health"}
        return registration(name, host="127.0.0.1", port=instance.port, url=here, metadata=metadata)

    url = registry.client.urls[0]
    steady, reader = Steady(url), Reader(url)
    writers = [
        Writer(url, [f"w{n}-{m}" for m in range(NAMES)], about, chance.randrange(1 << 32)) for n in range(WRITERS)
    ]
    for name in STEADY:
        registry.client.register(about(name))
    reader.read()
    with router("--registry-url", url, "--registry-sync-interval", 0.1, "--health-interval", 0.5) as own:
        wait_until(lambda: set(STEADY) <= in_use(own), description="the router knows the steady ones")
        always, crew = Crew(pause=0.05), Crew()
        with always.at_work([steady.beat, lambda: ask(own)]):
            for _ in range(count):
                before = reader.index
                with crew.at_work([reader.watch, *[w.act for w in writers]]):
                    crew.halt.wait(chance.uniform(0.02, LONGEST))
                    kill(registry, chance)
                check(registry, reader, writers, before)
                assert not always.problems, always.problems[0]
        follows(own, reader)
        assert never_left(own)
        assert "Traceback" not in own.output()
    assert "Traceback" not in registry.log.read_text()


class Steady:
    """Heartbeats of instances that are always well; the registry may be away, but never forget them."""

    def __init__(self, url: str) -> None:
        self.client = RegistryClient(url)

    def beat(self) -> None:
        for name in STEADY:
            self.client.heartbeat(name, "running")


def ask(own: Router) -> None:
    """One request for each of the steady instances."""
    with own.client() as client:
        for name in STEADY:
            answer = client.send(post({"model": name})).answer()
            assert answer.status == 200, f"{name} has left the router: {answer.body!r}"


def kill(registry: Registry, chance: random.Random) -> None:
    """All of it, or the worker alone, or its master alone; some die again while they start."""
    kind = chance.choice(("all", "worker", "master"))
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
    if chance.random() < 0.2:
        registry.launch()
        with suppress(subprocess.TimeoutExpired):
            registry.process.wait(chance.uniform(0, 0.7))
        registry.end()


def check(registry: Registry, reader: Reader, writers: list[Writer], before: int) -> None:
    """Everything that was acknowledged is there; `before` is the revision at the last check."""
    if registry.process.poll() is not None:
        registry.start()
    services = wait_until(lambda: readable(reader), description="the registry answers again")
    changes = sum(writer.check(services) for writer in writers)
    assert reader.index >= before + changes, f"{changes} changes took the revision from {before} to {reader.index}"
    for name in STEADY:
        assert services[name]["is_healthy"], services[name]


def readable(reader: Reader) -> dict | None:
    with suppress(Unavailable):
        return reader.read()
    return None


def in_use(own: Router) -> set[str]:
    return {s["name"] for s in own.get("/services").json()["services"] if s["healthy"]}


def follows(own: Router, reader: Reader) -> None:
    """In the end the router has what the registry has."""
    wanted = {s["name"] for s in reader.read().values() if s["status"] == "running" and not s["drained"]}
    wait_until(lambda: in_use(own) == wanted, description=f"the router has {wanted}")


def never_left(own: Router) -> bool:
    """The router logs what it uses whenever that changes."""
    said = [line.partition("instances in use: ")[2] for line in own.output().splitlines() if "instances in use" in line]
    tables = [set(line.split(", ")) for line in said]
    first = next(n for n, table in enumerate(tables) if set(STEADY) <= table)
    assert len(tables) > first + 1, "the load has reached it"
    return all(set(STEADY) <= table for table in tables[first:])
