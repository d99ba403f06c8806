"""nginx in front: settings and instances into the texts of its files. Pure: the same input gives the same bytes.

Nothing that nginx could read as syntax gets into them: every value is checked against what it may be.
"""

import dataclasses
import ipaddress
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from svc.base.address import authority, is_ipv6, is_loopback
from svc.base.errors import ConfigError
from svc.config.instance import fields
from svc.config.instance.model import InstanceConfig
from svc.protocol.service import INSTANCE_TYPE
from svc.render.paths import Place
from svc.render.supervisord_conf import SETTINGS, text
from svc.settings import Settings

SECTION = "config/svc.toml: [nginx]"
NAMES = re.compile(r"(_|(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)")
LISTEN = re.compile(r"(?:(?P<host>[0-9.]+|\[[0-9A-Fa-f:]+\]|\*):)?(?P<port>[1-9][0-9]{0,4})")
PATH = re.compile(r"/[^\0-\x1f\x7f\"'\\$;{}#]*")
AFTER_THE_ROUTER = 10  # seconds: the router tells of its own limits before nginx loses patience
ERRORS = (
    (404, "invalid_request_error", "not_found", "nothing is here for clients"),
    (413, "invalid_request_error", "request_too_large", "the body is larger than this server takes"),
    (502, "api_error", "bad_gateway", "nobody answers behind nginx; try again"),
    (504, "api_error", "gateway_timeout", "no answer in time behind nginx"),
)


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Server:
    """One line of the upstream; `name` is only told."""

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
    def more(self) -> str:
        """Weight 0 means: nothing, as long as another is there."""
        return " backup" if self.weight < 1 else "" if self.weight == 1 else f" weight={self.weight}"


def render(configs: Sequence[InstanceConfig], settings: Settings, place: Place) -> dict[str, str]:
    """The server and its upstream; raises ConfigError with every problem."""
    if settings.nginx.upstream == "router":
        return _files(settings, routers(settings), SETTINGS)
    if settings.nginx.model:
        raise ConfigError(
            f"{SECTION} model: which instance has it is known to the registry only; render with --from-registry"
        )
    return _files(settings, [_from_config(config) for config in configs], "config/*.toml")


def render_listed(listed: Iterable[Mapping[str, Any]], settings: Settings) -> tuple[dict[str, str], list[str]]:
    """The same, of those that the registry lists as healthy (so undrained, too), and what is to be told of others.

    Raises ConfigError when there is none: what is there now serves better than nothing.
    """
    model = settings.nginx.model
    wanted = {str(service.get("name")): service for service in listed if _wanted(service, model)}
    found = {name: _from_service(name, service) for name, service in wanted.items()}
    notes = [
        f"{name!r}: left out: nginx cannot use its URL, {wanted[name].get('url')!r}"
        for name, server in found.items()
        if server is None
    ]
    servers = [server for server in found.values() if server is not None]
    if not servers:
        having = f" with model {model!r}" if model else ""
        raise ConfigError(f"the registry has no healthy instance{having}; what is there is left as it is")
    return _files(settings, servers, "the registry"), notes


def check_listed(settings: Settings) -> None:
    """Raises ConfigError where the registry has nothing to tell."""
    if settings.nginx.upstream != "instances":
        raise ConfigError(
            f'{SECTION} upstream: the registry lists instances; set it to "instances", or leave --from-registry out'
        )


def _files(settings: Settings, servers: Sequence[Server], source: str) -> dict[str, str]:
    return {"server.conf": _server(settings), "upstream.conf": _upstream(settings, servers, source)}


def _upstream(settings: Settings, servers: Iterable[Server], source: str) -> str:
    """Connections to routers stay open; those to instances do not, since many servers close them after seconds."""
    servers = sorted(servers)
    if not servers:
        raise ConfigError(
            f"{SECTION} upstream: there is no instance; write its TOML file, or render with --from-registry"
        )
    if all(server.weight < 1 for server in servers):
        servers = [dataclasses.replace(server, weight=1) for server in servers]
    kept = settings.nginx.upstream == "router"
    return text("nginx/upstream.conf.j2", source=source, servers=servers, kept=kept)


