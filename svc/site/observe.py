"""Observes a running site: supervisord, the health of the components, and the lists of registry and router."""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from svc.base.address import split_urls
from svc.base.errors import CommandError, ConfigError, SvcError, Unauthorized
from svc.client import probe
from svc.client.babysitter import read_info
from svc.client.registry import RegistryClient
from svc.client.router import RouterClient
from svc.config import router_keys
from svc.config.settings_file import load_settings
from svc.config.site import Site
from svc.site import supervisord_end, supervisord_process, systemd_search
from svc.site.components import Component, find_router, read_components
from svc.site.program_groups import unapplied_keys_file
from svc.site.readiness import FAILED_STATES, NotReady, SiteObservation
from svc.site.registry_access import connected_registries
from svc.site.secret_files import key_file_problems
from svc.site.site_snapshot import SiteSnapshot
from svc.supervision.client import Process, SupervisordClient

HTTP_TIMEOUT_SECONDS = 2.0
MAX_CHECKED_KEYS_BYTES = 128 << 10  # about 1,000 keys, whose check takes 50 ms
STATES_ON_DEMAND = ("asleep", "starting", "releasing")  # normal states of an instance on demand that does not serve
HEALTH_TIMEOUT_SECONDS = 5.0  # limit for each health check of `svc health`


def observe(
    supervisord: SupervisordClient,
    components: Iterable[Component],
    router: Component | None,
    already_healthy: Collection[str] = (),
) -> SiteObservation:
    """Return what `readiness` needs to know about these components.

    Components whose names are in `already_healthy` count as healthy without a check.
    """
    states = {name: process.state for name, process in supervisord.processes().items()}
    routed = RouterClient(router.own_url).services() if router else None
    components = list(components)
    healthy = {
        component.name
        for component in components
        if component.name in already_healthy or _is_healthy(component, states)
    }
    reports = _babysitter_reports(
        [component for component in components if component.name not in already_healthy], states
    )
    models = {service["name"]: service["models"] for service in routed or [] if service["healthy"]}
    unrouted = [c for c in components if c.kind == "babysitter" and c.name in healthy and c.service_name not in models]
    on_demand = {
        c.name: str(reports[c.name].get("state", "")) for c in components if c.on_demand and reports.get(c.name)
    }
    router_waits = router in components and router.name not in healthy and states.get(router.name) == "RUNNING"
    listed, reason = _router_source(router) if router and (unrouted or router_waits) else ({}, {})
    return SiteObservation(
        states,
        healthy,
        models,
        _reported_reasons(reports, "not_ready") | (reason if router_waits else {}),
        _reported_reasons(reports, "not_registered"),
        {c.name for c in unrouted if listed.get(c.service_name, {}).get("drained")},
        on_demand,
        {service["name"] for service in routed or []},
    )


def snapshot(site: Site, token_file: str, registry_url: str = "") -> SiteSnapshot:
    """Return the snapshot of the site from which `site_status` computes the status.

    If `registry_url` is set, it is used instead of the registries that the site's components use. Raise
    SupervisordUnusable while supervisord is shutting down, and if the current user may not use its socket.
    """
    with supervisord_end.explained(site):
        return _snapshot(site, token_file, registry_url)


def _snapshot(site: Site, token_file: str, registry_url: str) -> SiteSnapshot:
    supervisord = supervisord_process.find(site)
    components = read_components(supervisord_process.conf_d(supervisord, site))
    router = find_router(components)
    routed = RouterClient(router.own_url).services() if router else None
    url = registry_url or _registry_url(components)
    processes = supervisord.processes() if supervisord else {}
    registered, refusal = _list_registered(url, token_file)
    reports = _babysitter_reports(components, {name: process.state for name, process in processes.items()})
    routing = router is not None and probe.is_healthy(router.health_url, HTTP_TIMEOUT_SECONDS, verify=False)
    router_reason = _router_source(router)[1] if router and routed is not None and not routing else {}
    return SiteSnapshot(
        components=components,
        supervisord=supervisord.pid() if supervisord else None,
        unit=systemd_search.find(site),
        processes=processes,
        restarts=supervisord.restarts() if supervisord else {},
        not_ready=_reported_reasons(reports, "not_ready") | router_reason,
        refused=_reported_reasons(reports, "not_registered"),
        unusable_keys=_unusable_keys(site, supervisord, components, processes),
        unapplied_keys=_unapplied_keys(site, supervisord),
        invalid_keys=_invalid_keys(site, router, processes),
        registry=registered,
        registry_url=url,
        registry_trouble=RegistryClient(url.split(","), timeout=HTTP_TIMEOUT_SECONDS).reported_problem() or refusal,
        router=None if routed is None else {service["name"]: service for service in routed},
        routing=routing,
    )


def check_health(site: Site) -> tuple[list[Component], list[Component]]:
    """Return the components that pass their health check, and those that fail it.

    Raise CommandError if no supervisord runs.
    """
    with supervisord_end.explained(site):
        supervisord = supervisord_process.find(site)
        if supervisord is None:
            raise CommandError("nothing runs here: no supervisord answers on var/supervisor.sock; `svc up` starts it")
        components = read_components(supervisord_process.conf_d(supervisord, site))
    with ThreadPoolExecutor(max(1, len(components))) as threads:
        answers = list(threads.map(_answers_health_check, components))
    results = list(zip(components, answers, strict=True))
    return [c for c, healthy in results if healthy], [c for c, healthy in results if not healthy]


