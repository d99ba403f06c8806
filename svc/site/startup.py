"""`svc up`: starts a site or brings it up to date, and waits until all of its components are ready."""

import os
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from svc.base.errors import CommandError
from svc.base.own_commands import command_name
from svc.client.babysitter import read_models
from svc.client.router import RouterClient
from svc.config.settings_file import load_settings
from svc.config.site import Site
from svc.protocol.instance_names import babysitter_program
from svc.settings import ENVIRONMENT_VARIABLES
from svc.site import rollout_lock, supervisord_process
from svc.site.closing_lines import ReadySite, closing_lines, instances_to_try, needs_key
from svc.site.components import Component, find_router, foreign_files, shares_registry
from svc.site.log_file import tail
from svc.site.observe import HTTP_TIMEOUT_SECONDS, observe
from svc.site.ports import refuse_taken
from svc.site.program_groups import stale_babysitters
from svc.site.readiness import ReadinessStage, readiness
from svc.site.shutdown import ENDED_STATES, down
from svc.site.start_plan import NOTHING_TO_RUN, StartOptions, StartPlan, plan, wildcard_notes
from svc.supervision.client import Process, SupervisordClient, full_name
from svc.terminal.console import Console
from svc.terminal.progress import Waiting, waiting

POLL_INTERVAL_SECONDS = 0.2
MISCONFIGURED_TIMEOUT_SECONDS = 2.0  # the time in which a babysitter notices a corrected setting
HANDOVER_TIMEOUT_SECONDS = 15.0  # the time that a babysitter may need to end


class ProgramFailed(Exception):
    """A program ended instead of becoming ready."""

    def __init__(self, process: Process) -> None:
        super().__init__(full_name(process))
        self.process = process


def up(site: Site, options: StartOptions, timeout: float, console: Console) -> None:
    """Start the site or bring it up to date, and wait `timeout` seconds at most until it is ready.

    Raise ConfigError or CommandError before anything is changed, for example while a rollout is running. Raise
    CommandError with the component that is not ready in time. On Ctrl-C, stop the programs that this call started.
    """
    site.make_missing_dirs()
    with rollout_lock.shared(site):
        _up(site, options, timeout, console)


def _up(site: Site, options: StartOptions, timeout: float, console: Console) -> None:
    supervisord = supervisord_process.find(site)
    runs_from_var = supervisord is not None and supervisord_process.runs_from(supervisord, site.var_supervisord_conf)
    start_plan = plan(
        site, options, running=supervisord is not None, runs_from_var=runs_from_var, allow_read_only=runs_from_var
    )
    components = start_plan.components()
    refuse_taken(components, supervisord, start_plan.changed_components())
    site.make_dirs(logs=site.logs_are_writable or not runs_from_var)
    start_plan.write()
    notes = [*start_plan.replaced_files(), *start_plan.notes, *wildcard_notes(components)]
    for note in [*notes, *_other_registries(components)]:
        console.print_line(note)
    began = time.monotonic()
    pids = _pids(supervisord)
    try:
        chosen = start_plan.chosen(options, site)
        running = _start_or_update(site, start_plan, options, supervisord, chosen)
        with waiting(console) as progress:
            wait_until_ready(running, chosen, components, timeout, progress)
    except ProgramFailed as error:
        for line in tail(Path(error.process.logfile)):
            console.print_line(f"  {line}")
        raise program_failure(error.process) from None
    except KeyboardInterrupt:
        if supervisord is None:
            console.print_line("interrupted: stopping what was started")
            with waiting(console) as progress:
                down(site, progress)
        raise
    if not components and not foreign_files(start_plan.conf_d):
        console.print_line(f"supervisord runs; {NOTHING_TO_RUN}")
        return
    started = {c.name for c in components if pids.get(c.server_program) != _pids(running).get(c.server_program)}
    for line in closing_lines(_ready_site(start_plan, components, started, time.monotonic() - began)):
        console.print_line(line)


