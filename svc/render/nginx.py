"""Render the configuration of an nginx in front of the routers or the instances. Pure: equal input gives equal bytes.

Every value is checked against a pattern, so that no value contains nginx syntax.
"""

import dataclasses
import ipaddress
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from svc.base.address import authority, is_ipv6, is_loopback, is_wildcard, local_host
from svc.base.errors import ConfigError
from svc.config.instance import fields
from svc.config.instance.model import InstanceConfig
from svc.protocol.service import INSTANCE_TYPE
from svc.render.paths import RenderPaths
from svc.render.supervisord_conf import SETTINGS_SOURCE, render_template
from svc.settings import NginxSettings, Settings

SECTION = "config/svc.toml: [nginx]"
SERVER_NAME = re.compile(r"(_|(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)")
LISTEN = re.compile(r"(?:(?P<host>[0-9.]+|\[[0-9A-Fa-f:]+\]|\*):)?(?P<port>[1-9][0-9]{0,4})")
CERTIFICATE_PATH = re.compile(r"/[^\0-\x1f\x7f\"'\\$;{}#]*")
TIMEOUT_MARGIN_SECONDS = 10  # nginx waits longer than the router, so that clients get the router's error
ERRORS = (
    (404, "invalid_request_error", "not_found", "nothing is here for clients"),
    (413, "invalid_request_error", "request_too_large", "the body is larger than this server takes"),
    (502, "api_error", "bad_gateway", "nobody answers behind nginx; try again"),
    (504, "api_error", "gateway_timeout", "no answer in time behind nginx"),
)


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class UpstreamServer:
    """A server of the nginx upstream; `name` is written as a comment."""

    name: str
    host: str
    port: int
    weight: int = 1

    @property
    def address(self) -> str:
        return authority(self.host, self.port)

    @property
    def comment(self) -> str:
        return f"  # {self.name}" if self.name else ""

    @property
    def parameters(self) -> str:
        """The parameters of the server line. A server of weight 0 is a backup, used when all others are unavailable."""
        return " backup" if self.weight < 1 else "" if self.weight == 1 else f" weight={self.weight}"


def render(configs: Sequence[InstanceConfig], settings: Settings, paths: RenderPaths) -> dict[str, str]:
    """Return a dict from file names to texts of the server and upstream files; raise ConfigError with every problem."""
    if settings.nginx.upstream == "router":
        return _files(settings, routers(settings), SETTINGS_SOURCE)
    if settings.nginx.model:
        raise ConfigError(
            f"{SECTION} model: which instance has it is known to the registry only; render with --from-registry"
        )
    return _files(settings, [_configured_server(config) for config in configs], "config/*.toml")


def render_listed(services: Iterable[Mapping[str, Any]], settings: Settings) -> tuple[dict[str, str], list[str]]:
    """Return the texts for the healthy instances in `services`, the registry's list, and notes on omitted instances.

    A drained instance is not healthy. Raise ConfigError if there is no healthy instance, because keeping the existing
    files is better than writing an empty upstream.
    """
    model = settings.nginx.model
    selected = {str(service.get("name")): service for service in services if _is_selected(service, model)}
    candidates = {name: _listed_server(name, service) for name, service in selected.items()}
    notes = [
        f"{name!r}: left out: nginx cannot use its URL, {selected[name].get('url')!r}"
        for name, server in candidates.items()
        if server is None
    ]
    servers = [server for server in candidates.values() if server is not None]
    if not servers:
        having = f" with model {model!r}" if model else ""
        raise ConfigError(f"the registry has no healthy instance{having}; what is there is left as it is")
    return _files(settings, servers, "the registry"), notes


def check_listed(settings: Settings) -> None:
    """Raise ConfigError if the upstream consists of routers, because the registry's list contains no routers."""
    if settings.nginx.upstream != "instances":
        raise ConfigError(
            f'{SECTION} upstream: the registry lists instances; set it to "instances", or leave --from-registry out'
        )


def _files(settings: Settings, servers: Sequence[UpstreamServer], source: str) -> dict[str, str]:
    return {"server.conf": _server(settings), "upstream.conf": _upstream(settings, servers, source)}


def _upstream(settings: Settings, servers: Iterable[UpstreamServer], source: str) -> str:
    """Return the text of nginx's upstream file.

    nginx keeps idle connections to routers only, because many engines close idle connections after a few seconds.
    """
    servers = sorted(servers)
    if not servers:
        raise ConfigError(
            f"{SECTION} upstream: there is no instance; write its TOML file, or render with --from-registry"
        )
    if all(server.weight < 1 for server in servers):
        servers = [dataclasses.replace(server, weight=1) for server in servers]
    keep_connections = settings.nginx.upstream == "router"
    return render_template("nginx/upstream.conf.j2", source=source, servers=servers, keep_connections=keep_connections)


