"""What `svc status` says: one row a program, put together from supervisord, the registry and the router. Pure."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from svc.protocol.health_state import BAD, level_of, state_of
from svc.site.components import Component, shares_registry
from svc.site.readiness import NotReady
from svc.supervision.client import Process, Restarts

Services = Mapping[str, Mapping[str, Any]]
NO_ANSWER = "no answer"
UNKNOWN = "unknown"
ROUTED = "routed"
NOT_RUNNING = "-"
SUPERVISED = {  # what to call the health of a program that supervisord says is not RUNNING
    "STARTING": "starting",
    "BACKOFF": "starting",
    "STOPPING": "stopping",
    "STOPPED": "stopped",
    "FATAL": "failed",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """What each source says; `registry` and `router` list services by name, and are None where there is no answer."""

    components: Sequence[Component]
    supervisord: int | None = None  # its pid
    processes: Mapping[str, Process] = dataclasses.field(default_factory=dict)
    restarts: Mapping[str, Restarts] = dataclasses.field(default_factory=dict)
    not_ready: Mapping[str, NotReady] = dataclasses.field(default_factory=dict)  # engines, by the name of the component
    refused: Mapping[str, NotReady] = dataclasses.field(default_factory=dict)  # babysitters, by their registry
    registry: Services | None = None
    registry_url: str = ""
    registry_trouble: str = ""  # what it says is wrong with itself
    router: Services | None = None
    routing: bool = False  # whether the router says that it is ready


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One program; `svc status --json` has the same fields."""

    name: str
    state: str  # supervisord's
    pid: int | None
    uptime: int | None  # seconds
    restarts: int | None
    max_restarts: int | None
    health: str
    models: Sequence[str]
    address: str
    ok: bool
    reason: str = ""  # why it was last restarted, if it was


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    ok: bool
    supervisord: int | None
    programs: Sequence[Row]
    problems: Sequence[str]


def report(seen: Seen) -> Report:
    rows = [*_ours(seen), *_others(seen)]
    problems = list(_problems(seen, rows))
    return Report(not problems, seen.supervisord, rows, problems)


def _ours(seen: Seen) -> Iterator[Row]:
    router = next((component for component in seen.components if component.kind == "router"), None)
    for component in seen.components:
        for name in component.programs:
            if component.kind == "registry":
                health, well = _registry_health(seen)
            elif component.kind == "router":
                health, well = _router_health(seen)
            elif name == component.babysitter_program:
                health, well = _registered(seen, component.name)
            else:
                health, well = _instance_health(seen, component, router)
            models = _models(seen, component) if name == component.server_program else ()
            yield _row(seen, name, health, well, models, component.address_of(name))


def _registry_health(seen: Seen) -> tuple[str, bool]:
    if seen.registry is None:
        return ("failing" if seen.registry_trouble else NO_ANSWER), False
    return ("degraded", False) if seen.registry_trouble else ("healthy", True)


def _router_health(seen: Seen) -> tuple[str, bool]:
    if seen.router is None:
        return NO_ANSWER, False
    healthy = sum(bool(service["healthy"]) for service in seen.router.values())
    return f"{'ready' if seen.routing else 'waiting'} {healthy}/{len(seen.router)}", seen.routing


def _registered(seen: Seen, name: str) -> tuple[str, bool]:
    """What the registry has of a name."""
    if seen.registry is None:
        return UNKNOWN, not seen.registry_url
    service = seen.registry.get(name)
    if service is None:
        return "unregistered", False
    word = state_of(service)
    return word, word == "healthy"


def _instance_health(seen: Seen, component: Component, router: Component | None) -> tuple[str, bool]:
    """1. What the registry has of it; 2. if that is good, or unknown, whether the router uses it; 3. while nobody
    can tell the first, the second is good enough."""
    name = component.service_name
    health, well = _registered(seen, name)  # 1
    if well and (engine := seen.not_ready.get(component.name)) and engine.misconfigured:
        return "misconfigured", False  # its models cannot be read any more
    if (
        router is None
        or seen.router is None
        or not shares_registry(router, component)
        or health not in ("healthy", UNKNOWN)
    ):
        return health, well
    routed = seen.router.get(name, {})
    if not routed.get("healthy"):
        return ("ejected" if routed.get("ejected") else "unrouted"), False  # 2
    return ("healthy" if well else ROUTED), True  # 3


