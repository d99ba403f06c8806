"""Instances and settings rendered to the texts of supervisord's files. Pure: the same input gives the same bytes."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

from svc.base.address import is_loopback
from svc.base.errors import ConfigError
from svc.config.instance import fields
from svc.config.instance.load import store_problems
from svc.config.instance.model import InstanceConfig
from svc.config.readers import why_unusable
from svc.render import ini
from svc.render.paths import Place
from svc.settings import LogSettings, Settings, TextList

SETTINGS = "the site's settings"  # what registry.conf, router.conf and supervisord.conf are made from
OURS = {"SVC_MAX_RESTARTS": "1000000", "SVC_RESTART_DELAY": "1"}  # for our own programs
SOCKET_MODE, SHARED_SOCKET_MODE = "0700", "0770"  # who may use the socket may run any program as its user
STOP_WAIT = 30  # seconds an instance has after SIGTERM
BABYSITTER_STOP_WAIT = 15


def render(configs: Sequence[InstanceConfig], settings: Settings, place: Place) -> dict[str, str]:
    """The texts by name, relative to the directory that holds supervisord.conf.

    Raises ConfigError for settings that supervisord cannot carry out.
    """
    texts = {"supervisord.conf": _supervisord(settings, place)}
    if settings.launch.runs("registry"):
        texts["conf.d/registry.conf"] = _registry(settings, place)
    if settings.launch.runs("router"):
        texts["conf.d/router.conf"] = _router(settings, place)
    if settings.launch.runs("babysitter"):
        texts |= {f"conf.d/{config.name}.conf": _instance(config, settings, place) for config in configs}
    return texts


@functools.cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("svc.render"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - INI, not HTML; svc.render.ini escapes
    )


def text(template: str, **values: Any) -> str:
    """A template with its values placed."""
    return _templates().get_template(template).render(values)


def _supervisord(settings: Settings, place: Place) -> str:
    logs, var = place.state / "logs", place.state / "var"
    files = {"log": logs / "supervisord.log", "pid": var / "supervisord.pid", "socket": var / "supervisor.sock"}
    named = {key: place.bare(path, place.conf_d.parent) for key, path in files.items()}
    if place.console:  # in the foreground it prints its log as well
        named["log"] = "/dev/null"
    mode = SHARED_SOCKET_MODE if settings.systemd.group else SOCKET_MODE
    return text("supervisord.conf.j2", source=SETTINGS, socket_mode=mode, **named, **_rotation(settings.logs, place))


def _registry(settings: Settings, place: Place) -> str:
    if problems := list(store_problems(settings)):
        raise ConfigError(*problems)
    flags = _flags(settings.registry)
    if not settings.registry.store:
        flags += f" --store {_own_store(place)}"
    port = settings.registry.port
    command = f"svc launch --own --port {port} -- svc registry {flags}"
    program = _program(settings, place, command, _ours(settings), f"registry_{port}")
    return text("registry.conf.j2", source=SETTINGS, program=program)


def _own_store(place: Place) -> str:
    """The database in var/, as a URL: sqlite: and then the path."""
    word = place.word(place.state / "var" / "registry.db")
    return f"'sqlite:{word[1:]}" if word.startswith("'") else f"sqlite:{word}"


def _router(settings: Settings, place: Place) -> str:
    router = settings.router
    host = "127.0.0.1" if is_loopback(router.host) and not router.host.startswith("127.") else router.host
    if not fields.HOST.fullmatch(host):  # supervisord listens on IPv4 only
        raise ConfigError(f"router: host: {host!r} is nothing to listen on; give an IPv4 address or a name")
    flags = _flags(router, registry_url=settings.router_registry_url())
    if not router.state_file:
        flags += f" --state-file {place.word(place.state / 'var' / 'router_table.json')}"
    command = f"svc launch --own -- svc router --fd 0 {flags}"
    stop_wait = round(router.graceful_timeout) + 5
    program = _program(settings, place, command, _ours(settings), f"router_{router.port}", stop_wait)
    return text("router.conf.j2", source=SETTINGS, program=program, address=f"{host}:{router.port}")


def _instance(config: InstanceConfig, settings: Settings, place: Place) -> str:
    limits = {"SVC_MAX_RESTARTS": str(config.max_restarts), "SVC_RESTART_DELAY": _number(config.restart_delay)}
    shim = ["svc", "launch", "--port", str(config.port), *_family(config)]
    command = f"{ini.words(shim)}{_key_flags(config, place)} {ini.words(['--', *config.argv])}"
    server = _program(settings, place, command, {}, f"server_{config.name}", STOP_WAIT)
    server |= {"environment": ini.environment({**limits, **config.env}), "directory": place.work_dir(config.work_dir)}
    told = _program(settings, place, _sidecar(config, place), _ours(settings), f"babysitter_{config.name}")
    source = place.named(config.source)
    return text("instance.conf.j2", source=source, name=config.name, server=server, babysitter=told)


def _key_flags(config: InstanceConfig, place: Place) -> str:
    """The flags of the shim for an instance that gets its API key from us; the file's name, never its content."""
    if not config.api_key_variable:
        return ""
    path = place.word(place.site / config.backend.api_key_file)
    return f" {ini.words(['--key-variable', config.api_key_variable])} --key-file {path}"


