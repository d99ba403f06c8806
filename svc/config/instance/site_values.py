"""The values of a babysitter TOML that the site's settings replace: host, registries and router. Pure.

An instance uses the first of these lists of registries that is not empty:

1. The setting `babysitter_registry_url`. A flag or the environment wins over [launch] in svc.toml.
2. The setting `registry_url`, likewise.
3. `registry_url` in the TOML.
4. The site's own registry.

The registries in the list are tried one after the other.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from svc.base.address import is_loopback, split_urls
from svc.settings import LaunchSettings, RegistrySettings, RouterSettings, Settings

DEFAULT_COMPONENT_PORTS = {"registry": RegistrySettings().port, "router": RouterSettings().port}
REGISTRY_SETTINGS = ("babysitter_registry_url", "registry_url")  # under [launch], in the order of precedence


def overrides(document: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Return the values in the settings that replace values in the file. An empty value replaces nothing."""
    launch = settings.launch
    setting = registry_setting(launch)
    registry_url = split_urls(getattr(launch, setting)) if setting else []
    router_url = launch.babysitter_router_url or launch.router_url
    return {
        "host": launch.babysitter_host,
        "registry_url": registry_url or _own_url("registry", settings.registry.port, document, settings),
        "router_url": router_url or _own_url("router", settings.router.port, document, settings),
    }


def registry_setting(launch: LaunchSettings) -> str:
    """Return the name of the setting that replaces the registries in every TOML; "" if there is no such setting."""
    return next((name for name in REGISTRY_SETTINGS if getattr(launch, name)), "")


def registries_of(document: Mapping[str, Any], settings: Settings) -> list[str]:
    """Return the registries of an instance, whose TOML may be invalid; [] if settings and TOML contain none."""
    return list(_urls(overrides(document, settings)["registry_url"] or document.get("registry_url")))


def _urls(value: object) -> Iterator[str]:
    """Yield the URLs in the value of `registry_url` in a TOML, which may be of any type."""
    for item in value if isinstance(value, list) else [value]:
        yield from split_urls(item) if isinstance(item, str) else ()


def unused_registries(document: Mapping[str, Any], settings: Settings) -> tuple[str, ...]:
    """Return the registries in the TOML that the instance does not use, because a setting replaces them."""
    if not registry_setting(settings.launch):
        return ()
    named = tuple(_urls(document.get("registry_url")))
    return () if list(named) == registries_of(document, settings) else named


def _own_url(component: str, port: int, document: Mapping[str, Any], settings: Settings) -> str:
    """Return the URL of the site's own registry or router if the file has a URL with the default port on this machine.

    Many files have such a URL, although the site's registry or router listens on a different port. In all other cases,
    return an empty text.
    """
    default = DEFAULT_COMPONENT_PORTS[component]
    if not settings.has_own(component) or port == default:
        return ""
    return f"http://localhost:{port}" if _loopback_port(document.get(f"{component}_url")) == default else ""


def _loopback_port(url: object) -> int | None:
    """Return the port of a URL on this machine; None for any other value."""
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
        return parts.port if parts and is_loopback(parts.hostname or "") else None
    except ValueError:  # not a URL; the reader of this key reports the problem
        return None
