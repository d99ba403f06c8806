"""`svc up --foreground`: runs a site for the lifetime of this process, as in a container."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from svc.base import garbage, temporary_files
from svc.base.errors import CommandError, SvcError, Unavailable
from svc.base.loop import Loop
from svc.config.settings_file import load_settings
from svc.config.site import Site
from svc.settings import NO_COMPONENTS
from svc.site import supervisord_process, systemd_search
from svc.site.components import Component, find_router, foreign_files
from svc.site.log_file import LogFile
from svc.site.log_files import log_files
from svc.site.observe import observe
from svc.site.ports import refuse_taken
from svc.site.readiness import ReadinessStage, readiness, ready_text
from svc.site.shutdown import kill_leftovers, stop_in_phases, stop_phases
from svc.site.start_plan import NOTHING_TO_RUN, StartOptions, StartPlan, plan, wildcard_notes
from svc.supervision.client import SupervisordClient, full_name
from svc.terminal.console import Console
from svc.terminal.output import LogOutput, LogPrinter, LogStream, echo
from svc.terminal.progress import LineProgress

POLL_INTERVAL_SECONDS = 0.2
COPY_INTERVAL_SECONDS = 0.2
RELIST_INTERVAL_SECONDS = 2.0  # time between two listings of the log files
KEPT_OUTPUT_BYTES = 4096


def run(site: Site, options: StartOptions, timeout: float, console: Console) -> None:
    """Run the site until SIGTERM or Ctrl-C, or until supervisord is shut down.

    Raise ConfigError or CommandError if the site cannot start, and CommandError if supervisord fails.
    """
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())
    systemd_search.require_no_unit(site)
    if supervisord_process.find(site) is not None:
        raise CommandError(f"{site.socket}: a supervisord runs on this site already; `svc down` stops it")
    site.make_dirs(logs=False)
    temporary_files.ensure_directory(site.var)  # supervisord and gunicorn need a directory for temporary files
    start_plan = _written_plan(site, options)
    for note in [*start_plan.notes, *wildcard_notes(start_plan.components(), start_plan.changed_components())]:
        console.print_line(note)
    if not start_plan.components():
        console.print_line(f"supervisord runs; {NOTHING_TO_RUN}")
    # JSON lines get no prefix, because a line with the program's name before it is not valid JSON.
    plain = load_settings(site.svc_toml, options.environ).logs.format == "json"
    progress = LineProgress(console)
    with (
        _copying_logs(site, plain) as sink,
        supervisord_process.foreground_supervisord(start_plan.conf, options.environ, sink) as process,
    ):
        reporter = ReadinessReporter(start_plan.components(), timeout, progress)
        _run_until_stopped(site, start_plan, process, stopping, reporter)
    kill_leftovers(site, progress)


def _written_plan(site: Site, options: StartOptions) -> StartPlan:
    """Write the files of the site and return the plan. If an error is raised, no file has changed."""
    start_plan = plan(site, options, running=False, runs_from_var=False, allow_read_only=True)
    components = start_plan.components()
    wants_none = load_settings(site.svc_toml, options.environ).launch.components == NO_COMPONENTS
    if not components and not wants_none and not foreign_files(start_plan.conf_d):
        raise CommandError(f"{site.config}: nothing to run: no babysitter TOML here, no registry or router asked for")
    refuse_taken(components)
    start_plan.write()
    return start_plan


class ReadinessReporter:
    """Prints a line when a component is ready, and before that at most one line if the component fails or is late.

    A failed component may become ready later, because supervisord restarts it.
    """

    def __init__(self, components: Sequence[Component], timeout: float, progress: LineProgress) -> None:
        self.components = components
        self.router = find_router(components)
        self.progress = progress
        self.ready: set[str] = set()
        self.reported: set[str] = set()  # components that were reported as not ready
        self.deadline = time.monotonic() + timeout

    def update(self, supervisord: SupervisordClient) -> None:
        """Print the changes; raise CommandError if the registry or the router fails without ever having been ready."""
        if len(self.ready) == len(self.components):
            return
        observation = observe(supervisord, self.components, self.router, self.ready)
        for component in self.components:
            state, program = readiness(component, observation, self.router)
            if state is ReadinessStage.READY and component.name not in self.ready:
                self.ready.add(component.name)
                self.progress.done(component.name, ready_text(component, observation))
            elif state is ReadinessStage.FAILED and component.name not in self.reported:
                self._failed(component, supervisord, program)
            elif component.name not in self.ready | self.reported and time.monotonic() > self.deadline:
                self._report(component, f"not ready yet: {state.value}")
        if len(self.ready) == len(self.components):
            self.progress.done("svc", "all is ready")

    def _failed(self, component: Component, supervisord: SupervisordClient, program: str) -> None:
        process = supervisord.process(program)
        cause = f"{full_name(process)}: {process.spawnerr or 'it ended while it started'}"
        if component.kind != "babysitter" and component.name not in self.ready:
            raise CommandError(f"{cause}; its output is above")
        self._report(component, cause)

    def _report(self, component: Component, text: str) -> None:
        self.reported.add(component.name)
        self.progress.done(component.name, text)


def _run_until_stopped(
    site: Site,
    start_plan: StartPlan,
    process: subprocess.Popen[bytes],
    stopping: threading.Event,
    reporter: ReadinessReporter,
) -> None:
    """Print what becomes ready until `stopping` is set or supervisord ends; then stop the programs in order."""
    garbage.begin_collections()
    supervisord: SupervisordClient | None = None
    try:
        while not stopping.wait(POLL_INTERVAL_SECONDS):
            if process.poll() is not None:
                return _require_clean_end(start_plan.conf, process.returncode)
            with contextlib.suppress(Unavailable):  # supervisord is starting or shutting down
                supervisord = supervisord or supervisord_process.connect(site)
                if supervisord:
                    reporter.update(supervisord)
    finally:
        if supervisord and process.poll() is None:
            with contextlib.suppress(SvcError):  # supervisord may end during these calls
                progress = LineProgress(reporter.progress.console)  # a new LineProgress counts the seconds from 0
                stop_in_phases(supervisord, stop_phases(supervisord.processes()), progress)


def _require_clean_end(conf: Path, code: int) -> None:
    """Raise CommandError if supervisord's exit code is not 0. After a normal end, such as by `svc down`, it is 0."""
    if code:
        raise CommandError(f"{conf}: supervisord ended with code {code}; its output is above")


