"""Run commands of svc as forks of processes that have imported svc already.

A command as a shell starts it spends most of its time on imports: `svc status` took 0.45 s of CPU, and 0.04 s as a
fork on the same machine. What a command does, prints and returns is the same; tests/e2e/test_scripts.py and
tests/documents run the console script itself.

A router, a registry or a mock is a fork of a process of its own. For router and registry, this process has imported
also what their workers import after gevent has patched the standard library, which is half of the CPU of a start. None
of these modules keeps what gevent replaces (tests/unit/test_fork_server.py). In whole sites (tests/e2e,
tests/documents, tests/browser), supervisord starts the servers as it does in production.

Each command has one connection to the server. The client sends the arguments, the directory, the environment and
three file descriptors; the server answers with the pid, and with the exit status when the command has ended.
"""

import atexit
import codecs
import gc
import importlib
import json
import os
import pwd
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NoReturn

from svc import __main__ as svc_main
from svc.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
SCRIPT = Path(sys.executable).parent / "svc"
LATE_MODULES = ("prometheus_client.parser", "svc.supervision.extension")  # which commands import when they need them
INTEGER = struct.Struct("i")
# Servers set up the process before anything is imported, so the process of all other commands forks none of them.
SERVER_COMMANDS = ("babysitter", "launch", "llama", "mock", "registry", "router", "run")
# The modules that a server imports before it listens. For each of these servers there is a process that forks it.
SERVER_MODULES = {
    "mock": ("svc.cli.mock", "svc.mock.server"),
    "registry": ("svc.cli.registry", "svc.registry.serve"),
    "router": ("svc.cli.router", "svc.router.serve"),
}
# What their workers import.
WORKER_MODULES = {
    "registry": (
        "svc.client.probe",
        "svc.registry.app",
        "svc.registry.health_checker",
        "svc.registry.leases.sweep",
        "svc.registry.metrics",
        "svc.registry.store.sqlite",
        "svc.registry.worker",
    ),
    "router": ("svc.router.app", "svc.router.router_components", "svc.router.worker"),
}


class ForkedCommand:
    """A running command, with the methods of `subprocess.Popen` that the tests use."""

    def __init__(
        self,
        arguments: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        out: IO[Any] | None = None,
        user: str = "",
    ) -> None:
        self.args = ["svc", *arguments]
        self.returncode: int | None = None
        self.stdout, stdout = _output(out)
        self.stderr, stderr = _output(out)
        self._outputs: list[list[str]] = [[], []]
        self._readers: list[threading.Thread] = []
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(_server_address(arguments[0] if arguments[0] in SERVER_MODULES else ""))
        request = json.dumps({"arguments": list(arguments), "cwd": str(cwd), "env": dict(env), "user": user}).encode()
        with open(os.devnull) as stdin:
            descriptors = [stdin.fileno(), stdout, stderr]
            socket.send_fds(self._connection, [INTEGER.pack(len(request))], descriptors)
            self._connection.sendall(request)
        if out is None:
            os.close(stdout)
            os.close(stderr)
        self.pid = self._receive()

    def poll(self) -> int | None:
        """Return the exit status, or None while the command runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status; raise TimeoutExpired if the command still runs after so many seconds."""
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._connection, selectors.EVENT_READ)
                if not selector.select(timeout):
                    raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = self._receive()
            self._connection.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Read all output and wait for the end; return stdout and stderr."""
        deadline = None if timeout is None else time.monotonic() + timeout
        if not self._readers and self.stdout and self.stderr:
            for stream, chunks in zip((self.stdout, self.stderr), self._outputs, strict=True):
                self._readers.append(threading.Thread(target=_read, args=(stream, chunks), daemon=True))
                self._readers[-1].start()
        for reader in self._readers:
            reader.join(None if deadline is None else max(0, deadline - time.monotonic()))
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self.wait(None if deadline is None else max(0, deadline - time.monotonic()))
        return "".join(self._outputs[0]), "".join(self._outputs[1])

    def send_signal(self, number: int) -> None:
        """Send a signal to the command, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the command."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Send SIGTERM to the command."""
        self.send_signal(signal.SIGTERM)

    def _receive(self) -> int:
        message = self._connection.recv(INTEGER.size, socket.MSG_WAITALL)
        if not message:
            raise AssertionError("the fork server has ended")
        return int(INTEGER.unpack(message)[0])


def run_svc(
    *arguments: object, cwd: Path = ROOT, env: Mapping[str, str] = os.environ, status: int = 0, timeout: float = 60
) -> tuple[str, str]:
    """Run a command that must exit with `status`; return its stdout and stderr."""
    command = ForkedCommand([str(argument) for argument in arguments], cwd, env)
    out, err = command.communicate(timeout)
    assert command.returncode == status, f"{command.args}: {command.returncode}\n{out}{err}"
    return out, err


