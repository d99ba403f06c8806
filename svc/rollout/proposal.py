"""What `svc apply` would do, and `svc plan` tells: the files to write, and what differs from what runs then."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from svc import daemon, generated
from svc.generated import Part
from svc.rollout import running
from svc.rollout.difference import Kind, PartChange, difference
from svc.settings import Settings
from svc.site import Site
from svc.spec.files import Change
from svc.spec.generate import plan_site
from svc.spec.place import absolute
from svc.supervision.control import Control


@dataclasses.dataclass(frozen=True, slots=True)
class Proposal:
    """`changes` is empty when what runs is what the files say; with no supervisord, everything is added."""

    files: Change
    parts: tuple[Part, ...]  # those that svc makes, as they would be
    changes: tuple[PartChange, ...]
    control: Control | None  # None: no supervisord runs here
    foreign: tuple[Path, ...] = ()  # files of conf.d that svc did not make; they run as well
    silent: tuple[str, ...] = ()  # instances whose babysitter does not tell what it has read

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.changes or self.files.stale)


def propose(site: Site, settings: Settings, tomls: Sequence[str] = ()) -> Proposal:
    """As `svc render [TOML...]` would write it. Nothing is changed here.

    Raises ConfigError for what is wrong in the site, CommandError where what runs is not the site's own.
    """
    sources = site.tomls(tuple(tomls), settings.launch.babysitter_configs)
    change = plan_site(site, settings, sources, partial=bool(tomls))
    after = running.files(site, change)
    parts, foreign = after.parts(), tuple(generated.foreign(site.conf_d))
    control = daemon.find(site)
    if control is None:
        added = tuple(PartChange(p.name, Kind.ADDED, p.component, members=p.programs) for p in parts)
        return Proposal(change, tuple(parts), added, None, foreign)
    runs = running.running(control, site)
    wanted = running.wanted(after, runs.root, running.environ_of(control))
    given = {absolute(path) for path in sources}
    here = [part for part in parts if part.name in runs.groups and (not tomls or _source(site, part) in given)]
    rereads, silent = running.rereads(here, control, site.conf_d, settings)
    changes = tuple(difference(runs.groups, wanted, rereads))
    return Proposal(change, tuple(parts), changes, control, foreign, tuple(silent))


def _source(site: Site, part: Part) -> Path:
    return absolute(site.conf_d / part.source)
