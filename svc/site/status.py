"""The status of a site: one row for each program, from supervisord, the registry and the router. Pure."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from svc.protocol.health_state import BAD, HEALTH_STATES, level_of, state_of
from svc.protocol.service import ASLEEP
from svc.site.components import Component, find_router, shares_registry
from svc.site.readiness import FAILED_STATES
from svc.site.site_snapshot import SiteSnapshot
from svc.supervision.client import Process

FAILING_MEANING = HEALTH_STATES["failing"].meaning
NO_ANSWER = "no answer"
UNKNOWN = "unknown"
ROUTED = "routed"
NOT_RUNNING = "-"
HEALTH_OF_STATE = {  # state in supervisord other than RUNNING -> health
    "STARTING": "starting",
    "BACKOFF": "starting",
    "STOPPING": "stopping",
    "STOPPED": "stopped",
    "FATAL": "failed",
}


@dataclasses.dataclass(frozen=True, slots=True)
class ProgramStatus:
    """The status of one program, with the fields that `svc status --json` prints."""

    name: str
    state: str  # the program's state in supervisord
    pid: int | None
    uptime: int | None  # seconds
    restarts: int | None
    max_restarts: int | None
    health: str
    models: Sequence[str]
    address: str
    ok: bool
    reason: str = ""  # why the program was last restarted; "" without restarts


@dataclasses.dataclass(frozen=True, slots=True)
class SiteStatus:
    """The status of a site, with the fields that `svc status --json` prints."""

    ok: bool
    supervisord: int | None
    programs: Sequence[ProgramStatus]
    problems: Sequence[str]
    warnings: Sequence[str] = ()
    unit: str | None = None  # the name of the systemd unit that runs the site, or would start it


def site_status(snapshot: SiteSnapshot) -> SiteStatus:
    """Return the status of every program, one line for each problem, and one for each warning."""
    programs = [*_rendered_programs(snapshot), *_foreign_programs(snapshot)]
    problems, warnings, unit = list(_problems(snapshot, programs)), list(_warnings(snapshot)), snapshot.unit
    if unit:
        problems, warnings = [unit.with_commands(x) for x in problems], [unit.with_commands(x) for x in warnings]
    return SiteStatus(not problems, snapshot.supervisord, programs, problems, warnings, unit.name if unit else None)


def _warnings(snapshot: SiteSnapshot) -> Iterator[str]:
    """Yield one line for each difference from the site's settings; the site serves requests in spite of these."""
    if snapshot.unapplied_keys:
        yield (
            f"router: {snapshot.unapplied_keys}: configured, and not applied yet: the running router does not ask for "
            "these keys; svc apply"
        )
    if snapshot.invalid_keys:
        yield (
            f"router: {snapshot.invalid_keys}; the running router keeps the keys that it read before, and would not "
            "start again"
        )


def _rendered_programs(snapshot: SiteSnapshot) -> Iterator[ProgramStatus]:
    router = find_router(snapshot.components)
    for component in snapshot.components:
        for name in component.programs:
            if component.kind == "registry":
                health, ok = _registry_health(snapshot)
            elif component.kind == "router":
                health, ok = _router_health(snapshot)
            elif name == component.babysitter_program:
                health, ok = _registered_health(snapshot, component.name)
            else:
                health, ok = _instance_health(snapshot, component, router)
            models = _models(snapshot, component) if name == component.server_program else ()
            program = _program(snapshot, name, health, ok, models, component.address_of(name))
            if _sleeps(snapshot, component, program):
                program = _asleep(program)
            elif component.on_demand and program.state in ("STARTING", "RUNNING") and program.health == "starting":
                program = dataclasses.replace(program, ok=True)  # an instance that wakes is in order
            yield program


def _sleeps(snapshot: SiteSnapshot, component: Component, program: ProgramStatus) -> bool:
    """Return whether a program is the server of an instance that is asleep: it is stopped, or its engine sleeps."""
    if not component.on_demand or program.name != component.server_program:
        return False
    service = (snapshot.registry or {}).get(component.service_name) or {}
    return program.state in ("STOPPED", "EXITED") or (program.state == "RUNNING" and service.get("status") == ASLEEP)


