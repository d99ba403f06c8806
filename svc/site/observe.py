"""A look at a site that runs: at supervisord, at the components' health, at what registry and router know."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import requests

from svc.base.errors import SvcError, Unauthorized
from svc.base.http import fetch
from svc.client import probe
from svc.client.registry import RegistryClient
from svc.client.router import RouterClient
from svc.config.site import Site
from svc.site import supervisord_process
from svc.site.components import Component, read_components
from svc.site.readiness import NotReady, Sight
from svc.site.status import Seen
from svc.supervision.client import SupervisordClient

PATIENCE = 2.0  # seconds that an answer may take


def look(
    supervisord: SupervisordClient,
    components: Iterable[Component],
    router: Component | None,
    well: Collection[str] = (),
) -> Sight:
    """What `judge` needs of these components. Those that were `well` before are not asked again."""
    states = {name: process.state for name, process in supervisord.processes().items()}
    routed = RouterClient(router.own_url).services() if router else None
    components = list(components)
    healthy = {component.name for component in components if component.name in well or _is_well(component, states)}
    infos = _infos([component for component in components if component.name not in well], states)
    return Sight(
        states,
        healthy,
        {service["name"]: service["models"] for service in routed or [] if service["healthy"]},
        _reasons(infos, "not_ready"),
        _reasons(infos, "not_registered"),
    )


def see(site: Site, token_file: str) -> Seen:
    """Everything that `report` needs."""
    supervisord = supervisord_process.find(site)
    components = read_components(supervisord_process.conf_d(supervisord, site))
    router = next((component for component in components if component.kind == "router"), None)
    routed = RouterClient(router.own_url).services() if router else None
    url = _registry_url(components)
    processes = supervisord.processes() if supervisord else {}
    registered, refusal = _registered(url, token_file)
    infos = _infos(components, {name: process.state for name, process in processes.items()})
    return Seen(
        components=components,
        supervisord=supervisord.pid() if supervisord else None,
        processes=processes,
        restarts=supervisord.restarts() if supervisord else {},
        not_ready=_reasons(infos, "not_ready"),
        refused=_reasons(infos, "not_registered"),
        registry=registered,
        registry_url=url,
        registry_trouble=_trouble(url) or refusal,
        router=None if routed is None else {service["name"]: service for service in routed},
        routing=router is not None and probe.healthy(router.health_url, PATIENCE, verify=False),
    )


def _infos(components: Iterable[Component], states: Mapping[str, str]) -> dict[str, Mapping[str, Any]]:
    """Return the /info report of each babysitter whose two programs run, by the component's name."""
    running = [p for p in components if p.kind == "babysitter" and all(states.get(n) == "RUNNING" for n in p.programs)]
    return {component.name: _info(component) for component in running}


def _info(component: Component) -> Mapping[str, Any]:
    try:
        info = fetch("GET", component.babysitter_url + "/info", PATIENCE).json()
    except (requests.RequestException, ValueError):
        return {}
    return info if isinstance(info, dict) else {}


def _reasons(infos: Mapping[str, Mapping[str, Any]], key: str) -> dict[str, NotReady]:
    """Return the reasons that stand under this key."""
    return {
        name: NotReady(str(info[key]), info.get("misconfigured") is True)
        for name, info in infos.items()
        if info.get(key)
    }


def _is_well(component: Component, states: dict[str, str]) -> bool:
    """Nothing is asked that does not run yet."""
    return all(states.get(name) == "RUNNING" for name in component.programs) and probe.healthy(
        component.health_url, PATIENCE, verify=False
    )


def _registry_url(components: Sequence[Component]) -> str:
    """This site's own registry, or the one elsewhere that its components speak to."""
    own = [component.own_url for component in components if component.kind == "registry"]
    return next(iter([*own, *(component.registry_url for component in components if component.registry_url)]), "")


def _trouble(url: str) -> str:
    """What is wrong with the registry itself, where it answers and says so."""
    for one in filter(None, url.split(",")):
        try:
            return str(fetch("GET", one + "/health", PATIENCE).json().get("reason", ""))
        except (requests.RequestException, ValueError, AttributeError):
            continue
    return ""


def _registered(url: str, token_file: str) -> tuple[dict[str, dict[str, Any]] | None, str]:
    """Return the registry's services by name, None where it does not list them, and why it refuses to."""
    if not url:
        return None, ""
    try:
        return {s["name"]: s for s in RegistryClient(url.split(","), token_file, PATIENCE).services()}, ""
    except Unauthorized as error:
        return None, f"{error.message}; name the file with it: read_token_file under [registry] in config/svc.toml"
    except SvcError:
        return None, ""
