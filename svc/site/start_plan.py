"""The plan of `svc up`: the files to write, and the supervisord.conf to use (the site's, or that in var/)."""

import dataclasses
import os
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path

from svc.base.address import is_wildcard
from svc.base.errors import CommandError, ConfigError
from svc.config.instance.unusual_values import wildcard_warning
from svc.config.settings_file import load_settings
from svc.config.site import Site, is_writable
from svc.render.files import Change, generated_files
from svc.render.generate import earlier_sources, plan_site, rendered
from svc.render.supervisord_conf import SETTINGS_SOURCE
from svc.settings import COMPONENTS, ENVIRONMENT_VARIABLES, Settings
from svc.site.components import Component, foreign_files, parse_components, rendered_files

STDOUT_LOG = b"stdout_logfile=/dev/"
NOTHING_TO_RUN = "no component is to run here (components under [launch]); `svc up --only registry` starts one"


@dataclasses.dataclass(frozen=True, slots=True)
class StartPlan:
    """The changes of files, and the supervisord.conf to use after them. This `conf` includes the files in `conf_d`."""

    changes: tuple[Change, ...]
    conf: Path
    conf_d: Path
    notes: tuple[str, ...] = ()  # lines to print for the operator

    def components(self) -> list[Component]:
        """Return all components that are to run."""
        texts = {path: path.read_text(encoding="utf-8") for path in rendered_files(self.conf_d)}
        for path, after in self._edits():
            texts.pop(path, None)
            if after is not None:
                texts[path] = after.decode()
        return parse_components(texts)

    def chosen(self, options: "StartOptions", site: Site) -> list[Component]:
        """Return the components to start: those that the options select by kind and by TOML file."""
        given = {os.path.abspath(path) for path in site.tomls(options.tomls)} if options.tomls else set()
        return [
            component
            for component in self.components()
            if not options.only
            or (component.kind in options.only and component.kind != "babysitter")
            or (
                component.kind in options.only
                and (not given or os.path.abspath(self.conf_d / component.source) in given)
            )
        ]

    def changed_components(self) -> set[str]:
        """Return the names of the components whose files change."""
        return {path.stem for path, _ in self._edits()}

    def _edits(self) -> Iterator[tuple[Path, bytes | None]]:
        for change in self.changes:
            yield from ((path, after) for path, _, after in change.edits if path.parent == self.conf_d)

    def replaced_files(self) -> list[str]:
        """Return a line for each file that is overwritten or removed; a file and its copy in var/ share one line."""
        lines: dict[str, str] = {}
        for change in self.changes:
            for label, paths in (("overwritten", change.changed), ("removed", change.removed)):
                for path in paths:
                    lines.setdefault(path.name, f"{path}: {label}")
        return list(lines.values())

    def write(self) -> None:
        """Write all changes of files."""
        for change in self.changes:
            change.write()


@dataclasses.dataclass(frozen=True, slots=True)
class StartOptions:
    """The operator's options for a start.

    Without `tomls`, all TOML files of the site are used. Without `only`, all kinds of components are started.
    """

    tomls: tuple[str, ...]
    only: tuple[str, ...]
    environ: Mapping[str, str]


def wildcard_notes(components: Iterable[Component], changed: Container[str]) -> Iterator[str]:
    """Yield a note for each instance in `changed` whose host is a wildcard address, such as 0.0.0.0.

    Unchanged instances get no note, so that the note is not repeated at each start; `svc check` always prints it.
    """
    for component in components:
        if component.kind == "babysitter" and is_wildcard(component.host) and component.name in changed:
            yield f"{component.name}: {wildcard_warning(component.host)}"