def routers(settings: Settings) -> list[Server]:
    """Those of [nginx] routers, else the one that the site names, else its own."""
    router = settings.router
    if settings.nginx.routers:
        return [_router(word.strip(), f"{SECTION} routers") for word in settings.nginx.routers.split(",")]
    if settings.launch.router_url:
        return [_router(settings.launch.router_url, "[launch] router_url")]
    if router.certfile:
        raise ConfigError(
            "config/svc.toml: [router] certfile: the router serves TLS itself; take certfile and keyfile out, "
            "or do without nginx"
        )
    own = "127.0.0.1" if is_loopback(router.host) or router.host in ("0.0.0.0", "") else router.host
    return [_router(f"{own}:{router.port}", "config/svc.toml: [router] host")]


def _router(word: str, where: str) -> Server:
    server = _at(word if "://" in word else f"http://{word}")
    if server is None:
        raise ConfigError(f"{where}: {word!r} is no HOST:PORT that nginx could speak plain HTTP to")
    return server


def _from_config(config: InstanceConfig) -> Server:
    weight = config.metadata.get("weight")
    return Server(config.name, _ipv4(config.host), config.port, weight if type(weight) is int else 1)


def _from_service(name: str, service: Mapping[str, Any]) -> Server | None:
    weight = service.get("weight")
    return _at(service.get("url"), name, weight if type(weight) is int else 1) if fields.NAME.fullmatch(name) else None


def _wanted(service: Mapping[str, Any], model: str) -> bool:
    metadata = service.get("metadata")
    told = metadata if isinstance(metadata, dict) else {}
    models = told.get("models")
    has_it = not model or (isinstance(models, list) and model in models)
    return service.get("is_healthy") is True and told.get("type") == INSTANCE_TYPE and has_it


def _at(url: Any, name: str = "", weight: int = 1) -> Server | None:
    """Plain HTTP to a host and a port, with no path."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 80
    except (ValueError, TypeError, AttributeError):
        return None
    plain = parts.scheme == "http" and parts.path in ("", "/") and not (parts.query or parts.fragment or "@" in url)
    return Server(name, _ipv4(host), port, weight) if plain and (fields.HOST.fullmatch(host) or is_ipv6(host)) else None


def _ipv4(host: str) -> str:
    """nginx would try ::1, too, where nothing of ours listens."""
    return "127.0.0.1" if host == "localhost" else host


def _server(settings: Settings) -> str:
    told, router = settings.nginx, settings.router
    problems = [f"{SECTION} {problem}" for problem in _problems(told)]
    if problems:
        raise ConfigError(*problems)
    patience, limit = "As long as the router would wait.", max(router.first_byte_timeout, router.idle_timeout)
    if told.upstream == "router":
        patience, limit = "The router's own limits end a request first.", router.proxy_timeout + AFTER_THE_ROUTER
    return text(
        "nginx/server.conf.j2",
        source=SETTINGS,
        listen=[word.strip() for word in told.listen.split(",")],
        server_name=" ".join(told.server_name.split()),
        certificate=told.certificate,
        key=told.key,
        max_body=router.max_body,
        patience=patience,
        read_timeout=math.ceil(limit),
        errors=ERRORS,
    )


def _problems(told: Any) -> Iterable[str]:
    for word in told.listen.split(","):
        found = LISTEN.fullmatch(word.strip())
        if not found or int(found["port"]) > 65535 or not _listens(found["host"]):
            yield f"listen: {word.strip()!r} is nothing to listen on; write 443, 192.0.2.1:443 or [::]:443"
    names = told.server_name.split()
    for word in names or [told.server_name]:
        if not NAMES.fullmatch(word):
            yield f"server_name: {word!r} is no name; write llm.example.org, *.example.org, or _ for any"
    for key in ("certificate", "key"):
        path = getattr(told, key)
        if not path:
            yield f"{key}: missing; give the path of the PEM file on the machine that nginx runs on"
        elif not PATH.fullmatch(path):
            yield f"{key}: {path!r} must be an absolute path, without quotes and signs such as $ ; {{ }}"


def _listens(host: str | None) -> bool:
    if host in (None, "*"):
        return True
    try:
        return bool(ipaddress.ip_address(str(host).strip("[]")))
    except ValueError:
        return False
