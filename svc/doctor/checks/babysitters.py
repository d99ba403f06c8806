"""Each babysitter, and the instance behind it: whether they answer, whether they are registered, and why not."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from svc.base.address import bind_host, is_loopback, local_host
from svc.config.instance.model import InstanceConfig
from svc.doctor.facts import Facts, Sidecar
from svc.doctor.findings import PROBLEM, WARNING, Finding
from svc.site.components import Component, shares_registry

SOON = 5  # seconds after which a babysitter answers and has registered
BEATS = 2.5  # heartbeats that may be missing
LOADING = 900  # seconds that an instance may answer 503
OWNED = re.compile(r"belongs to the babysitter on (\S+) that registered it, at (\S+),")
SAID = "not registered, trying again: "


def check(facts: Facts) -> Iterator[Finding]:
    router = facts.component("router")
    for component in facts.instances:
        sidecar, server, babysitter = facts.sidecars.get(component.name), *component.programs
        if router is not None and not shares_registry(router, component) and not _meet(facts, router, component):
            yield _elsewhere(component, router)
        if sidecar is None:
            continue
        if facts.uptime(babysitter) > SOON:
            yield from _babysitter(facts, component, sidecar)
        if facts.uptime(server) > SOON and component.ports[0] in facts.listeners:
            yield from _instance(facts, component, sidecar)
            yield from _upstream_key(facts, component, sidecar)


def _meet(facts: Facts, router: Component, component: Component) -> bool:
    """Whether two names stand for one registry after all: one on this machine, or the router knows the instance."""
    if facts.router and component.service_name in facts.router.instances():
        return True
    return not _places(facts, router.registry_url).isdisjoint(_places(facts, component.registry_url))


def _places(facts: Facts, urls: str) -> set[tuple[str, int | None]]:
    found = set()
    for url in urls.split(","):
        host = urlsplit(url).hostname or ""
        name = facts.names.get(host)
        found.add(("here" if is_loopback(host) or (name and name.here) else host, urlsplit(url).port))
    return found


def _elsewhere(component: Component, router: Component) -> Finding:
    return Finding(
        f"elsewhere.{component.name}",
        PROBLEM,
        f"{component.name}: registers at {component.registry_url}, and the router asks {router.registry_url}",
        "the router never hears of it",
        first=f"correct registry_url in {component.source.removeprefix('../')}, or of the router in config/svc.toml",
        fix="svc up",
        because=("files.own",),
    )


def _babysitter(facts: Facts, component: Component, sidecar: Sidecar) -> Iterator[Finding]:
    name, key = component.programs[1], f"babysitter.{component.name}"
    if sidecar.info.error:
        yield Finding(
            key,
            PROBLEM,
            f"{name}: does not answer on port {component.ports[1]}",
            sidecar.info.error,
            fix=f"supervisorctl restart {name}",
            because=(f"listen.{name}", f"port.{component.ports[1]}"),
        )
        return
    if sidecar.info.get("name") not in (None, component.name):
        yield Finding(
            key,
            PROBLEM,
            f"{name}: on port {component.ports[1]} answers the babysitter of {sidecar.info.get('name')}",
            "two use one port",
            first="choose another port",
            fix="svc up",
        )
        return
    heard = sidecar.info.get("last_heartbeat")
    config = facts.configs.get(component.name)
    patience = BEATS * (config.heartbeat_interval if config else 30.0)
    if sidecar.info.get("registered") is False:
        yield _unregistered(facts, component, "is not registered")
    elif isinstance(heard, (int, float)) and facts.now - heard > patience:
        yield _unregistered(facts, component, f"was last heard by the registry {facts.now - heard:.0f} s ago")


def _unregistered(facts: Facts, component: Component, how: str) -> Finding:
    name, source = component.programs[1], component.source.removeprefix("../")
    config = facts.configs.get(component.name)
    said = [line for line in facts.logs.get(name, ()) if SAID in line]
    why = said[-1].partition(SAID)[2] if said else "its log does not say why"
    owned = OWNED.search(why)
    if owned:
        yields = facts.settings is not None and facts.settings.registry.token_file
        free = "if that one is gone for good," if yields else "stop that one and wait until its lease ends; see"
        return Finding(
            f"babysitter.{component.name}",
            PROBLEM,
            f"{component.name}: the name is taken: {owned[2]} on {owned[1]} has it",
            why,
            first=f"give it another name in {source}; or, {free}",
            fix=f"svc remove {component.name} {component.service_name}"
            if yields
            else f"svc services show {component.name}",
        )
    return Finding(
        f"babysitter.{component.name}",
        PROBLEM,
        f"{component.name}: {how}",
        why,
        first=f"look at registry_url and token_file in {source}; then",
        fix=f"supervisorctl restart {name}",
        because=(
            f"registry.write.{config.token_file if config else ''}",
            "registry.silent",
            "registry.condition.*",
            "registry.other.*",
            "registry.*",
        ),
    )


def _wants_key(component: Component, sidecar: Sidecar, config: InstanceConfig | None) -> Finding:
    """The babysitter of an engine with a key of its own cannot list its models."""
    name, source = component.programs[0], component.source.removeprefix("../")
    file = config.backend.api_key_file if config else ""
    return Finding(
        f"models.{component.name}",
        PROBLEM,
        f"{name}: refuses the API key in {file}" if file else f"{name}: wants an API key, and its babysitter has none",
        f"GET {sidecar.models.url}: {sidecar.models.told}",
        fix="svc up",
        first=f"write its own key into {file or 'a file'}"
        f"{'' if file else f' and name that: api_key_file under [backend] in {source}'}; then",
        because=(f"token.{file}", f"token.*/{file}") if file else (),
    )


def _upstream_key(facts: Facts, component: Component, sidecar: Sidecar) -> Iterator[Finding]:
    """Whether an engine with a key of its own gets it from the router."""
    router, answer = facts.settings.router if facts.settings else None, sidecar.inference
    if router is None or facts.component("router") is None or answer is None or answer.status != 401:
        return
    file, instance = router.upstream_keys_file, component.service_name
    named = f"{file or 'a file that upstream_keys_file under [router] in config/svc.toml names'}"
    how = "refuses the key that the router has for it" if sidecar.router_key else "wants a key that the router lacks"
    if router.keys_file or sidecar.router_key:
        grave, why = PROBLEM, "requests that the router sends it are answered 502"
    else:
        grave, why = WARNING, "clients must send the upstream API key, and the router asks for none"
    yield Finding(
        f"upstream.{component.name}",
        grave,
        f"{component.programs[0]}: {how}",
        f"GET {answer.url}: {answer.told}; {why}",
        fix="svc up",
        first=f'write its key into {named}: under [instances], {instance} = "KEY"; then',
        because=(f"models.{component.name}", f"token.*{file}") if file else (f"models.{component.name}",),
    )


def _is_here(facts: Facts, component: Component) -> bool:
    """Otherwise the address is another machine's, which passes on what it gets."""
    name = facts.names.get(component.host)
    return name is not None and name.here


