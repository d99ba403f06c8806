"""What `svc up` has to write, and which supervisord.conf it runs: the site's own, or the one in var/."""

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from svc.base.errors import CommandError, ConfigError
from svc.config.settings_file import load_settings
from svc.config.site import Site, writable
from svc.render.files import Change
from svc.render.generate import earlier_sources, plan_site, rendered
from svc.settings import ENVIRONMENT_VARIABLES, Settings
from svc.site.components import Component, foreign_files, parse_components, rendered_files


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """`changes` to write; then `conf`, which includes `conf_d`, is what runs. `notes` are for the operator."""

    changes: tuple[Change, ...]
    conf: Path
    conf_d: Path
    notes: tuple[str, ...] = ()

    def components(self) -> list[Component]:
        """All that will run."""
        texts = {path: path.read_text(encoding="utf-8") for path in rendered_files(self.conf_d)}
        for path, after in self._edits():
            texts.pop(path, None)
            if after is not None:
                texts[path] = after.decode()
        return parse_components(texts)

    def chosen(self, asked: "Asked", site: Site) -> list[Component]:
        """Those that are to be started: all, or the single components, and of the instances those that are given."""
        given = {os.path.abspath(path) for path in site.tomls(asked.tomls)} if asked.tomls else set()
        return [
            component
            for component in self.components()
            if not asked.only
            or (component.kind in asked.only and component.kind != "babysitter")
            or (
                component.kind in asked.only and (not given or os.path.abspath(self.conf_d / component.source) in given)
            )
        ]

    def touched(self) -> set[str]:
        """Names of the components whose files change."""
        return {path.stem for path, _ in self._edits()}

    def _edits(self) -> Iterator[tuple[Path, bytes | None]]:
        for change in self.changes:
            yield from ((path, after) for path, _, after in change.edits if path.parent == self.conf_d)

    def write(self) -> None:
        for change in self.changes:
            change.write()


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """What the operator wants: these TOML files or the site's, these components or all, under this environment."""

    tomls: tuple[str, ...]
    only: tuple[str, ...]
    environ: Mapping[str, str]


def plan(site: Site, asked: Asked, running: bool, own: bool, as_can_be: bool = False) -> Plan:
    """`running`: a supervisord runs here; `own`: it was started with var/supervisord.conf.

    1. Single components, with nothing running or `own`: they go to var/conf.d, beside those that are there.
    2. The environment changes what would be rendered: all goes to var/conf.d; conf.d is left alone.
       The same where conf.d cannot be written, `as_can_be`; and what cannot be logged to logs/ goes to stdout.
    3. Otherwise conf.d is brought up to date, and var/conf.d too where that is what runs.

    A supervisord that was started with the site's supervisord.conf never sees
    var/conf.d: raises CommandError where 2 would need that.
    """
    told = load_settings(site.svc_toml, asked.environ)
    variables = sorted(name for name in ENVIRONMENT_VARIABLES if asked.environ.get(name))
    differs = bool(variables) and _differs(site, asked, told)
    if differs and running and not own:
        raise CommandError(
            f"{', '.join(variables)} in the environment would change what runs, and what runs was started from "
            f"{site.conf_d}; unset it, or write it into {site.svc_toml}, or `svc down` first"
        )
    console = as_can_be and not site.keeps_logs
    if asked.only:
        return _single(site, asked, told, running, own, console)  # 1
    sources = site.tomls(asked.tomls, told.launch.babysitter_configs)
    partial = bool(asked.tomls)
    if differs or console or (as_can_be and not writable(site.conf_d)):  # 2
        if not asked.environ.get("BABYSITTER_CONFIGS"):
            sources = _with_earlier(site, sources)
        added = partial and own
        change = plan_site(site, told, sources, site.own_conf_d, partial=added, exact=not added, console=console)
        why = f"{', '.join(variables)} in the environment: " if differs else ""
        note = f"{why}running from {site.own_supervisord_conf}; {site.conf_d} is left as it is"
        return Plan((change,), site.own_supervisord_conf, site.own_conf_d, (note, *_not_run(site)))
    change = plan_site(site, load_settings(site.svc_toml), sources, partial=partial)  # 3
    if not own:
        return Plan((change,), site.supervisord_conf, site.conf_d)
    mirror = plan_site(site, told, _with_earlier(site, sources), site.own_conf_d, partial=partial, exact=not partial)
    return Plan((change, mirror), site.own_supervisord_conf, site.own_conf_d, tuple(_not_run(site)))


def _single(site: Site, asked: Asked, told: Settings, running: bool, own: bool, console: bool) -> Plan:
    launch = dataclasses.replace(told.launch, components=",".join(asked.only))
    told = dataclasses.replace(told, launch=launch)
    sources = site.tomls(asked.tomls, launch.babysitter_configs) if launch.runs("babysitter") else []
    if running and not own:
        return Plan((plan_site(site, told, sources, partial=True),), site.supervisord_conf, site.conf_d)
    change = plan_site(site, told, sources, site.own_conf_d, partial=running, exact=not running, console=console)
    return Plan((change,), site.own_supervisord_conf, site.own_conf_d)


def _differs(site: Site, asked: Asked, told: Settings) -> bool:
    """Whether the environment changes a byte of what the files and the arguments say."""
    plain = load_settings(site.svc_toml)
    wanted = rendered(site, told, site.tomls(asked.tomls, told.launch.babysitter_configs))
    try:
        return wanted != rendered(site, plain, site.tomls(asked.tomls, plain.launch.babysitter_configs))
    except ConfigError:
        return True  # as with a file that is right only under BABYSITTER_HOST


def _with_earlier(site: Site, sources: Iterable[Path]) -> list[Path]:
    """With those that conf.d was made from before: what is in conf.d is what runs."""
    made = {os.path.abspath(path): path for path in [*earlier_sources(site), *sources]}
    return list(made.values())


def _not_run(site: Site) -> Iterator[str]:
    for path in foreign_files(site.conf_d):
        yield f"{path}: not made by svc render; {site.own_supervisord_conf} does not run it"