def _sidecar(config: InstanceConfig, place: Place) -> str:
    """Flags say what settings may have changed in the file; several registries stand in the file only."""
    shim = ini.words(["svc", "launch", "--own", "--port", str(config.babysitter_port), *_family(config)])
    shim += " --death-signal TERM --"
    flags = ["--host", config.host]
    if len(config.registry_urls) == 1:
        flags += ["--registry-url", config.registry_urls[0]]
    if config.router_url:
        flags += ["--router-url", config.router_url]
    return f"{shim} svc babysitter --config-file {place.word(config.source)} {ini.words(flags)}"


def _family(config: InstanceConfig) -> list[str]:
    return ["--ipv6"] if ":" in config.bind_host else []


def _program(
    settings: Settings,
    place: Place,
    command: str,
    variables: Mapping[str, str],
    log: str,
    stop_wait: int = BABYSITTER_STOP_WAIT,
) -> dict[str, Any]:
    """The values that templates/program.j2 places."""
    return {
        "command": command,
        "directory": place.bare(place.site),
        "environment": ini.environment(variables),
        "stop_wait": stop_wait,
        "log": "/dev/fd/1" if place.console else place.bare(place.state / "logs" / f"{log}.log"),
        **_rotation(settings.logs, place),
    }


def _ours(settings: Settings) -> dict[str, str]:
    """The variables of our own programs."""
    return OURS | ({"SVC_LOG_FORMAT": settings.logs.format} if settings.logs.format != "text" else {})


def _rotation(logs: LogSettings, place: Place) -> dict[str, Any]:
    """What supervisord does with a log: nothing, where logrotate does it, or there is no file."""
    by_itself = logs.rotate == "supervisord" and not place.console
    return {"log_bytes": logs.max_size if by_itself else 0, "log_backups": logs.backups if by_itself else 0}


def _flags(section: Any, **instead: str) -> str:
    """Every setting of a section as a flag, so that no environment changes it; `instead` replaces some."""
    words = []
    for field in dataclasses.fields(section):
        value = instead.get(field.name, getattr(section, field.name))
        flag = "--" + field.name.replace("_", "-")
        if reason := why_unusable(str(value)):
            raise ConfigError(f"{flag}: {reason}")
        if value is True:
            words.append(flag)
        elif field.type is TextList:
            words += [flag, ",".join(value)] if value else []
        elif isinstance(value, tuple):
            words += [word for pair in value for word in (flag, "=".join(pair))]
        elif value is not False and value != "":
            words += [flag, value if isinstance(value, str) else _number(value)]
    return ini.words(words)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
