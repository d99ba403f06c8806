"""`svc up`: brings a site up, or up to date, and waits until every component of it can be used."""

import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from svc.base.errors import CommandError
from svc.base.printable import log_lines
from svc.client.router import RouterClient
from svc.config.settings_file import load_settings
from svc.config.site import Site
from svc.protocol.instance_names import babysitter_program
from svc.settings import ENVIRONMENT_VARIABLES
from svc.site import rollout_lock, supervisord_process
from svc.site.components import Component, foreign_files, shares_registry
from svc.site.observe import look
from svc.site.ports import refuse_taken
from svc.site.program_groups import rereads
from svc.site.readiness import Stage, judge
from svc.site.shutdown import ENDED, down
from svc.site.start_plan import Asked, Plan, plan
from svc.supervision.client import Process, SupervisordClient, full_name
from svc.terminal.console import Console
from svc.terminal.progress import Waiting, waiting

PAUSE = 0.2  # seconds between two looks
SETTLED = 2.0  # seconds in which a babysitter notices that a setting was changed
TAKES_OVER = 15.0  # seconds that a babysitter may need to end
TAIL = 10  # lines of a log that are shown
TAIL_BYTES = 8192


class NotWell(Exception):
    """A program ended instead of becoming ready."""

    def __init__(self, process: Process) -> None:
        super().__init__(full_name(process))
        self.process = process


def up(site: Site, asked: Asked, timeout: float, console: Console) -> None:
    """Waits `timeout` seconds at most; not while a rollout is at work here.

    Raises ConfigError or CommandError with everything as it was, or CommandError
    naming the component that is not well; on Ctrl-C, what this call started is stopped.
    """
    site.make_room()
    with rollout_lock.shared(site):
        _up(site, asked, timeout, console)


def _up(site: Site, asked: Asked, timeout: float, console: Console) -> None:
    supervisord = supervisord_process.find(site)
    own = supervisord is not None and supervisord_process.runs_from(supervisord, site.own_supervisord_conf)
    planned = plan(site, asked, running=supervisord is not None, own=own, as_can_be=own)
    components = planned.components()
    refuse_taken(components, supervisord, planned.touched())
    site.make_dirs(logs=site.keeps_logs or not own)
    planned.write()
    for note in [*planned.notes, *_elsewhere(components)]:
        _say(console, note)
    began = time.monotonic()
    try:
        chosen = planned.chosen(asked, site)
        running = _bring(site, planned, asked, supervisord, chosen)
        with waiting(console) as shown:
            wait(running, chosen, components, timeout, shown)
    except NotWell as error:
        for line in tail(Path(error.process.logfile)):
            _say(console, f"  {line}")
        raise failure(error.process) from None
    except KeyboardInterrupt:
        if supervisord is None:
            _say(console, "interrupted: stopping what was started")
            down(site, console)
        raise
    for line in farewell(planned, components, time.monotonic() - began):
        _say(console, line)


def _bring(
    site: Site, planned: Plan, asked: Asked, supervisord: SupervisordClient | None, chosen: Sequence[Component]
) -> SupervisordClient:
    """Starts supervisord, or updates the running one and starts what is stopped in it.

    What a TOML file says of the instance itself is in its program; the rest, such as
    metadata, only its babysitter reads: another takes its place where it has not read the file as it is.
    """
    if supervisord is None:
        # The files hold every setting: a variable must not change it again.
        environ = {key: value for key, value in asked.environ.items() if key not in ENVIRONMENT_VARIABLES}
        return supervisord_process.start(site, planned.conf, environ)
    supervisord.update()
    stale, _ = rereads(chosen, supervisord, planned.conf_d, load_settings(site.svc_toml, asked.environ))
    _take_over(supervisord, [babysitter_program(name) for name in stale])
    processes = supervisord.processes()
    for name in (name for component in chosen for name in component.programs):
        if name in processes and processes[name].state in ENDED:
            supervisord.start(name, wait=False)
    return supervisord


def _take_over(supervisord: SupervisordClient, names: Sequence[str]) -> None:
    """Other babysitters take the place of these; waits until they do."""
    before = supervisord.processes()
    for name in names:
        supervisord.hand_over(name)
    end = time.monotonic() + TAKES_OVER
    while any(supervisord.process(name).pid in (0, before[name].pid) for name in names) and time.monotonic() < end:
        time.sleep(PAUSE)


def wait(
    supervisord: SupervisordClient,
    chosen: Sequence[Component],
    components: Sequence[Component],
    timeout: float,
    shown: Waiting,
) -> None:
    """Return once every chosen component is ready.

    Raise CommandError when the time is over, NotWell at the first that failed.
    """
    router = next((component for component in components if component.kind == "router"), None)
    ready: set[str] = set()
    began = time.monotonic()
    while True:
        sight = look(supervisord, chosen, router, ready)
        late = ""
        for component in chosen:
            stage, program = judge(component, sight, router)
            if stage is Stage.FAILED:
                raise NotWell(supervisord.process(program))
            why = f": {reason}" if (reason := sight.reason(component)) else ""
            if stage is Stage.MISCONFIGURED and time.monotonic() - began > SETTLED:
                raise CommandError(f"{component.name}: {stage.value}{why}; then svc up")
            if stage is not Stage.READY:
                late = late or f"{component.name}: not ready after {timeout:g} s: {stage.value}{why}"
                shown.show(component.name, stage.value)
            elif component.name not in ready:
                ready.add(component.name)
                shown.done(component.name, f"ready at {component.url}")
        if not late:
            return
        if time.monotonic() > began + timeout:
            raise CommandError(f"{late}; `svc status` and logs/ tell more")
        time.sleep(PAUSE)


def failure(process: Process) -> CommandError:
    log = os.path.relpath(process.logfile)
    why = process.spawnerr or process.description
    return CommandError(f"{full_name(process)}: {process.state}: {why}; the end of its log is above, all is in {log}")


def tail(log: Path) -> list[str]:
    """The last lines of a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            lines = file.read().splitlines()[-TAIL:]
    except OSError:
        return []
    return [text for line in lines for text in log_lines(line, colours=False)]


def farewell(planned: Plan, components: Sequence[Component], seconds: float) -> Iterator[str]:
    """What is there, and what to try."""
    svc = command_name()
    for path in foreign_files(planned.conf_d):
        yield f"{path}: runs as well; not made by svc render, so not waited for"
    yield f"All is ready after {seconds:.1f} s. Try:"
    router = next((component for component in components if component.kind == "router"), None)
    routed = RouterClient(router.own_url).services() or [] if router else []
    model = next((model for service in routed if service["healthy"] for model in service["models"]), "")
    if router and model:
        body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello"}]})
        yield f"  curl {router.own_url}/v1/chat/completions -H 'Content-Type: application/json' -d {shlex.quote(body)}"
    yield f"  {svc} status     what runs, and how it is"
    yield f"  {svc} down       stop everything"
    yield "  tail -f logs/*.log"


def _elsewhere(components: Sequence[Component]) -> Iterator[str]:
    router = next((component for component in components if component.kind == "router"), None)
    for component in components:
        if router and component.kind == "babysitter" and not shares_registry(router, component):
            yield (
                f"{component.name}: registers at {component.registry_url}, but the router asks {router.registry_url}: "
                "it will get no requests from there"
            )


def command_name() -> str:
    """How this `svc` is called from here."""
    found = shutil.which("svc")
    if found and os.path.samefile(found, sys.argv[0]):
        return "svc"
    path = os.path.relpath(sys.argv[0])
    return sys.argv[0] if path.startswith("..") else path


def _say(console: Console, line: str) -> None:
    console.print_line(line)