def _start_or_update(
    site: Site,
    start_plan: StartPlan,
    options: StartOptions,
    supervisord: SupervisordClient | None,
    chosen: Sequence[Component],
) -> SupervisordClient:
    """Start supervisord, or update the running one and start the chosen programs that are stopped.

    supervisord restarts the programs whose configuration in its files has changed. Some keys of a TOML, such as
    metadata, are not in these files, because only the babysitter reads them. So a babysitter that has loaded an older
    version of its TOML is replaced.
    """
    if supervisord is None:
        # The variables of settings are left out, because the files that were just written contain these settings.
        environ = {key: value for key, value in options.environ.items() if key not in ENVIRONMENT_VARIABLES}
        return supervisord_process.start(site, start_plan.conf, environ)
    supervisord.update()
    stale, _ = stale_babysitters(chosen, supervisord, start_plan.conf_d, load_settings(site.svc_toml, options.environ))
    _replace_babysitters(supervisord, [babysitter_program(name) for name in stale])
    processes = supervisord.processes()
    for name in (name for component in chosen for name in component.programs):
        if name in processes and processes[name].state in ENDED_STATES:
            supervisord.start(name, wait=False)
    return supervisord


def _pids(supervisord: SupervisordClient | None) -> dict[str, int]:
    return {name: process.pid for name, process in supervisord.processes().items()} if supervisord else {}


def _replace_babysitters(supervisord: SupervisordClient, names: Sequence[str]) -> None:
    """Replace each babysitter by a new process; wait for the new processes, but at most HANDOVER_TIMEOUT_SECONDS."""
    before = supervisord.processes()
    for name in names:
        supervisord.hand_over(name)
    end = time.monotonic() + HANDOVER_TIMEOUT_SECONDS
    while any(supervisord.process(name).pid in (0, before[name].pid) for name in names) and time.monotonic() < end:
        time.sleep(POLL_INTERVAL_SECONDS)


def wait_until_ready(
    supervisord: SupervisordClient,
    chosen: Sequence[Component],
    components: Sequence[Component],
    timeout: float,
    progress: Waiting,
) -> None:
    """Return once every chosen component is ready.

    Raise CommandError after `timeout` seconds, or for a setting that has to be changed. Raise ProgramFailed for
    the first program that failed.
    """
    router = find_router(components)
    ready: set[str] = set()
    began = time.monotonic()
    while True:
        observation = observe(supervisord, chosen, router, ready)
        late = ""
        for component in chosen:
            state, program = readiness(component, observation, router)
            if state is ReadinessStage.FAILED:
                raise ProgramFailed(supervisord.process(program))
            cause = f": {reason}" if (reason := observation.reason(component)) else ""
            if state is ReadinessStage.MISCONFIGURED and time.monotonic() - began > MISCONFIGURED_TIMEOUT_SECONDS:
                raise CommandError(f"{component.name}: {state.value}{cause}; then svc up")
            if state is not ReadinessStage.READY:
                late = late or f"{component.name}: not ready after {timeout:g} s: {state.value}{cause}"
                progress.show(component.name, state.value)
            elif component.name not in ready:
                ready.add(component.name)
                progress.done(component.name, f"ready at {component.url}")
        if not late:
            return
        if time.monotonic() > began + timeout:
            raise CommandError(f"{late}; see `svc status` and logs/")
        time.sleep(POLL_INTERVAL_SECONDS)


def program_failure(process: Process) -> CommandError:
    """Return the error for a program that failed, whose last log lines have been printed."""
    log = os.path.relpath(process.logfile)
    cause = process.spawnerr or process.description
    return CommandError(f"{full_name(process)}: {process.state}: {cause}; the end of its log is above, all is in {log}")


def _ready_site(
    start_plan: StartPlan, components: Sequence[Component], started: Collection[str], seconds: float
) -> ReadySite:
    """Return what the closing lines report. `started` has the names of the instances that were just started."""
    foreign = [str(path) for path in foreign_files(start_plan.conf_d)]
    router = find_router(components)
    if router is None:
        return ReadySite(seconds, command_name(), foreign_files=foreign)
    services = RouterClient(router.own_url).services() or []
    routed = {service["name"]: service["models"] for service in services if service["healthy"]}
    keyed = needs_key(routed)
    instances = instances_to_try(components, started, routed)
    models = (
        read_models(c.babysitter_url, HTTP_TIMEOUT_SECONDS) if keyed else routed[c.service_name] for c in instances
    )
    own_model = next((names[0] for names in models if names), "")
    model = own_model or next((names[0] for names in routed.values() if names), "")
    return ReadySite(seconds, command_name(), router.own_url, model, keyed, foreign)


def _other_registries(components: Sequence[Component]) -> Iterator[str]:
    router = find_router(components)
    for component in components:
        if router and component.kind == "babysitter" and not shares_registry(router, component):
            yield (
                f"{component.name}: registers at {component.registry_url}, but the router asks {router.registry_url}: "
                "it will get no requests from there"
            )
