"""Reads supervisord's program groups: those that run, and those that would run after a change of the files."""

import dataclasses
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from supervisor.options import ServerOptions

from svc.base import procfs
from svc.base.errors import CommandError, ConfigError
from svc.client.babysitter import read_info
from svc.config import router_keys
from svc.config.instance.load import load
from svc.config.site import Site
from svc.protocol.service import ASLEEP
from svc.render.files import MADE_BY, Change
from svc.settings import Settings
from svc.site.components import Component, keys_file_of, parse_components
from svc.supervision.client import SupervisordClient
from svc.supervision.config_serializer import serialize
from svc.supervision.program_config import GroupConfig, SupervisordConfig, parse_groups

PARALLEL_REQUESTS = 16  # concurrent requests to babysitters
# The part of supervisord's error messages that lists the variables of the environment.
AVAILABLE_NAMES = re.compile(r" Available names: .*?(?= in section)", re.DOTALL)
HTTP_TIMEOUT_SECONDS = 2.0


@dataclasses.dataclass(frozen=True, slots=True)
class SupervisordFiles:
    """The contents of supervisord.conf and of the files in conf.d as they would be after a change."""

    supervisord_conf: bytes
    conf_d: Mapping[Path, bytes]

    def components(self) -> list[Component]:
        """Return the components of the files that svc rendered."""
        rendered = {path: text for path, text in self.conf_d.items() if text.startswith(MADE_BY.encode())}
        return parse_components({path: text.decode() for path, text in rendered.items()})


def files_after(conf: Path, conf_d: Path, change: Change) -> SupervisordFiles:
    """Return the contents of `conf` and of the files in `conf_d` as they would be after the change."""
    before = {path: path.read_bytes() for path in conf_d.glob("*.conf")}
    edits = {path: after for path, _, after in change.edits if path == conf or path.parent == conf_d}
    main = edits.pop(conf, None) or conf.read_bytes()
    after = {**before, **edits}
    return SupervisordFiles(main, {path: text for path, text in sorted(after.items()) if text is not None})


def running_programs(supervisord: SupervisordClient, site: Site, conf: Path) -> SupervisordConfig:
    """Return the configuration that supervisord runs; raise CommandError if supervisord does not run from `conf`."""
    programs = supervisord.configuration()
    if not os.path.samefile(programs.root, conf.parent):
        raise CommandError(
            f"supervisord runs from {Path(programs.root) / 'supervisord.conf'}, because variables of the environment "
            f"changed what `svc up` rendered, not from {site.conf_d}; write them into {site.svc_toml}, "
            "then `svc down` and `svc up` without them"
        )
    return programs


def running_keys_file(supervisord: SupervisordClient) -> str | None:
    """Return the file of API keys that the running router uses; "" if it uses none, None if no router runs.

    It may differ from the file in the settings, which may not be applied yet.
    """
    group = supervisord.configuration().groups.get("router")
    program = group.programs.get("router") if group else None
    return keys_file_of(program.keys["command"]) if program else None


def unapplied_keys_file(supervisord: SupervisordClient, keys_file: str) -> str:
    """Return `keys_file`, the configured file of API keys, if the running router does not use it.

    Return an empty text if the router uses it, if no file is configured, and if no router runs.
    """
    running = running_keys_file(supervisord) if keys_file else None
    return keys_file if running is not None and router_keys.is_unapplied(keys_file, running) else ""


def expected_groups(files: SupervisordFiles, root: str, environ: Mapping[str, str]) -> dict[str, GroupConfig]:
    """Return the groups that a supervisord in the directory `root`, with the environment `environ`, would read.

    Raise ConfigError with supervisord's error message if supervisord would refuse the files.
    """
    with tempfile.TemporaryDirectory(prefix="svc-") as top:
        for path, text in files.conf_d.items():
            _require_utf8(path, text)
            copy = Path(top, "conf.d", path.name)
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(text.replace(b"%(here)s", os.fsencode(f"{root}/conf.d")))
        main = Path(top, "supervisord.conf")
        main.write_bytes(files.supervisord_conf)
        options = ServerOptions()
        options.here, options.configfile = root, str(main)
        options.environ_expansions = {f"ENV_{key}": value for key, value in environ.items()}
        try:
            return parse_groups(serialize(options.read_config(str(main)).process_group_configs))
        except ValueError as error:
            complaint = " ".join(AVAILABLE_NAMES.sub("", str(error).replace(f"{top}/", "")).split())
            raise ConfigError(f"supervisord would refuse it: {complaint}; correct that file or move it away") from None


def _require_utf8(path: Path, text: bytes) -> None:
    """Raise ConfigError for a file that is not UTF-8, because supervisord's error would not contain its path."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        line = text[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}: line {line} is not UTF-8, which supervisord refuses; save it as UTF-8") from None


def environ_of(supervisord: SupervisordClient) -> dict[str, str]:
    """Return supervisord's environment, from which the values of `%(ENV_X)s` in its files come.

    If that environment cannot be read, return the environment of this process.
    """
    try:
        variables = procfs.environment(supervisord.pid())
    except OSError:
        return dict(os.environ)
    pairs = (os.fsdecode(variable).partition("=") for variable in variables)
    return {key: value for key, _, value in pairs}


def stale_babysitters(
    components: Iterable[Component], supervisord: SupervisordClient, conf_d: Path, settings: Settings
) -> tuple[set[str], list[str]]:
    """Return the instances whose babysitter has loaded an older version of its TOML, and those of unknown version.

    The version is unknown if the babysitter does not answer. Instances whose babysitter does not run are left out.
    """
    states = {name: process.state for name, process in supervisord.processes().items()}
    supervised = [
        component
        for component in components
        if component.kind == "babysitter" and states.get(component.babysitter_program) in ("STARTING", "RUNNING")
    ]
    with ThreadPoolExecutor(PARALLEL_REQUESTS) as threads:
        loaded = dict(
            zip(
                (component.name for component in supervised), threads.map(loaded_config_digest, supervised), strict=True
            )
        )
    expected = {component.name: config_digest(conf_d / component.source, settings) for component in supervised}
    stale = {
        name for name, config in loaded.items() if None not in (config, expected[name]) and config != expected[name]
    }
    return stale, [name for name, config in loaded.items() if config is None]


def asleep_instances(components: Iterable[Component], supervisord: SupervisordClient) -> set[str]:
    """Return the instances on demand that are asleep: their server does not run, or their engine sleeps."""
    states = {name: process.state for name, process in supervisord.processes().items()}
    return {c.name for c in components if c.on_demand and _is_asleep(c, states.get(c.server_program, ""))}


def _is_asleep(component: Component, server_state: str) -> bool:
    if server_state != "RUNNING":
        return server_state in ("STOPPED", "EXITED", "FATAL")
    info = read_info(component.babysitter_url, HTTP_TIMEOUT_SECONDS)
    return info is not None and info.get("state") == ASLEEP


def loaded_config_digest(component: Component) -> str | None:
    """Return the digest of the TOML that a babysitter has loaded.

    Return an empty text for a babysitter of an older svc, and None for a babysitter that does not answer.
    """
    info = read_info(component.babysitter_url, HTTP_TIMEOUT_SECONDS)
    return None if info is None else str(info.get("config", ""))


def config_digest(source: Path, settings: Settings) -> str | None:
    """Return the digest of a TOML, or None if the TOML is invalid or missing."""
    try:
        return load([source], settings)[0].digest()
    except ConfigError:
        return None
