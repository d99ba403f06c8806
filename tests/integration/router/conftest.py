"""One router for most tests, in front of three fake instances whose scripts each test sets."""

from collections.abc import Iterator

import pytest

from tests.integration.router.instance import Instance
from tests.integration.router.routers import Router, router, service, static
from tests.waiting import free_port

MAX_BODY = 25_000_000


@pytest.fixture(scope="package")
def instances() -> Iterator[list[Instance]]:
    made = [Instance() for _ in range(3)]
    yield made
    for instance in made:
        instance.close()


@pytest.fixture(scope="package")
def shared(instances: list[Instance], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    """It relays every path. Instances a, b and c have a model of their own name; a and b have `ab`, all have `abc`.

    Nothing listens where `dead` is said to be; it shares models `dead-a`, `dead-ab`.
    """
    a, b, c = instances
    services = [
        service("a", a.port, "a", "ab", "abc", "dead-a", "dead-ab"),
        service("b", b.port, "b", "ab", "abc", "dead-ab"),
        service("c", c.port, "c", "abc"),
        service("dead", free_port(), "dead", "dead-a", "dead-ab"),
    ]
    path = static(tmp_path_factory.mktemp("router") / "static.json", services)
    flags = ("--static-services", path, "--max-errors", 1000, "--max-body", MAX_BODY, "--policy", "round_robin")
    flags += ("--allow-paths", "*")
    with router(*flags) as running:
        yield running
        assert "Traceback" not in running.output()


@pytest.fixture
def relay(shared: Router, instances: list[Instance]) -> Router:
    """The shared router, its instances as new."""
    for instance in instances:
        instance.play()
    return shared


@pytest.fixture
def a(relay: Router, instances: list[Instance]) -> Instance:
    return instances[0]


@pytest.fixture
def b(relay: Router, instances: list[Instance]) -> Instance:
    return instances[1]


@pytest.fixture
def c(relay: Router, instances: list[Instance]) -> Instance:
    return instances[2]
