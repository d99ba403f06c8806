"""Reads facts of the site's supervisord: whether it runs, whether it has svc's extension, and its programs."""

import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

from svc.base import procfs
from svc.base.errors import CommandError, SvcError
from svc.base.file_owner import user_name
from svc.config.site import Site
from svc.doctor.collect.machine_facts import log_end
from svc.doctor.facts import SupervisordFacts
from svc.site import supervisord_end
from svc.site.program_groups import running_keys_file
from svc.supervision import supervisord_search
from svc.supervision.client import SupervisordClient
from svc.supervision.xmlrpc_channel import SupervisordLate

RPC_TIMEOUT_SECONDS = 3.0
MAX_LOG_LINES = 6  # number of lines at the end of supervisord's log that are searched for an error


def supervisord(site: Site) -> SupervisordFacts:
    path = str(site.socket.absolute())
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(path)
        except PermissionError:
            owner = supervisord_search.other_owner(site) or user_name(os.geteuid())
            return SupervisordFacts(problem=f"{path}: permission denied", socket_owner=owner)
        except OSError:  # no socket, a stale socket, or a path that is too long
            return SupervisordFacts(
                pid_without_socket=supervisord_search.running_pid(site), last_error=_last_error(site)
            )
    pid = supervisord_search.running_pid(site)
    if pid and (state := supervisord_search.stopped_state(pid)):
        return SupervisordFacts(problem=f"stopped (state {state})", stopped_pid=pid)
    client = SupervisordClient(f"unix://{path}", RPC_TIMEOUT_SECONDS)
    try:
        return _facts(client)
    except SvcError as error:
        problem = error.message.removeprefix(f"unix://{path}: ")
        if pid and supervisord_end.is_ending(site):
            return SupervisordFacts(problem=problem, ending_pid=pid)
        return silent_supervisord(problem, pid, isinstance(error, SupervisordLate))


def silent_supervisord(problem: str, pid: int | None, is_late: bool) -> SupervisordFacts:
    """Return the facts of a supervisord that does not answer, or not in time. `pid` is None if it is not known."""
    age_seconds = None
    with suppress(OSError):
        age_seconds = procfs.age_seconds(pid) if pid else None
    return SupervisordFacts(problem=problem, pid_without_socket=pid, is_late=is_late, age_seconds=age_seconds)


def runs_from(pid: int, conf: Path) -> bool:
    """Return whether a supervisord was started with this configuration."""
    with suppress(OSError):
        return str(conf.absolute()) in procfs.arguments(pid)
    return False


def _facts(supervisord: SupervisordClient) -> SupervisordFacts:
    pid = supervisord.pid()
    positions = supervisord.log_positions()  # read first: a process that starts later has written nothing yet
    processes, version = supervisord.processes(), supervisord.supervisor_version()
    try:
        restarts, extended = supervisord.restarts(), True
    except CommandError:
        restarts, extended = {}, False
    code = supervisord.running_versions() if extended else {}
    keys_file = running_keys_file(supervisord) if code else None
    return SupervisordFacts(
        pid=pid,
        processes=processes,
        restarts=restarts,
        log_positions=positions,
        router_keys_file=keys_file,
        has_extension=extended,
        version=version,
        svc_version=code.get("svc", ""),
        python=_other_python_directory(pid),
    )


def _other_python_directory(pid: int) -> str:
    """Return the directory of supervisord's Python, or an empty text if this command uses the same Python."""
    with suppress(OSError):
        directory = os.path.dirname("".join(procfs.arguments(pid)[:1]))
        if os.path.isabs(directory) and os.path.realpath(directory) != os.path.realpath(
            os.path.dirname(sys.executable)
        ):
            return directory
    return ""


def _last_error(site: Site) -> str:
    lines = log_end(site.logs / "supervisord.log")[-MAX_LOG_LINES:]
    return next((line for line in reversed(lines) if " CRIT " in line or line.startswith("Error")), "")
