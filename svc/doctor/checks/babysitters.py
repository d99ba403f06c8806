"""Checks that babysitters and their instances answer and are registered, and finds the cause if they do not."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from svc.base.address import bind_host, is_loopback, local_host
from svc.config.instance.model import InstanceConfig
from svc.doctor.checks.instances import may_remove, registered_names, step_before_removal
from svc.doctor.facts import Facts, InstanceProbe
from svc.doctor.findings import PROBLEM, WARNING, Finding
from svc.doctor.start_phase import is_refused, may_open_port
from svc.protocol.service import ASLEEP
from svc.site.components import Component, shares_registry

STARTUP_SECONDS = 5  # time from a babysitter's start until it must answer and be registered
MAX_MISSED_HEARTBEATS = 2.5
MAX_LOADING_SECONDS = 900  # time from an instance's start for which it may answer 503
OWNED_BY_ANOTHER = re.compile(r"belongs to the babysitter on (\S+) that registered it, at (\S+),")
REGISTRATION_ERROR = "not registered, trying again: "


def check(facts: Facts) -> Iterator[Finding]:
    router = facts.component("router")
    for component in facts.instances:
        probe, server, babysitter = facts.instance_probes.get(component.name), *component.programs
        if router is not None and not _shares_registry(facts, router, component):
            yield _elsewhere(component, router)
        if probe is None:
            continue
        if facts.uptime(babysitter) > STARTUP_SECONDS:
            yield from _babysitter(facts, component, probe)
        is_asleep = probe.info.get("state") == ASLEEP  # whether the engine sleeps, in which case its process may run
        if facts.uptime(server) > STARTUP_SECONDS and component.ports[0] in facts.listeners and not is_asleep:
            yield from _instance(facts, component, probe)
            yield from _upstream_key(facts, component, probe)


def _shares_registry(facts: Facts, router: Component, component: Component) -> bool:
    """Return whether an instance registers at a registry that the router reads.

    Different URLs may lead to the same registry. So the registries count as the same if the router lists the instance,
    or if two URLs have the same port and both refer to this machine.
    """
    if shares_registry(router, component):
        return True
    if facts.router and component.service_name in facts.router.instances():
        return True
    of_router, of_instance = (_registry_addresses(facts, c.registry_url) for c in (router, component))
    return not of_router.isdisjoint(of_instance)


def _registry_addresses(facts: Facts, urls: str) -> set[tuple[str, int | None]]:
    addresses = set()
    for url in urls.split(","):
        host = urlsplit(url).hostname or ""
        name = facts.host_names.get(host)
        addresses.add(("here" if is_loopback(host) or (name and name.is_local) else host, urlsplit(url).port))
    return addresses


def _elsewhere(component: Component, router: Component) -> Finding:
    return Finding(
        f"elsewhere.{component.name}",
        PROBLEM,
        f"{component.name}: registers at {component.registry_url}, and the router asks {router.registry_url}",
        "the router never learns of it",
        first_step=f"correct registry_url in {component.toml}, or of the router in config/svc.toml",
        fix="svc apply",
        causes=("files.own",),
    )


def _babysitter(facts: Facts, component: Component, probe: InstanceProbe) -> Iterator[Finding]:
    name, key = component.programs[1], f"babysitter.{component.name}"
    if probe.info.error:
        yield Finding(
            key,
            PROBLEM,
            f"{name}: does not answer on port {component.ports[1]}",
            probe.info.error,
            fix=f"supervisorctl restart {name}",
            causes=(f"listen.{name}", f"port.{component.ports[1]}"),
            may_pass=may_open_port(facts, name, probe.info),
        )
        return
    if probe.info.get("name") not in (None, component.name):
        yield Finding(
            key,
            PROBLEM,
            f"{name}: on port {component.ports[1]} answers the babysitter of {probe.info.get('name')}",
            "two use one port",
            first_step="choose another port",
            fix="svc up",
        )
        return
    last_heartbeat = probe.info.get("last_heartbeat")
    config = facts.configs.get(component.name)
    timeout = MAX_MISSED_HEARTBEATS * (config.heartbeat_interval if config else 30.0)
    if probe.info.get("registered") is False:
        yield _unregistered(facts, component, "is not registered")
    elif isinstance(last_heartbeat, (int, float)) and facts.now - last_heartbeat > timeout:
        yield _unregistered(facts, component, f"last reached the registry {facts.now - last_heartbeat:.0f} s ago")


def _unregistered(facts: Facts, component: Component, how: str) -> Finding:
    name, source = component.programs[1], component.toml
    config = facts.configs.get(component.name)
    errors = [line for line in facts.logs.get(name, ()) if REGISTRATION_ERROR in line]
    reason = errors[-1].partition(REGISTRATION_ERROR)[2] if errors else "its log does not say why"
    owned = OWNED_BY_ANOTHER.search(reason)
    if owned:
        return Finding(
            f"babysitter.{component.name}",
            PROBLEM,
            f"{component.name}: the name is taken: {owned[2]} on {owned[1]} has it",
            reason,
            first_step=f"give it another name in {source}; or, {step_before_removal(facts)}",
            fix=f"svc remove {registered_names(facts, component.name, component.service_name)}"
            if may_remove(facts)
            else f"svc services show {component.name}",
        )
    return Finding(
        f"babysitter.{component.name}",
        PROBLEM,
        f"{component.name}: {how}",
        reason,
        first_step=f"look at registry_url and token_file in {source}; then",
        fix=f"supervisorctl restart {name}",
        causes=(
            f"registry.write.{config.token_file if config else ''}",
            "registry.silent",
            "registry.condition.*",
            "registry.other.*",
            "registry.*",
        ),
    )


def _wants_key(component: Component, probe: InstanceProbe, config: InstanceConfig | None) -> Finding:
    """Return the finding for an engine that refuses its babysitter's API key, so that its models are unknown."""
    name, source = component.programs[0], component.toml
    file = config.backend.api_key_file if config else ""
    return Finding(
        f"models.{component.name}",
        PROBLEM,
        f"{name}: refuses the API key in {file}" if file else f"{name}: wants an API key, and its babysitter has none",
        f"GET {probe.models.url}: {probe.models.problem}",
        fix="svc apply",
        first_step=f"write its own key into {file or 'a file'}"
        f"{'' if file else f' and name that: api_key_file under [backend] in {source}'}; then",
        causes=(f"token.{file}", f"token.*/{file}") if file else (),
    )