def _answers_health_check(component: Component) -> bool:
    if component.on_demand:
        info = read_info(component.babysitter_url, HEALTH_TIMEOUT_SECONDS)
        if info is not None and info.get("state") in STATES_ON_DEMAND:
            return True
    return probe.is_healthy(component.health_url, HEALTH_TIMEOUT_SECONDS, verify=False)


def _babysitter_reports(components: Iterable[Component], states: Mapping[str, str]) -> dict[str, Mapping[str, Any]]:
    """Return a dict from each instance whose server and babysitter run to the content of the babysitter's /info.

    For an on-demand instance, it is enough that the babysitter runs.
    """
    needed = {c: (c.babysitter_program,) if c.on_demand else c.programs for c in components if c.kind == "babysitter"}
    running = [c for c, programs in needed.items() if all(states.get(name) == "RUNNING" for name in programs)]
    return {c.name: read_info(c.babysitter_url, HTTP_TIMEOUT_SECONDS) or {} for c in running}


def _reported_reasons(reports: Mapping[str, Mapping[str, Any]], key: str) -> dict[str, NotReady]:
    """Return a dict from components to the reasons under `key` in their reports; other components are left out."""
    return {
        name: NotReady(str(report[key]), report.get("misconfigured") is True)
        for name, report in reports.items()
        if report.get(key)
    }


def _is_healthy(component: Component, states: dict[str, str]) -> bool:
    """Return whether a component runs and passes its health check."""
    return all(states.get(name) == "RUNNING" for name in component.programs) and probe.is_healthy(
        component.health_url, HTTP_TIMEOUT_SECONDS, verify=False
    )


def _unusable_keys(
    site: Site, supervisord: SupervisordClient | None, components: Iterable[Component], processes: Mapping[str, Process]
) -> dict[str, str]:
    """Return a dict from each failed component that cannot use a file of keys to the problem with that file."""
    try:
        settings = load_settings(site.svc_toml, os.environ, check_rules=False)
    except ConfigError:
        return {}
    failed = [c for c in components if any(processes[n].state in FAILED_STATES for n in c.programs if n in processes)]
    conf_d = supervisord_process.conf_d(supervisord, site)
    problems = {component.name: key_file_problems(component, conf_d, settings) for component in failed}
    return {name: "; ".join(texts) for name, texts in problems.items() if texts}


def _unapplied_keys(site: Site, supervisord: SupervisordClient | None) -> str:
    """Return the configured file of API keys if the running router does not use it yet, else ""."""
    try:
        keys_file = load_settings(site.svc_toml, os.environ, check_rules=False).router.keys_file
        return unapplied_keys_file(supervisord, keys_file) if supervisord else ""
    except SvcError:  # invalid settings, or a supervisord without svc's extension
        return ""


def _invalid_keys(site: Site, router: Component | None, processes: Mapping[str, Process]) -> str:
    """Return why the running router could not reload the configured file of API keys; "" if it could.

    A file over MAX_CHECKED_KEYS_BYTES is not read, because `svc status --watch` would spend its time on it.
    """
    if router is None or any(name not in processes or processes[name].state != "RUNNING" for name in router.programs):
        return ""
    try:
        keys_file = load_settings(site.svc_toml, os.environ, check_rules=False).router.keys_file
    except ConfigError:  # reported by other checks
        return ""
    path = site.root / keys_file
    if not keys_file or not _may_be_checked(path):
        return ""
    try:
        router_keys.read(path)
    except ConfigError as error:
        others = len(error.problems) - 1
        return f"{error.problems[0]}{f' (and {others} more: svc check)' if others else ''}"
    return ""


def _may_be_checked(keys_file: Path) -> bool:
    if not keys_file.exists():
        return True
    return os.access(keys_file, os.R_OK) and keys_file.stat().st_size <= MAX_CHECKED_KEYS_BYTES


def _router_source(router: Component) -> tuple[dict[str, dict[str, Any]], dict[str, NotReady]]:
    """Ask the router's registry for its services, with the token that the router sends.

    Return two dicts. The first maps names to services. If the registry does not list its services, it is empty, and the
    second one maps the router's name to the reason.
    """
    if not router.registry_url:
        return {}, {}
    client = RegistryClient(router.registry_url.split(","), router.token_file, HTTP_TIMEOUT_SECONDS)
    try:
        return {service["name"]: service for service in client.services()}, {}
    except Unauthorized as error:
        cure = "name the file with its token: registry_token_file under [router] in config/svc.toml"
        text = f"the registry at {client.urls[0]} refuses the router: {error.message}; {cure}"
        return {}, {router.name: NotReady(text, misconfigured=True)}
    except SvcError as error:
        return {}, {router.name: NotReady(error.message)}


def _registry_url(components: Sequence[Component]) -> str:
    """Return the comma-separated URLs of this site's registry, or else of the registry of its first component.

    The registries that share their services with it are added; see `connected_registries`.
    """
    own = [component.own_url for component in components if component.kind == "registry"]
    return ",".join(connected_registries(own, [split_urls(component.registry_url) for component in components]))


def _list_registered(url: str, token_file: str) -> tuple[dict[str, dict[str, Any]] | None, str]:
    """Return a dict from names to the registry's services, and the reason if the registry refuses to list them.

    The dict is None if the registry refuses or does not answer.
    """
    if not url:
        return None, ""
    try:
        return {s["name"]: s for s in RegistryClient(url.split(","), token_file, HTTP_TIMEOUT_SECONDS).services()}, ""
    except Unauthorized as error:
        return None, f"{error.message}; name the file with it: read_token_file under [registry] in config/svc.toml"
    except SvcError:
        return None, ""
