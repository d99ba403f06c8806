"""The processes of these tests: a registry, a babysitter, and a supervisord with one instance and its babysitter."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import requests

from svc.base.errors import NotFound, SvcError, Unavailable
from svc.client.registry import RegistryClient
from svc.config.instance.load import load
from svc.config.settings_file import load_settings
from svc.render.paths import RenderPaths
from svc.render.supervisord_conf import render
from svc.supervision.client import SupervisordClient
from tests.fork_server import SERVER_MODULES, start_server
from tests.processes import members
from tests.waiting import free_port, wait_until

BIN = Path(sys.executable).parent
SVC = [sys.executable, "-m", "svc"]


class LoggedProcess:
    """A process in its own session, which writes to a log."""

    def __init__(
        self, command: Sequence[object], cwd: Path, log: Path, environ: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        arguments, variables = list(map(str, command)), {**os.environ, **(environ or {})}
        with log.open("ab") as out:
            if arguments[:3] == SVC and arguments[3] in SERVER_MODULES:
                self.process: Any = start_server(*arguments[3:], cwd=cwd, env=variables, out=out)
            else:
                self.process = subprocess.Popen(
                    arguments, cwd=cwd, stdout=out, stderr=out, start_new_session=True, env=variables
                )

    def output(self) -> str:
        return self.log.read_text()

    def end(self, number: int = signal.SIGTERM, timeout: float = 15) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout)

    def kill_all(self) -> None:
        """Kill the process and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        for pid in members(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class RegistryProcess:
    """`svc registry`, whose database the test may delete."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = root / "token"
        self.token.write_text("the-operators-token")
        self.client = RegistryClient(self.url, str(self.token))  # the operator's token: the babysitters own the names
        self.running: LoggedProcess | None = None

    def start(self) -> None:
        flags = ["--port", str(self.port), "--store", f"sqlite:{self.root}/registry.db", "--health-interval", "600"]
        flags += ["--token-file", str(self.token)]
        self.running = LoggedProcess([*SVC, "registry", *flags], self.root, self.root / "registry.log")
        wait_until(self._answers, description="the registry answers")

    def restart_empty(self) -> None:
        """Kill the registry, delete its database, and start it again."""
        self.running.kill_all()
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

    def _answers(self) -> object:
        with contextlib.suppress(Unavailable):
            return self.client.health()


class BabysitterClient:
    """Requests to the babysitter of the instance at `port`."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port + 1}"

    def get(self, path: str) -> requests.Response:
        return requests.get(self.url + path, timeout=15)

    def post(self, path: str, body: dict[str, object]) -> requests.Response:
        return requests.post(self.url + path, json=body, timeout=15)

    def health(self) -> int:
        """Return the status of /health; 0 where nothing answers."""
        with contextlib.suppress(requests.ConnectionError):
            return self.get("/health").status_code
        return 0


class SupervisordSite:
    """A supervisord with one instance, or several, from the same templates as those of every site.

    `environ` is added to the environment of supervisord.
    """

    def __init__(self, root: Path, *tomls: str, environ: Mapping[str, str] | None = None) -> None:
        for name in ("config", "conf.d", "logs", "var"):
            (root / name).mkdir()
        sources = [root / "config" / f"q{number or ''}.toml" for number in range(len(tomls))]
        for source, toml in zip(sources, tomls, strict=True):
            source.write_text(toml)
        self.root = root
        self.environ = environ
        settings = load_settings(flags={"launch": {"components": "babysitter"}})
        for name, text in render(load(sources, settings), settings, RenderPaths.of(root)).items():
            (root / name).write_text(text)
        self.supervisord = SupervisordClient(f"unix://{root}/var/supervisor.sock")
        self.start()

    def start(self) -> None:
        """Start supervisord, also after it was killed."""
        self.running = LoggedProcess([BIN / "supervisord", "-n"], self.root, self.root / "out", self.environ)
        wait_until(self._answers, description="supervisord answers")

    def log(self, name: str) -> str:
        return (self.root / "logs" / f"{name}.log").read_text()

    def _answers(self) -> bool:
        with contextlib.suppress(SvcError):
            return self.supervisord.state() == "RUNNING"
        assert self.running.process.poll() is None, self.running.output()
        return False
