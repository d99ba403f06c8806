"""Finds the processes of an instance, and kills them after supervisord has died.

When supervisord dies, the kernel sends the death signal to the server, but not to processes that the server started.
"""

import contextlib
import dataclasses
import os
import signal
from collections.abc import Iterable, Iterator, Mapping

from svc.base import procfs


@dataclasses.dataclass(frozen=True, slots=True)
class ProcessEntry:
    """A process. `marks` are the SUPERVISOR_ variables in its environment; empty if the environment cannot be read."""

    pid: int
    parent: int
    group: int
    session: int
    zombie: bool
    marks: frozenset[str]


def parent_died(environ: Mapping[str, str], parent: int) -> bool:
    """Return whether the supervisord that started this program has died; `parent` is os.getppid()."""
    return environ.get("SVC_SUPERVISOR_PID", str(parent)) != str(parent)


def kill_instance(group: str, server_url: str, known_pid: int | None) -> list[int]:
    """Kill every process of the program `group`:server, run by the supervisord at `server_url`; return their pids.

    `known_pid` is the server's pid that supervisord reported last.
    """
    marks = marks_of(group, server_url)
    killed: set[int] = set()
    while remaining := _members_now(marks, known_pid) - killed:  # repeat for processes that were started meanwhile
        for pid in remaining:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        killed |= remaining
    return sorted(killed)


def process_tree(pid: int) -> set[int]:
    """Return the pids of a server's process group and of all its descendants. `pid` is the server's pid."""
    return _members_now(frozenset({"no process has this mark"}), pid, with_marks=False)


def _members_now(marks: frozenset[str], known_pid: int | None, with_marks: bool = True) -> set[int]:
    table = list(processes(with_marks))
    own_entry = next(entry for entry in table if entry.pid == os.getpid())
    return members(table, marks, known_pid, own_entry)


def marks_of(group: str, server_url: str) -> frozenset[str]:
    """Return the variables that supervisord sets for a server and that the server's child processes inherit."""
    return frozenset(
        {
            f"SUPERVISOR_GROUP_NAME={group}",
            "SUPERVISOR_PROCESS_NAME=server",
            f"SUPERVISOR_SERVER_URL={server_url}",
        }
    )


def members(
    table: Iterable[ProcessEntry], marks: frozenset[str], known_pid: int | None, own_entry: ProcessEntry
) -> set[int]:
    """Return the pids of an instance's processes, without the caller's own pid.

    1. Members of the process group `known_pid`, which supervisord created for the server. The group must be in the
       caller's session; a group in a different session means that the pid was reused.
    2. Processes that have all `marks` in their environment. Rule 1 is needed as well, because a program that changes
       its process title may overwrite its environment.
    3. All members of the process groups to which processes of rule 2 belong, and all descendants of processes that
       match a rule.
    """
    others = [entry for entry in table if not entry.zombie and entry.pid != own_entry.pid]
    groups = {p.group for p in others if p.group == known_pid and p.session == own_entry.session}  # rule 1
    groups |= {p.group for p in others if p.marks >= marks}  # rules 2 and 3
    pids = {p.pid for p in others if p.marks >= marks or p.group in groups - {own_entry.group}}
    while children := {p.pid for p in others if p.parent in pids} - pids:  # rule 3
        pids |= children
    return pids


def processes(with_marks: bool = True) -> Iterator[ProcessEntry]:
    """Yield every process. Without `with_marks`, this takes half the time, and the marks of all entries are empty."""
    for pid in procfs.process_ids():
        try:
            stat = procfs.stat(pid)
        except OSError:  # the process has ended
            continue
        marks = _marks(pid) if with_marks else frozenset()
        yield ProcessEntry(pid, stat.parent, stat.group, stat.session, stat.has_ended, marks)


def _marks(pid: int) -> frozenset[str]:
    try:
        return frozenset(os.fsdecode(v) for v in procfs.environment(pid) if v.startswith(b"SUPERVISOR_"))
    except OSError:  # the process has ended, or belongs to another user
        return frozenset()
