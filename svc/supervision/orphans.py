"""What to do when supervisord died: its death signal reaches a server, but not the processes that server started."""

import contextlib
import dataclasses
import os
import signal
from collections.abc import Iterable, Iterator, Mapping

from svc.base import procfs


@dataclasses.dataclass(frozen=True, slots=True)
class ProcessEntry:
    """One line of the process table; `marks`: what of its first environment still names its program."""

    pid: int
    parent: int
    group: int
    session: int
    zombie: bool
    marks: frozenset[str]


def parent_died(environ: Mapping[str, str], parent: int) -> bool:
    """Whether `parent` (os.getppid()) is no longer the supervisord that started this program."""
    return environ.get("SVC_SUPERVISOR_PID", str(parent)) != str(parent)


def kill_instance(group: str, server_url: str, known_pid: int | None) -> list[int]:
    """SIGKILL every process of `group`:server, whose supervisord is that of `server_url`. Returns their pids.

    `known_pid` is the last one that supervisord told.
    """
    marks = marks_of(group, server_url)
    killed: set[int] = set()
    while fresh := _found(marks, known_pid) - killed:
        for pid in fresh:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        killed |= fresh  # another look: one may have started another meanwhile
    return sorted(killed)


def tree(pid: int) -> set[int]:
    """The processes of the instance whose process is `pid`: its group, and all that those started."""
    table = list(processes(marked=False))
    me = next(p for p in table if p.pid == os.getpid())
    return members(table, frozenset({"none has it"}), pid, me)


def _found(marks: frozenset[str], known_pid: int | None) -> set[int]:
    table = list(processes())
    me = next(p for p in table if p.pid == os.getpid())
    return members(table, marks, known_pid, me)


def marks_of(group: str, server_url: str) -> frozenset[str]:
    """The variables that supervisord gives a server; it passes them on to whatever it starts."""
    return frozenset(
        {
            f"SUPERVISOR_GROUP_NAME={group}",
            "SUPERVISOR_PROCESS_NAME=server",
            f"SUPERVISOR_SERVER_URL={server_url}",
        }
    )


def members(table: Iterable[ProcessEntry], marks: frozenset[str], known_pid: int | None, me: ProcessEntry) -> set[int]:
    """The pids of an instance, by two signs, because each may fail; never `me`.

    1. The process group that supervisord made for it: its id is the server's
       pid. Only in supervisord's session, which is mine too: elsewhere the pid
       has been given to somebody else.
    2. The environment it was started with, which a process title may overwrite.
    3. All of the group of such a one, and all that they started.
    """
    others = [p for p in table if not p.zombie and p.pid != me.pid]
    groups = {p.group for p in others if p.group == known_pid and p.session == me.session}  # 1
    groups |= {p.group for p in others if p.marks >= marks}  # 2, 3
    found = {p.pid for p in others if p.marks >= marks or p.group in groups - {me.group}}
    while more := {p.pid for p in others if p.parent in found} - found:  # 3
        found |= more
    return found


def processes(marked: bool = True) -> Iterator[ProcessEntry]:
    """All that there are; without their marks where those are not `marked`, which costs half."""
    for pid in procfs.process_ids():
        try:
            stat = procfs.stat(pid)
        except OSError:  # it has ended
            continue
        marks = _marks(pid) if marked else frozenset()
        yield ProcessEntry(pid, stat.parent, stat.group, stat.session, stat.has_ended, marks)


def _marks(pid: int) -> frozenset[str]:
    try:
        return frozenset(os.fsdecode(v) for v in procfs.environment(pid) if v.startswith(b"SUPERVISOR_"))
    except OSError:  # it has ended, or is another user's
        return frozenset()