def _upstream_key(facts: Facts, component: Component, probe: InstanceProbe) -> Iterator[Finding]:
    """Yield a finding if the engine requires an API key that the router does not send."""
    router, response = facts.settings.router if facts.settings else None, probe.inference
    if router is None or facts.component("router") is None or response is None or response.status != 401:
        return
    file, instance = router.upstream_keys_file, component.service_name
    named = f"{file or 'a file that upstream_keys_file under [router] in config/svc.toml names'}"
    how = "refuses the key that the router has for it" if probe.router_key else "wants a key that the router lacks"
    if router.keys_file or probe.router_key:
        severity, effect = PROBLEM, "requests that the router sends it are answered 502"
    else:
        severity, effect = WARNING, "clients must send the upstream API key, and the router asks for none"
    yield Finding(
        f"upstream.{component.name}",
        severity,
        f"{component.programs[0]}: {how}",
        f"GET {response.url}: {response.problem}; {effect}",
        fix="svc up",
        first_step=f'write its key into {named}: under [instances], {instance} = "KEY"; then',
        causes=(f"models.{component.name}", f"token.*{file}") if file else (f"models.{component.name}",),
    )


def _is_local(facts: Facts, component: Component) -> bool:
    """Return whether the instance's registered host is this machine, not another one that forwards to this machine."""
    name = facts.host_names.get(component.host)
    return name is not None and name.is_local


def _instance(facts: Facts, component: Component, probe: InstanceProbe) -> Iterator[Finding]:
    """Yield a finding if an instance does not answer, is not ready, or does not list its models.

    An instance need not list its models if its TOML contains them.
    """
    name, response, key = component.programs[0], probe.models, f"models.{component.name}"
    uptime, restart = facts.uptime(name), f"supervisorctl restart {name}"
    config = facts.configs.get(component.name)
    must_list = not (config and config.models)
    if response.error:
        yield Finding(
            key,
            PROBLEM,
            f"{name}: {'does not answer' if is_refused(response) else 'listens, but does not answer: it hangs'}",
            f"GET {response.url}: {response.error}",
            fix=restart,
            may_pass=may_open_port(facts, name, response),
        )
    elif must_list and response.status == 503:
        yield Finding(
            key,
            PROBLEM if uptime > MAX_LOADING_SECONDS else WARNING,
            f"{name}: still loads its model, for {uptime} s",
            f"GET {response.url}: {response.problem}",
            fix=restart if uptime > MAX_LOADING_SECONDS else "svc status --watch",
        )
    elif must_list and response.status in (401, 403):
        if probe.info.error or probe.info.get("not_ready"):  # otherwise the engine has accepted the babysitter's key
            yield _wants_key(component, probe, config)
    elif response.ok and probe.models_from_outside and probe.models_from_outside.error and _is_local(facts, component):
        yield Finding(
            f"outside.{component.name}",
            PROBLEM,
            f"{name}: answers on {local_host(component.host)}, and not at {component.address_of(name)}, "
            "where the router looks for it",
            f"GET {probe.models_from_outside.url}: {probe.models_from_outside.error}",
            first_step=f"make [backend] args say --host {bind_host(component.host)} (in {component.toml})",
            fix="svc up",
        )
    elif must_list and (not response.ok or not response.get("data")):
        problem = "it lists none" if response.ok else response.problem
        yield Finding(
            key,
            PROBLEM,
            f"{name}: its models cannot be fetched",
            f"GET {response.url}: {problem}",
            fix="svc up",
            first_step="make [backend] an OpenAI-compatible server, which lists its models at /v1/models, "
            f"or name them: [metadata] models (in {component.toml})",
        )
    elif reason := probe.info.get("not_ready"):
        yield Finding(
            key,
            PROBLEM if uptime > MAX_LOADING_SECONDS else WARNING,
            f"{name}: its engine is not ready, after {uptime} s",
            str(reason),
            fix=restart if uptime > MAX_LOADING_SECONDS else "svc status --watch",
        )
