"""Finds a site's supervisord by its socket, starts it as a daemon or in the foreground, and waits for its end."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

from svc.base import procfs
from svc.base.errors import CommandError, Unavailable
from svc.base.file_owner import user_name
from svc.base.own_commands import as_user
from svc.base.signals import deferred_interrupts, die_with_parent
from svc.config.site import Site
from svc.settings import ENVIRONMENT_VARIABLES
from svc.supervision import supervisord_search
from svc.supervision.client import SupervisordClient

TIMEOUT_SECONDS = 15.0  # limit for supervisord to answer after its start, and to end
SOCKET_TIMEOUT_SECONDS = 2.0  # limit for a supervisord without socket to start or end; after that, its socket is lost
POLL_INTERVAL_SECONDS = 0.05
FOREGROUND_STOP_TIMEOUT_SECONDS = 60.0  # limit for supervisord and its programs to end
READ_BYTES = 65536

OutputSink = Callable[[bytes], object]


class SupervisordUnusable(CommandError):
    """A supervisord runs on this site, but this command cannot use its socket. `pid` is None if the pid is unknown."""

    def __init__(self, message: str, pid: int | None) -> None:
        super().__init__(message)
        self.pid = pid


class SupervisordDenied(SupervisordUnusable):
    """The socket belongs to another user. Only that user can see whether a supervisord still listens on it."""


class SupervisordLost(SupervisordUnusable):
    """A supervisord runs although its socket is gone, for example after `rm -rf var`."""


class SupervisordStopped(SupervisordUnusable):
    """A signal (SIGSTOP) has stopped supervisord: it does not answer until it gets SIGCONT. Its programs still run."""


def find(site: Site) -> SupervisordClient | None:
    """Return a client of the supervisord that runs on this site, or None if none runs.

    The supervisord may run from the site's supervisord.conf or from the one in var/. Raise SupervisordUnusable if its
    socket cannot be used, and CommandError as `connect` does.
    """
    deadline = time.monotonic() + SOCKET_TIMEOUT_SECONDS
    while (supervisord := connect(site)) is None:
        pid = supervisord_search.running_pid(site)
        if pid is None:
            return connect(site)  # supervisord may have opened its socket meanwhile
        require_not_stopped(pid)
        if time.monotonic() > deadline:
            raise SupervisordLost(_lost_text(site, pid), pid)
        time.sleep(POLL_INTERVAL_SECONDS)
    return supervisord


def connect(site: Site) -> SupervisordClient | None:
    """Return a client of the supervisord that listens on the site's socket, or None if no supervisord listens there.

    Raise SupervisordDenied if the current user may not use the socket, and SupervisordStopped if a signal has stopped
    supervisord. Raise CommandError if the supervisord lacks svc's extension, for example because it was started by
    another program.
    """
    path = str(site.socket.absolute())
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return None  # the socket is missing or stale
        except PermissionError:
            raise SupervisordDenied(_denied_text(site), supervisord_search.running_pid(site)) from None
        except OSError as error:
            if error.errno is None:  # the path is too long for a socket, so no supervisord can listen there
                return None
            raise CommandError(f"{site.socket}: cannot connect to supervisord: {error.strerror}") from None
    require_not_stopped(supervisord_search.running_pid(site))
    supervisord = SupervisordClient(f"unix://{path}")
    with contextlib.suppress(Unavailable):  # supervisord is starting or ending
        if not supervisord.has_extension():
            raise CommandError(
                f"{site.socket}: what answers here is not svc's supervisord, so it is left alone; "
                f"stop it (supervisorctl -s unix://{path} shutdown), then svc up"
            )
    return supervisord


def require_not_stopped(pid: int | None) -> None:
    """Raise SupervisordStopped, with the cure, if a signal has stopped the supervisord with this pid."""
    if pid and (state := supervisord_search.stopped_state(pid)):
        sudo = "" if os.geteuid() in (0, procfs.owner(pid)) else "sudo "
        raise SupervisordStopped(
            f"supervisord: pid {pid} does not answer: stopped (state {state}); `{sudo}kill -CONT {pid}` lets it go on",
            pid,
        )


def _lost_text(site: Site, pid: int) -> str:
    text = f"supervisord runs here (pid {pid}), but its socket {site.socket} is gone, so that no command reaches it"
    owner = supervisord_search.other_owner(site, pid)
    cure = f"`{as_user(owner, ['down'])}`" if owner else "`svc down`"
    return f"{text}; {cure} ends it, then `svc up`"


def _denied_text(site: Site) -> str:
    owner = supervisord_search.other_owner(site)
    cure = f"it belongs to {owner}: run `{as_user(owner)}`" if owner else "make it accessible"
    return f"{site.socket}: user {user_name(os.geteuid())} may not use it; {cure}"


def program() -> Path:
    """Return the path of supervisord in svc's own environment; no other supervisord can load the extension."""
    path = Path(sys.executable).parent / "supervisord"
    if not path.exists():
        raise CommandError(f"{path}: not there; install svc with pip, which brings supervisor with it")
    return path