def _asleep(program: ProgramStatus) -> ProgramStatus:
    health = f"drained, {ASLEEP}" if program.health.startswith("drained") else ASLEEP
    return dataclasses.replace(program, health=health, ok=health == ASLEEP)


def _registry_health(snapshot: SiteSnapshot) -> tuple[str, bool]:
    if snapshot.registry is None:
        return ("failing" if snapshot.registry_trouble else NO_ANSWER), False
    return ("degraded", False) if snapshot.registry_trouble else ("healthy", True)


def _router_health(snapshot: SiteSnapshot) -> tuple[str, bool]:
    if snapshot.router is None:
        return NO_ANSWER, False
    used, awake, asleep = _usage(snapshot.router)
    counts = f"{used}/{awake}{f', {asleep} asleep' if asleep else ''}"
    return f"{'ready' if snapshot.routing else 'waiting'} {counts}", snapshot.routing


def _usage(routed: Mapping[str, Mapping[str, Any]]) -> tuple[int, int, int]:
    """Return how many instances the router uses, how many are not asleep, and how many are."""
    asleep = sum(service.get("status") == ASLEEP for service in routed.values())
    return sum(bool(service["healthy"]) for service in routed.values()), len(routed) - asleep, asleep


def _registered_health(snapshot: SiteSnapshot, name: str) -> tuple[str, bool]:
    """Return the health of the service `name` in the registry's list, and whether that health is good."""
    if snapshot.registry is None:
        return UNKNOWN, not snapshot.registry_url
    service = snapshot.registry.get(name)
    if service is None:
        return "unregistered", False
    health = state_of(service)
    return health, health == "healthy"


def _instance_health(snapshot: SiteSnapshot, component: Component, router: Component | None) -> tuple[str, bool]:
    """Return the health of an instance, and whether that health is good.

    1. If the health in the registry is bad, that is the result, whatever the router reports.
    2. If the health in the registry is good or unknown, but the router does not use the instance, its health is bad.
    3. If the health in the registry is unknown, but the router uses the instance, its health is good.
    """
    health, ok = _registered_health(snapshot, component.service_name)  # rule 1
    if ok and (engine := snapshot.not_ready.get(component.name)) and engine.misconfigured:
        return "misconfigured", False  # the babysitter can no longer read the engine's models
    if router is None or snapshot.router is None or not shares_registry(router, component):
        return health, ok
    if health not in ("healthy", UNKNOWN):
        return health, ok
    routed = snapshot.router.get(component.service_name, {})
    if routed.get("failing") or not routed.get("healthy"):
        return ", ".join(mark for mark in ("failing", "ejected") if routed.get(mark)) or "unrouted", False  # rule 2
    return ("healthy" if ok else ROUTED), True  # rule 3


def _models(snapshot: SiteSnapshot, component: Component) -> Sequence[str]:
    service = (snapshot.registry or {}).get(component.service_name) or {}
    routed = (snapshot.router or {}).get(component.service_name, {})
    return service.get("metadata", {}).get("models") or routed.get("models", ())


def _foreign_programs(snapshot: SiteSnapshot) -> Iterator[ProgramStatus]:
    """Yield the status of the programs that svc did not render.

    Their health is unknown, so only a failure is a problem.
    """
    rendered = {name for component in snapshot.components for name in component.programs}
    for name, process in snapshot.processes.items():
        if name not in rendered:
            failed = process.state in ("BACKOFF", "FATAL", "UNKNOWN") or (
                process.state == "EXITED" and process.exitstatus != 0
            )
            yield dataclasses.replace(_program(snapshot, name, "", True, (), ""), ok=not failed)


def _program(
    snapshot: SiteSnapshot, name: str, health: str, ok: bool, models: Sequence[str], address: str
) -> ProgramStatus:
    process, restarts = snapshot.processes.get(name), snapshot.restarts.get(name)
    running = process is not None and process.state == "RUNNING"
    return ProgramStatus(
        name,
        process.state if process else NOT_RUNNING,
        process.pid or None if process else None,
        process.now - process.start if process and running else None,
        restarts.restarts if restarts else None,
        restarts.max_restarts if restarts else None,
        health if running else _health_when_stopped(process, health, ok),
        list(models),
        address,
        running and ok,
        restarts.reason if restarts and restarts.restarts else "",
    )


