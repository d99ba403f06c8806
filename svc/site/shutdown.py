"""`svc down`: stops a site, or some of it, in an order that lets begun requests finish."""

import contextlib
import os
import signal
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from svc.base.errors import CommandError
from svc.config.site import Site
from svc.site import supervisord_process
from svc.site.components import read_components
from svc.supervision import orphans
from svc.supervision.client import Process, SupervisordClient
from svc.terminal.console import Console
from svc.terminal.progress import Waiting, waiting

ENDED = ("STOPPED", "EXITED", "FATAL")
PAUSE = 0.1  # seconds between two looks
GRACE = 2.0  # seconds that what outlived its supervisord has before it is killed


def down(site: Site, console: Console) -> None:
    """Stops everything and supervisord itself, and sees to it that nothing is left."""
    supervisord = supervisord_process.find(site)
    if supervisord is None:
        console.print_line("nothing runs here: no supervisord answers on var/supervisor.sock")
    else:
        with waiting(console) as shown:
            stop(supervisord, phases(supervisord.processes()), shown)
            end(site, supervisord, shown)
    kill_leftovers(site, console)
    supervisord_process.clean_up(site)


def down_only(site: Site, console: Console, kind: str, port: int | None) -> None:
    """Stops the programs of one component; of one instance, where its port (or its babysitter's) is given.

    A supervisord that was started for single components ends with the last of them.
    """
    supervisord = supervisord_process.find(site)
    if supervisord is None:
        console.print_line("nothing runs here: no supervisord answers on var/supervisor.sock")
        return
    processes = supervisord.processes()
    chosen = {n: p for n, p in processes.items() if kind_of(p) == kind}
    if port is not None:
        components = read_components(supervisord_process.conf_d(supervisord, site))
        there = {name for component in components if port in component.ports for name in component.programs}
        chosen = {n: p for n, p in chosen.items() if n in there}
    if not chosen:
        raise CommandError(f"no {kind} {f'at port {port} ' if port else ''}runs here; `svc status` lists what does")
    with waiting(console) as shown:
        stop(supervisord, phases(chosen), shown)
        others = any(p.state not in ENDED for p in supervisord.processes().values())
        if not others and supervisord_process.runs_from(supervisord, site.own_supervisord_conf):
            end(site, supervisord, shown)


def kind_of(process: Process) -> str:
    """registry, router, or babysitter for both programs of an instance; a program that is not ours: empty."""
    if process.name in ("server", "babysitter") and process.group != process.name:
        return "babysitter"
    return process.name if process.name in ("registry", "router") else ""


def stop(supervisord: SupervisordClient, order: list[list[str]], shown: Waiting) -> None:
    """Stops programs phase after phase, those of a phase at once, and waits for each phase."""
    for names in order:
        for name in names:
            shown.show(name, "stopping")
            supervisord.stop(name, wait=False)
        left = set(names)
        while left:
            states = {name: process.state for name, process in supervisord.processes().items()}
            for name in [n for n in names if n in left and states.get(n, "STOPPED") in ENDED]:
                left.discard(name)
                shown.done(name, "stopped")
            if left:
                time.sleep(PAUSE)


def phases(processes: Mapping[str, Process]) -> list[list[str]]:
    """What to stop, one phase after the other.

    1. The router, which finishes the requests that have begun.
    2. The babysitters, which tell the registry that their instances leave.
    3. Everything else.
    """
    made: list[list[str]] = [[], [], []]
    for name, process in processes.items():
        if process.state not in ENDED:
            made[{"router": 0, "babysitter": 1}.get(process.name, 2)].append(name)
    return [names for names in made if names]


def end(site: Site, supervisord: SupervisordClient, shown: Waiting) -> None:
    """Ends supervisord."""
    pid = supervisord.pid()
    shown.show("supervisord", "stopping")
    supervisord.shutdown()
    supervisord_process.wait_until_gone(site, pid)
    shown.done("supervisord", "gone")


def kill_leftovers(site: Site, console: Console) -> None:
    """What a supervisord of this site started and did not take with it, as one that was killed."""
    deadline = time.monotonic() + GRACE
    while (left := _leftovers(site)) and time.monotonic() < deadline:
        time.sleep(PAUSE)
    for pid in left:
        console.print_line(f"killing what was left behind: process {pid}")
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _leftovers(site: Site) -> Collection[int]:
    """By the variable that supervisord gives to all that it starts, and they to theirs."""
    here = os.path.realpath(site.socket)
    return [
        process.pid
        for process in orphans.processes()
        if not process.zombie and process.pid != os.getpid() and any(mark_of(mark) == here for mark in process.marks)
    ]


def mark_of(mark: str) -> str:
    key, _, url = mark.partition("=unix://")
    return os.path.realpath(Path(url)) if key == "SUPERVISOR_SERVER_URL" else ""