def start(site: Site, conf: Path, environ: Mapping[str, str]) -> SupervisordClient:
    """Start supervisord as a daemon and return its client.

    Raise CommandError with supervisord's output, or with the end of its log, if supervisord does not start.
    """
    log = site.logs / "supervisord.log"
    old_log_bytes = log.stat().st_size if log.exists() else 0
    with deferred_interrupts():
        return _start(site, conf, environ, log, old_log_bytes)


def _start(site: Site, conf: Path, environ: Mapping[str, str], log: Path, old_log_bytes: int) -> SupervisordClient:
    launched = subprocess.run(
        [str(program()), "-c", str(conf.absolute()), f"--umask={_umask():03o}"],  # else the daemon sets 022
        start_new_session=True,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if launched.returncode:
        raise CommandError(f"{conf}: supervisord does not start: {_error_line(launched.stdout)}")
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        supervisord = connect(site)
        if supervisord is not None:
            return supervisord
        time.sleep(POLL_INTERVAL_SECONDS)
    output = log.read_bytes()[old_log_bytes:].decode(errors="replace") if log.exists() else ""
    raise CommandError(f"{conf}: supervisord does not come up: {_error_line(output)}; see {log}")


def _umask() -> int:
    """Return the umask of this process. To read it, set it and restore it."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


@contextlib.contextmanager
def foreground_supervisord(
    conf: Path, environ: Mapping[str, str], sink: OutputSink
) -> Iterator[subprocess.Popen[bytes]]:
    """Run supervisord as a child process that ends with this process, even if this process is killed.

    supervisord has its own session, so that Ctrl-C reaches only this process. `sink` gets the output of supervisord
    and of the programs that log to supervisord's stdout. This stdout is a pipe, because programs could not open
    /dev/stdout if it were a socket.
    """
    parent = os.getpid()
    process = subprocess.Popen(
        [str(program()), "-n", "-c", str(conf.absolute())],
        # The environment variables for settings are left out, because the rendered files contain these settings.
        env={key: value for key, value in environ.items() if key not in ENVIRONMENT_VARIABLES},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=lambda: die_with_parent(signal.SIGTERM, parent),
    )
    assert process.stdout
    copier = threading.Thread(target=_copy_output, args=(process.stdout, sink), daemon=True)
    copier.start()
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(FOREGROUND_STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        copier.join(1)


def _copy_output(source: IO[bytes], sink: OutputSink) -> None:
    while data := source.read1(READ_BYTES):  # type: ignore[attr-defined]  # a pipe is a BufferedReader, which has read1
        sink(data)


def conf_d(supervisord: SupervisordClient | None, site: Site) -> Path:
    """Return var/conf.d if supervisord was started with var/supervisord.conf, else the site's conf.d."""
    runs_from_var = supervisord is not None and runs_from(supervisord, site.var_supervisord_conf)
    return site.var_conf_d if runs_from_var else site.conf_d


def runs_from(supervisord: SupervisordClient, conf: Path) -> bool:
    """Return whether a running supervisord was started with this configuration."""
    try:
        return str(conf.absolute()) in procfs.arguments(supervisord.pid())
    except OSError:
        return False


def end_lost(site: Site, pid: int) -> None:
    """End the supervisord with this pid, whose socket is gone, and its programs; raise CommandError if it runs on."""
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    except PermissionError:
        raise CommandError(_lost_text(site, pid)) from None
    wait_until_gone(site, pid)


def wait_until_gone(site: Site, pid: int) -> None:
    """Wait until the supervisord with this pid has ended.

    Raise CommandError if it still runs TIMEOUT_SECONDS after its last program has ended, and SupervisordStopped if a
    signal stops it meanwhile.
    """
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while _is_alive(pid):
        require_not_stopped(pid)
        if _has_children(pid):
            deadline = time.monotonic() + TIMEOUT_SECONDS
        if time.monotonic() > deadline:
            raise CommandError(f"supervisord (pid {pid}) does not end; see {site.logs / 'supervisord.log'}")
        time.sleep(POLL_INTERVAL_SECONDS)


def clean_up(site: Site) -> None:
    """Remove the socket and the pid file that a killed supervisord has left behind."""
    for path in (site.socket, site.pidfile):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise CommandError(f"{path}: cannot remove it: {error.strerror}") from None


def _is_alive(pid: int) -> bool:
    """Return whether the process runs. A zombie counts as ended: it remains where no init process reaps it."""
    try:
        return not procfs.stat(pid).has_ended
    except OSError:
        return False


def _has_children(pid: int) -> bool:
    for other in procfs.process_ids():
        with contextlib.suppress(OSError, ValueError):
            stat = procfs.stat(other)
            if stat.parent == pid and not stat.has_ended:
                return True
    return False


def _error_line(output: str) -> str:
    """Return the line of supervisord's output that contains the error."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and not line.startswith("For help")]
    errors = [line for line in lines if line.startswith("Error") or " CRIT " in line or "Error:" in line]
    return (errors or lines or ["it said nothing"])[-1].removeprefix("Error: ")
