"""Plan which generated files of a site to write and to remove, so that they match the TOML files and the settings."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from svc.base.errors import ConfigError
from svc.config.instance.load import load
from svc.config.instance.model import InstanceConfig
from svc.config.site import Site
from svc.render import files, logrotate, nginx, systemd
from svc.render.paths import RenderPaths, absolute
from svc.render.supervisord_conf import SETTINGS_SOURCE, render
from svc.settings import Settings

UNUSABLE_IN_SITE_PATH = "%'*?[\n\r"  # special for supervisord in %(here)s or in the pattern of [include]

# Name of the output directory -> renderer of files for a program other than supervisord.
OUTPUTS: dict[str, Callable[[Sequence[InstanceConfig], Settings, RenderPaths], Mapping[str, str]]] = {
    "systemd": systemd.render_unit,
    "logrotate": lambda configs, settings, paths: logrotate.render_rule(settings),
    "nginx": nginx.render,
}


def rendered(site: Site, settings: Settings, tomls: Iterable[Path]) -> dict[str, str]:
    """Return a dict from paths to texts of the site's files; write nothing. Raise ConfigError with every problem."""
    return render(load_configs(tomls, settings), settings, RenderPaths.of(site.root))


def render_to(paths: RenderPaths, configs: Sequence[InstanceConfig], settings: Settings) -> None:
    """Write the files for `svc run`: those in conf.d, and supervisord.conf beside conf.d."""
    texts = render(_with_absolute_sources(configs), settings, paths)
    files.validate(texts, paths)
    wanted = {paths.conf_d.parent / name: text for name, text in texts.items()}
    files.difference(wanted, [], _private_files(paths.conf_d, configs)).write()


def plan_site(
    site: Site,
    settings: Settings,
    tomls: Sequence[Path],
    out: Path | None = None,
    *,
    partial: bool = False,
    exact: bool = False,
    logs_to_stdout: bool = False,
) -> files.Change:
    """Return the change after which `out` (default: the site's conf.d) matches the TOML files. Nothing is written.

    1. The TOML files in `tomls` are rendered.
    2. Without `partial` and `exact`, the existing sources of all generated files in `out` are rendered, too.
    3. Generated files in `out` that are not rendered in these steps are removed. With `partial`, such a file is removed
       only if its source is now rendered to a file of a different name.
    4. Files that svc did not generate are kept. If such a file has the path of a rendered file, this is an error.

    With `logs_to_stdout`, the programs are to log to stdout instead of logs/. Raise ConfigError with every problem.
    """
    out = out or site.conf_d
    paths = dataclasses.replace(RenderPaths.of(site.root, out), logs_to_stdout=logs_to_stdout)
    _check_site_path(paths.site)
    existing = files.generated_files(out)
    earlier = [] if exact else earlier_sources(site, out)
    configs = load_configs(tomls, settings, earlier, lenient=partial)  # rule 2; if `partial`, to find collisions
    if partial:
        given = {absolute(path) for path in tomls}
        configs = [config for config in configs if config.source in given]
    texts = render(configs, settings, paths)
    files.validate(texts, paths)
    wanted = {out / name.removeprefix("conf.d/"): text for name, text in texts.items() if name.startswith("conf.d/")}
    if absolute(out) in (absolute(site.conf_d), absolute(site.var_conf_d)):
        wanted[out.parent / "supervisord.conf"] = texts["supervisord.conf"]
    sources = {paths.relative(config.source) for config in configs}
    leftover = {path: source for path, source in existing.items() if path not in wanted}
    unwanted = [path for path, source in leftover.items() if not partial or source in sources]  # rule 3
    return files.difference(wanted, unwanted, _private_files(out, configs))


def _private_files(conf_d: Path, configs: Iterable[InstanceConfig]) -> list[Path]:
    """Return the generated files that contain environment variables of instances, which may be secrets."""
    return [conf_d / f"{config.name}.conf" for config in configs if config.env]


def earlier_sources(site: Site, out: Path | None = None) -> list[Path]:
    """Return the TOML files that are the sources of generated files in `out` and still exist."""
    out = out or site.conf_d
    start = RenderPaths.of(site.root, out).conf_d
    sources = [source for source in files.generated_files(out).values() if source != SETTINGS_SOURCE]
    candidates = (absolute(start / source) for source in sources)
    return [_under_root(path, site) for path in candidates if path.is_file()]


def _under_root(path: Path, site: Site) -> Path:
    """Return a path below the site's root so that it begins with `site.root` as given; return others unchanged."""
    root = absolute(site.root)
    return site.root / path.relative_to(root) if path.is_relative_to(root) else path


def load_configs(
    tomls: Iterable[Path], settings: Settings, earlier: Iterable[Path] = (), lenient: bool = False
) -> list[InstanceConfig]:
    """Return the configurations in `tomls` and in `earlier`, the TOML files that were rendered before.

    The field `source` of each configuration is an absolute path. With `lenient`, files in `earlier` that have errors
    are left out.
    """
    if not settings.launch.runs("babysitter"):
        return []
    given = {absolute(path): path for path in tomls}
    others = [path for path in earlier if absolute(path) not in given]
    if lenient:
        others = [path for path in others if _is_valid(path, settings)]
    return _with_absolute_sources(load([*others, *given.values()], settings))


def _is_valid(path: Path, settings: Settings) -> bool:
    try:
        return bool(load([path], settings))
    except ConfigError:
        return False


def _with_absolute_sources(configs: Iterable[InstanceConfig]) -> list[InstanceConfig]:
    resolved = [dataclasses.replace(config, source=absolute(config.source)) for config in configs]
    unusable = [config.source for config in resolved if re.search(r"[\0\r\n]", str(config.source))]
    if unusable:
        raise ConfigError(*(f"{str(path)!r}: a line break in a file's name; rename it" for path in unusable))
    return resolved


def _check_site_path(site: Path) -> None:
    unusable = [char for char in UNUSABLE_IN_SITE_PATH if char in str(site)]
    if unusable:
        raise ConfigError(f"{site}: supervisord cannot work under a path with {unusable[0]!r} in it; move the site")


def plan_output(
    site: Site, settings: Settings, name: str, tomls: Sequence[Path], out: Path | None = None
) -> files.Change:
    """Return the change after which `out` (default: the directory `name`) has the files of OUTPUTS[name].

    Without `out`, generated files that are no longer needed are removed from the directory `name`. Raise ConfigError
    with every problem. Nothing is written.
    """
    directory = site.root / name
    texts = OUTPUTS[name](load_configs(tomls, settings), settings, RenderPaths.of(site.root))
    wanted = {(out or directory) / file: text for file, text in texts.items()}
    existing = {} if out else files.generated_files(directory, "*")
    return files.difference(wanted, [path for path in existing if path not in wanted])
