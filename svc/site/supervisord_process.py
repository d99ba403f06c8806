"""The site's supervisord: found by its socket, started, waited for."""

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from svc.base import procfs
from svc.base.errors import CommandError, Unavailable
from svc.config.site import Site
from svc.supervision.client import SupervisordClient

PATIENCE = 15.0  # seconds that supervisord may need to answer, or to be gone
PAUSE = 0.05


def find(site: Site) -> SupervisordClient | None:
    """The supervisord that runs on this site, whichever configuration it was started with; None where none does.

    Raises CommandError where what answers is not svc's: restart limits and the rest are its extension's.
    """
    path = str(site.socket.absolute())
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(path)
        except OSError:
            return None  # no socket, or a stale one
    supervisord = SupervisordClient(f"unix://{path}")
    with contextlib.suppress(Unavailable):  # it has just begun, or is about to end
        if not supervisord.ours():
            raise CommandError(
                f"{site.socket}: what answers here is not svc's supervisord, so it is left alone; "
                f"stop it (supervisorctl -s unix://{path} shutdown), then svc up"
            )
    return supervisord


def program() -> Path:
    """The supervisord of svc's own environment: another cannot load the extension."""
    path = Path(sys.executable).parent / "supervisord"
    if not path.exists():
        raise CommandError(f"{path}: not there; install svc with pip, which brings supervisor with it")
    return path


def start(site: Site, conf: Path, environ: Mapping[str, str]) -> SupervisordClient:
    """Starts supervisord as a daemon; raises CommandError with what it said, or logged, when it does not come up."""
    log = site.logs / "supervisord.log"
    told_before = log.stat().st_size if log.exists() else 0
    with _undisturbed():
        return _start(site, conf, environ, log, told_before)


def _start(site: Site, conf: Path, environ: Mapping[str, str], log: Path, told_before: int) -> SupervisordClient:
    ended = subprocess.run(
        [str(program()), "-c", str(conf.absolute())],
        start_new_session=True,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if ended.returncode:
        raise CommandError(f"{conf}: supervisord does not start: {_essence(ended.stdout)}")
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        supervisord = find(site)
        if supervisord is not None:
            return supervisord
        time.sleep(PAUSE)
    said = log.read_bytes()[told_before:].decode(errors="replace") if log.exists() else ""
    raise CommandError(f"{conf}: supervisord does not come up: {_essence(said)}; see {log}")


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until supervisord is there or has failed: half started, nobody could stop it."""
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda n, _: came.append(n)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for first in came[:1]:
        signal.raise_signal(first)


def conf_d(supervisord: SupervisordClient | None, site: Site) -> Path:
    """The directory whose files run: the one in var/ where supervisord was started from there, else the site's."""
    own = supervisord is not None and runs_from(supervisord, site.own_supervisord_conf)
    return site.own_conf_d if own else site.conf_d


def runs_from(supervisord: SupervisordClient, conf: Path) -> bool:
    """Whether a running supervisord was started with this configuration."""
    try:
        return str(conf.absolute()) in procfs.arguments(supervisord.pid())
    except OSError:
        return False


def wait_until_gone(site: Site, pid: int) -> None:
    """Raises CommandError when supervisord is still there after a while."""
    deadline = time.monotonic() + PATIENCE
    while _alive(pid):
        if time.monotonic() > deadline:
            raise CommandError(f"supervisord (pid {pid}) does not end; see {site.logs / 'supervisord.log'}")
        time.sleep(PAUSE)


def clean_up(site: Site) -> None:
    """Takes away what a supervisord that was killed left behind."""
    for path in (site.socket, site.pidfile):
        path.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    """A zombie, as under an init that does not reap, counts as gone."""
    try:
        return not procfs.stat(pid).has_ended
    except OSError:
        return False


def _essence(output: str) -> str:
    """The line that says what is wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and not line.startswith("For help")]
    errors = [line for line in lines if line.startswith("Error") or " CRIT " in line or "Error:" in line]
    return (errors or lines or ["it said nothing"])[-1].removeprefix("Error: ")