@contextlib.contextmanager
def _copying_logs(site: Site, plain: bool) -> Iterator[supervisord_process.OutputSink]:
    """Copy new lines of the site's log files to stdout; yield the sink for supervisord's own output.

    If `plain` is set, the lines do not begin with the names of the programs.
    """
    if not site.logs_are_writable:
        echo(
            f"svc: {site.logs}: user {os.getuid()} cannot write here, so logs go to stdout alone; "
            f"to keep files as well, make it a directory of that user's (chown {os.getuid()})",
            err=True,
        )
        stream = LogStream(LogOutput())
        yield stream
        stream.end()
        return
    copier = LogCopier(site, plain)
    loop = Loop("logs", copier.copy, COPY_INTERVAL_SECONDS)
    loop.start()
    try:
        yield copier.keep
    finally:
        loop.stop()
        copier.copy()
        if not copier.copied:
            LogOutput().write(copier.kept.splitlines())  # supervisord failed before it wrote its log


class LogCopier:
    """Copies new lines of the log files to stdout, each with its program's name before it unless `plain` is set."""

    def __init__(self, site: Site, plain: bool) -> None:
        self.site = site
        self.printer = LogPrinter(LogOutput(), not plain)
        self.logs: dict[str, LogFile] = {}
        self.listed = 0.0
        self.kept = b""
        self.copied = False
        for log in self._new_logs():
            log.read_last(0)  # skip the lines of an earlier run

    def keep(self, output: bytes) -> None:
        """Keep the end of supervisord's own output, to be printed only if nothing is copied from the log files."""
        self.kept = (self.kept + output)[-KEPT_OUTPUT_BYTES:]

    def copy(self) -> None:
        """Copy the lines that were written since the last call."""
        if time.monotonic() - self.listed > RELIST_INTERVAL_SECONDS:
            with contextlib.suppress(SvcError):  # supervisord is starting
                list(self._new_logs())
        for name, log in self.logs.items():
            lines = log.read_new()
            self.copied = self.copied or bool(lines)
            self.printer.write(name, lines)

    def _new_logs(self) -> Iterator[LogFile]:
        self.listed = time.monotonic()
        for name, path in log_files(self.site).items():
            if name not in self.logs or self.logs[name].path != path:
                self.logs[name] = LogFile(path)
                yield self.logs[name]
