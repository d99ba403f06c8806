"""What the registry's list says of the instances, on this machine and on others."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from svc.base.address import authority, is_loopback
from svc.doctor.facts import Facts, Registry
from svc.doctor.findings import PROBLEM, WARNING, Finding
from svc.protocol.health_state import state_of
from svc.protocol.service import INSTANCE_TYPE, listed_models
from svc.site.components import Component

Told = Mapping[str, Any]
SETTLED = 5  # seconds of a program's life after which the registry knows of it


def check(facts: Facts) -> Iterator[Finding]:
    registry = facts.registry()
    if registry is None:
        return
    services = registry.services()
    ours = {component.service_name: component for component in facts.instances}
    for name, service in sorted(services.items()):
        if service.get("metadata", {}).get("type") == INSTANCE_TYPE:
            yield from _instance(facts, registry, service, ours.get(name))
    for name, component in ours.items():
        if name not in services:
            yield from _missing(facts, component)


def spared(service: Told, services: Mapping[str, Told]) -> bool:
    """Whether each of its models has another healthy instance."""
    others = {m for s in services.values() if s is not service and s["is_healthy"] for m in listed_models(s)}
    models = listed_models(service)
    return bool(models) and set(models) <= others


def _instance(facts: Facts, registry: Registry, service: Told, component: Component | None) -> Iterator[Finding]:
    name = service["name"]
    grave = WARNING if spared(service, registry.services()) else PROBLEM
    if component and not _same(component, service):
        yield _others(component, service)
    elif service["drained"]:
        held = facts.rollout is not None and name in facts.rollout.ours
        who, because = ("a rollout", ("rollout",)) if held else ("an operator", ())
        alone = "nobody else has its models" if grave == PROBLEM else "others serve its models meanwhile"
        yield Finding(
            f"instance.{name}",
            grave,
            f"{name}: is drained: it gets no requests",
            f"{who} said so; {alone}",
            fix=f"svc undrain {name}",
            because=because,
        )
    elif not service["is_healthy"]:
        yield _unwell(facts, registry, service, component, grave)
    if not registry.here and is_loopback(str(service["host"])) and facts.router and facts.router.here and not component:
        yield Finding(
            f"loopback.{name}",
            PROBLEM,
            f"{name}: is registered as {service['host']}: the router here would ask itself",
            f"it is on {service.get('hostname')}",
            first=f"on {service.get('hostname')}: give host in its TOML that machine's address, svc up; then",
            fix=f"svc services show {name}",
        )


def _same(component: Component, service: Told) -> bool:
    return (component.host, component.ports[0]) == (service["host"], service["port"])


def _others(component: Component, service: Told) -> Finding:
    here, there = component.address_of(component.programs[0]), authority(str(service["host"]), service["port"])
    return Finding(
        f"owner.{component.name}",
        PROBLEM,
        f"{service['name']}: the registry has another one: {there} on {service.get('hostname')}",
        f"the one here is {here}: two of one name, or a changed file whose babysitter did not restart",
        first=f"give it another name in {component.source.removeprefix('../')}; or, if that one is gone for good,",
        fix=f"svc remove {component.name} {service['name']}",
        because=(
            f"babysitter.{component.name}",
            "files.pending",
            "files.stale",
            f"program.{component.programs[1]}",
            "supervisord.*",
        ),
    )


def _unwell(facts: Facts, registry: Registry, service: Told, component: Component | None, grave: str) -> Finding:
    name, state = service["name"], state_of(service)
    key, silence = f"instance.{name}", int(facts.now - service.get("last_heartbeat", facts.now))
    if component is None:
        return Finding(
            key,
            grave,
            f"{name}: is {state}",
            f"it is on {service.get('hostname')} ({service['host']}), last heard {silence} s ago",
            first=f"on {service.get('hostname')}: svc doctor; if it is gone for good,",
            fix=f"svc remove {service.get('metadata', {}).get('parent_service', name)} {name}",
            because=(f"registry.condition.{registry.url}",),
        )
    server, babysitter = component.programs
    because = (
        f"program.{server}",
        f"models.{component.name}",
        f"listen.{server}",
        f"restarts.{server}",
        f"program.{babysitter}",
        f"babysitter.{component.name}",
        "supervisord.*",
        f"host.{component.name}",
        f"registry.condition.{registry.url}",
    )
    sidecar = facts.sidecars.get(component.name)
    if state == "unhealthy" and sidecar and sidecar.health.ok:
        return _cut_off(registry, service, component, because)
    fresh = 0 < facts.uptime(server) < SETTLED
    return Finding(
        key,
        WARNING if fresh else PROBLEM,
        f"{name}: is {state} in the registry",
        f"last heard {silence} s ago",
        fix=f"supervisorctl restart {component.name}:*",
        because=because,
    )


def _cut_off(registry: Registry, service: Told, component: Component, because: tuple[str, ...]) -> Finding:
    name = service["name"]
    now = registry.checks.get(name)
    url = (
        service.get("metadata", {}).get("health_url") or f"http://{component.address_of(component.programs[1])}/health"
    )
    if now and now.get("health_status") == "healthy":
        return Finding(
            f"instance.{name}",
            WARNING,
            f"{name}: did not pass the registry's checks, and does now",
            f"the registry asked {url} just now",
            fix="svc services",
            because=because,
        )
    return Finding(
        f"instance.{name}",
        PROBLEM,
        f"{name}: the registry cannot reach it at {url}",
        "its babysitter is well when asked from here: a firewall, or the wrong address in host",
        because=because,
        first=f"open port {component.ports[1]} here to {urlsplit(registry.url).hostname}, or correct host in "
        f"{component.source.removeprefix('../')}; then",
        fix="svc up",
    )


def _missing(facts: Facts, component: Component) -> Iterator[Finding]:
    babysitter = component.programs[1]
    if 0 < facts.uptime(babysitter) < SETTLED:
        return
    config = facts.configs.get(component.name)
    yield Finding(
        f"instance.{component.service_name}",
        PROBLEM,
        f"{component.service_name}: is not in the registry",
        "its babysitter registers it as soon as it knows the instance",
        fix=f"supervisorctl restart {babysitter}",
        because=(
            f"program.{babysitter}",
            f"babysitter.{component.name}",
            f"listen.{babysitter}",
            "supervisord.*",
            f"elsewhere.{component.name}",
            f"program.{component.programs[0]}",
            f"models.{component.name}",
            f"registry.write.{config.token_file if config else ''}",
        ),
    )