def _health_when_stopped(process: Process | None, health: str, ok: bool) -> str:
    """Return the health of a program that does not run.

    `health` and `ok` come from the registry and the router, which may still list the program as healthy.
    """
    if process is None:
        return "" if ok else health
    stopped = HEALTH_OF_STATE.get(process.state, "")
    return ", ".join(filter(None, ("drained", stopped))) if health.startswith("drained") else stopped


def _problems(snapshot: SiteSnapshot, programs: Sequence[ProgramStatus]) -> Iterator[str]:
    """Yield one line for each root cause; a problem that follows from another one gets no line."""
    if snapshot.supervisord is None:
        yield "supervisord does not run here; svc up starts it"
    registry_problems = list(_registry_problems(snapshot))
    yield from registry_problems
    for program in programs:
        process = snapshot.processes.get(program.name)
        if process is None:
            if snapshot.supervisord is not None:
                yield f"{program.name}: supervisord does not have it yet; svc up brings it in"
        elif process.state != "RUNNING" and not program.ok:
            yield f"{program.name}: {process.state}{_cause(snapshot, process)}"
        elif not program.ok and program.health != UNKNOWN and not (program.name == "registry" and registry_problems):
            yield f"{program.name}: {program.health}{_reason(snapshot, program)}"
    yield from _unused_elsewhere(snapshot)


def _cause(snapshot: SiteSnapshot, process: Process) -> str:
    """Return why supervisord could not keep a program running; "" for a program that has not failed."""
    if process.state not in FAILED_STATES:
        return ""
    keys = snapshot.unusable_keys.get(process.group, "") if process.name != "babysitter" else ""
    return "".join(f": {text}" for text in (process.spawnerr, keys) if text)


def _reason(snapshot: SiteSnapshot, program: ProgramStatus) -> str:
    name, _, suffix = program.name.rpartition(":")
    if suffix == "server" and program.health.startswith("failing"):
        return f": {FAILING_MEANING}"
    if program.name == "router":
        name, suffix = "router", "server"
    reasons = {"server": snapshot.not_ready, "babysitter": snapshot.refused}.get(suffix, {})
    return f": {reasons[name].reason}" if name in reasons else ""


def _registry_problems(snapshot: SiteSnapshot) -> Iterator[str]:
    """Yield a line if the registry reports a problem or does not answer.

    Yield nothing if this site's registry does not run, because there is already a line about that.
    """
    process = snapshot.processes.get("registry")
    runs_registry = any(component.kind == "registry" for component in snapshot.components)
    if runs_registry and (process is None or process.state != "RUNNING"):
        return
    if snapshot.registry_trouble:
        yield f"the registry at {snapshot.registry_url}: {snapshot.registry_trouble}"
    elif snapshot.registry is None and snapshot.registry_url:
        yield f"the registry does not answer at {snapshot.registry_url}"


def _unused_elsewhere(snapshot: SiteSnapshot) -> Iterator[str]:
    """Yield lines about instances on other machines: one for each failing instance, and one if the router omits any."""
    local_names = {component.service_name for component in snapshot.components}
    routed = snapshot.router or {}
    used, awake, _ = _usage(routed)
    others = {name: service for name, service in routed.items() if name not in local_names}
    failing = [name for name, service in others.items() if service.get("failing")]
    yield from (f"{name}: failing: {FAILING_MEANING}" for name in sorted(failing))
    healths = [_remote_health(snapshot, name, others[name]) for name in others.keys() - failing]
    if any(level_of(health) == BAD for health in healths):
        yield f"the router uses {used} of {awake} instances; svc services list says which"


def _remote_health(snapshot: SiteSnapshot, name: str, routed: Mapping[str, Any]) -> str:
    """Return the health of an instance on another machine.

    1. It is healthy if the router uses it.
    2. Bad health in the registry explains why the router does not use it.
    3. Otherwise the result is the state in the router's list, which may be a little older than the registry's.
    """
    if routed["healthy"]:
        return "healthy"  # rule 1
    health, _ = _registered_health(snapshot, name)
    if health not in ("healthy", "unregistered", UNKNOWN):
        return health  # rule 2
    is_ejected = routed.get("ejected")  # rule 3
    health = "ejected" if is_ejected else state_of({"status": "running", "is_healthy": True, **routed})
    return "unrouted" if health == "healthy" else health