def _instance(facts: Facts, component: Component, sidecar: Sidecar) -> Iterator[Finding]:
    """What the babysitter hears when it asks for the models, unless the TOML names them."""
    name, answer, key = component.programs[0], sidecar.models, f"models.{component.name}"
    uptime, again = facts.uptime(name), f"supervisorctl restart {name}"
    config = facts.configs.get(component.name)
    lists = not (config and config.models)
    if answer.error:
        yield Finding(
            key,
            PROBLEM,
            f"{name}: listens, but does not answer: it hangs",
            f"GET {answer.url}: {answer.error}",
            fix=again,
        )
    elif lists and answer.status == 503:
        yield Finding(
            key,
            PROBLEM if uptime > LOADING else WARNING,
            f"{name}: still loads its model, for {uptime} s",
            f"GET {answer.url}: {answer.told}",
            fix=again if uptime > LOADING else "svc status --watch",
        )
    elif lists and answer.status in (401, 403):
        if sidecar.info.error or sidecar.info.get("not_ready"):  # else its babysitter has a key that it takes
            yield _wants_key(component, sidecar, config)
    elif answer.ok and sidecar.outside and sidecar.outside.error and _is_here(facts, component):
        yield Finding(
            f"outside.{component.name}",
            PROBLEM,
            f"{name}: answers on {local_host(component.host)}, and not at {component.address_of(name)}, "
            "where the router looks for it",
            f"GET {sidecar.outside.url}: {sidecar.outside.error}",
            first=f"make [backend] args say --host {bind_host(component.host)} "
            f"(in {component.source.removeprefix('../')})",
            fix="svc up",
        )
    elif lists and (not answer.ok or not answer.get("data")):
        told = "it lists none" if answer.ok else answer.told
        yield Finding(
            key,
            PROBLEM,
            f"{name}: its models cannot be fetched",
            f"GET {answer.url}: {told}",
            fix="svc up",
            first="make [backend] an OpenAI-compatible server, which lists its models at /v1/models, "
            f"or name them: [metadata] models (in {component.source.removeprefix('../')})",
        )
    elif reason := sidecar.info.get("not_ready"):
        yield Finding(
            key,
            PROBLEM if uptime > LOADING else WARNING,
            f"{name}: its engine is not ready, after {uptime} s",
            str(reason),
            fix=again if uptime > LOADING else "svc status --watch",
        )
