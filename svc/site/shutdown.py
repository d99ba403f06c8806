"""`svc down`: stops a site, or a part of it, in an order that lets requests in flight finish."""

import contextlib
import os
import signal
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from svc.base.errors import CommandError, Unavailable
from svc.config.site import Site
from svc.site import supervisord_end, supervisord_process
from svc.site.components import read_components
from svc.site.supervisord_process import SupervisordLost
from svc.supervision import orphans, supervisord_search
from svc.supervision.client import Process, SupervisordClient
from svc.terminal.progress import Waiting

ENDED_STATES = ("STOPPED", "EXITED", "FATAL")  # states in supervisord
POLL_INTERVAL_SECONDS = 0.1
LEFTOVER_TIMEOUT_SECONDS = 2.0  # wait before processes that still run without their supervisord are killed
NOTHING_RUNS = "nothing runs here: no supervisord answers on var/supervisor.sock"


def down(site: Site, progress: Waiting) -> None:
    """Stop every program and supervisord itself, and kill the processes that remain.

    If another `svc down` has begun to end supervisord, wait until supervisord has ended. A supervisord whose socket is
    gone is ended by its pid. The files of a running supervisord are never removed.
    """
    try:
        supervisord = supervisord_process.find(site)
    except SupervisordLost as lost:
        _end_lost(site, lost, progress)
    else:
        if supervisord is None:
            progress.note(NOTHING_RUNS)
        else:
            _end_running(site, supervisord, progress)
    kill_leftovers(site, progress)
    if supervisord_search.running_pid(site) is None:  # otherwise `svc up` has started the site again
        supervisord_process.clean_up(site)


def _end_running(site: Site, supervisord: SupervisordClient, progress: Waiting) -> None:
    try:
        if supervisord.state() != "SHUTDOWN":
            stop_in_phases(supervisord, stop_phases(supervisord.processes()), progress)
            end_supervisord(site, supervisord, progress)
            return
    except Unavailable:  # another command is ending supervisord, or supervisord hangs
        if not supervisord_end.is_ending(site):
            raise
    _wait_for_shutdown(site, progress)


def leave_to_supervisord(site: Site) -> str:
    """Ask supervisord to end with all its programs. Return a line about what still runs, without waiting."""
    supervisord = supervisord_process.find(site)
    if supervisord is None:
        return "nothing runs here any more"
    try:
        running = _running_text(supervisord)
        supervisord.shutdown()
    except Unavailable:  # supervisord is shutting down
        running = "supervisord"
    return f"supervisord ends by itself what still runs: {running}; `svc status` shows when nothing runs any more"


def remaining(site: Site) -> str:
    """Return a line about what still runs after an interrupted `svc down`."""
    supervisord = supervisord_process.find(site)
    if supervisord is None:
        return "nothing runs here any more"
    try:
        return f"still running: {_running_text(supervisord)}; `svc down` stops the rest"
    except Unavailable:  # supervisord is shutting down
        return "supervisord ends by itself; `svc status` shows when nothing runs any more"


def _running_text(supervisord: SupervisordClient) -> str:
    processes = supervisord.processes()
    running = [name for name, process in processes.items() if process.state not in ENDED_STATES]
    return ", ".join([*running, f"supervisord (pid {supervisord.pid()})"])


def down_only(site: Site, kind: str, port: int | None, progress: Waiting) -> None:
    """Stop the programs of one kind of component; with `port`, only the component that listens on that port.

    A supervisord that was started for single components is shut down once none of its programs runs.
    """
    with supervisord_end.explained(site):
        _down_only(site, kind, port, progress)


def _down_only(site: Site, kind: str, port: int | None, progress: Waiting) -> None:
    supervisord = supervisord_process.find(site)
    if supervisord is None:
        progress.note(NOTHING_RUNS)
        return
    processes = supervisord.processes()
    chosen = {n: p for n, p in processes.items() if kind_of(p) == kind}
    if port is not None:
        components = read_components(supervisord_process.conf_d(supervisord, site))
        programs = {name for component in components if port in component.ports for name in component.programs}
        chosen = {n: p for n, p in chosen.items() if n in programs}
    if not chosen:
        raise CommandError(f"no {kind} {f'at port {port} ' if port else ''}runs here; `svc status` lists what does")
    stop_in_phases(supervisord, stop_phases(chosen), progress)
    others = any(p.state not in ENDED_STATES for p in supervisord.processes().values())
    if not others and supervisord_process.runs_from(supervisord, site.var_supervisord_conf):
        end_supervisord(site, supervisord, progress)