def plan(
    site: Site, options: StartOptions, running: bool, runs_from_var: bool, allow_read_only: bool = False
) -> StartPlan:
    """Return the plan. `running` means that a supervisord runs here; `runs_from_var`, that it runs from var/.

    1. If the options select kinds of components, files for these are added to the conf.d directory that the running
       supervisord reads, or to var/conf.d if none runs.
    2. If environment variables change the rendered files, all files are written to var/conf.d, and conf.d is not
       changed. With `allow_read_only`, this is also done if conf.d or logs/ is not writable. If logs/ is not writable,
       programs log to stdout.
    3. Otherwise conf.d is brought up to date, and also var/conf.d if supervisord runs from var/.

    Raise CommandError if environment variables change the rendered files and the running supervisord does not read
    var/conf.d.
    """
    site_settings = load_settings(site.svc_toml, options.environ)
    variables = sorted(name for name in ENVIRONMENT_VARIABLES if options.environ.get(name))
    environ_differs = bool(variables) and _environment_changes_files(site, options, site_settings)
    if environ_differs and running and not runs_from_var:
        raise CommandError(
            f"{', '.join(variables)} in the environment would change what runs, and what runs was started from "
            f"{site.conf_d}; unset it, or write it into {site.svc_toml}, or `svc down` first"
        )
    logs_to_stdout = allow_read_only and (not site.logs_are_writable or (runs_from_var and _root_keeps_stdout(site)))
    if options.only:
        return _plan_single_components(site, options, site_settings, running, runs_from_var, logs_to_stdout)  # rule 1
    sources = site.tomls(options.tomls, site_settings.launch.babysitter_configs)
    partial = bool(options.tomls)
    if environ_differs or logs_to_stdout or (allow_read_only and not is_writable(site.conf_d)):  # rule 2
        if not options.environ.get("BABYSITTER_CONFIGS"):
            sources = _with_earlier(site, sources)
        added = partial and runs_from_var
        change = plan_site(
            site, site_settings, sources, site.var_conf_d, partial=added, exact=not added, logs_to_stdout=logs_to_stdout
        )
        cause = f"{', '.join(variables)} in the environment: " if environ_differs else ""
        note = f"{cause}running from {site.var_supervisord_conf}; {site.conf_d} is left as it is"
        return StartPlan((change,), site.var_supervisord_conf, site.var_conf_d, (note, *_foreign_file_notes(site)))
    change = plan_site(site, load_settings(site.svc_toml), sources, partial=partial)  # rule 3
    if not runs_from_var:
        return StartPlan((change,), site.supervisord_conf, site.conf_d)
    mirror = plan_site(
        site, site_settings, _with_earlier(site, sources), site.var_conf_d, partial=partial, exact=not partial
    )
    return StartPlan((change, mirror), site.var_supervisord_conf, site.var_conf_d, tuple(_foreign_file_notes(site)))


def _root_keeps_stdout(site: Site) -> bool:
    """Return whether this user is root while the running programs log to stdout.

    Root may write to logs/, as in `docker exec -u 0`, but the user of the programs may not, so they keep logging to
    stdout.
    """
    return os.geteuid() == 0 and any(STDOUT_LOG in path.read_bytes() for path in rendered_files(site.var_conf_d))


def _plan_single_components(
    site: Site, options: StartOptions, site_settings: Settings, running: bool, runs_from_var: bool, logs_to_stdout: bool
) -> StartPlan:
    conf_d = site.var_conf_d if runs_from_var or not running else site.conf_d
    others = {kind for kind in COMPONENTS if site_settings.launch.runs(kind)}
    if running:
        others |= {path.stem for path, source in generated_files(conf_d).items() if source == SETTINGS_SOURCE}
    launch = dataclasses.replace(site_settings.launch, components=",".join(options.only))
    site_settings = dataclasses.replace(site_settings, launch=launch, other_components=tuple(sorted(others)))
    sources = site.tomls(options.tomls, launch.babysitter_configs) if launch.runs("babysitter") else []
    if running and not runs_from_var:
        return StartPlan((plan_site(site, site_settings, sources, partial=True),), site.supervisord_conf, site.conf_d)
    change = plan_site(
        site, site_settings, sources, site.var_conf_d, partial=running, exact=not running, logs_to_stdout=logs_to_stdout
    )
    return StartPlan((change,), site.var_supervisord_conf, site.var_conf_d)


def _environment_changes_files(site: Site, options: StartOptions, site_settings: Settings) -> bool:
    """Return whether environment variables change the rendered files."""
    without_environ = load_settings(site.svc_toml)
    wanted = rendered(site, site_settings, site.tomls(options.tomls, site_settings.launch.babysitter_configs))
    try:
        return wanted != rendered(
            site, without_environ, site.tomls(options.tomls, without_environ.launch.babysitter_configs)
        )
    except ConfigError:
        return True  # a file may be valid only with a variable such as BABYSITTER_HOST


def _with_earlier(site: Site, sources: Iterable[Path]) -> list[Path]:
    """Return `sources` and the TOML files from which conf.d was rendered: all of these instances are to run."""
    by_path = {os.path.abspath(path): path for path in [*earlier_sources(site), *sources]}
    return list(by_path.values())


def _foreign_file_notes(site: Site) -> Iterator[str]:
    for path in foreign_files(site.conf_d):
        yield f"{path}: not made by svc render; {site.var_supervisord_conf} does not run it"
