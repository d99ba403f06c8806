"""The update that `svc plan` shows and `svc apply` carries out: the files to write, and the changed groups."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from svc.base import temporary_files
from svc.config.settings_file import load_settings
from svc.config.site import Site
from svc.render.files import Change
from svc.render.generate import earlier_sources, plan_site
from svc.render.paths import absolute
from svc.rollout.diff import ChangeKind, GroupChange, difference
from svc.settings import NO_COMPONENTS, Settings
from svc.site import program_groups, supervisord_process
from svc.site.components import Component, foreign_files, read_components
from svc.site.foreground_process import ForegroundProcess, foreground_process
from svc.site.start_plan import StartOptions, plan
from svc.supervision.client import SupervisordClient


@dataclasses.dataclass(frozen=True, slots=True)
class Proposal:
    """A proposed update. `changes` is empty if the running groups match the files.

    If no supervisord runs, every component counts as added.
    """

    source: "SupervisordSource"
    files: Change
    components: tuple[Component, ...]  # all components that svc renders, as they are after the update
    changes: tuple[GroupChange, ...]
    supervisord: SupervisordClient | None  # None: no supervisord runs here
    foreign: tuple[Path, ...] = ()  # files in conf.d that supervisord reads, but svc did not render
    silent: tuple[str, ...] = ()  # instances for which it is unknown which TOML the babysitter has loaded

    def __bool__(self) -> bool:
        """Return whether there is anything to do."""
        return bool(self.changes or self.files.stale)


@dataclasses.dataclass(frozen=True, slots=True)
class SupervisordSource:
    """The files that supervisord runs from, and the settings that they are rendered with."""

    conf: Path
    conf_d: Path
    settings: Settings


def propose(site: Site, settings: Settings, environ: Mapping[str, str], tomls: Sequence[str] = ()) -> Proposal:
    """Return the files that `svc render [TOML...]` would write, and how the running groups would change.

    On a site that `svc up --foreground` runs from var/, as in a container, return the files that `svc up` would write
    there. Only these depend on `environ`, as `foreground_process` explains. Change nothing. Raise ConfigError for
    errors in the site's files, and CommandError if an `svc up` without --foreground started supervisord from var/.
    """
    supervisord = supervisord_process.find(site)
    foreground = foreground_process(site, supervisord.pid(), environ) if supervisord else None
    source, change = _files(site, settings, foreground, tomls)
    after = program_groups.files_after(source.conf, source.conf_d, change)
    components, foreign = after.components(), tuple(foreign_files(source.conf_d))
    if supervisord is None:
        added = tuple(GroupChange(p.name, ChangeKind.ADDED, p.kind, members=p.programs) for p in components)
        return Proposal(source, change, tuple(components), added, None, foreign)
    running = program_groups.running_programs(supervisord, site, source.conf)
    temporary_files.ensure_directory(site.var)
    wanted = program_groups.expected_groups(after, running.root, program_groups.environ_of(supervisord))
    given = {absolute(path) for path in site.tomls(tuple(tomls))} if tomls else set()
    checked = [
        component
        for component in components
        if component.name in running.groups and (not tomls or absolute(source.conf_d / component.source) in given)
    ]
    stale_configs, silent = program_groups.stale_babysitters(checked, supervisord, source.conf_d, source.settings)
    asleep = program_groups.asleep_instances(checked, supervisord)
    changes = tuple(difference(running.groups, wanted, stale_configs, asleep))
    return Proposal(source, change, tuple(components), changes, supervisord, foreign, tuple(silent))


def _files(
    site: Site, settings: Settings, foreground: ForegroundProcess | None, tomls: Sequence[str]
) -> tuple[SupervisordSource, Change]:
    """Return the files that supervisord runs from, and their change."""
    if foreground is not None:
        foreground_settings = load_settings(site.svc_toml, foreground.environ)
        source = SupervisordSource(site.var_supervisord_conf, site.var_conf_d, foreground_settings)
        return source, foreground_change(site, foreground, tomls)
    sources = site.tomls(tuple(tomls), settings.launch.babysitter_configs)
    source = SupervisordSource(site.supervisord_conf, site.conf_d, settings)
    return source, plan_site(site, settings, sources, partial=bool(tomls))


def foreground_change(site: Site, foreground: ForegroundProcess, tomls: Sequence[str] = ()) -> Change:
    """Return the files that `svc up [TOML...]` would write on a site that `svc up --foreground` runs from var/.

    If that `svc up` runs no components, or only some kinds, the change is limited to the kinds of the files in
    var/conf.d. A later `svc up --only` may have added some of these.
    """
    launch = load_settings(site.svc_toml, foreground.environ).launch
    options = StartOptions(tuple(tomls), (), foreground.environ)
    if foreground.has_only or launch.components == NO_COMPONENTS:
        components = read_components(site.var_conf_d)
        if not components:
            return Change(())
        kinds = tuple(dict.fromkeys(component.kind for component in components))
        sources = tomls or [str(path) for path in earlier_sources(site, site.var_conf_d)]
        options = StartOptions(tuple(sources), kinds, foreground.environ)
    changes = plan(site, options, running=True, runs_from_var=True, allow_read_only=True).changes
    return Change(
        tuple(edit for change in changes for edit in change.edits),
        frozenset(path for change in changes for path in change.private),
    )