def kind_of(process: Process) -> str:
    """Return the kind of the component to which a program belongs; "" for a program that svc did not render."""
    if process.name in ("server", "babysitter") and process.group != process.name:
        return "babysitter"
    return process.name if process.name in ("registry", "router") else ""


def stop_in_phases(supervisord: SupervisordClient, phases: list[list[str]], progress: Waiting) -> None:
    """For each phase, stop its programs at the same time, and wait until they have ended."""
    for names in phases:
        for name in names:
            progress.show(name, "stopping")
            supervisord.stop(name, wait=False)
        pending = set(names)
        while pending:
            states = {name: process.state for name, process in supervisord.processes().items()}
            for name in [n for n in names if n in pending and states.get(n, "STOPPED") in ENDED_STATES]:
                pending.discard(name)
                progress.done(name, "stopped")
            if pending:
                time.sleep(POLL_INTERVAL_SECONDS)


def stop_phases(processes: Mapping[str, Process]) -> list[list[str]]:
    """Return the programs to stop, one list for each phase.

    1. The router, which finishes its requests in flight.
    2. The babysitters, which deregister their instances.
    3. Everything else.
    """
    names_by_phase: list[list[str]] = [[], [], []]
    for name, process in processes.items():
        if process.state not in ENDED_STATES:
            names_by_phase[{"router": 0, "babysitter": 1}.get(process.name, 2)].append(name)
    return [names for names in names_by_phase if names]


def end_supervisord(site: Site, supervisord: SupervisordClient, progress: Waiting) -> None:
    """Shut supervisord down, and wait until its process has ended."""
    pid = supervisord.pid()
    progress.show("supervisord", "stopping")
    supervisord.shutdown()
    supervisord_process.wait_until_gone(site, pid)
    progress.done("supervisord", "gone")


def _wait_for_shutdown(site: Site, progress: Waiting) -> None:
    """Wait for the end of a supervisord that is already shutting down."""
    progress.show("supervisord", "stopping")
    if pid := supervisord_search.running_pid(site):
        supervisord_process.wait_until_gone(site, pid)
    progress.done("supervisord", "gone")


def _end_lost(site: Site, lost: SupervisordLost, progress: Waiting) -> None:
    assert lost.pid
    progress.note(f"the socket of supervisord (pid {lost.pid}) is gone: ending it by its pid, with all its programs")
    progress.show("supervisord", "stopping")
    supervisord_process.end_lost(site, lost.pid)
    progress.done("supervisord", "gone")


def kill_leftovers(site: Site, progress: Waiting) -> None:
    """Kill the processes of this site that still run because their supervisord was killed and could not stop them."""
    deadline = time.monotonic() + LEFTOVER_TIMEOUT_SECONDS
    while (pids := _leftovers(site)) and time.monotonic() < deadline:
        time.sleep(POLL_INTERVAL_SECONDS)
    for pid in pids:
        progress.note(f"killing what was left behind: process {pid}")
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _leftovers(site: Site) -> Collection[int]:
    """Return the pids of the processes that a supervisord of this site started, according to their environment.

    Return [] if a supervisord runs: `svc up` has started it meanwhile, so its programs are not leftovers.
    """
    if supervisord_search.running_pid(site) is not None:
        return []
    socket = os.path.realpath(site.socket)
    return [
        process.pid
        for process in orphans.processes()
        if not process.zombie
        and process.pid != os.getpid()
        and any(supervisord_socket(mark) == socket for mark in process.marks)
    ]


def supervisord_socket(variable: str) -> str:
    """Return the path of the socket in SUPERVISOR_SERVER_URL=unix://PATH; "" for any other variable."""
    key, _, url = variable.partition("=unix://")
    return os.path.realpath(Path(url)) if key == "SUPERVISOR_SERVER_URL" else ""
