"""Fixtures that start a registry, a babysitter, or a supervisord with one instance and its babysitter."""

import contextlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.integration.babysitter.processes import SVC, LoggedProcess, RegistryProcess, SupervisordSite
from tests.waiting import free_port_pair


@pytest.fixture(scope="module")
def running_registry(tmp_path_factory):
    process = RegistryProcess(tmp_path_factory.mktemp("registry"))
    try:
        process.start()
        yield process
    finally:
        process.running.kill_all()


@pytest.fixture
def registry(running_registry):
    """Return a registry without registrations, also after a test that killed its babysitter."""
    for service in running_registry.client.services():
        running_registry.client.deregister(service["name"])
    return running_registry


@pytest.fixture
def port():
    return free_port_pair()


@pytest.fixture
def babysitter(tmp_path, port):
    """Return a function that starts `svc babysitter` for an instance on `port` that no supervisord runs."""
    started = []

    def start(
        registry_url: str, more: str = "", metadata: str = "", host: str = "localhost", backend: str = ""
    ) -> LoggedProcess:
        toml = tmp_path / "q.toml"
        toml.write_text(
            f'name = "q"\nhost = "{host}"\nport = {port}\nregistry_url = "{registry_url}"\n'
            f'[babysitter]\nheartbeat_interval = 1\n{more}[backend]\ntype = "mock"\nmodels = ["a"]\n'
            f"{backend}[metadata]\n{metadata}"
        )
        started.append(
            LoggedProcess([*SVC, "babysitter", "--config-file", toml], tmp_path, tmp_path / "babysitter.log")
        )
        return started[-1]

    yield start
    for process in started:
        process.kill_all()


@pytest.fixture
def site(registry, port):
    """Return a function that starts a supervisord with an instance "q" on `port`, whose [backend] the test writes."""
    root = Path(tempfile.mkdtemp(prefix="svc-"))  # a socket's path must be short
    started = []

    def start(
        backend: str, max_restarts: int = 5, restart_delay: int = 1, host: str = "localhost", **babysitter: object
    ) -> SupervisordSite:
        more = "".join(f"{key} = {json.dumps(value)}\n" for key, value in babysitter.items())
        toml = (
            f'name = "q"\nhost = "{host}"\nport = {port}\nregistry_url = "{registry.url}"\n'
            "[babysitter]\nheartbeat_interval = 10\n"
            f"max_restarts = {max_restarts}\nrestart_delay = {restart_delay}\n{more}[backend]\n{backend}\n"
        )
        started.append(SupervisordSite(root, toml))
        return started[-1]

    yield start
    for running_site in started:
        with contextlib.suppress(subprocess.TimeoutExpired):
            running_site.running.end()
        running_site.running.kill_all()
    shutil.rmtree(root, ignore_errors=True)
