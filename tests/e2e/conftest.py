import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.container import Container
from tests.e2e.docker_engine import Engine
from tests.e2e.nspawn import CannotBoot, missing
from tests.e2e.sites import Site
from tests.e2e.systemd_fleet import SystemdFleet


@pytest.fixture
def site() -> Iterator[Site]:
    """An empty site; the test's end stops all that it started, and fails if something outlives that."""
    made = Site(Path(tempfile.mkdtemp(prefix="e2e-", dir="/tmp")))
    yield made
    made.end()


@pytest.fixture
def start_container(site) -> Iterator[Callable[..., Container]]:
    """Return a function that starts a container of the site; the end of the test kills what still runs."""
    started: list[Container] = []

    def start(**options) -> Container:
        started.append(Container(site, **options))
        return started[-1]

    yield start
    for container in started:
        if container.process.poll() is None:
            container.process.kill()
            container.wait()


@pytest.fixture(scope="module")
def boot_machines(tmp_path_factory) -> Iterator[Callable[..., SystemdFleet]]:
    """Return a function that boots machines of the documents; where none can be booted, it skips the test."""
    with ExitStack() as stack:

        def boot(*roles: str) -> SystemdFleet:
            if reason := missing():
                pytest.skip(reason)
            try:
                fleet = SystemdFleet(tmp_path_factory.mktemp("machines"), stack)
                fleet.boot(*roles)
            except CannotBoot as error:
                pytest.skip(f"no machine can be booted here: {error}")
            return fleet

        yield boot


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A Docker engine that has the images."""
    place = Path(tempfile.mkdtemp(prefix="svc-docker-", dir="/tmp"))
    place.chmod(0o711)  # the users of containers read mounted files of the checkout
    try:
        docker_engine = Engine(place)
        try:
            docker_engine.start(own_network=False)
            docker_engine.make_base()
            docker_engine.build("infinilm-svc", "docker/Dockerfile")
            docker_engine.build("infinilm-svc-rust", "docker/Dockerfile.rust")
            docker_engine.restart_in_own_network()
            yield docker_engine
        finally:
            docker_engine.end()
    finally:
        shutil.rmtree(place, ignore_errors=True)
