"""Render instances and settings as supervisord's files. Pure: equal input gives equal bytes."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from svc.base.address import is_loopback
from svc.base.errors import ConfigError
from svc.base.setting import TextList
from svc.config.instance import fields
from svc.config.instance.load import store_problems
from svc.config.instance.model import InstanceConfig
from svc.config.readers import why_unusable
from svc.config.site import USAGE_FILE
from svc.protocol import on_demand_variables, shim_variables
from svc.protocol.resources import SLEEP_BY_STOP
from svc.render import ini
from svc.render.paths import RenderPaths
from svc.settings import LogSettings, Settings

if TYPE_CHECKING:
    import jinja2

SETTINGS_SOURCE = "the site's settings"  # the source in registry.conf, router.conf and supervisord.conf
OWN_RESTART_LIMITS = {"SVC_MAX_RESTARTS": "1000000", "SVC_RESTART_DELAY": "1"}  # svc's own programs are never given up
SOCKET_MODE, SHARED_SOCKET_MODE = "0700", "0770"  # restrictive: users of the socket can run any program as its owner
STOP_WAIT_SECONDS = 30  # from SIGTERM until supervisord kills an instance
BABYSITTER_STOP_WAIT_SECONDS = 15


def render(configs: Sequence[InstanceConfig], settings: Settings, paths: RenderPaths) -> dict[str, str]:
    """Return a dict from paths, relative to the directory of supervisord.conf, to the texts of the files.

    Raise ConfigError for settings that supervisord does not support.
    """
    texts = {"supervisord.conf": _supervisord(settings, paths)}
    if settings.launch.runs("registry"):
        texts["conf.d/registry.conf"] = _registry(settings, paths)
    if settings.launch.runs("router"):
        texts["conf.d/router.conf"] = _router(settings, paths)
    if settings.launch.runs("babysitter"):
        texts |= {f"conf.d/{config.name}.conf": _instance(config, settings, paths) for config in configs}
    return texts


@functools.cache
def _templates() -> "jinja2.Environment":
    import jinja2  # here, because it takes 0.02 s of CPU, and most commands that import this module render nothing

    return jinja2.Environment(
        loader=jinja2.PackageLoader("svc.render"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - INI, not HTML; svc.render.ini escapes
    )


def render_template(template: str, **values: Any) -> str:
    """Return the text of a template filled with these values."""
    return _templates().get_template(template).render(values)


def _supervisord(settings: Settings, paths: RenderPaths) -> str:
    logs, var = paths.state / "logs", paths.state / "var"
    files = {"log": logs / "supervisord.log", "pid": var / "supervisord.pid", "socket": var / "supervisor.sock"}
    locations = {key: paths.bare(path, paths.conf_d.parent) for key, path in files.items()}
    if paths.logs_to_stdout:  # supervisord runs in the foreground, and prints its log anyway
        locations["log"] = "/dev/null"
    mode = SHARED_SOCKET_MODE if settings.systemd.group else SOCKET_MODE
    return render_template(
        "supervisord.conf.j2",
        source=SETTINGS_SOURCE,
        socket_mode=mode,
        on_demand=_changed_values(settings.on_demand),
        **locations,
        **_rotation(settings.logs, paths),
    )


def _changed_values(section: Any) -> dict[str, str]:
    """Return the settings of a section that differ from the defaults, as text."""
    fields_of_section = dataclasses.fields(section)
    values = {field.name: getattr(section, field.name) for field in fields_of_section}
    return {
        field.name: _number(values[field.name]) for field in fields_of_section if values[field.name] != field.default
    }


def _registry(settings: Settings, paths: RenderPaths) -> str:
    if problems := list(store_problems(settings)):
        raise ConfigError(*problems)
    flags = _flags(settings.registry)
    if not settings.registry.store:
        flags += f" --store {_own_store(paths)}"
    port = settings.registry.port
    command = f"svc launch --own --port {port} -- svc registry {flags}"
    program = _program(settings, paths, command, _own_variables(settings), f"registry_{port}")
    return render_template("registry.conf.j2", source=SETTINGS_SOURCE, program=program)


def _own_store(paths: RenderPaths) -> str:
    """Return the URL of the database in var/, quoted as an argument."""
    argument = paths.argument(paths.state / "var" / "registry.db")
    return f"'sqlite:{argument[1:]}" if argument.startswith("'") else f"sqlite:{argument}"


def _router(settings: Settings, paths: RenderPaths) -> str:
    router = settings.router
    host = "127.0.0.1" if is_loopback(router.host) and not router.host.startswith("127.") else router.host
    if not fields.HOST.fullmatch(host):  # supervisord listens on IPv4 only
        raise ConfigError(f"router: host: {host!r} is nothing to listen on; give an IPv4 address or a name")
    flags = _flags(router, registry_url=settings.router_registry_url())
    if not router.state_file:
        flags += f" --state-file {paths.argument(paths.state / 'var' / 'router_table.json')}"
    if not router.usage_file:
        flags += f" --usage-file {paths.argument(paths.state / 'var' / USAGE_FILE)}"
    command = f"svc launch --own -- svc router --fd 0 {flags}"
    stop_wait = round(router.graceful_timeout) + 5
    program = _program(settings, paths, command, _own_variables(settings), f"router_{router.port}", stop_wait)
    return render_template("router.conf.j2", source=SETTINGS_SOURCE, program=program, address=f"{host}:{router.port}")


def _instance(config: InstanceConfig, settings: Settings, paths: RenderPaths) -> str:
    limits = {"SVC_MAX_RESTARTS": str(config.max_restarts), "SVC_RESTART_DELAY": _number(config.restart_delay)}
    shim = ["svc", "launch", "--port", str(config.port), *_ipv6_flags(config)]
    command = f"{ini.arguments(shim)}{_key_flags(config, paths)} {ini.arguments(['--', *config.argv])}"
    server = _program(settings, paths, command, {}, f"server_{config.name}", STOP_WAIT_SECONDS)
    variables = {**limits, **_on_demand_variables(config), **_own_environment(config)}
    server |= {"environment": ini.environment(variables), "directory": paths.work_dir(config.work_dir)}
    babysitter = _program(
        settings, paths, _babysitter_command(config, paths), _own_variables(settings), f"babysitter_{config.name}"
    )
    source = paths.relative(config.source)
    return render_template(
        "instance.conf.j2",
        source=source,
        name=config.name,
        server=server,
        babysitter=babysitter,
        on_demand=config.on_demand,
    )


def _own_environment(config: InstanceConfig) -> dict[str, str]:
    """Return the TOML's variables. For an instance with [resources] they are encoded.

    Encoded variables override those that `svc launch` sets to make the instance's GPUs visible.
    """
    own = config.env
    return dict(shim_variables.encoded(*item) for item in own.items()) if config.resources else own


def _on_demand_variables(config: InstanceConfig) -> dict[str, str]:
    """Return the variables from which supervisord's extension reads what an instance needs, and when it may sleep."""
    needs = config.resources
    variables = {
        on_demand_variables.GPUS_VARIABLE: ",".join(map(str, needs.gpus)),
        on_demand_variables.GPU_COUNT_VARIABLE: str(needs.count or ""),
        on_demand_variables.GPU_MEMORY_VARIABLE: str(needs.memory or ""),
    }
    if config.on_demand:
        variables |= {
            on_demand_variables.ON_DEMAND_VARIABLE: "1",
            on_demand_variables.KEEP_VARIABLE: "1" if config.keep else "",
            on_demand_variables.MIN_AWAKE_VARIABLE: _number(config.min_awake),
            on_demand_variables.SLEEP_VARIABLE: config.sleep if config.sleep != SLEEP_BY_STOP else "",
        }
    return {key: value for key, value in variables.items() if value}


