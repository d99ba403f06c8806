"""What `svc status` says: one row a program, put together from supervisord, the registry and the router. Pure."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from svc.generated import Part, sees
from svc.supervision.control import Process, Restarts

Services = Mapping[str, Mapping[str, Any]]
NO_ANSWER = "no answer"
UNKNOWN = "unknown"
NOT_RUNNING = "-"


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """What each source says; `registry` and `router` list services by name, and are None where there is no answer."""

    parts: Sequence[Part]
    supervisord: int | None = None  # its pid
    processes: Mapping[str, Process] = dataclasses.field(default_factory=dict)
    restarts: Mapping[str, Restarts] = dataclasses.field(default_factory=dict)
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
    router = next((part for part in seen.parts if part.component == "router"), None)
    for part in seen.parts:
        for name in part.programs:
            if part.component == "registry":
                health, well = _registry_health(seen)
            elif part.component == "router":
                health, well = _router_health(seen)
            elif name.endswith(":babysitter"):
                health, well = _registered(seen, part.name)
            else:
                health, well = _instance_health(seen, part, router)
            models = _models(seen, part) if name.endswith(":server") else ()
            yield _row(seen, name, health, well, models, part.address_of(name))


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
    if service["drained"]:
        return "drained", False
    if service["status"] != "running":
        return service["status"], False
    return ("healthy", True) if service["is_healthy"] else ("unhealthy", False)


def _instance_health(seen: Seen, part: Part, router: Part | None) -> tuple[str, bool]:
    """1. What the registry has of it; 2. if that is good, or unknown, whether the router uses it."""
    name = f"{part.name}-server"
    health, well = _registered(seen, name)  # 1
    if router is None or seen.router is None or not sees(router, part) or health not in ("healthy", UNKNOWN):
        return health, well
    routed = seen.router.get(name, {})
    if not routed.get("healthy"):
        return ("ejected" if routed.get("ejected") else "unrouted"), False  # 2
    return ("healthy", True) if well else ("routed", False)


def _models(seen: Seen, part: Part) -> Sequence[str]:
    name = f"{part.name}-server"
    service = (seen.registry or {}).get(name) or {}
    return service.get("metadata", {}).get("models") or (seen.router or {}).get(name, {}).get("models", ())


def _others(seen: Seen) -> Iterator[Row]:
    """Programs of files that are not ours: what supervisord says, and no opinion but on failures."""
    known = {name for part in seen.parts for name in part.programs}
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
        health if running or process is None or health not in (NO_ANSWER, UNKNOWN) else "",
        list(models),
        address,
        running and well,
        restarts.reason if restarts and restarts.restarts else "",
    )


def _problems(seen: Seen, rows: Sequence[Row]) -> Iterator[str]:
    if seen.supervisord is None:
        yield "supervisord does not run here; svc up starts it"
    if seen.registry_trouble:
        yield f"the registry at {seen.registry_url}: {seen.registry_trouble}"
    elif seen.registry is None and seen.registry_url:
        yield f"the registry does not answer at {seen.registry_url}"
    for row in rows:
        process = seen.processes.get(row.name)
        if process is None:
            if seen.supervisord is not None:
                yield f"{row.name}: supervisord does not have it yet; svc up brings it in"
        elif process.state != "RUNNING" and not row.ok:
            why = f": {process.spawnerr}" if process.spawnerr and process.state in ("BACKOFF", "FATAL") else ""
            yield f"{row.name}: {process.state}{why}"
        elif not row.ok and row.health != UNKNOWN:
            yield f"{row.name}: {row.health}"