def _models(seen: Seen, component: Component) -> Sequence[str]:
    name = component.service_name
    service = (seen.registry or {}).get(name) or {}
    return service.get("metadata", {}).get("models") or (seen.router or {}).get(name, {}).get("models", ())


def _others(seen: Seen) -> Iterator[Row]:
    """Programs of files that are not ours: what supervisord says, and no opinion but on failures."""
    known = {name for component in seen.components for name in component.programs}
    for name, process in seen.processes.items():
        if name not in known:
            failed = process.state in ("BACKOFF", "FATAL", "UNKNOWN") or (
                process.state == "EXITED" and process.exitstatus != 0
            )
            yield dataclasses.replace(_row(seen, name, "", True, (), ""), ok=not failed)


def _row(seen: Seen, name: str, health: str, well: bool, models: Sequence[str], address: str) -> Row:
    process, restarts = seen.processes.get(name), seen.restarts.get(name)
    running = process is not None and process.state == "RUNNING"
    return Row(
        name,
        process.state if process else NOT_RUNNING,
        process.pid or None if process else None,
        process.now - process.start if process and running else None,
        restarts.restarts if restarts else None,
        restarts.max_restarts if restarts else None,
        health if running else _stopped(process, health, well),
        list(models),
        address,
        running and well,
        restarts.reason if restarts and restarts.restarts else "",
    )


def _stopped(process: Process | None, health: str, well: bool) -> str:
    """The health of what does not run: others may not have heard of that yet, and go on to call it healthy."""
    if process is None:
        return "" if well else health
    word = SUPERVISED.get(process.state, "")
    return ", ".join(filter(None, ("drained", word))) if health.startswith("drained") else word


def _problems(seen: Seen, rows: Sequence[Row]) -> Iterator[str]:
    """One line for each cause: what comes of it has none of its own."""
    if seen.supervisord is None:
        yield "supervisord does not run here; svc up starts it"
    told = list(_registry_problems(seen))
    yield from told
    for row in rows:
        process = seen.processes.get(row.name)
        if process is None:
            if seen.supervisord is not None:
                yield f"{row.name}: supervisord does not have it yet; svc up brings it in"
        elif process.state != "RUNNING" and not row.ok:
            why = f": {process.spawnerr}" if process.spawnerr and process.state in ("BACKOFF", "FATAL") else ""
            yield f"{row.name}: {process.state}{why}"
        elif not row.ok and row.health != UNKNOWN and not (row.name == "registry" and told):
            yield f"{row.name}: {row.health}{_reason(seen, row)}"
    yield from _elsewhere(seen)


def _reason(seen: Seen, row: Row) -> str:
    name, _, program = row.name.rpartition(":")
    reasons = {"server": seen.not_ready, "babysitter": seen.refused}.get(program, {})
    return f": {reasons[name].reason}" if name in reasons else ""


def _registry_problems(seen: Seen) -> Iterator[str]:
    """Not of one that does not run here: its row tells that, or that supervisord does not run."""
    process = seen.processes.get("registry")
    if any(component.kind == "registry" for component in seen.components) and (
        process is None or process.state != "RUNNING"
    ):
        return
    if seen.registry_trouble:
        yield f"the registry at {seen.registry_url}: {seen.registry_trouble}"
    elif seen.registry is None and seen.registry_url:
        yield f"the registry does not answer at {seen.registry_url}"


def _elsewhere(seen: Seen) -> Iterator[str]:
    """Instances of other machines that the router should use and does not; those of this one have rows."""
    here = {component.service_name for component in seen.components}
    routed = seen.router or {}
    used = sum(bool(service["healthy"]) for service in routed.values())
    if any(level_of(_word(seen, name, told)) == BAD for name, told in routed.items() if name not in here):
        yield f"the router uses {used} of {len(routed)} instances; svc services list says which"


def _word(seen: Seen, name: str, routed: Mapping[str, Any]) -> str:
    """What becomes of an instance of another machine: 1. it is used; 2. the registry says why not; 3. it does not:
    then what the router says, who is told a little later of what is new."""
    if routed["healthy"]:
        return "healthy"  # 1
    word, _ = _registered(seen, name)
    if word not in ("healthy", "unregistered", UNKNOWN):
        return word  # 2
    told = "ejected" if routed.get("ejected") else state_of({"status": "running", "is_healthy": True, **routed})  # 3
    return "unrouted" if told == "healthy" else told
