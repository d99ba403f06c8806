import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from svc.base.errors import SvcError
from svc.supervision.client import SupervisordClient
from tests.processes import members
from tests.waiting import wait_until

HEAD = """\
[supervisord]
logfile=%(here)s/supervisord.log
pidfile=%(here)s/supervisord.pid
nodaemon=true
[unix_http_server]
file=%(here)s/s.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[rpcinterface:svc]
supervisor.rpcinterface_factory = svc.supervision.policy:make
[supervisorctl]
serverurl=unix://%(here)s/s.sock
[include]
files = *.conf.d
"""
BIN = Path(sys.executable).parent
LAUNCH = f"{sys.executable} -m svc.supervision.launch"


class Supervisord:
    """A real supervisord in a directory with a short path, with the files that a test writes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = f"unix://{root}/s.sock"
        self.client = SupervisordClient(self.url)
        self.process: subprocess.Popen | None = None
        (root / "supervisord.conf").write_text(HEAD)

    def write(self, name: str, text: str) -> None:
        (self.root / f"{name}.conf.d").write_text(text)

    def remove(self, name: str) -> None:
        (self.root / f"{name}.conf.d").unlink()

    def program(self, name, command, *, max_restarts=2, delay=0, kind="program", group="", **options) -> None:
        """Add a managed program in a file of its own; `group` makes it NAME:server."""
        lines = {
            "command": command,
            "environment": f'SVC_MAX_RESTARTS="{max_restarts}",SVC_RESTART_DELAY="{delay}"',
            "startretries": 1000000,
            "startsecs": 1,
            "autorestart": "false",  # the extension does the restarts
            "stdout_logfile": f"%(here)s/{name}.log",
            "redirect_stderr": "true",
            **options,
        }
        text = f"[{kind}:{name}]\n" + "".join(f"{k}={v}\n" for k, v in lines.items())
        if group:
            text += f"process_name=server\n[group:{group}]\nprograms={name}\n"
        self.write(name, text)

    def start(self) -> "Supervisord":
        with open(self.root / "out", "ab") as out:
            self.process = subprocess.Popen(
                [BIN / "supervisord", "-n", "-c", self.root / "supervisord.conf"],
                cwd=self.root,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        wait_until(self.answers, description="supervisord answers")
        return self

    def answers(self) -> bool:
        with contextlib.suppress(SvcError):
            return self.client.state() == "RUNNING"
        assert self.process.poll() is None, (self.root / "out").read_text()
        return False

    def state(self, name: str) -> str:
        return self.client.process(name).state

    def await_state(self, name: str, state: str, timeout: float = 15) -> None:
        try:
            wait_until(lambda: self.state(name) == state, timeout, f"{name} is {state}")
        except AssertionError as error:
            logs = "".join(f"{path}:\n{path.read_text()}\n" for path in self.root.glob("*.log"))
            raise AssertionError(f"{error}\n{self.ctl('status')}\n{logs}") from None

    def restarts(self, name: str) -> int:
        return self.client.restarts()[name].restarts

    def ctl(self, *arguments: str) -> str:
        done = subprocess.run(
            [BIN / "supervisorctl", "-c", self.root / "supervisord.conf", *arguments],
            capture_output=True,
            text=True,
            timeout=30,
        )
        return done.stdout + done.stderr

    def log(self, name: str) -> str:
        path = self.root / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def end(self) -> None:
        """Kill every process of its session: faster and safer than a shutdown."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        while left := members(self.process.pid):
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@pytest.fixture
def supervisord():
    root = Path(tempfile.mkdtemp(prefix="svc-"))
    it = Supervisord(root)
    yield it
    it.end()
    shutil.rmtree(root, ignore_errors=True)
