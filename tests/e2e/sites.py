"""Sites in short temporary directories, on ports of their own, driven by the commands that an operator types."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import requests

from svc.base.errors import SvcError
from svc.settings import ENVIRONMENT_VARIABLES
from svc.supervision.client import SupervisordClient
from tests.fork_server import SERVER_COMMANDS, ForkedCommand
from tests.waiting import free_port_pair

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]
http = requests.Session()
http.trust_env = False


class Site:
    """A directory with config/svc.toml and nothing else yet."""

    def __init__(self, root: Path, settings: str = "") -> None:
        self.root = root
        self.registry_port, self.router_port = free_port_pair(), free_port_pair()
        self.registry = f"http://127.0.0.1:{self.registry_port}"
        self.router = f"http://127.0.0.1:{self.router_port}"
        self.supervisord = SupervisordClient(f"unix://{root}/var/supervisor.sock")
        (root / "config").mkdir(exist_ok=True)
        (root / "config" / "svc.toml").write_text(
            f"[registry]\nport = {self.registry_port}\nhealth_interval = 1\n"
            f"[router]\nport = {self.router_port}\nhealth_interval = 1\nregistry_sync_interval = 0.5\n{settings}"
        )

    def mock(self, name: str, models: str = "m", *flags: str, **babysitter: Any) -> int:
        """Write config/NAME.toml for a `svc mock`; return its port."""
        port = free_port_pair()
        arguments = ["--name", name, "--port", str(port), "--models", models, *flags]
        self.toml(name, port, f'command = "svc mock"\nargs = {arguments!r}', **babysitter)
        return port

    def toml(self, name: str, port: int, backend: str, **babysitter: Any) -> Path:
        """Write config/NAME.toml; `backend` holds the lines after type = "command"."""
        settings = "".join(f"{key} = {value}\n" for key, value in babysitter.items())
        path = self.root / "config" / f"{name}.toml"
        path.write_text(
            f'name = "{name}"\nport = {port}\n[babysitter]\n{settings}[backend]\ntype = "command"\n{backend}\n'
        )
        return path

    def start(self, *command: str, out: IO[str] | None = None, **environ: str) -> subprocess.Popen[str] | ForkedCommand:
        """Start a command in the site's directory, in a process group of its own; `out` gets all its output."""
        if command[0] == "svc" and command[1] not in SERVER_COMMANDS and "--foreground" not in command:
            return ForkedCommand(command[1:], self.root, clean_environ() | environ, out)
        program = BIN / command[0] if command[0] in ("svc", "supervisorctl", "supervisord") else self.root / command[0]
        return subprocess.Popen(
            [str(program), *command[1:]],
            cwd=self.root,
            env=clean_environ() | environ,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=out or subprocess.PIPE,
            stderr=out or subprocess.PIPE,
            start_new_session=True,
        )

    def killed(self, *command: str, after: float) -> bool:
        """Run a command, and kill its process group after so many seconds; return whether it was still at work."""
        process = self.start(*command)
        with suppress(subprocess.TimeoutExpired):
            process.wait(after)
        working = process.poll() is None
        if working:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)
        return working

    def run(self, *command: str, status: int | None = 0, timeout: float = 90, **environ: str) -> tuple[str, str]:
        """Return the stdout and stderr of a command; `status` is the exit code that it must have, None for any."""
        process = self.start(*command, **environ)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            raise AssertionError(f"{command}: not done after {timeout} s:\n{out}{err}") from None
        assert status is None or process.returncode == status, f"{command}: {process.returncode}\n{out}{err}"
        return out, err

    def svc(self, *arguments: str, status: int | None = 0, timeout: float = 90, **environ: str) -> tuple[str, str]:
        return self.run("svc", *arguments, status=status, timeout=timeout, **environ)

    def refused(self, *arguments: str, **environ: str) -> str:
        """Return the one line on stderr of a command that exits with 1."""
        _, err = self.svc(*arguments, status=1, **environ)
        lines = err.splitlines()
        assert len(lines) == 1, err
        assert lines[0].startswith("svc: ")
        return lines[0]

    def service(self, name: str) -> dict[str, Any]:
        """Return a service as the registry lists it; {} if it is not registered."""
        answer = http.get(f"{self.registry}/services/{name}", timeout=5)
        return answer.json() if answer.ok else {}

    def routed(self) -> set[str]:
        """Return the instances that the router sends requests to."""
        return {s["name"] for s in http.get(f"{self.router}/services", timeout=5).json()["services"] if s["healthy"]}

    def control_answers(self) -> bool:
        with suppress(SvcError):
            return self.supervisord.state() == "RUNNING"
        return False

    def answers(self) -> bool:
        """Return whether the router has an instance to send requests to."""
        with suppress(requests.RequestException):
            return bool(self.routed())
        return False

    def chat(self, model: str = "m", **more: Any) -> requests.Response:
        body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], **more}
        return requests.post(
            f"{self.router}/v1/chat/completions", json=body, timeout=30, stream=bool(more.get("stream"))
        )

    def pid(self, program: str = "") -> int:
        """Return the pid of a program; without a name, that of supervisord itself."""
        return self.supervisord.processes()[program].pid if program else self.supervisord.pid()

    def processes(self) -> dict[int, str]:
        """Return every process that works in the site's directory: supervisord and all its descendants."""
        return {pid: command for pid, directory, command in _processes() if directory.is_relative_to(self.root)}

    def files(self) -> Mapping[str, bytes]:
        """Return every file of the site except logs and state."""
        excluded = {self.root / name for name in ("logs", "var", ".git")}
        kept = [path for path in self.root.rglob("*") if path.is_file() and not excluded & {path, *path.parents}]
        return {str(path.relative_to(self.root)): path.read_bytes() for path in kept}

    def end(self) -> None:
        """Stop everything; kill and report what is left."""
        self.svc("down", status=None)
        leftovers = self.processes()
        for pid in leftovers:
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.root, ignore_errors=True)
        assert not leftovers, leftovers


