"""Decides whether systemd runs a site, from the site's running supervisord or from the unit that would start it.

No other module decides this.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from svc.base import procfs
from svc.base.errors import CommandError
from svc.base.file_owner import user_name
from svc.base.own_commands import as_user
from svc.config.site import Site
from svc.site import supervisord_process
from svc.site.systemd_unit import SERVICE_SUFFIX, SystemdUnit, service_of_cgroup, supervisord_configurations
from svc.supervision import supervisord_search

BOOTED = Path("/run/systemd/system")  # exists if systemd is the init system: sd_booted(3)
UNIT_DIRECTORIES = tuple(  # directories of the system's units, in the order of precedence in systemd.unit(5)
    Path(directory, "systemd/system") for directory in ("/etc", "/run", "/usr/local/lib", "/usr/lib")
)
FOREGROUND_FLAGS = {"-n", "--nodaemon"}


def find(site: Site, booted: Path = BOOTED, directories: Iterable[Path] = UNIT_DIRECTORIES) -> SystemdUnit | None:
    """Return the unit that runs the site or, if no supervisord runs, the unit that would start it.

    Return None if a supervisord runs that systemd did not start, or if the site has no unit.
    """
    if not booted.exists():
        return None
    if pid := supervisord_search.running_pid(site):
        return unit_of_process(pid)
    return installed_unit(site, booted, directories)


def installed_unit(
    site: Site, booted: Path = BOOTED, directories: Iterable[Path] = UNIT_DIRECTORIES
) -> SystemdUnit | None:
    """Return the system's unit whose ExecStart is the site's supervisord, marked as not running.

    A unit file hides the files of the same name in later directories. A masked unit is a link to /dev/null.
    """
    own = {os.path.realpath(conf) for conf in (site.supervisord_conf, site.var_supervisord_conf)}
    paths: dict[str, Path] = {}
    for directory in directories if booted.exists() else ():
        for path in sorted(directory.glob(f"*{SERVICE_SUFFIX}")):
            paths.setdefault(path.name, path)
    for name, path in paths.items():
        with suppress(OSError, ValueError):
            configurations = supervisord_configurations(path.read_text(encoding="utf-8"))
            if any(os.path.realpath(conf) in own for conf in configurations if os.path.isabs(conf)):
                return SystemdUnit(name.removesuffix(SERVICE_SUFFIX), is_running=False, systemctl=_systemctl())
    return None


def unit_of_process(pid: int) -> SystemdUnit | None:
    """Return the unit whose main process has this pid, or None if systemd did not start the process itself.

    The cgroup alone does not show that: if a shell of cron.service or ssh.service ran `svc up`, supervisord is in the
    cgroup of that service.
    """
    try:
        name, is_user_unit = service_of_cgroup(procfs.read(pid, "cgroup").decode())
        if name and _is_main_process(pid):
            return SystemdUnit(name, is_running=True, systemctl="systemctl --user" if is_user_unit else _systemctl())
    except (OSError, ValueError):  # the process has ended
        pass
    return None


def require_no_unit(site: Site) -> None:
    """Raise CommandError if systemd runs or starts the site, because `svc up` would start programs outside the unit."""
    supervisord_process.require_not_stopped(supervisord_search.running_pid(site))
    unit = find(site)
    if unit is None:
        return
    if not unit.is_running:
        raise CommandError(f"systemd starts this site (unit {unit.name}): `{unit.command('start')}`")
    raise CommandError(
        f"systemd runs this site (unit {unit.name}): `{unit.command('reload')}` applies the files, "
        f"`{unit.command('restart')}` starts everything anew"
    )


def prepare(site: Site) -> None:
    """Make the site ready for the supervisord that its unit is about to start.

    Raise CommandError if a supervisord runs already, because the new supervisord would find the socket taken.
    """
    if pid := supervisord_search.running_pid(site):
        name, _ = service_of_cgroup(procfs.read(os.getpid(), "cgroup").decode())
        with suppress(OSError):  # the supervisord has ended meanwhile
            owner = user_name(procfs.owner(pid))
            raise CommandError(
                f"supervisord (pid {pid}) runs on this site already, and systemd did not start it; "
                f"`{as_user(owner, ['down'])}` ends it" + (f", then `systemctl start {name}`" if name else "")
            )
    site.make_missing_dirs()


def _systemctl() -> str:
    return "systemctl" if os.geteuid() == 0 else "sudo systemctl"


def _is_main_process(pid: int) -> bool:
    """Return whether systemd has started a process directly, and not through another process.

    The environment of the process shows this, but only the user of the process may read it. For any other user, a
    process that is a child of systemd and runs in the foreground counts as started directly.
    """
    with suppress(OSError):
        environ = dict(pair.partition(b"=")[::2] for pair in procfs.environment(pid))
        if b"INVOCATION_ID" not in environ:
            return False
        if main := environ.get(b"SYSTEMD_EXEC_PID"):  # since systemd 248
            return main == str(pid).encode()
    parent = procfs.stat(pid).parent
    is_child_of_systemd = parent == 1 or os.path.basename("".join(procfs.arguments(parent)[:1])) == "systemd"
    return is_child_of_systemd and bool(FOREGROUND_FLAGS & set(procfs.arguments(pid)))
