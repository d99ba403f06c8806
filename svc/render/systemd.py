"""Files for the host that runs a site: a unit for systemd, a rule for logrotate."""

from collections.abc import Iterable, Mapping, Sequence
from configparser import RawConfigParser

from svc.base.errors import ConfigError
from svc.config.instance.model import InstanceConfig
from svc.config.site import MAX_SOCKET_PATH_BYTES
from svc.render.paths import Place
from svc.render.supervisord_conf import SETTINGS, render, text
from svc.settings import Settings, SystemdSettings

NAME = "infinilm-svc"  # the service's, and the rule's
STOPWAITSECS = 10  # supervisord's own default
MARGIN = 30  # seconds for supervisord to end, and for `svc down` to begin and to see that nothing is left
UNITS = {"KB": "k", "MB": "M", "GB": "G"}
STATE = "/var/lib/"  # where systemd makes a service's directories


def systemd(configs: Sequence[InstanceConfig], settings: Settings, place: Place) -> dict[str, str]:
    """The unit. Raises ConfigError for a site in which supervisord could not work."""
    site = settings.systemd.site
    if len(f"{site}/var/supervisor.sock") > MAX_SOCKET_PATH_BYTES:
        raise ConfigError(
            f"config/svc.toml: [systemd] site: too long, since a socket's path may have {MAX_SOCKET_PATH_BYTES} bytes; "
            "choose a shorter path"
        )
    stopping = stop_time(_conf_d(configs, settings, place))
    unit = text(
        "systemd/unit.service.j2",
        **_host(settings.systemd),
        stopping=stopping,
        stop_timeout=stopping + MARGIN,
        state=site.removeprefix(STATE) if site.startswith(STATE) else "",
    )
    return {f"{NAME}.service": unit}


def logrotate(configs: Sequence[InstanceConfig], settings: Settings, place: Place) -> dict[str, str]:
    """The rule. Raises ConfigError where supervisord rotates by itself."""
    logs = settings.logs
    if logs.rotate != "logrotate":
        raise ConfigError(
            'config/svc.toml: [logs] rotate: supervisord rotates the logs; write rotate = "logrotate" to leave it '
            "to logrotate"
        )
    size = logs.max_size[:-2] + UNITS[logs.max_size[-2:]]
    return {NAME: text("logrotate/rule.j2", **_host(settings.systemd), size=size, backups=logs.backups)}


def _host(told: SystemdSettings) -> dict[str, str]:
    return {
        "source": SETTINGS,
        "user": told.user,
        "group": told.group or told.user,
        "site": told.site,
        "prefix": told.prefix,
    }


def stop_time(texts: Iterable[str]) -> int:
    """Seconds that `svc down` may take for programs of these files: it stops them in three phases.

    In a phase all stop at once, so the longest stopwaitsecs counts.
    """
    phases = {"router": 0, "babysitter": 0, "": 0}
    for program, section in _programs(texts):
        name = section.get("process_name", program)
        phase = name if name in phases else ""
        phases[phase] = max(phases[phase], int(section.get("stopwaitsecs", STOPWAITSECS)))
    return sum(phases.values())


def _programs(texts: Iterable[str]) -> Iterable[tuple[str, Mapping[str, str]]]:
    for one in texts:
        ini = RawConfigParser(strict=False, inline_comment_prefixes=(";", "#"))
        ini.read_string(one)
        for section in ini.sections():
            kind, _, name = section.partition(":")
            if kind in ("program", "fcgi-program", "eventlistener"):
                yield name, ini[section]


def _conf_d(configs: Sequence[InstanceConfig], settings: Settings, place: Place) -> Iterable[str]:
    """What conf.d is once it is rendered, with what else is there."""
    there = {f"conf.d/{path.name}": path.read_text(encoding="utf-8") for path in place.conf_d.glob("*.conf")}
    return (there | render(configs, settings, place)).values()
