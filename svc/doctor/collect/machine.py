"""What this machine tells: its processes and sockets, disks, devices, names and files. Everything here acts."""

import glob
import os
import re
import shutil
import socket
import stat
import subprocess
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from svc.base import procfs
from svc.base.errors import ConfigError
from svc.config import keyfile, upstream_keys
from svc.doctor.facts import API_KEYS, TOKEN, UPSTREAM_KEYS, Disk, Gpus, Holder, Leftover, Name, Open, Secret
from svc.site.ports import ancestors
from svc.site.shutdown import supervisord_socket
from svc.supervision import orphans

LOG_BYTES = 32 << 10
LOG_LINES = 200
SLOW = 3.0  # seconds that nvidia-smi may need


def processes_of(socket_path: Path) -> dict[int, str]:
    """Pids of all that was started by a supervisord with this socket, with the programs they belong to."""
    here = os.path.realpath(socket_path)
    found = {}
    for process in orphans.processes():
        if process.zombie or not any(supervisord_socket(mark) == here for mark in process.marks):
            continue
        told = dict(mark.partition("=")[::2] for mark in process.marks)
        group, name = told.get("SUPERVISOR_GROUP_NAME", ""), told.get("SUPERVISOR_PROCESS_NAME", "")
        found[process.pid] = name if group == name else f"{group}:{name}"
    return found


def leftovers(started: Iterable[int], supervisord: int | None) -> list[Leftover]:
    """Those of `started` that do not come of the supervisord that runs, nor are what asks."""
    mine = set(ancestors(os.getpid()))
    left = (pid for pid in started if pid not in mine and supervisord not in set(ancestors(pid)))
    return [Leftover(pid, command) for pid in sorted(left) if (command := command_of(pid))]


def listeners(started: Mapping[int, str], left: Collection[int]) -> dict[int, Holder]:
    """Who listens, by port."""
    sockets = [row for row in procfs.tcp_sockets() if row.is_listener]
    owners: dict[str, list[int]] = {}
    for pid, inode in procfs.socket_owners({row.inode for row in sockets}):
        owners.setdefault(inode, []).append(pid)
    found: dict[int, Holder] = {}
    for inode, address, port, _ in sockets:
        pids = owners.get(inode, [])
        pid = next((pid for pid in pids if pid in started), pids[0] if pids else 0)
        before = found.get(port)
        if before is None or (before.pid == 0 and pid):
            found[port] = Holder(pid, command_of(pid), started.get(pid, ""), pid in left, (address,))
        else:
            found[port] = Holder(before.pid, before.command, before.program, before.left, (*before.addresses, address))
    return found


def command_of(pid: int) -> str:
    """Return a process's command line, without secrets, as what is printed gets copied."""
    try:
        return procfs.shown_command(pid) if pid else ""
    except OSError:
        return ""


def log_end(path: Path) -> tuple[str, ...]:
    """The last lines of a log; none where there is no log."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_BYTES))
            return tuple(file.read().decode(errors="replace").splitlines()[-LOG_LINES:])
    except OSError:
        return ()


def deaths(log: Sequence[str]) -> dict[str, str]:
    """How each program ended last, from supervisord's log: our extension names it, and the next line tells the rest."""
    found = {}
    for line, after in zip(log, log[1:], strict=False):
        named = re.search(r" svc: ([^ ]+): ", line)
        ended = re.search(r"exited: \S+ \((terminated by \w+|exit status \d+)", after)
        if named and ended:
            found[named[1]] = ended[1]
    return found


def disk(path: Path) -> Disk:
    while not path.exists() and path != path.parent:
        path = path.parent
    told = os.statvfs(path)
    inodes = told.f_favail / told.f_files if told.f_files else 1.0
    size = told.f_blocks * told.f_frsize
    return Disk(str(path), told.f_bavail * told.f_frsize, size, inodes, os.access(path, os.W_OK))


def open_files(pids: Mapping[str, int]) -> Iterator[Open]:
    """Of programs whose /proc we may read."""
    for program, pid in pids.items():
        with suppress(OSError, ValueError, IndexError):
            limit = procfs.open_file_limit(pid)
            if limit is not None:
                yield Open(program, procfs.open_file_count(pid), limit)


def gpus() -> Gpus:
    found = (re.fullmatch(r"/dev/nvidia(\d+)", path) for path in glob.glob("/dev/nvidia*"))
    indices = sorted(int(match[1]) for match in found if match)
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return Gpus(indices)
    try:
        told = subprocess.run([smi, "-L"], capture_output=True, text=True, timeout=SLOW, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Gpus(indices, (), f"nvidia-smi does not answer: {type(error).__name__}")
    rows = re.findall(r"^GPU (\d+): .*?(?:\(UUID: (\S+)\))?$", told.stdout, re.M)
    trouble = (told.stdout + told.stderr).strip().splitlines()[-1:] if told.returncode else []
    return Gpus(sorted({*indices, *(int(n) for n, _ in rows)}), [u for _, u in rows if u], "".join(trouble))


def name(host: str) -> Name:
    """How a host's name is resolved here, and whether it is this machine."""
    try:
        entries = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return Name(host, (), False, getattr(error, "strerror", None) or str(error))
    addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in entries))
    return Name(host, addresses, any(is_here(address) for address in addresses))


def is_here(address: str) -> bool:
    """Whether an address is this machine's: only such a one can be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.bind((address, 0))
        return True
    return False


def secret(path: Path, use: str, kind: str = TOKEN) -> Secret:
    """What there is to know of a file with a secret, but for the secret."""
    wrong: Sequence[str] = ()
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        words = len(path.read_text(encoding="utf-8", errors="replace").split())
        if kind == UPSTREAM_KEYS:
            upstream_keys.load(path)
        elif kind == API_KEYS:
            keyfile.read(path)
    except FileNotFoundError:
        return Secret(str(path), use, missing=True, kind=kind)
    except OSError as error:
        return Secret(str(path), use, trouble=(error.strerror or str(error)).lower(), kind=kind)
    except ConfigError as error:
        wrong = error.problems
    return Secret(str(path), use, mode=mode, words=words, kind=kind, wrong=wrong)


def reach(host: str, port: int, timeout: float) -> str:
    """Why a connection cannot be made; "" when it can."""
    try:
        socket.create_connection((host, port), timeout).close()
    except TimeoutError:
        return "no answer in time: a firewall, or no such machine"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""
