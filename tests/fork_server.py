"""Run commands of svc as forks of one process that has imported svc already.

A command as a shell starts it spends most of its time on imports: `svc status` took 0.45 s of CPU, and 0.08 s as a
fork on the same machine. What a command does, prints and returns is the same; tests/e2e/test_scripts.py and
tests/documents run the console script itself.

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
from typing import IO, NoReturn

from svc import __main__ as svc_main
from svc.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
SCRIPT = Path(sys.executable).parent / "svc"
INTEGER = struct.Struct("i")
# Servers set up the process before anything is imported, so they start as they do in a shell.
SERVER_COMMANDS = ("babysitter", "launch", "llama", "mock", "registry", "router", "run")


class ForkedCommand:
    """A running command, with the methods of `subprocess.Popen` that the tests use."""

    def __init__(
        self,
        arguments: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        out: IO[str] | None = None,
        user: str = "",
    ) -> None:
        self.args = ["svc", *arguments]
        self.returncode: int | None = None
        self.stdout, stdout = _output(out)
        self.stderr, stderr = _output(out)
        self._outputs: list[list[str]] = [[], []]
        self._readers: list[threading.Thread] = []
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(_server_address())
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


def _output(out: IO[str] | None) -> tuple[IO[str] | None, int]:
    """Return the end of a pipe to read from and the descriptor to write to; without a pipe, those of a file."""
    if out is not None:
        return None, out.fileno()
    read, write = os.pipe()
    return os.fdopen(read, encoding="utf-8"), write


def _read(stream: IO[str], chunks: list[str]) -> None:
    chunks.append(stream.read())
    stream.close()


_address: list[str] = []


def _server_address() -> str:
    """Start the server of this process at the first call; return the path of its socket."""
    if not _address:
        directory = tempfile.mkdtemp(prefix="fork-", dir="/tmp")
        path = f"{directory}/socket"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.fork_server", str(listener.fileno())],
            cwd=ROOT,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
        listener.close()

        def end() -> None:
            server.terminate()
            server.wait()
            os.unlink(path)
            os.rmdir(directory)

        atexit.register(end)
        _address.append(path)
    return _address[0]


def serve(listener: socket.socket) -> None:
    """Fork a command for each connection, and report the exit status of each that ends."""
    for name in COMMANDS:
        if name not in SERVER_COMMANDS:
            importlib.import_module(f"svc.cli.{name}")
    gc.freeze()  # the forks share the imported modules
    running: dict[int, socket.socket] = {}
    wakeup_read, wakeup_write = os.pipe()
    os.set_blocking(wakeup_write, False)
    signal.set_wakeup_fd(wakeup_write)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(wakeup_read, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                connection, _ = listener.accept()
                pid = os.fork()
                if not pid:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    run(connection)
                running[pid] = connection
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
        importlib.import_module("prometheus_client.parser")
        for codec in ("utf-8-sig", "idna", "unicode-escape"):
            codecs.lookup(codec)
        entry = pwd.getpwnam(request["user"])
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    time.tzset()
    sys.argv = [str(SCRIPT), *request["arguments"]]
    connection.sendall(INTEGER.pack(os.getpid()))
    svc_main.main()
    sys.exit()


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
