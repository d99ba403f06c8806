"""`svc up --foreground`: a site that runs as long as this process does, as under Docker."""

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from svc.base.errors import CommandError, SvcError, Unavailable
from svc.base.loop import Loop
from svc.cli.logs import Shown, files
from svc.config.settings_file import load_settings
from svc.config.site import Site
from svc.site import supervisord_process
from svc.site.components import Component, foreign_files
from svc.site.log_file import LogFile
from svc.site.observe import look
from svc.site.ports import refuse_taken
from svc.site.readiness import Stage, judge
from svc.site.shutdown import kill_leftovers, phases, stop
from svc.site.start_plan import Asked, Plan, plan
from svc.site.supervisord_child import Words, supervisord
from svc.supervision.client import SupervisordClient, full_name
from svc.terminal.console import Console
from svc.terminal.output import LogOutput, LogStream, echo
from svc.terminal.progress import Lines

PAUSE = 0.2  # seconds between two looks
COPY_EVERY = 0.2  # seconds
ANEW = 2.0  # seconds between two looks at which log files there are


def run(site: Site, asked: Asked, timeout: float, console: Console) -> None:
    """Until SIGTERM or Ctrl-C, or until supervisord is shut down.

    Raises ConfigError or CommandError when it cannot start, or supervisord dies.
    """
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())
    if supervisord_process.find(site) is not None:
        raise CommandError(f"{site.socket}: a supervisord runs on this site already; `svc down` stops it")
    site.make_dirs(logs=False)
    _find_room_for_temporary_files(site)
    planned = _planned(site, asked)
    for note in planned.notes:
        console.print_line(note)
    plain = load_settings(site.svc_toml, asked.environ).logs.format == "json"  # a name before it would make it none
    with _logs(site, plain) as words, supervisord(planned.conf, asked.environ, words) as process:
        _stay(site, planned, process, stopping, Watch(planned.components(), timeout, Lines(console)))
    kill_leftovers(site, console)


def _planned(site: Site, asked: Asked) -> Plan:
    """What runs, written; nothing else has changed when it raises."""
    planned = plan(site, asked, running=False, own=False, as_can_be=True)
    components = planned.components()
    if not components and not foreign_files(planned.conf_d):
        raise CommandError(f"{site.config}: nothing to run: no babysitter TOML here, no registry or router asked for")
    refuse_taken(components)
    planned.write()
    return planned


def _find_room_for_temporary_files(site: Site) -> None:
    """supervisord and gunicorn need some; a container may be read-only but for var/."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        tempfile.tempdir = os.environ["TMPDIR"] = str(site.var.absolute())


class Watch:
    """Says when each component is ready, and once of each that fails; supervisord starts those again."""

    def __init__(self, components: Sequence[Component], timeout: float, lines: Lines) -> None:
        self.components = components
        self.router = next((component for component in components if component.kind == "router"), None)
        self.lines = lines
        self.ready: set[str] = set()
        self.told: set[str] = set()
        self.deadline = time.monotonic() + timeout

    def look(self, supervisord: SupervisordClient) -> None:
        """Raises CommandError where the registry or the router fails before it was ever ready."""
        if len(self.ready) == len(self.components):
            return
        sight = look(supervisord, self.components, self.router, self.ready)
        for component in self.components:
            stage, program = judge(component, sight, self.router)
            if stage is Stage.READY and component.name not in self.ready:
                self.ready.add(component.name)
                self.lines.done(component.name, f"ready at {component.url}")
            elif stage is Stage.FAILED and component.name not in self.told:
                self._failed(component, supervisord, program)
            elif component.name not in self.ready | self.told and time.monotonic() > self.deadline:
                self._tell(component, f"not ready yet: {stage.value}")
        if len(self.ready) == len(self.components):
            self.lines.done("svc", "all is ready")

    def _failed(self, component: Component, supervisord: SupervisordClient, program: str) -> None:
        process = supervisord.process(program)
        why = f"{full_name(process)}: {process.spawnerr or 'it ended while it started'}"
        if component.kind != "babysitter" and component.name not in self.ready:
            raise CommandError(f"{why}; what it said is above")
        self._tell(component, why)

    def _tell(self, component: Component, text: str) -> None:
        self.told.add(component.name)
        self.lines.done(component.name, text)


def _stay(site: Site, planned: Plan, process: subprocess.Popen[bytes], stopping: threading.Event, watch: Watch) -> None:
    """Then stops everything in order."""
    supervisord: SupervisordClient | None = None
    try:
        while not stopping.wait(PAUSE):
            if process.poll() is not None:
                return _ended(planned.conf, process.returncode)
            with contextlib.suppress(Unavailable):  # it begins, or was told to end
                supervisord = supervisord or supervisord_process.find(site)
                if supervisord:
                    watch.look(supervisord)
    finally:
        if supervisord and process.poll() is None:
            with contextlib.suppress(SvcError):  # it ends meanwhile
                stop(supervisord, phases(supervisord.processes()), watch.lines)


def _ended(conf: Path, code: int) -> None:
    """Somebody's `svc down` is no failure."""
    if code:
        raise CommandError(f"{conf}: supervisord ended with code {code}; what it said is above")


@contextlib.contextmanager
def _logs(site: Site, plain: bool) -> Iterator[Words]:
    """Copies what comes into the site's log files to stdout; yields what is to be done with supervisord's own words."""
    if not site.keeps_logs:
        echo(
            f"svc: {site.logs}: user {os.getuid()} cannot write here, so logs go to stdout alone; "
            f"to keep files as well, make it a directory of that user's (chown {os.getuid()})",
            err=True,
        )
        stream = LogStream(LogOutput())
        yield stream
        stream.end()
        return
    copying = Copying(site, plain)
    loop = Loop("logs", copying.once, COPY_EVERY)
    loop.start()
    try:
        yield copying.keep
    finally:
        loop.stop()
        copying.once()
        if not copying.came:
            LogOutput().write(copying.kept.splitlines())  # supervisord did not get as far as its log


class Copying:
    """Every line that is written from now on, behind its program's name unless `plain`."""

    def __init__(self, site: Site, plain: bool) -> None:
        self.site = site
        self.shown = Shown(LogOutput(), not plain)
        self.logs: dict[str, LogFile] = {}
        self.looked = 0.0
        self.kept = b""
        self.came = False
        for log in self._anew():
            log.last(0)  # what is there is an earlier run's

    def keep(self, words: bytes) -> None:
        """What supervisord prints itself comes a second time in its log."""
        self.kept = (self.kept + words)[-4096:]

    def once(self) -> None:
        if time.monotonic() - self.looked > ANEW:
            with contextlib.suppress(SvcError):  # supervisord is on its way
                list(self._anew())
        for name, log in self.logs.items():
            lines = log.new()
            self.came = self.came or bool(lines)
            self.shown.write(name, lines)

    def _anew(self) -> Iterator[LogFile]:
        self.looked = time.monotonic()
        for name, path in files(self.site).items():
            if name not in self.logs or self.logs[name].path != path:
                self.logs[name] = LogFile(path)
                yield self.logs[name]
