"""The update that `svc plan` shows and `svc apply` carries out: the files to write, and the changed groups."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from svc.config.site import Site
from svc.render.files import Change
from svc.render.generate import plan_site
from svc.render.paths import absolute
from svc.rollout.diff import ChangeKind, GroupChange, difference
from svc.settings import Settings
from svc.site import program_groups, supervisord_process
from svc.site.components import Component, foreign_files
from svc.supervision.client import SupervisordClient


@dataclasses.dataclass(frozen=True, slots=True)
class Proposal:
    """A proposed update. `changes` is empty if the running groups match the files.

    If no supervisord runs, every component counts as added.
    """

    files: Change
    components: tuple[Component, ...]  # all components that svc renders, as they are after the update
    changes: tuple[GroupChange, ...]
    supervisord: SupervisordClient | None  # None: no supervisord runs here
    foreign: tuple[Path, ...] = ()  # files in conf.d that supervisord reads, but svc did not render
    silent: tuple[str, ...] = ()  # instances for which it is unknown which TOML the babysitter has loaded

    def __bool__(self) -> bool:
        """Return whether there is anything to do."""
        return bool(self.changes or self.files.stale)


def propose(site: Site, settings: Settings, tomls: Sequence[str] = ()) -> Proposal:
    """Return the files that `svc render [TOML...]` would write, and how the running groups would change.

    Change nothing. Raise ConfigError for errors in the site's files, and CommandError if supervisord runs from var/.
    """
    sources = site.tomls(tuple(tomls), settings.launch.babysitter_configs)
    change = plan_site(site, settings, sources, partial=bool(tomls))
    after = program_groups.files_after(site, change)
    components, foreign = after.components(), tuple(foreign_files(site.conf_d))
    supervisord = supervisord_process.find(site)
    if supervisord is None:
        added = tuple(GroupChange(p.name, ChangeKind.ADDED, p.kind, members=p.programs) for p in components)
        return Proposal(change, tuple(components), added, None, foreign)
    running = program_groups.running_programs(supervisord, site)
    wanted = program_groups.expected_groups(after, running.root, program_groups.environ_of(supervisord))
    sources_given = {absolute(path) for path in sources}
    checked = [
        component
        for component in components
        if component.name in running.groups and (not tomls or _source(site, component) in sources_given)
    ]
    stale_configs, silent = program_groups.stale_babysitters(checked, supervisord, site.conf_d, settings)
    changes = tuple(difference(running.groups, wanted, stale_configs))
    return Proposal(change, tuple(components), changes, supervisord, foreign, tuple(silent))


def _source(site: Site, component: Component) -> Path:
    return absolute(site.conf_d / component.source)
