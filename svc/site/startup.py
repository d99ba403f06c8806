"""`svc up`: starts a site or brings it up to date, and waits until all of its components are ready."""

import contextlib
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence

from svc.base.errors import CommandError, ConfigError
from svc.base.own_commands import command_name
from svc.base.signals import KeptInterrupt
from svc.client.babysitter import read_models
from svc.client.router import RouterClient
from svc.config.settings_file import load_settings
from svc.config.site import Site
from svc.protocol.instance_names import babysitter_program
from svc.settings import ENVIRONMENT_VARIABLES
from svc.site import rollout_lock, supervisord_end, supervisord_process, systemd_search
from svc.site.closing_lines import ReadySite, closing_lines, instances_to_try, needs_key
from svc.site.components import Component, find_router, foreign_files, shares_registry
from svc.site.curl_access import curl_access
from svc.site.log_file import last_output
from svc.site.log_files import STDOUT_TEXT
from svc.site.observe import HTTP_TIMEOUT_SECONDS, observe
from svc.site.ports import refuse_taken
from svc.site.program_groups import stale_babysitters
from svc.site.readiness import ReadinessStage, readiness, ready_text
from svc.site.secret_files import secret_file_problems
from svc.site.shutdown import ENDED_STATES, down, leave_to_supervisord
from svc.site.start_plan import NOTHING_TO_RUN, StartOptions, StartPlan, plan, wildcard_notes
from svc.site.supervisord_end import SupervisordEnding
from svc.supervision.client import Process, SupervisordClient, full_name
from svc.supervision.log_position import is_log_file
from svc.terminal.console import Console
from svc.terminal.delay_report import DelayReport, Explain
from svc.terminal.progress import Waiting, waiting

POLL_INTERVAL_SECONDS = 0.2
MISCONFIGURED_TIMEOUT_SECONDS = 2.0  # a babysitter notices within this time that a setting was corrected
REPLACEMENT_TIMEOUT_SECONDS = 15.0  # limit for the old babysitters to end and the new ones to start


class ProgramFailed(Exception):
    """Raised if a program ended instead of becoming ready."""

    def __init__(self, process: Process) -> None:
        super().__init__(full_name(process))
        self.process = process


def up(site: Site, options: StartOptions, timeout: float, console: Console, explain: Explain | None = None) -> None:
    """Start the site or bring it up to date, and wait until it is ready, for `timeout` seconds at most.

    If the site is stopping, wait for its end first. If the start is refused, for example while a rollout is running or
    because systemd runs the site, raise ConfigError or CommandError before anything is changed. Raise CommandError for
    a component that is not ready in time. While this call waits, it prints what `explain` returns: why components are
    not ready yet. On Ctrl-C, stop the site if this call has started supervisord.
    """
    systemd_search.require_no_unit(site)
    site.make_var()
    with rollout_lock.shared(site, console.print_line):
        start = _Start(site, options, console)
        try:
            start_programs(site, start.run)
            with supervisord_end.explained(site):
                start.wait(timeout, explain)
        except KeyboardInterrupt:
            if start.has_started_supervisord:
                _stop_interrupted(site, console)
            raise


def start_programs(site: Site, run: Callable[[], object]) -> None:
    """Call `run` under the lock that keeps other calls of `svc up` waiting.

    If supervisord is shut down meanwhile, repeat.
    """
    while True:
        with contextlib.suppress(SupervisordEnding), rollout_lock.starting(site), supervisord_end.explained(site):
            run()
            return


