"""Render the systemd unit that runs a site on its host."""

from collections.abc import Iterable, Mapping, Sequence
from configparser import RawConfigParser
from pathlib import PurePosixPath

from svc.base.errors import ConfigError
from svc.config.instance.model import InstanceConfig
from svc.config.site import MAX_SOCKET_PATH_BYTES
from svc.render.paths import RenderPaths
from svc.render.supervisord_conf import SETTINGS_SOURCE, render, render_template
from svc.settings import Settings, SystemdSettings

UNIT_NAME = "infinilm-svc.service"
DEFAULT_STOP_WAIT_SECONDS = 10  # supervisord's default for stopwaitsecs
STOP_MARGIN_SECONDS = 30  # additional time for `svc down` to start, end supervisord and look for leftover processes
STATE_DIRECTORIES = "/var/lib/"  # where systemd creates the state directories of services
# The unit cannot write below these directories, because of its ProtectHome and ProtectSystem.
READ_ONLY_DIRECTORIES = ("/home", "/root", "/run/user", "/usr", "/boot", "/efi", "/etc")
TEMPORARY_DIRECTORIES = ("/tmp", "/var/tmp")  # noqa: S108 - PrivateTmp would hide them from the service


def render_unit(configs: Sequence[InstanceConfig], settings: Settings, paths: RenderPaths) -> dict[str, str]:
    """Return a dict from the unit's file name to its text. Raise ConfigError if the site's path is too long."""
    site = settings.systemd.site
    if len(f"{site}/var/supervisor.sock") > MAX_SOCKET_PATH_BYTES:
        raise ConfigError(
            f"config/svc.toml: [systemd] site: too long, since a socket's path may have {MAX_SOCKET_PATH_BYTES} bytes; "
            "choose a shorter path"
        )
    stopping = stop_time(_conf_d(configs, settings, paths))
    unit = render_template(
        "systemd/unit.service.j2",
        **host_values(settings.systemd),
        stopping=stopping,
        stop_timeout=stopping + STOP_MARGIN_SECONDS,
        read_only=_is_in(site, READ_ONLY_DIRECTORIES),
        temporary=any(_is_in(path, TEMPORARY_DIRECTORIES) for path in (site, settings.systemd.prefix)),
        state=site.removeprefix(STATE_DIRECTORIES) if site.startswith(STATE_DIRECTORIES) else "",
    )
    return {UNIT_NAME: unit}


def _is_in(path: str, directories: Iterable[str]) -> bool:
    return any(PurePosixPath(path).is_relative_to(directory) for directory in directories)


def host_values(systemd: SystemdSettings) -> dict[str, str]:
    """Return the values that the templates of systemd and logrotate share."""
    return {
        "source": SETTINGS_SOURCE,
        "user": systemd.user,
        "group": systemd.group or systemd.user,
        "site": systemd.site,
        "prefix": systemd.prefix,
    }


def stop_time(texts: Iterable[str]) -> int:
    """Return the maximum seconds that `svc down` takes to stop the programs in these files.

    `svc down` stops programs in three phases. The programs of a phase stop at the same time, so a phase takes
    as long as the longest stopwaitsecs of its programs.
    """
    phases = {"router": 0, "babysitter": 0, "": 0}
    for program, section in _programs(texts):
        name = section.get("process_name", program)
        phase = name if name in phases else ""
        phases[phase] = max(phases[phase], int(section.get("stopwaitsecs", DEFAULT_STOP_WAIT_SECONDS)))
    return sum(phases.values())


def _programs(texts: Iterable[str]) -> Iterable[tuple[str, Mapping[str, str]]]:
    for text in texts:
        ini = RawConfigParser(strict=False, inline_comment_prefixes=(";", "#"))
        ini.read_string(text)
        for section in ini.sections():
            kind, _, name = section.partition(":")
            if kind in ("program", "fcgi-program", "eventlistener"):
                yield name, ini[section]


def _conf_d(configs: Sequence[InstanceConfig], settings: Settings, paths: RenderPaths) -> Iterable[str]:
    """Return the texts of all files in conf.d after rendering, including files that svc did not generate."""
    existing = {f"conf.d/{path.name}": path.read_text(encoding="utf-8") for path in paths.conf_d.glob("*.conf")}
    return (existing | render(configs, settings, paths)).values()
