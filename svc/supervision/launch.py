"""The exec shim in front of every program: `svc launch [options] -- COMMAND ARGS...`

The shim makes the process die with supervisord, refuses to start if the port is taken, and then executes the command,
so that supervisord sees the server's own pid. The shim imports little, because it delays the start of every program.
"""

import argparse
import errno
import os
import signal
import socket
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn

from svc.base import procfs, signals
from svc.base.errors import ConfigError
from svc.protocol import on_demand_variables, shim_variables

PRIVATE_VARIABLES = (  # read by supervisord's extension and this shim only, so removed from an instance's environment
    "SVC_MAX_RESTARTS",
    "SVC_RESTART_DELAY",
    "SVC_SUPERVISOR_PID",
    "SVC_PATH",
    "SVC_UMASK",
    *on_demand_variables.EXTENSION_VARIABLES,
)
VISIBLE_DEVICES_VARIABLES = (  # of NVIDIA, AMD, Ascend and MetaX
    "CUDA_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "ASCEND_RT_VISIBLE_DEVICES",
    "MACA_VISIBLE_DEVICES",
)
KEY_SETTING = "[backend] api_key_file"
PORT_TIMEOUT_SECONDS = 1.0  # time that the last worker of a killed server may need to release its port
PORT_POLL_INTERVAL_SECONDS = 0.05


def main(argv: Sequence[str] | None = None) -> int:
    """Run `svc launch`; return an exit code only if the command cannot be started."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    end = arguments.index("--") if "--" in arguments else len(arguments)
    command = arguments[end + 1 :]
    parser = argparse.ArgumentParser(
        prog="svc launch",
        usage="%(prog)s [options] -- COMMAND [ARG...]",
        description="Become COMMAND, tied to supervisord's life.",
        formatter_class=HelpFormatter,
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
        type=_name_and_value,
        help="deprecated; read from files of an older svc",
    )
    parser.add_argument("--key-file", metavar="FILE", help="file with the API key that COMMAND wants of its callers")
    parser.add_argument("--key-variable", metavar="NAME", help="the variable in which COMMAND gets that key")
    parser.add_argument("--own", action="store_true", help="COMMAND is svc itself: keep svc's PATH and variables")
    options = parser.parse_args(arguments[:end])
    if not command:
        parser.error("no command; give it after --")
    try:
        env = [*options.env, *key_variable(options.key_variable, options.key_file)]
        launch(command, options.port, options.death_signal, env, options.own, options.ipv6)
    except Refused as refused:
        from svc.base.printable import escaped  # here, because the shim starts every program, and few are refused

        message = escaped(f"svc launch: {refused}")  # escaped, because it may quote another process's command line
        print(message, file=sys.stderr, flush=True)
        return refused.code


class HelpFormatter(argparse.HelpFormatter):
    """Formats for 100 columns: for the terminal's real width, argparse would import shutil at each start, in 3 ms."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=98)


class Refused(Exception):
    """Raised if a command cannot be started, with the reason and the exit code of the shim."""

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
    """Replace this process by `argv`; raise Refused if the port is taken or the command cannot be run."""
    die_with_parent(getattr(signal, f"SIG{death_signal}"), os.environ)
    if port is not None:
        refuse_taken_port(port, ipv6=ipv6)
    directory = os.path.dirname(sys.executable)
    if not own and "SVC_UMASK" in os.environ:  # restore the operator's umask for an instance's files
        os.umask(int(os.environ["SVC_UMASK"], 8))
    environ = environment(os.environ, directory, env, own)
    path = find_command(argv[0], [*environ.get("PATH", os.defpath).split(os.pathsep), directory])
    # Reset the signals that Python ignores, because an ignored signal stays ignored after exec.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execve(path, list(argv), environ)
    except OSError as error:
        reason = "its interpreter (first line) is missing" if error.errno == errno.ENOENT else error.strerror
        raise Refused(f"cannot run {argv[0]!r}: {path}: {reason}", 127) from None


def key_variable(name: str | None, file: str | None) -> list[tuple[str, str]]:
    """Return the variable `name` with the API key in `file`, or no variable if one of the two is not given.

    Raise Refused if the file does not contain a key.
    """
    if not name or not file:
        return []
    from pathlib import Path  # here, because most programs have no key, and these imports take a fifth of a start

    from svc.base.secret_file import read
    from svc.protocol.engine_key import parse_key

    path = Path(os.path.normpath(file))
    try:
        return [(name, read(path, parse_key, KEY_SETTING))]
    except ConfigError as error:
        raise Refused(error.message, 1) from None