class SharedSite:
    """A running site for the tests of a module. After a test that leaves it changed, the next test gets a new one."""

    def __init__(self, set_up: Callable[[Site], object]) -> None:
        self._set_up = set_up
        self._site: Site | None = None
        self._state: object = None

    def open(self) -> Site:
        if self._site is None:
            self._site = Site(Path(tempfile.mkdtemp(prefix="e2e-", dir="/tmp")))
            self._set_up(self._site)
            self._state = _state(self._site)
        return self._site

    def end_if_changed(self) -> None:
        """End the site unless what a test can see of it is as it was at first."""
        try:
            changed = self._site is not None and _state(self._site) != self._state
        except (SvcError, requests.RequestException):
            changed = True
        if changed:
            self.end()

    def end(self) -> None:
        site, self._site = self._site, None
        if site is not None:
            site.end()


def _state(site: Site) -> object:
    """Return the files, programs, restarts, registered and routed services of a site."""
    registered = http.get(f"{site.registry}/services", timeout=30).json()["services"]
    return (
        site.files(),
        {name: process.state for name, process in site.supervisord.processes().items()},
        site.supervisord.restarts(),
        {service["name"]: (service["status"], service["drained"]) for service in registered},
        site.routed(),
        (site.root / "var" / "rollout.json").exists(),
    )


def clean_environ() -> dict[str, str]:
    """Return the environment without the variables that change what svc does, and the terminal's width."""
    return {key: value for key, value in os.environ.items() if key not in (*ENVIRONMENT_VARIABLES, "COLUMNS")}


def _processes() -> Iterator[tuple[int, Path, str]]:
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            directory = (entry / "cwd").readlink()
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue  # it ended, or is not ours
        if command:  # a zombie has none
            yield int(entry.name), directory, command
