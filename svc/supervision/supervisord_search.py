"""Finds a site's supervisord without using its socket: by its pid file or its command line."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from svc.base import file_owner, procfs
from svc.config.site import Site

CONFIGURATION_FLAGS = ("-c", "--configuration")
SERVER_URL = b"SUPERVISOR_SERVER_URL=unix://"


def running_pid(site: Site) -> int | None:
    """Return the pid of the supervisord that runs on this site, or None if none runs.

    A supervisord runs on the site if it was started with one of the site's two configurations. If its configuration
    is unknown, its pid must be in the site's pid file, and its working directory must be the site's. The pid file alone
    is not enough, because it may be stale and contain the pid of a different supervisord. The command line alone is not
    enough either, because every user may start a process with any command line: the process must also have a user who
    may write to the site.
    """
    own = {os.path.realpath(conf) for conf in (site.supervisord_conf, site.var_supervisord_conf)}
    recorded = _recorded_pid(site)
    for pid in [*recorded, *procfs.process_ids()]:
        conf = configuration_of(pid)
        if conf is None or not _shares_pid_namespace(pid) or not _may_write(site, pid):
            continue
        if conf in own or (not conf and pid in recorded and _may_run_in(site.root, pid)):
            return pid
    return None


def stopped_state(pid: int) -> str:
    """Return T if a signal has stopped the process, t if a debugger has; "" if the process is not stopped."""
    with suppress(OSError, ValueError):
        stat = procfs.stat(pid)
        return stat.state if stat.is_stopped else ""
    return ""


def configuration_of(pid: int) -> str | None:
    """Return the path of the configuration with which a supervisord was started.

    Return an empty text if the path is unknown, and None if the process is not a supervisord or has ended.
    """
    try:
        arguments = [] if procfs.stat(pid).has_ended else procfs.arguments(pid)
    except (OSError, ValueError):
        return None
    return _configuration(arguments, pid) if _is_supervisord(arguments) else None


def site_of(pid: int) -> Path | None:
    """Return the root of the svc site to which a process belongs; None if it is unknown or not visible to this user."""
    for candidate in _sites_of(pid):
        if os.path.isdir(candidate / "config"):
            return candidate
    return None


def other_owner(site: Site, pid: int | None = None) -> str:
    """Return the user whose supervisord runs on the site; empty if that is the current user.

    If no supervisord is found, return the owner of the site's socket. `pid` is the supervisord's pid, if it is known.
    """
    pid = pid or running_pid(site)
    with suppress(OSError):
        if pid:
            uid = procfs.owner(pid)
            return "" if uid == os.geteuid() else file_owner.user_name(uid)
    return file_owner.other_owner(site.socket)


def _recorded_pid(site: Site) -> list[int]:
    with suppress(OSError, ValueError):
        return [int(site.pidfile.read_text())]
    return []


def _may_run_in(directory: Path, pid: int) -> bool:
    """Return whether a process runs in `directory`; also True if its working directory is unknown.

    A supervisord without `-c` reads the supervisord.conf of its working directory.
    """
    with suppress(OSError):  # only the process's own user may read the link
        return os.readlink(f"/proc/{pid}/cwd") == os.path.realpath(directory)
    return True


def _may_write(site: Site, pid: int) -> bool:
    """Return whether the user of a process is this process's user, or may write to the site's directory or its var/."""
    with suppress(OSError, ValueError):
        credentials = procfs.credentials(pid)
        return credentials.uid == os.geteuid() or any(map(credentials.may_write, _statuses(site.root, site.var)))
    return False


def _statuses(*paths: Path) -> Iterator[os.stat_result]:
    for path in paths:
        with suppress(OSError):
            yield path.stat()


def _is_supervisord(arguments: list[str]) -> bool:
    """Return whether a command line is `supervisord ...` or `python3 .../supervisord ...`."""
    names = [os.path.basename(argument) for argument in arguments if not argument.startswith("-")][:2]
    return names[:1] == ["supervisord"] or (names[1:] == ["supervisord"] and names[0].startswith("python"))


def _configuration(arguments: list[str], pid: int) -> str:
    for flag, value in zip(arguments, [*arguments[1:], ""], strict=True):
        name, equals, rest = flag.partition("=")
        path = value if flag in CONFIGURATION_FLAGS else rest if name in CONFIGURATION_FLAGS and equals else ""
        if path:
            with suppress(OSError):  # only the process's own user may read the link
                directory = "/" if os.path.isabs(path) else os.readlink(f"/proc/{pid}/cwd")
                return os.path.realpath(os.path.join(directory, path))
    return ""


def _shares_pid_namespace(pid: int) -> bool:
    """Return whether a process is in the same container as this process.

    In a different container, equal paths belong to a different site. Only the process's own user can see the container,
    so the result is True for processes of other users.
    """
    with suppress(OSError):
        return os.readlink(f"/proc/{pid}/ns/pid") == os.readlink("/proc/self/ns/pid")
    return True


def _sites_of(pid: int) -> Iterator[Path]:
    for ancestor in procfs.ancestors(pid):
        if conf := configuration_of(ancestor):
            yield from _roots(Path(conf))
    with suppress(OSError):
        for variable in procfs.environment(pid):
            if variable.startswith(SERVER_URL):
                yield from _roots(Path(os.fsdecode(variable.removeprefix(SERVER_URL))))


def _roots(path: Path) -> Iterator[Path]:
    """Yield the possible roots of the site to which `path` belongs, a supervisord.conf or a socket of supervisord."""
    if path.parent.name == "var":
        yield path.parent.parent
    yield path.parent
