"""Real processes: a registry, a babysitter alone, a supervisord with one instance and its babysitter."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import requests

from svc.base.errors import NotFound, SvcError, Unavailable
from svc.client.registry import RegistryClient
from svc.config.instance.load import load
from svc.config.settings_file import load_settings
from svc.render.paths import RenderPaths
from svc.render.supervisord_conf import render
from svc.supervision.client import SupervisordClient
from tests.processes import members
from tests.waiting import free_port, free_port_pair, wait_until

BIN = Path(sys.executable).parent
SVC = [sys.executable, "-m", "svc"]


class Running:
    """A process in a session of its own, which writes to a log."""

    def __init__(self, command, cwd: Path, log: Path) -> None:
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(command, cwd=cwd, stdout=out, stderr=out, start_new_session=True)

    def said(self) -> str:
        return self.log.read_text()

    def end(self, number: int = signal.SIGTERM, within: float = 15) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(within)

    def leave_nothing(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        for pid in members(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class Registry:
    """`svc registry`, whose database the test may throw away."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = root / "token"
        self.token.write_text("the-operators-token")
        self.client = RegistryClient(self.url, str(self.token))  # the names are the babysitters'
        self.running: Running | None = None

    def start(self) -> None:
        flags = ["--port", str(self.port), "--store", f"sqlite:{self.root}/registry.db", "--health-interval", "600"]
        flags += ["--token-file", str(self.token)]
        self.running = Running([*SVC, "registry", *flags], self.root, self.root / "registry.log")
        wait_until(self._answers, description="the registry answers")

    def lose_everything(self) -> None:
        """It dies with all it knew, and comes back."""
        self.running.leave_nothing()
        for path in self.root.glob("registry.db*"):
            path.unlink()
        self.start()

    def status(self, name: str) -> str | None:
        try:
            return self.client.get(name)["status"]
        except NotFound:
            return None

    def await_status(self, name: str, status: str | None, timeout: float = 15) -> None:
        wait_until(lambda: self.status(name) == status, timeout, f"{name} is {status}")

    def _answers(self):
        with contextlib.suppress(Unavailable):
            return self.client.health()


class Babysat:
    """What a babysitter answers on `port` + 1."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port + 1}"

    def get(self, path: str) -> requests.Response:
        return requests.get(self.url + path, timeout=15)

    def health(self) -> int:
        with contextlib.suppress(requests.ConnectionError):
            return self.get("/health").status_code
        return 0


class Site:
    """supervisord with one instance, from the same templates as every site's."""

    def __init__(self, root: Path, toml: str) -> None:
        for name in ("config", "conf.d", "logs", "var"):
            (root / name).mkdir()
        source = root / "config" / "q.toml"
        source.write_text(toml)
        self.root = root
        settings = load_settings(flags={"launch": {"components": "babysitter"}})
        for name, text in render(load([source], settings), settings, RenderPaths.of(root)).items():
            (root / name).write_text(text)
        self.supervisord = SupervisordClient(f"unix://{root}/var/supervisor.sock")
        self.running = Running([BIN / "supervisord", "-n"], root, root / "out")
        wait_until(self._answers, description="supervisord answers")

    def log(self, name: str) -> str:
        return (self.root / "logs" / f"{name}.log").read_text()

    def _answers(self) -> bool:
        with contextlib.suppress(SvcError):
            return self.supervisord.state() == "RUNNING"
        assert self.running.process.poll() is None, self.running.said()
        return False


@pytest.fixture(scope="module")
def running_registry(tmp_path_factory):
    one = Registry(tmp_path_factory.mktemp("registry"))
    one.start()
    yield one
    one.running.leave_nothing()


@pytest.fixture
def registry(running_registry):
    """One that knows nothing: what a test that killed its babysitter left there is gone."""
    for service in running_registry.client.services():
        running_registry.client.deregister(service["name"])
    return running_registry


@pytest.fixture
def port():
    return free_port_pair()


@pytest.fixture
def babysitter(tmp_path, port):
    """Starts `svc babysitter` for an instance on `port`, which something else runs, or nothing."""
    started = []

    def start(
        registry_url: str, more: str = "", metadata: str = "", host: str = "localhost", backend: str = ""
    ) -> Running:
        toml = tmp_path / "q.toml"
        toml.write_text(
            f'name = "q"\nhost = "{host}"\nport = {port}\nregistry_url = "{registry_url}"\n'
            f'[babysitter]\nheartbeat_interval = 1\n{more}[backend]\ntype = "mock"\nmodels = ["a"]\n'
            f"{backend}[metadata]\n{metadata}"
        )
        started.append(Running([*SVC, "babysitter", "--config-file", toml], tmp_path, tmp_path / "babysitter.log"))
        return started[-1]

    yield start
    for one in started:
        one.leave_nothing()


@pytest.fixture
def site(registry, port):
    """Starts a supervisord with an instance "q" on `port`, whose [backend] the test writes."""
    root = Path(tempfile.mkdtemp(prefix="svc-"))  # a socket's path must be short
    started = []

    def start(
        backend: str, max_restarts: int = 5, restart_delay: int = 1, host: str = "localhost", **babysitter: object
    ) -> Site:
        more = "".join(f"{key} = {json.dumps(value)}\n" for key, value in babysitter.items())
        toml = (
            f'name = "q"\nhost = "{host}"\nport = {port}\nregistry_url = "{registry.url}"\n'
            "[babysitter]\nheartbeat_interval = 10\n"
            f"max_restarts = {max_restarts}\nrestart_delay = {restart_delay}\n{more}[backend]\n{backend}\n"
        )
        started.append(Site(root, toml))
        return started[-1]

    yield start
    for one in started:
        with contextlib.suppress(subprocess.TimeoutExpired):
            one.running.end()
        one.running.leave_nothing()
    shutil.rmtree(root, ignore_errors=True)
