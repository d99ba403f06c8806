"""Reads facts of the site's files: errors in config/, differences from conf.d/, unfinished rollouts."""

import dataclasses
import re
from pathlib import Path

from svc.base import temporary_files
from svc.base.errors import ConfigError, SvcError
from svc.config.instance.load import load_one
from svc.config.instance.model import InstanceConfig
from svc.config.settings_file import load_settings
from svc.config.site import Site
from svc.doctor.collect.machine_facts import command_of
from svc.doctor.facts import SiteFiles, UnfinishedRollout
from svc.render.files import Change
from svc.render.generate import earlier_sources, plan_site
from svc.rollout.diff import GroupChange, difference
from svc.rollout.journal import Journal
from svc.rollout.proposal import foreground_change
from svc.settings import Settings
from svc.site import program_groups, supervisord_process
from svc.site.components import rendered_files
from svc.site.foreground_process import ForegroundProcess


def configs(site: Site, settings: Settings, conf_d: Path) -> dict[str, InstanceConfig]:
    """Return a dict from instances to configurations, from valid TOMLs in config/ and among the sources of `conf_d`."""
    configs = {}
    for path in {*site.tomls(), *earlier_sources(site, conf_d)}:
        try:
            config = load_one(
                path, dataclasses.replace(settings, launch=dataclasses.replace(settings.launch, components="all"))
            )
        except SvcError:
            continue  # the facts of `files` contain the error
        configs[config.name] = config
    return configs


def files(site: Site, from_var: bool, foreground: ForegroundProcess | None) -> SiteFiles:
    """Return the state of the files. If supervisord runs from var/ (`from_var`), conf.d/ may differ from config/.

    `foreground` is the `svc up --foreground` that runs the site, if there is one.
    """
    present = bool(site.tomls() or site.svc_toml.exists() or rendered_files(site.conf_d) or from_var)
    if not present:
        return SiteFiles(present=False)
    try:
        change = _change(site) if foreground is None else foreground_change(site, foreground)
    except ConfigError as error:
        return SiteFiles(error.problems, runs_from_var=from_var, in_foreground=foreground is not None)
    except SvcError as error:
        return SiteFiles([error.message], runs_from_var=from_var, in_foreground=foreground is not None)
    if from_var and foreground is None:
        return SiteFiles(runs_from_var=True)
    kinds = (("new", change.added), ("changed", change.changed), ("gone", change.removed))
    stale = [f"{path}: {kind}" for kind, paths in kinds for path in paths]
    return SiteFiles([], stale, runs_from_var=from_var, in_foreground=foreground is not None)


def _change(site: Site) -> Change:
    settings = load_settings(site.svc_toml)
    return plan_site(site, settings, site.tomls((), settings.launch.babysitter_configs))


def pending_changes(site: Site, from_var: bool) -> list[str]:
    """Return the differences between the running groups and supervisord's files (those in var/ if `from_var`)."""
    supervisord = supervisord_process.find(site)
    if supervisord is None:
        return []
    conf, conf_d = (site.var_supervisord_conf, site.var_conf_d) if from_var else (site.supervisord_conf, site.conf_d)
    texts = {path: path.read_bytes() for path in sorted(conf_d.glob("*.conf"))}
    temporary_files.ensure_directory(site.var)
    running = supervisord.configuration()
    wanted = program_groups.expected_groups(
        program_groups.SupervisordFiles(conf.read_bytes(), texts), running.root, program_groups.environ_of(supervisord)
    )
    return [_change_text(change) for change in difference(running.groups, wanted)]


def _change_text(change: GroupChange) -> str:
    """Return a line for a changed group: its name and the keys that differ, without values, which may be secrets."""
    keys = [edit.key for edit in change.edits]
    keys += [edit.key for program in change.programs for edit in program.edits if program.kind.value == "changed"]
    names = ", ".join(dict.fromkeys(keys))
    return f"{change.name}: {change.kind.value}" + (f" ({names})" if names else "")


def unfinished_rollout(site: Site) -> UnfinishedRollout | None:
    """Return the running or interrupted rollout, or None. Raise CommandError if the journal cannot be read."""
    journal, at_work = Journal.load(site), _rollout_at_work(site)
    if not at_work and not (journal.drained or journal.begun):
        return None
    return UnfinishedRollout(journal.repeated(), tuple(sorted(journal.drained)), tuple(sorted(journal.begun)), at_work)


def _rollout_at_work(site: Site) -> str:
    """Return the text in the rollout's lock file, or an empty text if the rollout's process has ended.

    The process must be checked, because a killed rollout does not clear the file.
    """
    try:
        text = (site.var / "rollout.lock").read_text()
    except OSError:
        return ""
    pid = re.search(r"\(pid (\d+),", text)
    return text.strip() if pid and "svc" in command_of(int(pid[1])) else ""
