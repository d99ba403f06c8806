"""A unit's Exec lines, run as systemd would run them: in its order, its directory and its environment, each
without a shell. Users, limits and the sandbox are systemd's own."""

import os
import re
import shlex
import signal
import subprocess
from pathlib import Path

from tests.e2e.sites import BIN, Site

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"  # of a service without a PATH of its own


def systemd_section(site: Site, user: str = "infinilm") -> None:
    """Add the settings of a host with the svc under test, at a path without special characters."""
    (site.root / "prefix").symlink_to(BIN.parent)
    toml = site.root / "config" / "svc.toml"
    toml.write_text(
        f'{toml.read_text()}[systemd]\nuser = "{user}"\nsite = "{site.root}"\nprefix = "{site.root}/prefix"\n'
    )


class Unit:
    def __init__(self, path: Path) -> None:
        lines = re.findall(r"^(\w+)=(.*)$", path.read_text(), re.M)
        self.settings: dict[str, list[str]] = {}
        for key, value in lines:
            self.settings.setdefault(key, []).append(value)
        self.process: subprocess.Popen[str] | None = None

    def setting(self, key: str) -> str:
        (value,) = self.settings[key]
        return value

    def start(self) -> None:
        for line in self.settings.get("ExecStartPre", []):
            self.run(line)
        self.process = self._begin(self.setting("ExecStart"))

    def reload(self) -> str:
        return self.run(self.setting("ExecReload"))

    def stop(self) -> str:
        """ExecStop, then SIGTERM to the main process and SIGKILL to the rest; each has TimeoutStopSec."""
        assert self.process
        output = self.run(self.setting("ExecStop"), float(self.setting("TimeoutStopSec")))
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(float(self.setting("TimeoutStopSec")))
        return output

    def end(self) -> None:
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def run(self, line: str, timeout: float = 90) -> str:
        process = self._begin(line)
        out, _ = process.communicate(timeout=timeout)
        assert process.returncode == 0, f"{line}: {process.returncode}\n{out}"
        return out

    def _begin(self, line: str) -> subprocess.Popen[str]:
        arguments = shlex.split(line)
        assert arguments[0].startswith("/"), "systemd takes a program by its full path"
        assert "$" not in line, "nothing is expanded here"
        assert "%" not in line, "nor here"
        environ = dict(
            pair.split("=", 1) for value in self.settings.get("Environment", []) for pair in shlex.split(value)
        )
        own = {key: os.environ[key] for key in ("HOME", "PYTHONPATH") if key in os.environ}
        output = subprocess.DEVNULL if self.process is None and line == self.setting("ExecStart") else subprocess.PIPE
        return subprocess.Popen(
            arguments,
            cwd=self.setting("WorkingDirectory"),
            env={"PATH": PATH, **own, **environ},
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
