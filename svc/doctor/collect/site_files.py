"""The site's files: what is wrong in config/, and whether conf.d/ is what they say. Everything here reads."""

import dataclasses
from pathlib import Path

from svc.base.errors import ConfigError, SvcError
from svc.config.instance.load import load_one
from svc.config.instance.model import InstanceConfig
from svc.config.settings_file import load_settings
from svc.config.site import Site
from svc.doctor.facts import Files
from svc.render.generate import earlier_sources, plan_site
from svc.rollout.diff import GroupChange, difference
from svc.settings import Settings
from svc.site import program_groups, supervisord_process
from svc.site.components import rendered_files

NOTHING = Files()


def configs(site: Site, told: Settings, conf_d: Path) -> dict[str, InstanceConfig]:
    """Those that can be read, by name; `conf_d` may have been made from more than lies in config/."""
    found = {}
    for path in {*site.tomls(), *earlier_sources(site, conf_d)}:
        try:
            config = load_one(
                path, dataclasses.replace(told, launch=dataclasses.replace(told.launch, components="all"))
            )
        except SvcError:
            continue  # told by `files`
        found[config.name] = config
    return found


def files(site: Site, own: bool) -> Files:
    """`own`: supervisord runs from var/, of which conf.d says nothing."""
    there = bool(site.tomls() or site.svc_toml.exists() or rendered_files(site.conf_d) or own)
    if not there:
        return Files(present=False)
    try:
        plain = load_settings(site.svc_toml)
        change = plan_site(site, plain, site.tomls((), plain.launch.babysitter_configs))
    except ConfigError as error:
        return Files(wrong=error.problems, own=own)
    except SvcError as error:
        return Files(wrong=[error.message], own=own)
    if own:
        return Files(own=True)
    kinds = (("new", change.added), ("changed", change.changed), ("gone", change.removed))
    return Files([], [f"{path}: {kind}" for kind, paths in kinds for path in paths])


def pending(site: Site, own: bool) -> list[str]:
    """How what supervisord runs differs from the files that it runs from; `own`: those in var/."""
    supervisord = supervisord_process.find(site)
    if supervisord is None:
        return []
    conf, conf_d = (site.own_supervisord_conf, site.own_conf_d) if own else (site.supervisord_conf, site.conf_d)
    texts = {path: path.read_bytes() for path in sorted(conf_d.glob("*.conf"))}
    there = supervisord.configuration()
    wanted = program_groups.expected_groups(
        program_groups.SupervisordFiles(conf.read_bytes(), texts), there.root, program_groups.environ_of(supervisord)
    )
    return [_change_text(change) for change in difference(there.groups, wanted)]


def _change_text(change: GroupChange) -> str:
    """Return the keys that differ; their values may be secrets."""
    keys = [edit.key for edit in change.edits]
    keys += [edit.key for program in change.programs for edit in program.edits if program.kind.value == "changed"]
    which = ", ".join(dict.fromkeys(keys))
    return f"{change.name}: {change.kind.value}" + (f" ({which})" if which else "")
