"""The only reader of /proc, in which the kernel describes processes and sockets.

`svc launch`, which starts every program, imports this module, so the module itself imports little. Functions that read
one process raise OSError if the process has ended or belongs to another user.
"""

import os
import stat as stat_modes
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import NamedTuple

from svc.base.mask import without_secrets

TCP_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
READ_ANY_FILE = 0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, include/uapi/linux/capability.h
TCP_LISTEN = "0A"  # include/net/tcp_states.h


class ProcessStat(NamedTuple):
    """The fields of /proc/PID/stat that svc uses."""

    state: str
    parent: int
    group: int
    session: int

    @property
    def has_ended(self) -> bool:
        """Return whether the process is a zombie: it has ended, but its parent has not read the exit status yet."""
        return self.state in ("Z", "X")

    @property
    def is_stopped(self) -> bool:
        """Return whether a signal (SIGSTOP) or a debugger has stopped the process until it is continued."""
        return self.state in ("T", "t")


class Credentials(NamedTuple):
    """The user and the groups of a process, by which the kernel decides which files it may read."""

    uid: int
    gid: int
    groups: frozenset[int]  # the supplementary groups and `gid`
    reads_any_file: bool  # whether it may read every file, as root may unless its container forbids that

    def needs_world_access(self, status: os.stat_result) -> bool:
        """Return whether the process may read a file only because all users may; `chmod o=` would prevent that."""
        return not (self.reads_any_file or status.st_uid == self.uid or status.st_gid in self.groups)

    def may_write(self, status: os.stat_result) -> bool:
        """Return whether the process may write to a file, by the file's mode or because it has root's rights."""
        if self.reads_any_file:
            return True
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat_modes.S_IWUSR)
        in_group = status.st_gid in self.groups
        return bool(status.st_mode & (stat_modes.S_IWGRP if in_group else stat_modes.S_IWOTH))


class TcpSocket(NamedTuple):
    """One row of the kernel's table of TCP sockets."""

    inode: str  # "0": no process has the socket open any more
    address: str  # the local address, in hexadecimal digits as in the table
    port: int
    is_listener: bool


def process_ids() -> Iterator[int]:
    """Yield the pids of all processes."""
    return map(int, filter(str.isdigit, os.listdir("/proc")))


def read(pid: int, name: str) -> bytes:
    """Return the content of /proc/PID/NAME."""
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read()


def stat(pid: int) -> ProcessStat:
    """Return the state, parent, process group and session of a process."""
    # The fields follow the program's name in parentheses, which may itself contain spaces and parentheses.
    state, parent, group, session = read(pid, "stat").rpartition(b")")[2].split()[:4]
    return ProcessStat(state.decode(), int(parent), int(group), int(session))


def start_ticks(pid: int) -> int:
    """Return when a process was started, in clock ticks since the start of the machine.

    Together with the pid this identifies a process: the kernel gives the pid of an ended process to a new one.
    """
    return int(read(pid, "stat").rpartition(b")")[2].split()[19])


def age_seconds(pid: int) -> float:
    """Return for how long a process has been running."""
    with open("/proc/uptime", "rb") as file:
        uptime_seconds = float(file.read().split()[0])
    return uptime_seconds - start_ticks(pid) / os.sysconf("SC_CLK_TCK")


def arguments(pid: int) -> list[str]:
    """Return the command line of a process, beginning with the program; empty for a zombie."""
    command = read(pid, "cmdline").removesuffix(b"\0")
    return os.fsdecode(command).split("\0") if command else []


def shown_command(pid: int) -> str:
    """Return the command line of a process for printing, without its secrets."""
    return without_secrets(" ".join(arguments(pid)).strip())


def owner(pid: int) -> int:
    """Return the uid of the user that a process belongs to."""
    return os.stat(f"/proc/{pid}").st_uid


def credentials(pid: int) -> Credentials:
    """Return the effective user, group and rights of a process."""
    fields = dict(line.partition(":")[::2] for line in read(pid, "status").decode(errors="replace").splitlines())
    uid, gid = int(fields["Uid"].split()[1]), int(fields["Gid"].split()[1])
    groups = frozenset({gid, *map(int, fields["Groups"].split())})
    return Credentials(uid, gid, groups, bool(int(fields["CapEff"], 16) & READ_ANY_FILE))


def ancestors(pid: int) -> Iterator[int]:
    """Yield the pid of a process, then those of its parent and of all further ancestors."""
    while pid > 0:
        yield pid
        try:
            pid = stat(pid).parent
        except (OSError, ValueError):
            return


def descendants(pid: int) -> set[int]:
    """Return the pids of the running descendants of a process: its child processes, theirs, and so on."""
    parents: dict[int, int] = {}
    for other in process_ids():
        with suppress(OSError):  # the process has ended
            parents[other] = stat(other).parent
    pids: set[int] = set()
    while children := {other for other, parent in parents.items() if parent in pids | {pid}} - pids:
        pids |= children
    return pids


def environment(pid: int) -> list[bytes]:
    """Return the environment with which a process was started, as KEY=VALUE."""
    return [pair for pair in read(pid, "environ").split(b"\0") if pair]


def open_file_count(pid: int) -> int:
    """Return the number of open file descriptors of a process."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def open_file_limit(pid: int) -> int | None:
    """Return the maximum number of open file descriptors of a process; None if it is unlimited."""
    for line in read(pid, "limits").decode().splitlines():
        if line.startswith("Max open files"):
            soft_limit = line.split()[3]
            return int(soft_limit) if soft_limit.isdigit() else None
    return None


def tcp_sockets(listeners_only: bool = False) -> Iterator[TcpSocket]:
    """Yield the TCP sockets of this machine, IPv4 first.

    With `listeners_only`, other sockets are skipped before they are parsed: a busy router leaves tens of thousands of
    closed connections in the table.
    """
    for table in TCP_TABLES:
        with suppress(OSError), open(table) as file:
            next(file, None)  # the names of the columns
            for line in file:
                _, local, _, state, others = line.split(None, 4)
                if listeners_only and state != TCP_LISTEN:
                    continue
                address, _, port = local.rpartition(":")
                yield TcpSocket(others.split(None, 6)[5], address, int(port, 16), state == TCP_LISTEN)


def socket_owners(inodes: Collection[str]) -> Iterator[tuple[int, str]]:
    """Yield the pid and the inode for each process that has one of the sockets in `inodes` open."""
    links = {f"socket:[{inode}]": inode for inode in inodes}
    for pid in process_ids():
        with suppress(OSError):  # the process has ended, or belongs to another user
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):  # the descriptor was closed meanwhile
                    if (inode := links.get(os.readlink(f"/proc/{pid}/fd/{descriptor}"))) is not None:
                        yield pid, inode
