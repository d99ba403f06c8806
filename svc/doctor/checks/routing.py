"""Checks whether the router answers, has a current routing table, and uses the healthy instances."""

from collections.abc import Iterator, Mapping
from typing import Any

from svc.base.address import is_loopback, is_wildcard
from svc.client.router_metrics import queue_lengths
from svc.doctor.checks.configuration import APPLY_INSTEAD
from svc.doctor.facts import Facts, RouterFacts
from svc.doctor.findings import PROBLEM, WARNING, Finding
from svc.doctor.start_phase import is_starting, may_open_port
from svc.protocol.instance_names import instance_name
from svc.protocol.service import INSTANCE_TYPE

DOWN = ("program.router", "supervisord.*", "listen.router")
REGISTRY_ERROR = "cannot reach the registry"
MAX_LINE_WIDTH = 200
MAX_MISSED_SYNCS = 3  # number of missed syncs after which the routing table is stale


def check(facts: Facts) -> Iterator[Finding]:
    router = facts.router
    if router is None:
        return
    if router.health.error:
        yield _unanswering_router(facts, router)
        return
    if router.health.get("router") is None:
        yield Finding(
            "router.other",
            PROBLEM,
            f"what answers at {router.url} is no router",
            router.health.problem,
            first_step="correct the port or router_url",
            fix="svc apply",
        )
        return
    yield from _not_ready(facts, router)
    yield from _stale_table(facts, router)
    yield from _unrouted(facts, router)
    yield from _full_queue(facts, router)
    yield from _unprotected(facts, router)


def _unanswering_router(facts: Facts, router: RouterFacts) -> Finding:
    if router.is_local:
        return Finding(
            "router.silent",
            PROBLEM,
            f"the router does not answer at {router.url}",
            router.health.error,
            fix="supervisorctl restart router",
            causes=DOWN,
            may_pass=may_open_port(facts, "router", router.health),
        )
    return Finding(
        "router.silent",
        WARNING,
        f"the router does not answer at {router.url}",
        router.health.error,
        first_step="on its machine: `svc doctor`",
        fix=f"curl -sS -m 5 {router.url}/health",
    )


def _not_ready(facts: Facts, router: RouterFacts) -> Iterator[Finding]:
    if router.ready.ok:
        return
    draining = router.ready.get("status") == "draining"
    yield Finding(
        "router.waiting",
        PROBLEM,
        "the router drains: it takes nothing new"
        if draining
        else "the router has no table yet: it answers 503 to everything",
        router.ready.problem + (f"; its log: {error[:MAX_LINE_WIDTH]}" if (error := _registry_error(facts)) else ""),
        first_step=_where_to_restart(router),
        fix=_restart_command(router),
        causes=("registry.silent", "registry.read", "registry.*"),
        may_pass=router.is_local and is_starting(facts, "router"),
    )


def _registry_error(facts: Facts) -> str:
    """Return the last line of the router's log on a registry that it cannot reach; empty if there is none."""
    return next((line.strip() for line in reversed(facts.logs.get("router", ())) if REGISTRY_ERROR in line), "")


def _stale_table(facts: Facts, router: RouterFacts) -> Iterator[Finding]:
    """Yield a finding if the routing table is too old, or if the router still uses its saved table.

    An age of half a minute is normal: the registry delays its answer for that long if its list does not change.
    """
    source, age = router.health.get("table_source"), router.health.get("table_age_seconds")
    interval = facts.settings.router.registry_sync_interval if facts.settings else 10.0
    age_text = f"{age:.0f} s old" if isinstance(age, (int, float)) else "of unknown age"
    if source == "saved":
        summary = f"the router works from the table that it saved, {age_text}"
    elif source == "registry" and isinstance(age, (int, float)) and age > max(45.0, MAX_MISSED_SYNCS * interval):
        summary = f"the router's table is {age_text}"
    else:
        return
    yield Finding(
        "router.table",
        WARNING,
        summary,
        f"it gets no answer from its registry, {router.health.get('registry_url')}",
        first_step=_where_to_restart(router),
        fix=_restart_command(router),
        causes=("registry.silent", "registry.read", "registry.*"),
    )


def _unrouted(facts: Facts, router: RouterFacts) -> Iterator[Finding]:
    """Yield a finding for each healthy instance in the registry that the router does not use."""
    routed = router.instances()
    for name, service in sorted(facts.registered_services().items()):
        if service.get("metadata", {}).get("type") != INSTANCE_TYPE or not service["is_healthy"]:
            continue
        entry = routed.get(name)
        if entry is None:
            if router.services.ok:
                yield Finding(
                    f"router.missing.{name}",
                    PROBLEM,
                    f"{name}: is healthy in the registry, and the router does not know it",
                    "its table is another registry's, or old",
                    first_step=_where_to_restart(router),
                    fix=_restart_command(router),
                    causes=(
                        "router.table",
                        "router.waiting",
                        "registry.*",
                        f"elsewhere.{instance_name(name)}",
                    ),
                )
        elif not entry.get("healthy"):
            yield _unused_instance(facts, name, entry, router)