def die_with_parent(number: int, environ: Mapping[str, str]) -> None:
    """Ask the kernel to send this process a signal when supervisord dies; raise Refused if it has died already."""
    parent = environ.get("SVC_SUPERVISOR_PID", str(os.getppid()))
    signals.set_parent_death_signal(number)
    if str(os.getppid()) != parent:
        raise Refused("supervisord is gone; not starting without it", 1)


def environment(
    environ: Mapping[str, str], directory: str, env: Iterable[tuple[str, str]] = (), own: bool = False
) -> dict[str, str]:
    """Return the environment of the command. `directory` contains svc's executable; `own` means: the command is svc.

    svc's own programs get every variable. An instance gets none of the PRIVATE_VARIABLES. Its PATH begins with the
    operator's PATH, so that it runs the operator's `python3`, and ends with `directory`, so that `svc mock` is found.
    It sees only its own GPUs, unless the variables in its TOML say otherwise.
    """
    variables = dict(environ)
    if not own:
        path = environ.get("SVC_PATH", environ.get("PATH", os.defpath))
        for key in PRIVATE_VARIABLES:
            variables.pop(key, None)
        variables["PATH"] = os.pathsep.join([path, directory])
        variables.update(_visible_devices(environ.get(on_demand_variables.GPUS_VARIABLE, "")))
        variables = shim_variables.decoded(variables)
    variables.update(env)
    return variables


def _visible_devices(gpus: str) -> dict[str, str]:
    """Return the variables that make only these GPUs visible; none if it is not known which GPUs they are."""
    if not gpus:
        return {}
    # CUDA numbers GPUs by their speed unless this variable is set; nvidia-smi numbers them by their bus.
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", **dict.fromkeys(VISIBLE_DEVICES_VARIABLES, gpus)}


def find_command(command: str, path: Sequence[str]) -> str:
    """Return the executable file of a command; raise Refused with the searched directories if there is none."""
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


def refuse_taken_port(port: int, timeout_seconds: float = PORT_TIMEOUT_SECONDS, ipv6: bool = False) -> None:
    """Wait until the port is free. After `timeout_seconds`, raise Refused with the process that has the port."""
    deadline = time.monotonic() + timeout_seconds
    while is_taken(port, ipv6):
        if time.monotonic() > deadline:
            raise Refused(f"port {port} is taken by {_holder_text(port)}; stop it or choose another port", 1)
        time.sleep(PORT_POLL_INTERVAL_SECONDS)


def _holder_text(port: int) -> str:
    from svc.supervision.supervisord_search import site_of  # here, because only this error needs the import

    holder = holder_of(port)
    if holder is None:
        return "another program"
    pid, command = holder
    site = site_of(pid)
    return f"the svc site in {site} (pid {pid})" if site else f"{command} (pid {pid})"


def is_taken(port: int, ipv6: bool = False) -> bool:
    """Return whether the port is taken on IPv4 or, with `ipv6`, on IPv6."""
    return _in_use(socket.AF_INET, port) or (ipv6 and _in_use(socket.AF_INET6, port))


def _in_use(family: socket.AddressFamily, port: int) -> bool:
    """Return whether a socket of this family is bound to the port, by trying to bind the wildcard address."""
    try:
        with socket.socket(family) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # ignore connections in TIME_WAIT
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(("", port))
    except OSError as error:
        return error.errno == errno.EADDRINUSE  # the server itself reports any other failure
    return False


def holder_of(port: int) -> tuple[int, str] | None:
    """Return the pid and the command of the process that has the port, or None if /proc does not show the process."""
    for pid, _ in procfs.socket_owners(_socket_inodes(port)):
        try:
            return pid, procfs.shown_command(pid)
        except OSError:  # the process has ended, or belongs to another user
            continue
    return None


def _socket_inodes(port: int) -> set[str]:
    """Return the inodes of the sockets that are bound to the port."""
    return {socket.inode for socket in procfs.tcp_sockets() if socket.port == port} - {"0"}


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port")
    return int(text)


def _name_and_value(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not K=V")
    return key, value


if __name__ == "__main__":
    sys.exit(main())
