"""Checks whether the registry answers, accepts this site's tokens, and is healthy itself."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from svc.doctor.facts import Facts, RegistryFacts
from svc.doctor.findings import PROBLEM, WARNING, Finding
from svc.doctor.start_phase import may_open_port
from svc.site.components import Component

DOWN = ("program.registry", "supervisord.*", "listen.registry")


def check(facts: Facts) -> Iterator[Finding]:
    answering = [registry for registry in facts.registries if not registry.health.error]
    for registry in facts.registries:
        if registry.health.error:
            yield _unanswering_registry(facts, registry, only_one=not answering)
        elif registry.health.status not in (200, 503) or not registry.health.get("registry"):
            yield Finding(
                f"registry.other.{registry.url}",
                PROBLEM,
                f"what answers at {registry.url} is no registry",
                registry.health.problem,
                first_step="correct registry_url",
                fix="svc apply",
            )
        else:
            yield from _unhealthy_registry(registry)
            yield from _refusals(facts, registry)


def _unanswering_registry(facts: Facts, registry: RegistryFacts, only_one: bool) -> Finding:
    address = urlsplit(registry.url)
    port = address.port or 80
    if registry.is_local:
        program = facts.state("registry")
        state = f"supervisord calls it {program}" if program else "it is not running"
        return Finding(
            "registry.silent",
            PROBLEM,
            f"the registry does not answer at {registry.url}",
            f"{registry.health.error}; {state}",
            fix="supervisorctl restart registry",
            causes=DOWN,
            may_pass=may_open_port(facts, "registry", registry.health),
        )
    first = (
        f"on {address.hostname}: is it up (`svc doctor`), does it listen for others ([registry] host), "
        f"is port {port} open"
    )
    return Finding(
        "registry.silent" if only_one else f"registry.mute.{registry.url}",
        PROBLEM if only_one else WARNING,
        f"the registry does not answer at {registry.url}",
        registry.health.error,
        first_step=first,
        fix=f"curl -sS -m 5 {registry.url}/health",
        causes=(f"dns.{address.hostname}",),
    )


def _unhealthy_registry(registry: RegistryFacts) -> Iterator[Finding]:
    status, reason = registry.health.get("status"), str(registry.health.get("reason") or "")
    if status == "healthy":
        return
    release = "`svc services expire`" in reason
    yield Finding(
        f"registry.condition.{registry.url}",
        PROBLEM if status == "failing" else WARNING,
        f"the registry at {registry.url} is {status}",
        reason,
        first_step="if they are gone for good"
        if release
        else "remove the cause that it reports; it recovers by itself",
        fix="svc services expire" if release else f"curl -sS {registry.url}/health",
        causes=("disk.*",) if registry.is_local else (),
    )


def _refusals(facts: Facts, registry: RegistryFacts) -> Iterator[Finding]:
    if registry.listing.status in (401, 403) or (registry.listing.error and not registry.listing.status):
        yield Finding(
            "registry.read",
            PROBLEM,
            f"the registry at {registry.url} refuses to list its services",
            registry.listing.problem,
            causes=("token.*",),
            first_step=f"name the file with its token in config/svc.toml: {_read_setting(facts)}; then",
            fix="svc up",
        )
    elif registry.listing.ok and not isinstance(registry.listing.get("services"), list):
        yield Finding(
            f"registry.schema.{registry.url}",
            PROBLEM,
            f"the list of {registry.url} is not a registry's",
            "it has no services: another version, or another program",
            fix=f"curl -sS {registry.url}/services",
        )
    for token, answer in registry.writes.items():
        if answer.status in (401, 403) or (answer.error and token):
            users = [component for component in facts.instances if _token_file(facts, component) == token]
            yield _refused_token(registry, token, answer.problem, users)


def _read_setting(facts: Facts) -> str:
    """Return the setting for the registry's read token: the router's if the site has a router, else the commands'."""
    if facts.component("router"):
        return "registry_token_file under [router] (and read_token_file under [registry] for commands)"
    return "read_token_file under [registry]"


def _refused_token(registry: RegistryFacts, token: str, error: str, users: list[Component]) -> Finding:
    names = ", ".join(component.name for component in users)
    sources = ", ".join(component.toml for component in users)
    if token:
        summary = f"the registry at {registry.url} does not take the token in {token}"
        first = f"copy the registry's token (its [registry] token_file) to {token}; then"
    else:
        summary = f"the registry at {registry.url} wants a token, and {names} has none"
        first = f'copy its token to a file here, name that in {sources}: token_file = "FILE"; then'
    return Finding(
        f"registry.write.{token}",
        PROBLEM,
        summary,
        f"it refuses what {names} registers: {error}",
        first_step=first,
        fix="svc apply" if not token else "svc doctor",
        causes=(f"token.{token}", "token.*"),
    )


def _token_file(facts: Facts, component: Component) -> str:
    config = facts.configs.get(component.name)
    return config.token_file if config else ""