class _Start:
    """One call of `svc up`: `run` starts or updates the programs, then `wait` waits until they are ready."""

    def __init__(self, site: Site, options: StartOptions, console: Console) -> None:
        self._site = site
        self._options = options
        self._console = console
        self.has_started_supervisord = False

    def run(self) -> None:
        """Start the site's programs or bring them up to date. Most errors are raised before anything is changed."""
        site, options = self._site, self._options
        supervisord = supervisord_end.running_supervisord(site, self._console.print_line)
        runs_from_var = supervisord is not None and supervisord_process.runs_from(
            supervisord, site.var_supervisord_conf
        )
        self._plan = plan(
            site, options, running=supervisord is not None, runs_from_var=runs_from_var, allow_read_only=runs_from_var
        )
        self._components = self._plan.components()
        refuse_taken(self._components, supervisord, self._plan.changed_components())
        _require_secrets(site, options, self._plan)
        site.make_dirs(logs=site.logs_are_writable or not runs_from_var)
        self._plan.write()
        wildcards = wildcard_notes(self._components, self._plan.changed_components())
        notes = [*self._plan.replaced_files(), *self._plan.notes, *wildcards]
        for note in [*notes, *_other_registries(self._components)]:
            self._console.print_line(note)
        self._began = time.monotonic()
        self._pids = _pids(supervisord)
        self._chosen = self._plan.chosen(options, site)
        self.has_started_supervisord = supervisord is None
        self._supervisord = _start_or_update(site, self._plan, options, supervisord, self._chosen)

    def wait(self, timeout: float, explain: Explain | None) -> None:
        """Wait until the components are ready, and print commands that the user can now try."""
        try:
            with KeptInterrupt() as interrupt, waiting(self._console) as progress:
                delay, sleep = DelayReport(explain, progress.note), interrupt.sleep
                wait_until_ready(self._supervisord, self._chosen, self._components, timeout, progress, delay, sleep)
        except ProgramFailed as error:
            raise _program_failure(self._supervisord, error.process, self._console) from None
        if not self._components and not foreign_files(self._plan.conf_d):
            self._console.print_line(f"supervisord runs; {NOTHING_TO_RUN}")
            return
        pids = _pids(self._supervisord)
        started = {c.name for c in self._components if self._pids.get(c.server_program) != pids.get(c.server_program)}
        seconds = time.monotonic() - self._began
        for line in closing_lines(_ready_site(self._plan, self._components, started, seconds)):
            self._console.print_line(line)


def _stop_interrupted(site: Site, console: Console) -> None:
    """Stop the site, because this call of `svc up` has started it.

    After a second Ctrl-C, leave the rest to supervisord.
    """
    console.print_line("interrupted: stopping what was started")
    try:
        with waiting(console) as progress:
            down(site, progress)
    except KeyboardInterrupt:
        console.print_line(leave_to_supervisord(site))
        raise


def _require_secrets(site: Site, options: StartOptions, start_plan: StartPlan) -> None:
    """Raise ConfigError with every problem of a file of keys that a component reads when it starts."""
    settings = load_settings(site.svc_toml, options.environ)
    if problems := secret_file_problems(start_plan.chosen(options, site), start_plan.conf_d, settings):
        raise ConfigError(*problems)


def _start_or_update(
    site: Site,
    start_plan: StartPlan,
    options: StartOptions,
    supervisord: SupervisordClient | None,
    chosen: Sequence[Component],
) -> SupervisordClient:
    """Start supervisord, or update the running one and start the chosen programs that do not run.

    supervisord restarts the programs whose configuration in its files has changed. Some keys of a TOML, such as
    metadata, are not in these files, because only the babysitter reads them. So a babysitter that has loaded an older
    version of its TOML is replaced.
    """
    if supervisord is None:
        # The environment variables for settings are left out, because the files just written contain these settings.
        environ = {key: value for key, value in options.environ.items() if key not in ENVIRONMENT_VARIABLES}
        return supervisord_process.start(site, start_plan.conf, environ)
    supervisord.update()
    stale, _ = stale_babysitters(chosen, supervisord, start_plan.conf_d, load_settings(site.svc_toml, options.environ))
    _replace_babysitters(supervisord, [babysitter_program(name) for name in stale])
    processes = supervisord.processes()
    for name in (name for component in chosen for name in _started_programs(component)):
        state = processes[name].state if name in processes else ""
        if state == "BACKOFF":
            supervisord.stop(name)  # so that the program starts now, and not after its restart delay
        if state in (*ENDED_STATES, "BACKOFF"):
            supervisord.start(name, wait=False)
    return supervisord


