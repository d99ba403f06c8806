"""What runs, and what would run if the files of a change were written: both as supervisord's own groups."""

import dataclasses
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
from supervisor.options import ServerOptions

from svc.base import procfs
from svc.base.errors import CommandError, ConfigError
from svc.base.http import fetch
from svc.config.instance.digest import digest
from svc.config.instance.load import load
from svc.config.site import Site
from svc.render.files import MADE_BY, Change
from svc.settings import Settings
from svc.site.components import Component, parse_components
from svc.supervision.client import SupervisordClient
from svc.supervision.program_config import described
from svc.supervision.programs import Group, Running, read

TOGETHER = 16  # babysitters that are asked at once
NAMES = re.compile(r" Available names: .*?(?= in section)", re.DOTALL)  # all of the environment
PATIENCE = 2.0  # seconds that a babysitter's answer may take


@dataclasses.dataclass(frozen=True, slots=True)
class Files:
    """supervisord.conf and the files of conf.d as they would be after a change."""

    supervisord_conf: bytes
    conf_d: Mapping[Path, bytes]

    def components(self) -> list[Component]:
        """Those that svc made."""
        ours = {path: text for path, text in self.conf_d.items() if text.startswith(MADE_BY.encode())}
        return parse_components({path: text.decode() for path, text in ours.items()})


def files(site: Site, change: Change) -> Files:
    there = {path: path.read_bytes() for path in site.conf_d.glob("*.conf")}
    edits = {path: after for path, _, after in change.edits}
    main = edits.pop(site.supervisord_conf, None) or site.supervisord_conf.read_bytes()
    after = {**there, **edits}
    return Files(main, {path: text for path, text in sorted(after.items()) if text is not None})


def running(supervisord: SupervisordClient, site: Site) -> Running:
    """What supervisord runs by; raises CommandError where that are not the site's own files."""
    found = supervisord.programs()
    if not os.path.samefile(found.root, site.root):
        raise CommandError(
            f"supervisord runs from {Path(found.root) / 'supervisord.conf'}, because variables of the environment "
            f"changed what `svc up` rendered, not from {site.conf_d}; write them into {site.svc_toml}, "
            "then `svc down` and `svc up` without them"
        )
    return found


def wanted(files: Files, root: str, environ: Mapping[str, str]) -> dict[str, Group]:
    """The groups of these files, as the supervisord of `root` and `environ` would read them there.

    Raises ConfigError with supervisord's own complaint.
    """
    with tempfile.TemporaryDirectory(prefix="svc-") as top:
        for path, text in files.conf_d.items():
            _refuse_bytes(path, text)
            copy = Path(top, "conf.d", path.name)
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(text.replace(b"%(here)s", os.fsencode(f"{root}/conf.d")))
        main = Path(top, "supervisord.conf")
        main.write_bytes(files.supervisord_conf)
        options = ServerOptions()
        options.here, options.configfile = root, str(main)
        options.environ_expansions = {f"ENV_{key}": value for key, value in environ.items()}
        try:
            return read(described(options.read_config(str(main)).process_group_configs))
        except ValueError as error:
            complaint = " ".join(NAMES.sub("", str(error).replace(f"{top}/", "")).split())
            raise ConfigError(f"supervisord would refuse it: {complaint}; correct that file or move it away") from None


def _refuse_bytes(path: Path, text: bytes) -> None:
    """supervisord's own complaint does not name the file."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        line = text[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}: line {line} is not UTF-8, which supervisord refuses; save it as UTF-8") from None


def environ_of(supervisord: SupervisordClient) -> dict[str, str]:
    """What supervisord was started with, which `%(ENV_X)s` in its files means; ours, where that cannot be told."""
    try:
        variables = procfs.environment(supervisord.pid())
    except OSError:
        return dict(os.environ)
    pairs = (os.fsdecode(variable).partition("=") for variable in variables)
    return {key: value for key, _, value in pairs}


def rereads(
    components: Iterable[Component], supervisord: SupervisordClient, conf_d: Path, settings: Settings
) -> tuple[set[str], list[str]]:
    """The running instances whose TOML is not what their babysitter has loaded, and those that do not tell."""
    states = {name: process.state for name, process in supervisord.processes().items()}
    asked = [
        component
        for component in components
        if component.kind == "babysitter" and states.get(component.babysitter_program) in ("STARTING", "RUNNING")
    ]
    with ThreadPoolExecutor(TOGETHER) as threads:
        loaded = dict(zip((component.name for component in asked), threads.map(loaded_config, asked), strict=True))
    wanted = {component.name: config_of(conf_d / component.source, settings) for component in asked}
    stale = {name for name, told in loaded.items() if None not in (told, wanted[name]) and told != wanted[name]}
    return stale, [name for name, told in loaded.items() if told is None]


def loaded_config(component: Component) -> str | None:
    """The digest that a babysitter tells; empty from one of an older svc, None where it does not answer."""
    try:
        answer = fetch("GET", f"{component.babysitter_url}/info", PATIENCE)
        return str(answer.json().get("config", ""))
    except (requests.RequestException, ValueError, AttributeError):
        return None


def config_of(source: Path, settings: Settings) -> str | None:
    """The digest of a TOML; None for one that is wrong or gone: no babysitter could start with it."""
    try:
        return digest(load([source], settings)[0])
    except ConfigError:
        return None
