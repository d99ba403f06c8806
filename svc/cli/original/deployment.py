"""Translates the JSON files of the original's deployment_configs/ into settings of a site. Pure."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

# Key in registry_config.json under "registry" -> environment variable of the same setting.
REGISTRY_VARIABLES = {
    "port": "REGISTRY_PORT",
    "health_interval": "REGISTRY_HEALTH_INTERVAL",
    "health_timeout": "REGISTRY_HEALTH_TIMEOUT",
    "cleanup_interval": "REGISTRY_CLEANUP_INTERVAL",
}


@dataclasses.dataclass(frozen=True, slots=True)
class HostServices:
    """The services that one *_services.json lists for a host."""

    file: str
    host: str
    names: tuple[str, ...]


def registry_environment(config: Mapping[str, Any], default_port: int) -> dict[str, str]:
    """Return the environment variables for the registry that registry_config.json describes."""
    registry = {"port": default_port, **_table(config, "registry")}
    return {variable: str(registry[key]) for key, variable in REGISTRY_VARIABLES.items() if key in registry}


def router_environment(config: Mapping[str, Any], default_port: int, static_services: str) -> dict[str, str]:
    """Return the environment variables for the router that router_config.json describes.

    `static_services` is the path of router_config.json, because that file also lists the static services.
    """
    router = _table(config, "router")
    environment = {"ROUTER_PORT": str(router.get("port", default_port))}
    if url := registry_url(config):
        environment["ROUTER_REGISTRY_URL"] = url
    if _table(config, "static_services").get("services"):
        environment["ROUTER_STATIC_SERVICES"] = static_services
    return environment


def registry_url(config: Mapping[str, Any]) -> str:
    """Return the registry's URL in router_config.json; "" if the file contains none."""
    return str(_table(config, "router").get("registry_url") or "")


def services_here(files: Mapping[str, Mapping[str, Any]], is_own_host: Callable[[str], bool]) -> list[HostServices]:
    """Return the services in the files for this host. A file is for the host of its first service."""
    listed = [_host_services(name, config) for name, config in sorted(files.items())]
    return [services for services in listed if services.host and is_own_host(services.host)]


def _host_services(file: str, config: Mapping[str, Any]) -> HostServices:
    services = config.get("services")
    entries = [entry for entry in services if isinstance(entry, Mapping)] if isinstance(services, Sequence) else []
    host = str(entries[0].get("host", "")) if entries else ""
    return HostServices(file, host, tuple(str(entry["name"]) for entry in entries if "name" in entry))


def _table(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = config.get(key)
    return table if isinstance(table, Mapping) else {}
