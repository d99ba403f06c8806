"""Checks the instances in the registry's list, on this machine and on others."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from svc.base.address import authority, is_loopback, is_wildcard
from svc.doctor.facts import Facts, RegistryFacts
from svc.doctor.findings import PROBLEM, WARNING, Finding
from svc.doctor.start_phase import is_starting
from svc.protocol.health_state import state_of
from svc.protocol.service import ASLEEP, INSTANCE_TYPE, listed_models
from svc.site.components import Component

ServiceEntry = Mapping[str, Any]  # an entry in the registry's list
REGISTRATION_SECONDS = 5  # time from a program's start until it must be registered


def check(facts: Facts) -> Iterator[Finding]:
    registry = facts.listing_registry()
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


def is_redundant(service: ServiceEntry, services: Mapping[str, ServiceEntry]) -> bool:
    """Return whether every model of a service is also served by another healthy instance."""
    others = {m for s in services.values() if s is not service and s["is_healthy"] for m in listed_models(s)}
    models = listed_models(service)
    return bool(models) and set(models) <= others


def _has_just_started(facts: Facts, component: Component) -> bool:
    """Return whether all programs of an instance run, and one of them has just been started."""
    run = all(facts.state(program) in ("STARTING", "RUNNING") for program in component.programs)
    return run and any(is_starting(facts, program) for program in component.programs)


def may_remove(facts: Facts) -> bool:
    """Return whether this site has the registry's token. Without the token, only the owner of a name may remove it."""
    return facts.settings is not None and bool(facts.settings.registry.token_file)


def step_before_removal(facts: Facts) -> str:
    """Return what the operator has to do first to free a name that another instance has."""
    return "if that one is gone for good," if may_remove(facts) else "stop that one and wait until its lease ends; see"


def registered_names(facts: Facts, *names: str) -> str:
    """Return the `names` that the registry lists, as the arguments of a command that refuses other names.

    If the registry lists none of them, return all `names`.
    """
    services = facts.registered_services()
    return " ".join(dict.fromkeys(name for name in names if name in services) or names)


def _instance(
    facts: Facts, registry: RegistryFacts, service: ServiceEntry, component: Component | None
) -> Iterator[Finding]:
    name = service["name"]
    severity = WARNING if is_redundant(service, registry.services()) else PROBLEM
    if component and not _is_same(component, service):
        yield _foreign_entry(facts, component, service)
    elif service["drained"]:
        by_rollout = facts.rollout is not None and name in facts.rollout.drained
        source, causes = ("a rollout", ("rollout",)) if by_rollout else ("the operator", ())
        others = "no other instance serves its models" if severity == PROBLEM else "others serve its models meanwhile"
        yield Finding(
            f"instance.{name}",
            severity,
            f"{name}: is drained: it gets no requests",
            f"{source} has drained it; {others}",
            fix=f"svc undrain {name}",
            causes=causes,
        )
    elif not service["is_healthy"] and service["status"] != ASLEEP:
        yield _unhealthy(facts, registry, service, component, severity)
    if (
        not registry.is_local
        and is_loopback(str(service["host"]))
        and facts.router
        and facts.router.is_local
        and not component
    ):
        yield Finding(
            f"loopback.{name}",
            PROBLEM,
            f"{name}: is registered as {service['host']}: the router here would ask itself",
            f"it is on {service.get('hostname')}",
            first_step=f"on {service.get('hostname')}: give host in its TOML that machine's address, `svc up`; then",
            fix=f"svc services show {name}",
        )


def _is_same(component: Component, service: ServiceEntry) -> bool:
    same_host = component.host == service["host"] or is_wildcard(component.host)
    return same_host and component.ports[0] == service["port"]


def _foreign_entry(facts: Facts, component: Component, service: ServiceEntry) -> Finding:
    own_address = component.address_of(component.programs[0])
    registered_address = authority(str(service["host"]), service["port"])
    return Finding(
        f"owner.{component.name}",
        PROBLEM,
        f"{service['name']}: the registry has another one: {registered_address} on {service.get('hostname')}",
        f"the one here is {own_address}: two have one name, or a changed file whose babysitter did not restart",
        first_step=f"give it another name in {component.toml}; or, {step_before_removal(facts)}",
        fix=f"svc remove {registered_names(facts, component.name, service['name'])}"
        if may_remove(facts)
        else f"svc services show {service['name']}",
        causes=(
            f"babysitter.{component.name}",
            "files.pending",
            "files.stale",
            f"program.{component.programs[1]}",
            "supervisord.*",
        ),
    )


def _unhealthy(
    facts: Facts, registry: RegistryFacts, service: ServiceEntry, component: Component | None, severity: str
) -> Finding:
    name, state = service["name"], state_of(service)
    key, silence_seconds = f"instance.{name}", int(facts.now - service.get("last_heartbeat", facts.now))
    if component is None:
        return Finding(
            key,
            severity,
            f"{name}: is {state}",
            f"it is on {service.get('hostname')} ({service['host']}), last heartbeat {silence_seconds} s ago",
            first_step=f"on {service.get('hostname')}: `svc doctor`; if it is gone for good,",
            fix=f"svc remove {registered_names(facts, service.get('metadata', {}).get('parent_service', name), name)}",
            causes=(f"registry.condition.{registry.url}",),
        )
    server, babysitter = component.programs
    causes = (
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
    probe = facts.instance_probes.get(component.name)
    if state == "unhealthy" and probe and probe.health.ok:
        return _unreachable(registry, service, component, causes)
    just_started = 0 < facts.uptime(server) < REGISTRATION_SECONDS
    return Finding(
        key,
        WARNING if just_started else PROBLEM,
        f"{name}: is {state} in the registry",
        f"last heartbeat {silence_seconds} s ago",
        fix=f"supervisorctl restart '{component.name}:*'",
        causes=causes,
        may_pass=_has_just_started(facts, component),
    )


def _unreachable(
    registry: RegistryFacts, service: ServiceEntry, component: Component, causes: tuple[str, ...]
) -> Finding:
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
            causes=causes,
        )
    return Finding(
        f"instance.{name}",
        PROBLEM,
        f"{name}: the registry cannot reach it at {url}",
        "its babysitter answers from here: a firewall is in the way, or host is the wrong address",
        causes=causes,
        first_step=f"open port {component.ports[1]} here to {urlsplit(registry.url).hostname}, or correct host in "
        f"{component.toml}; then",
        fix="svc up",
    )


def _missing(facts: Facts, component: Component) -> Iterator[Finding]:
    babysitter = component.programs[1]
    if 0 < facts.uptime(babysitter) < REGISTRATION_SECONDS:
        return
    config = facts.configs.get(component.name)
    yield Finding(
        f"instance.{component.service_name}",
        PROBLEM,
        f"{component.service_name}: is not in the registry",
        "its babysitter registers it as soon as it knows the instance",
        fix=f"supervisorctl restart {babysitter}",
        causes=(
            f"program.{babysitter}",
            f"babysitter.{component.name}",
            f"listen.{babysitter}",
            "supervisord.*",
            f"elsewhere.{component.name}",
            f"program.{component.programs[0]}",
            f"models.{component.name}",
            f"registry.write.{config.token_file if config else ''}",
        ),
        may_pass=_has_just_started(facts, component),
    )