def _started_programs(component: Component) -> tuple[str, ...]:
    """Return the programs that `svc up` starts if they do not run; the server of an on-demand instance may sleep."""
    return (component.babysitter_program,) if component.on_demand else component.programs


def _pids(supervisord: SupervisordClient | None) -> dict[str, int]:
    return {name: process.pid for name, process in supervisord.processes().items()} if supervisord else {}


def _replace_babysitters(supervisord: SupervisordClient, names: Sequence[str]) -> None:
    """Replace each babysitter by a new process; wait for the new ones, but at most REPLACEMENT_TIMEOUT_SECONDS."""
    before = supervisord.processes()
    for name in names:
        supervisord.replace_babysitter(name)
    end = time.monotonic() + REPLACEMENT_TIMEOUT_SECONDS
    while any(supervisord.process(name).pid in (0, before[name].pid) for name in names) and time.monotonic() < end:
        time.sleep(POLL_INTERVAL_SECONDS)


def wait_until_ready(
    supervisord: SupervisordClient,
    chosen: Sequence[Component],
    components: Sequence[Component],
    timeout: float,
    progress: Waiting,
    delay: DelayReport,
    sleep: Callable[[float], object],
) -> None:
    """Wait until every chosen component is ready. `sleep` is called between two observations, and may raise.

    Raise CommandError after `timeout` seconds, or earlier if a component needs a changed setting to become ready. Raise
    ProgramFailed for the first program that failed.
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
                progress.done(component.name, ready_text(component, observation))
        if not late:
            return
        delay.update([component.name for component in chosen if component.name not in ready])
        if time.monotonic() > began + timeout:
            raise CommandError(f"{late}; see `svc status` and logs/")
        sleep(POLL_INTERVAL_SECONDS)


def _program_failure(supervisord: SupervisordClient, process: Process, console: Console) -> CommandError:
    """Print the last lines that a failed program wrote, and return the error to raise."""
    lines = last_output(supervisord, process)
    for line in lines:
        console.print_line(f"  {line}")
    failure = ": ".join(filter(None, (full_name(process), process.state, process.spawnerr or process.description)))
    if not is_log_file(process.logfile):
        return CommandError(f"{failure}; {STDOUT_TEXT}")
    log = os.path.relpath(process.logfile)
    output = f"the end of its log is above, all is in {log}" if lines else f"it wrote nothing to {log}"
    return CommandError(f"{failure}; {output}")


def _ready_site(
    start_plan: StartPlan, components: Sequence[Component], started: Collection[str], seconds: float
) -> ReadySite:
    """Return what the closing lines need. `started` has the names of the instances that were just started."""
    foreign = [str(path) for path in foreign_files(start_plan.conf_d)]
    router = find_router(components)
    if router is None:
        return ReadySite(seconds, command_name(), foreign_files=foreign)
    services = RouterClient(router.own_url).services() or []
    routed = {service["name"]: service["models"] for service in services if service["healthy"]}
    routed = routed or {s["name"]: s["models"] for s in services if s.get("status") == "asleep" and s["models"]}
    keyed = needs_key(routed)
    instances = instances_to_try(components, started, routed)
    models = (
        read_models(c.babysitter_url, HTTP_TIMEOUT_SECONDS) if keyed else routed[c.service_name] for c in instances
    )
    own_model = next((names[0] for names in models if names), "")
    model = own_model or next((names[0] for names in routed.values() if names), "")
    access = curl_access(router.own_url, router.certfile)
    return ReadySite(seconds, command_name(), access, model, keyed, foreign)


def _other_registries(components: Sequence[Component]) -> Iterator[str]:
    router = find_router(components)
    for component in components:
        if router and component.kind == "babysitter" and not shares_registry(router, component):
            yield (
                f"{component.name}: registers at {component.registry_url}, but the router asks {router.registry_url}: "
                f"it will get no requests from there; correct registry_url in {component.toml}"
            )