def routers(settings: Settings) -> list[UpstreamServer]:
    """Return the routers in [nginx] routers, else the router in [launch] router_url, else the site's own router."""
    router = settings.router
    if settings.nginx.routers:
        return [_router(address.strip(), f"{SECTION} routers") for address in settings.nginx.routers.split(",")]
    if settings.launch.router_url:
        return [_router(settings.launch.router_url, "[launch] router_url")]
    if router.certfile:
        raise ConfigError(
            "config/svc.toml: [router] certfile: the router serves TLS itself; take certfile and keyfile out, "
            "or do without nginx"
        )
    own = "127.0.0.1" if is_loopback(router.host) or router.host in ("0.0.0.0", "") else router.host
    return [_router(f"{own}:{router.port}", "config/svc.toml: [router] host")]


def _router(address: str, where: str) -> UpstreamServer:
    server = _server_at(address if "://" in address else f"http://{address}")
    if server is None:
        raise ConfigError(f"{where}: {address!r} is no HOST:PORT that nginx could speak plain HTTP to")
    return server


def _configured_server(config: InstanceConfig) -> UpstreamServer:
    weight = config.metadata.get("weight")
    host = local_host(config.host) if is_wildcard(config.host) else config.host
    return UpstreamServer(config.name, _ipv4(host), config.port, weight if type(weight) is int else 1)


def _listed_server(name: str, service: Mapping[str, Any]) -> UpstreamServer | None:
    weight = service.get("weight")
    return (
        _server_at(service.get("url"), name, weight if type(weight) is int else 1)
        if fields.NAME.fullmatch(name)
        else None
    )


def _is_selected(service: Mapping[str, Any], model: str) -> bool:
    metadata = service.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    models = metadata.get("models")
    has_it = not model or (isinstance(models, list) and model in models)
    return service.get("is_healthy") is True and metadata.get("type") == INSTANCE_TYPE and has_it


def _server_at(url: Any, name: str = "", weight: int = 1) -> UpstreamServer | None:
    """Return the server of a URL, or None if the URL is not plain HTTP with a host and a port."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 80
    except (ValueError, TypeError, AttributeError):
        return None
    is_plain = parts.scheme == "http" and parts.path in ("", "/") and not (parts.query or parts.fragment or "@" in url)
    return (
        UpstreamServer(name, _ipv4(host), port, weight)
        if is_plain and (fields.HOST.fullmatch(host) or is_ipv6(host))
        else None
    )


def _ipv4(host: str) -> str:
    """Return 127.0.0.1 for localhost, because nginx would also use ::1, where no server listens; else `host`."""
    return "127.0.0.1" if host == "localhost" else host


def _server(settings: Settings) -> str:
    nginx, router = settings.nginx, settings.router
    problems = [f"{SECTION} {problem}" for problem in _problems(nginx)]
    if problems:
        raise ConfigError(*problems)
    reason, limit = "The router's limits for an instance.", max(router.first_byte_timeout, router.idle_timeout)
    if nginx.upstream == "router":
        reason, limit = "The router ends a request before nginx does.", router.proxy_timeout + TIMEOUT_MARGIN_SECONDS
    return render_template(
        "nginx/server.conf.j2",
        source=SETTINGS_SOURCE,
        listen=[address.strip() for address in nginx.listen.split(",")],
        server_name=" ".join(nginx.server_name.split()),
        certificate=nginx.certificate,
        key=nginx.key,
        max_body=router.max_body,
        timeout_reason=reason,
        read_timeout=math.ceil(limit),
        errors=ERRORS,
    )


def _problems(nginx: NginxSettings) -> Iterable[str]:
    for address in map(str.strip, nginx.listen.split(",")):
        match = LISTEN.fullmatch(address)
        if not match or int(match["port"]) > 65535 or not _is_listen_host(match["host"]):
            yield f"listen: {address!r} is nothing to listen on; write 443, 192.0.2.1:443 or [::]:443"
    names = nginx.server_name.split()
    for name in names or [nginx.server_name]:
        if not SERVER_NAME.fullmatch(name):
            yield f"server_name: {name!r} is no name; write llm.example.org, *.example.org, or _ for any"
    for key in ("certificate", "key"):
        path = getattr(nginx, key)
        if not path:
            yield f"{key}: missing; give the path of the PEM file on the machine that nginx runs on"
        elif not CERTIFICATE_PATH.fullmatch(path):
            yield f"{key}: {path!r} must be an absolute path, without quotes and signs such as $ ; {{ }}"


def _is_listen_host(host: str | None) -> bool:
    if host in (None, "*"):
        return True
    try:
        return bool(ipaddress.ip_address(str(host).strip("[]")))
    except ValueError:
        return False