def _key_flags(config: InstanceConfig, paths: RenderPaths) -> str:
    """Return the flags of `svc launch` for an instance's API key; they contain the key file's path, never the key."""
    if not config.api_key_variable:
        return ""
    path = paths.argument(paths.site / config.backend.api_key_file)
    return f" {ini.arguments(['--key-variable', config.api_key_variable])} --key-file {path}"


def _babysitter_command(config: InstanceConfig, paths: RenderPaths) -> str:
    """Return the babysitter's command. Its flags contain the values that the site's settings may override."""
    shim = ini.arguments(["svc", "launch", "--own", "--port", str(config.babysitter_port), *_ipv6_flags(config)])
    shim += " --death-signal TERM --"
    flags = ["--host", config.host, "--registry-url", ",".join(config.registry_urls)]
    if config.router_url:
        flags += ["--router-url", config.router_url]
    return f"{shim} svc babysitter --config-file {paths.argument(config.source)} {ini.arguments(flags)}"


def _ipv6_flags(config: InstanceConfig) -> list[str]:
    return ["--ipv6"] if ":" in config.bind_host else []


def _program(
    settings: Settings,
    paths: RenderPaths,
    command: str,
    variables: Mapping[str, str],
    log: str,
    stop_wait: int = BABYSITTER_STOP_WAIT_SECONDS,
) -> dict[str, Any]:
    """Return the values of one program for templates/program.j2."""
    return {
        "command": command,
        "directory": paths.bare(paths.site),
        "environment": ini.environment(variables),
        "stop_wait": stop_wait,
        "log": "/dev/fd/1" if paths.logs_to_stdout else paths.bare(paths.state / "logs" / f"{log}.log"),
        **_rotation(settings.logs, paths),
    }


def _own_variables(settings: Settings) -> dict[str, str]:
    """Return the environment variables of svc's own programs."""
    return OWN_RESTART_LIMITS | ({"SVC_LOG_FORMAT": settings.logs.format} if settings.logs.format != "text" else {})


def _rotation(logs: LogSettings, paths: RenderPaths) -> dict[str, Any]:
    """Return supervisord's rotation limits for logs; 0 if logrotate rotates them, or if they are not files."""
    supervisord_rotates = logs.rotate == "supervisord" and not paths.logs_to_stdout
    return {
        "log_bytes": logs.max_size if supervisord_rotates else 0,
        "log_backups": logs.backups if supervisord_rotates else 0,
    }


def _flags(section: Any, **instead: str) -> str:
    """Return a section's settings as flags, because environment variables do not override flags.

    `instead` has values that replace those of the section.
    """
    flags = []
    for field in dataclasses.fields(section):
        value = instead.get(field.name, getattr(section, field.name))
        flag = "--" + field.name.replace("_", "-")
        if reason := why_unusable(str(value)):
            raise ConfigError(f"{flag}: {reason}")
        if value is True:
            flags.append(flag)
        elif field.type is TextList:
            flags += [flag, ",".join(value)] if value else []
        elif isinstance(value, tuple):
            flags += [argument for pair in value for argument in (flag, "=".join(pair))]
        elif value is not False and value != "":
            flags += [flag, value if isinstance(value, str) else _number(value)]
    return ini.arguments(flags)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
