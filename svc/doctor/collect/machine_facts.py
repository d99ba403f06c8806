"""Reads facts of this machine: processes, sockets, disks, devices, host names, files and packages."""

import dataclasses
import os
import pwd
import re
import socket
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from svc.base import procfs, token_file
from svc.base.errors import ConfigError
from svc.base.own_commands import in_directory
from svc.config import router_keys, upstream_keys
from svc.doctor.facts import (
    API_KEYS,
    TOKEN,
    UPSTREAM_KEYS,
    Disk,
    HostName,
    Leftover,
    OpenFiles,
    PackageProblem,
    PortHolder,
    SecretFileFacts,
    SupervisordFacts,
)
from svc.site.shutdown import supervisord_socket
from svc.supervision import orphans
from svc.supervision.log_position import LogPosition, read_output
from svc.supervision.supervisord_search import site_of

MAX_LOG_BYTES = 32 << 10
MAX_LOG_LINES = 200


def processes_of(socket_path: Path) -> dict[int, str]:
    """Return a dict from pid to program, for the processes that a supervisord with this socket has started."""
    site_socket = os.path.realpath(socket_path)
    programs = {}
    for process in orphans.processes():
        if process.zombie or not any(supervisord_socket(mark) == site_socket for mark in process.marks):
            continue
        variables = dict(mark.partition("=")[::2] for mark in process.marks)
        group, name = variables.get("SUPERVISOR_GROUP_NAME", ""), variables.get("SUPERVISOR_PROCESS_NAME", "")
        programs[process.pid] = name if group == name else f"{group}:{name}"
    return programs


def leftovers(started: Iterable[int], supervisord: int | None) -> list[Leftover]:
    """Return the processes in `started` that run although their supervisord has ended.

    Ancestors of this command are left out. `started` contains the pids from `processes_of`, and `supervisord` is the
    pid of the running supervisord.
    """
    own = set(procfs.ancestors(os.getpid()))
    pids = (pid for pid in started if pid not in own and supervisord not in set(procfs.ancestors(pid)))
    return [Leftover(pid, command) for pid in sorted(pids) if (command := command_of(pid))]


def listeners(started: Mapping[int, str], leftovers: Collection[int]) -> dict[int, PortHolder]:
    """Return a dict from each port to the process that listens on it."""
    sockets = list(procfs.tcp_sockets(listeners_only=True))
    owners: dict[str, list[int]] = {}
    for pid, inode in procfs.socket_owners({row.inode for row in sockets}):
        owners.setdefault(inode, []).append(pid)
    holders: dict[int, PortHolder] = {}
    for inode, address, port, _ in sockets:
        pids = owners.get(inode, [])
        pid = next((pid for pid in pids if pid in started), pids[0] if pids else 0)
        before = holders.get(port)
        if before is None or (before.pid == 0 and pid):
            site = site_of(pid) if pid and pid not in started else None
            holders[port] = PortHolder(
                pid,
                command_of(pid),
                started.get(pid, ""),
                pid in leftovers,
                (address,),
                str(site or ""),
                in_directory(site, "down") if site else "",
            )
        else:
            holders[port] = dataclasses.replace(before, addresses=(*before.addresses, address))
    return holders


def command_of(pid: int) -> str:
    """Return a process's command line with secrets masked, because people copy the output."""
    try:
        return procfs.shown_command(pid) if pid else ""
    except OSError:
        return ""


def current_logs(supervisord: SupervisordFacts) -> dict[str, Sequence[str]]:
    """Return a dict from program to the last log lines of its latest process, which may have ended."""
    positions = supervisord.log_positions
    return {
        name: log_end(Path(process.logfile), positions[name][-1] if name in positions else None)
        for name, process in supervisord.processes.items()
        if process.logfile
    }


def earlier_logs(supervisord: SupervisordFacts) -> dict[str, Sequence[str]]:
    """Return a dict from program to the last log lines of its second-latest process, if it had more than one."""
    return {
        name: log_end(Path(supervisord.processes[name].logfile), *positions)
        for name, positions in supervisord.log_positions.items()
        if len(positions) > 1 and name in supervisord.processes
    }


def log_end(path: Path, begin: LogPosition | None = None, end: LogPosition | None = None) -> tuple[str, ...]:
    """Return the last lines of a log between two positions (see `read_output`); () if the log cannot be read."""
    try:
        output = read_output(path, begin, end, MAX_LOG_BYTES)
    except OSError:
        return ()
    return tuple(output.decode(errors="replace").splitlines()[-MAX_LOG_LINES:])


