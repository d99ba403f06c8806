"""The site's supervisord: whether it runs, whether it is the right one, and what it says. Everything here acts."""

import os
import pwd
import socket
import sys
from contextlib import suppress
from pathlib import Path

from svc.base import procfs
from svc.base.errors import CommandError, SvcError
from svc.config.site import Site
from svc.doctor.collect.machine import command_of, log_end
from svc.doctor.facts import Supervisor
from svc.supervision.client import SupervisordClient

PATIENCE = 3.0  # seconds for each of its answers
LAST = 6  # lines of its log, of one that does not run


def supervisor(site: Site) -> Supervisor:
    path = str(site.socket.absolute())
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(path)
        except PermissionError:
            return Supervisor(trouble=f"{path}: permission denied", owner=_owner(path))
        except OSError:  # none, a stale one, or none that can be had
            return Supervisor(lost=_lost(site), last_words=_last_words(site))
    supervisord = SupervisordClient(f"unix://{path}", PATIENCE)
    try:
        return _asked(supervisord)
    except SvcError as error:
        return Supervisor(trouble=error.message.removeprefix(f"unix://{path}: "), lost=_lost(site))


def runs_from(pid: int, conf: Path) -> bool:
    """Whether a supervisord was started with this configuration."""
    with suppress(OSError):
        return str(conf.absolute()) in procfs.arguments(pid)
    return False


def _asked(supervisord: SupervisordClient) -> Supervisor:
    pid = supervisord.pid()
    processes, number = supervisord.processes(), supervisord.supervisor_version()
    try:
        restarts, extended = supervisord.restarts(), True
    except CommandError:
        restarts, extended = {}, False
    code = supervisord.running_versions() if extended else {}
    return Supervisor(
        pid=pid,
        processes=processes,
        restarts=restarts,
        extended=extended,
        version=number,
        code=code.get("svc", ""),
        python=_other_python(pid),
    )


def _other_python(pid: int) -> str:
    """The directory of its interpreter, if it is not the one of ours."""
    with suppress(OSError):
        there = os.path.dirname("".join(procfs.arguments(pid)[:1]))
        if os.path.isabs(there) and os.path.realpath(there) != os.path.realpath(os.path.dirname(sys.executable)):
            return there
    return ""


def _lost(site: Site) -> int | None:
    """One that lives, by the file with its pid, although its socket is gone."""
    with suppress(OSError, ValueError):
        pid = int(site.pidfile.read_text())
        if "supervisord" in command_of(pid) and str(site.root.absolute()) in command_of(pid):
            return pid
    return None


def _owner(path: str) -> str:
    with suppress(OSError, KeyError):
        return pwd.getpwuid(os.stat(path).st_uid).pw_name
    return ""


def _last_words(site: Site) -> str:
    lines = log_end(site.logs / "supervisord.log")[-LAST:]
    return next((line for line in reversed(lines) if " CRIT " in line or line.startswith("Error")), "")
