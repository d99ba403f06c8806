"""The exec shim in front of every program: `svc launch [options] -- COMMAND ARGS...`

It ties the process to supervisord's life, refuses a port that is taken, and
then becomes the command: the pid that supervisord sees is the server's. It runs
before everything else, so it imports little.
"""

import argparse
import errno
import os
import signal
import socket
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from svc.base import prctl, procfs, shim_variables
from svc.base.errors import ConfigError
from svc.base.printable import escaped
from svc.base.secret_file import read
from svc.protocol.engine_key import parse_key

OURS = (  # between supervisord and us
    "SVC_MAX_RESTARTS",
    "SVC_RESTART_DELAY",
    "SVC_SUPERVISOR_PID",
    "SVC_PATH",
    "SVC_UMASK",
)
KEY_SETTING = "[backend] api_key_file"
PATIENCE = 1.0  # seconds that a killed server's last worker may need to leave its port


def main(argv: Sequence[str] | None = None) -> int:
    """`svc launch`; returns only when there is nothing to become."""
    words = list(sys.argv[1:] if argv is None else argv)
    end = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(
        prog="svc launch",
        usage="%(prog)s [options] -- COMMAND [ARG...]",
        description="Become COMMAND, tied to supervisord's life.",
    )
    parser.add_argument("--port", type=_port, help="refuse to start when this port is taken")
    parser.add_argument("--ipv6", action="store_true", help="COMMAND listens on IPv6: the port must be free there, too")
    parser.add_argument(
        "--death-signal", choices=("KILL", "TERM"), default="KILL", help="what to get when supervisord dies [KILL]"
    )
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="K=V",
        type=_pair,
        help="deprecated; read from files of an older svc",
    )
    parser.add_argument("--key-file", metavar="FILE", help="file with the API key that COMMAND wants of its callers")
    parser.add_argument("--key-variable", metavar="NAME", help="the variable in which COMMAND gets that key")
    parser.add_argument("--own", action="store_true", help="COMMAND is svc itself: keep svc's PATH and variables")
    told = parser.parse_args(words[:end])
    if not words[end + 1 :]:
        parser.error("no command; give it after --")
    try:
        env = [*told.env, *key_variable(told.key_variable, told.key_file)]
        launch(words[end + 1 :], told.port, told.death_signal, env, told.own, told.ipv6)
    except Refused as refused:
        message = escaped(f"svc launch: {refused}")  # which holds another process's command line
        print(message, file=sys.stderr, flush=True)
        return refused.code


class Refused(Exception):
    """Why the command is not started, and the exit code that says so."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def launch(
    argv: Sequence[str],
    port: int | None = None,
    death_signal: str = "KILL",
    env: Iterable[tuple[str, str]] = (),
    own: bool = False,
    ipv6: bool = False,
) -> NoReturn:
    """Becomes `argv`. Raises Refused when the port is taken or there is no such command."""
    die_with_parent(getattr(signal, f"SIG{death_signal}"), os.environ)
    if port is not None:
        refuse_taken(port, ipv6=ipv6)
    directory = os.path.dirname(sys.executable)
    if not own and "SVC_UMASK" in os.environ:  # an instance's files are its operator's affair
        os.umask(int(os.environ["SVC_UMASK"], 8))
    environ = environment(os.environ, directory, env, own)
    path = find(argv[0], [*environ.get("PATH", os.defpath).split(os.pathsep), directory])
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and exec would pass that on
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execve(path, list(argv), environ)
    except OSError as error:
        reason = "its interpreter (first line) is missing" if error.errno == errno.ENOENT else error.strerror
        raise Refused(f"cannot run {argv[0]!r}: {path}: {reason}", 127) from None


def key_variable(name: str | None, file: str | None) -> list[tuple[str, str]]:
    """Return the variable with the API key that a file holds; raises Refused where it holds none."""
    if not name or not file:
        return []
    path = Path(os.path.normpath(file))
    try:
        return [(name, read(path, parse_key, KEY_SETTING))]
    except ConfigError as error:
        raise Refused(error.message, 1) from None


def die_with_parent(number: int, environ: Mapping[str, str]) -> None:
    """Ask for a signal when supervisord dies; exit at once if it died before that was asked."""
    parent = environ.get("SVC_SUPERVISOR_PID", str(os.getppid()))
    prctl.ask_for(number)
    if str(os.getppid()) != parent:
        raise Refused("supervisord is gone; not starting without it", 1)


def environment(
    environ: Mapping[str, str], directory: str, env: Iterable[tuple[str, str]] = (), own: bool = False
) -> dict[str, str]:
    """What the command sees. `directory` is where svc is.

    svc's own programs see everything. An instance sees the operator's PATH, so
    that `python3` is the operator's, with svc's directory at its end, so that
    `svc mock` is found; and none of the variables between supervisord and us.
    """
    seen = dict(environ)
    if not own:
        path = environ.get("SVC_PATH", environ.get("PATH", os.defpath))
        for key in OURS:
            seen.pop(key, None)
        seen["PATH"] = os.pathsep.join([path, directory])
        seen = shim_variables.decoded(seen)
    seen.update(env)
    return seen


def find(command: str, path: Sequence[str]) -> str:
    """The file that `command` names. Raises Refused that names it, and where it was looked for."""
    candidates = [command] if "/" in command else [os.path.join(d or ".", command) for d in path]
    files = [c for c in candidates if os.path.isfile(c)]
    for file in files:
        if os.access(file, os.X_OK):
            return file
    if files:
        raise Refused(f"cannot run {command!r}: {files[0]} is not executable; chmod +x it", 127)
    if "/" in command:
        raise Refused(f"cannot run {command!r}: no such file (from {os.getcwd()}); correct the path", 127)
    raise Refused(
        f"cannot run {command!r}: not found in PATH ({os.pathsep.join(path)}); install it or give its full path", 127
    )


def refuse_taken(port: int, patience: float = PATIENCE, ipv6: bool = False) -> None:
    """Raises Refused that says who holds the port, if it is still held after `patience` seconds."""
    deadline = time.monotonic() + patience
    while taken(port, ipv6):
        if time.monotonic() > deadline:
            holder = holder_of(port)
            by = f"by {holder[1]} (pid {holder[0]})" if holder else "by another program"
            raise Refused(f"port {port} is taken {by}; stop it or choose another port", 1)
        time.sleep(0.05)


def taken(port: int, ipv6: bool = False) -> bool:
    """Whether a server could not listen there, on IPv4 or, with `ipv6`, on either."""
    return _in_use(socket.AF_INET, port) or (ipv6 and _in_use(socket.AF_INET6, port))


def _in_use(family: socket.AddressFamily, port: int) -> bool:
    """Whether the port is taken in one family. Its wildcard address collides with a listener on any address of it."""
    try:
        with socket.socket(family) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection in TIME_WAIT takes no port
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(("", port))
    except OSError as error:
        return error.errno == errno.EADDRINUSE  # other failures are the server's to tell
    return False


def holder_of(port: int) -> tuple[int, str] | None:
    """Pid and command of the process that has the port, as far as /proc tells us."""
    for pid, _ in procfs.socket_owners(_inodes(port)):
        try:
            return pid, procfs.shown_command(pid)
        except OSError:  # it has ended, or is somebody else's
            continue
    return None


def _inodes(port: int) -> set[str]:
    """Return the sockets bound to the port."""
    return {socket.inode for socket in procfs.tcp_sockets() if socket.port == port} - {"0"}


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port")
    return int(text)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not K=V")
    return key, value


if __name__ == "__main__":
    sys.exit(main())