def last_exits(log: Sequence[str]) -> dict[str, str]:
    """Return how each program last ended, according to supervisord's log.

    In the log, a line from svc's extension contains the program's name, and the next line contains the exit status.
    """
    exits = {}
    for line, after in zip(log, log[1:], strict=False):
        program = re.search(r" svc: ([^ ]+): ", line)
        ended = re.search(r"exited: \S+ \((terminated by \w+|exit status \d+)", after)
        if program and ended:
            exits[program[1]] = ended[1]
    return exits


def disk(path: Path) -> Disk:
    """Return the disk space at a path, or at its nearest existing parent directory."""
    while not path.exists() and path != path.parent:
        path = path.parent
    stats = os.statvfs(path)
    inodes = stats.f_favail / stats.f_files if stats.f_files else 1.0
    size = stats.f_blocks * stats.f_frsize
    return Disk(str(path), stats.f_bavail * stats.f_frsize, size, inodes, os.access(path, os.W_OK))


def open_files(pids: Mapping[str, int]) -> Iterator[OpenFiles]:
    """Yield the number of open files of each program in `pids` whose entry in /proc can be read."""
    for program, pid in pids.items():
        with suppress(OSError, ValueError, IndexError):
            limit = procfs.open_file_limit(pid)
            if limit is not None:
                yield OpenFiles(program, procfs.open_file_count(pid), limit)


def host_name(host: str) -> HostName:
    """Return the addresses to which this machine resolves a host name, and whether one of them is its own."""
    try:
        entries = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return HostName(host, (), False, getattr(error, "strerror", None) or str(error))
    addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in entries))
    return HostName(host, addresses, any(is_local(address) for address in addresses))


def is_local(address: str) -> bool:
    """Return whether an address belongs to this machine: only then a socket can be bound to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.bind((address, 0))
        return True
    return False


def reader(supervisord: SupervisordFacts, var: Path) -> procfs.Credentials:
    """Return the credentials of the site's programs: those of supervisord, else of the owner of var/, else our own."""
    if supervisord.pid:
        return procfs.credentials(supervisord.pid)
    own = procfs.credentials(os.getpid())
    with suppress(OSError, KeyError):
        uid = var.stat().st_uid
        user = pwd.getpwuid(uid)
        groups = frozenset(os.getgrouplist(user.pw_name, user.pw_gid))
        return own if uid == own.uid else procfs.Credentials(uid, user.pw_gid, groups, uid == 0)
    return own


def secret_file(path: Path, setting: str, kind: str, reader: procfs.Credentials) -> SecretFileFacts:
    """Return facts of a file with a secret, without the secret. `reader` has the credentials of the site's programs."""
    errors: Sequence[str] = ()
    try:
        status = path.stat()
        data = path.read_bytes()
        word_count = len(data.split())
        if kind == TOKEN and token_file.is_table(data):
            word_count = 1
            token_file.parse_tokens(data, path)
        elif kind == UPSTREAM_KEYS:
            upstream_keys.load(path)
        elif kind == API_KEYS:
            router_keys.read(path)
    except FileNotFoundError:
        return SecretFileFacts(str(path), setting, missing=True, kind=kind)
    except OSError as error:
        return _unreadable_secret(path, setting, kind, error)
    except ConfigError as error:
        errors = error.problems
    return SecretFileFacts(
        str(path),
        setting,
        mode=stat.S_IMODE(status.st_mode),
        word_count=word_count,
        kind=kind,
        errors=errors,
        reader_gid=reader.gid if reader.needs_world_access(status) else None,
    )


def _unreadable_secret(path: Path, setting: str, kind: str, error: OSError) -> SecretFileFacts:
    closed = next((str(parent) for parent in reversed(path.absolute().parents) if not os.access(parent, os.X_OK)), "")
    return SecretFileFacts(
        str(path),
        setting,
        problem=(error.strerror or str(error)).lower(),
        kind=kind,
        closed_directory=closed,
        owner_uid=0 if closed else path.stat().st_uid,
    )


def connect_error(host: str, port: int, timeout: float) -> str:
    """Return why a connection fails, or an empty text if it succeeds."""
    try:
        socket.create_connection((host, port), timeout).close()
    except TimeoutError:
        return "no answer in time: a firewall, or no such machine"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


def package_problems(name: str = "infinilm-svc") -> Iterator[PackageProblem]:
    """Yield each of svc's required packages that is missing or has an unsuitable version."""
    try:
        requirements = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return
    for text in requirements:
        try:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                installed = metadata.version(requirement.name)
                if not requirement.specifier.contains(installed, prereleases=True):
                    problem = f"{requirement.name} is {installed}, and must be {requirement.specifier}"
                    yield PackageProblem(problem, _without_marker(requirement))
        except metadata.PackageNotFoundError:
            yield PackageProblem(f"{requirement.name} is missing", _without_marker(requirement))
        except InvalidRequirement:
            continue


def _without_marker(requirement: Requirement) -> str:
    """Return the requirement without its environment marker, as an argument for pip."""
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"