def _where_to_restart(router: RouterFacts) -> str:
    return "" if router.is_local else "on its machine: `supervisorctl restart router`; see"


def _restart_command(router: RouterFacts) -> str:
    """Return the command that restarts a local router, or shows the health of a remote router."""
    return "supervisorctl restart router" if router.is_local else f"curl -sS -m 5 {router.url}/health"


def _unused_instance(facts: Facts, name: str, entry: Mapping[str, Any], router: RouterFacts) -> Finding:
    causes = (
        f"failing.{name}",
        f"models.{instance_name(name)}",
        f"outside.{instance_name(name)}",
        "router.table",
        "registry.*",
    )
    errors, requests = entry.get("error_count", 0), entry.get("request_count", 0)
    error = router.connect_errors.get(name)
    is_local = any(component.service_name == name for component in facts.instances)
    if entry.get("ejected"):
        return Finding(
            f"router.ejected.{name}",
            WARNING,
            f"{name}: the router has ejected it for a while",
            f"requests to it failed, {errors} of {requests} in all: it comes back by itself with a trial request",
            first_step=f"see its log{'' if is_local else ' on its machine'}",
            fix=f"svc logs {instance_name(name)} --lines 50" if is_local else f"svc services show {name}",
            causes=causes,
        )
    if error:
        return Finding(
            f"router.unreached.{name}",
            PROBLEM,
            f"{name}: the router's machine cannot reach it",
            f"{entry.get('host')}:{entry.get('port')}: {error}",
            first_step="open that port, and the next one, on its machine",
            fix=f"curl -sS -m 5 {entry.get('url')}/v1/models",
            causes=causes,
        )
    url = f"{entry.get('babysitter_url') or entry.get('url')}/health"
    return Finding(
        f"router.unused.{name}",
        PROBLEM,
        f"{name}: does not pass the router's own checks",
        f"the router asks {url}",
        first_step="open that port to the router's machine; see",
        fix=f"curl -sS -m 5 {url}",
        causes=causes,
    )


def _full_queue(facts: Facts, router: RouterFacts) -> Iterator[Finding]:
    lengths = queue_lengths(router.metrics.text)
    waiting, size = sum(lengths.values()), facts.settings.router.queue_size if facts.settings else 100
    if waiting and waiting >= size / 2:
        by_model = ", ".join(f"{model or 'any model'}: {count}" for model, count in lengths.items() if count)
        full = waiting >= size
        yield Finding(
            "router.queue",
            PROBLEM if full else WARNING,
            f"the router's queue is {'full: it answers 429' if full else 'more than half full'}",
            f"{waiting} of {size} requests wait ({by_model})",
            causes=("instance.*", "program.*"),
            first_step="run another instance of that model, or raise its max_concurrency",
            fix="svc status",
        )


def _unprotected(facts: Facts, router: RouterFacts) -> Iterator[Finding]:
    """Yield a finding if this site's settings make the router serve other machines without an API key."""
    settings = facts.settings.router if facts.settings else None
    if settings is None or not router.is_local:
        return
    running = facts.supervisord.router_keys_file
    if settings.keys_file and running == "":
        yield Finding(
            "router.keys",
            WARNING,
            "API keys are configured, and not applied yet: the running router asks for none",
            f"keys_file under [router] is {settings.keys_file}, and the router was started without it",
            first_step=APPLY_INSTEAD,
            fix="svc up",
        )
    elif settings.keys_file:
        return
    pages = ", and web pages of any origin" if "*" in settings.cors_origins else ""
    in_container = facts.files.in_foreground and is_wildcard(settings.host)
    if is_loopback(settings.host) or (in_container and not pages):
        return  # a container listens on all its addresses, and does not know which ports its host publishes
    yield Finding(
        "router.open",
        WARNING,
        f"the router serves other machines without an API key{pages}",
        f"it listens on {settings.host}, and keys_file is {'not applied yet' if settings.keys_file else 'not set'}",
        first_step="unless a firewall or a proxy admits the right clients only: `svc keys add NAME`, and name its file "
        "with keys_file under [router] in config/svc.toml",
        fix="svc apply",
        causes=("router.keys",),
    )