def start_server(
    command: str, *arguments: object, cwd: Path = ROOT, env: Mapping[str, str], out: IO[Any]
) -> ForkedCommand:
    """Start a router, a registry or a mock, which writes to the file `out`."""
    if command not in SERVER_MODULES:
        raise ValueError(command)
    return ForkedCommand([command, *map(str, arguments)], cwd, env, out)


def _output(out: IO[str] | None) -> tuple[IO[str] | None, int]:
    """Return the end of a pipe to read from and the descriptor to write to; without a pipe, those of a file."""
    if out is not None:
        return None, out.fileno()
    read, write = os.pipe()
    return os.fdopen(read, encoding="utf-8"), write


def _read(stream: IO[str], chunks: list[str]) -> None:
    chunks.append(stream.read())
    stream.close()


_addresses: dict[str, str] = {}
_lock = threading.Lock()


def _server_address(server: str) -> str:
    """Return the path of the socket of the process that forks this server of svc; "": of the one for commands.

    The first call starts that process.
    """
    with _lock:
        if server not in _addresses:
            _addresses[server] = _start(server)
        return _addresses[server]


def _start(server: str) -> str:
    directory = tempfile.mkdtemp(prefix="fork-", dir="/tmp")
    path = f"{directory}/socket"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fork_server", str(listener.fileno()), *filter(None, [server])],
        cwd=ROOT,
        stdin=subprocess.PIPE,  # the process ends at its end of file, even if this one is killed
        pass_fds=[listener.fileno()],
        start_new_session=True,
    )
    listener.close()

    def end() -> None:
        process.stdin.close()
        process.wait()
        os.unlink(path)
        os.rmdir(directory)

    atexit.register(end)
    return path


def import_modules(server: str) -> None:
    """Import what this server of svc and its workers import; "": the modules of all commands."""
    if server:
        for name in (*SERVER_MODULES[server], *WORKER_MODULES.get(server, ())):
            importlib.import_module(name)
        return
    for name in COMMANDS:
        if name not in SERVER_COMMANDS:
            importlib.import_module(f"svc.cli.{name.replace('-', '_')}")
    for name in LATE_MODULES:
        importlib.import_module(name)
    gc.freeze()  # the forks share the imported modules


def serve(listener: socket.socket) -> None:
    """Fork a command for each connection, and report the exit status of each that ends; return at the end of stdin."""
    running: dict[int, socket.socket] = {}
    wakeup_read, wakeup_write = os.pipe()
    os.set_blocking(wakeup_write, False)
    signal.set_wakeup_fd(wakeup_write)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(wakeup_read, selectors.EVENT_READ)
    selector.register(sys.stdin, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                connection, _ = listener.accept()
                pid = os.fork()
                if not pid:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for other in (listener, selector, *running.values()):
                        other.close()
                    for descriptor in (wakeup_read, wakeup_write):
                        os.close(descriptor)
                    run(connection)
                running[pid] = connection
            elif key.fileobj is sys.stdin:
                return
            else:
                os.read(wakeup_read, 4096)
        for pid in list(running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                with running.pop(pid) as connection, suppress(OSError):  # the test may not wait for it
                    connection.sendall(INTEGER.pack(os.waitstatus_to_exitcode(status)))


def run(connection: socket.socket) -> NoReturn:
    """Become the command that the client asks for."""
    os.setsid()
    size, descriptors, _, _ = socket.recv_fds(connection, INTEGER.size, 3)
    request = json.loads(connection.recv(INTEGER.unpack(size)[0], socket.MSG_WAITALL))
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    if request["user"]:
        # What is imported late is imported now, because Python's own files may not be readable for that user.
        for codec in ("utf-8-sig", "idna", "unicode-escape"):
            codecs.lookup(codec)
        entry = pwd.getpwnam(request["user"])
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    time.tzset()
    sys.argv = [str(SCRIPT), *request["arguments"]]
    connection.sendall(INTEGER.pack(os.getpid()))
    connection.close()
    try:
        svc_main.main()
        sys.exit()
    except SystemExit as end:
        exit_at_once(end.code)
        raise


def exit_at_once(status: object) -> None:
    """Exit as Python does, but leave the objects to the kernel; return if `status` or an output needs Python's own way.

    To destroy the objects, Python writes to every page that the fork shares, which takes 0.04 s of CPU.
    """
    if status is None or isinstance(status, int):
        threading._shutdown()
        atexit._run_exitfuncs()
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status or 0)


if __name__ == "__main__":
    import_modules("".join(sys.argv[2:]))
    serve(socket.socket(fileno=int(sys.argv[1])))
