"""A site's TOML files into the change that brings its supervisord files up to date."""

import dataclasses
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from svc.base.errors import ConfigError
from svc.config.instance.load import load
from svc.config.instance.model import InstanceConfig
from svc.config.site import Site
from svc.render import files
from svc.render.paths import Place, absolute
from svc.render.supervisord_conf import SETTINGS, render
from svc.settings import Settings

UNFIT_FOR_A_SITE = "%'*?[\n\r"  # supervisord expands them in %(here)s, or in the pattern of [include]


def rendered(site: Site, settings: Settings, tomls: Iterable[Path]) -> dict[str, str]:
    """What the site's own files would be, to compare settings by; raises ConfigError."""
    return render(configs_of(tomls, settings), settings, Place.of(site.root))


def render_to(place: Place, configs: Sequence[InstanceConfig], settings: Settings) -> None:
    """Write a set of its own, such as that of `svc run`: supervisord.conf beside place.conf_d."""
    texts = render(_placed(configs), settings, place)
    files.prove(texts, place)
    wanted = {place.conf_d.parent / name: text for name, text in texts.items()}
    files.difference(wanted, [], _private(place.conf_d, configs)).write()


def plan_site(
    site: Site,
    settings: Settings,
    tomls: Sequence[Path],
    out: Path | None = None,
    *,
    partial: bool = False,
    exact: bool = False,
    console: bool = False,
) -> files.Change:
    """What has to be written so that `out` (default: the site's conf.d) is what the TOML files say.

    1. A file whose source is rendered now is refreshed; `partial`: nothing but the given ones.
    2. Files of sources given earlier (and not now) stay, and are refreshed too, as long as the source is there.
    3. A file goes when its source is gone, when it is rendered under another name now,
       or when the settings no longer ask for it; `partial`: only the second.
       `exact`: every generated file that is not rendered now goes.
    4. Files that are not ours stay; one in the way is an error.

    Raises ConfigError with every problem; nothing is written here.
    """
    out = out or site.conf_d
    place = dataclasses.replace(Place.of(site.root, out), console=console)
    _fit(place.site)
    there = files.generated(out)
    earlier = [] if exact else earlier_sources(site, out)
    configs = configs_of(tomls, settings, earlier, lenient=partial)
    if partial:
        given = {absolute(path) for path in tomls}
        configs = [config for config in configs if config.source in given]
    texts = render(configs, settings, place)
    files.prove(texts, place)
    wanted = {out / name.removeprefix("conf.d/"): text for name, text in texts.items() if name.startswith("conf.d/")}
    if absolute(out) in (absolute(site.conf_d), absolute(site.own_conf_d)):
        wanted[out.parent / "supervisord.conf"] = texts["supervisord.conf"]
    sources = {place.named(config.source) for config in configs}
    leftover = {path: source for path, source in there.items() if path not in wanted}
    unwanted = [path for path, source in leftover.items() if not partial or source in sources]  # 3
    return files.difference(wanted, unwanted, _private(out, configs))


def _private(conf_d: Path, configs: Iterable[InstanceConfig]) -> list[Path]:
    """Return the generated files that hold an instance's variables, of which some are secrets."""
    return [conf_d / f"{config.name}.conf" for config in configs if config.env]


def earlier_sources(site: Site, out: Path | None = None) -> list[Path]:
    """The TOML files that the generated files in `out` say they were made from, and that are still there."""
    out = out or site.conf_d
    start = Place.of(site.root, out).conf_d
    named = [source for source in files.generated(out).values() if source != SETTINGS]
    found = (absolute(start / source) for source in named)
    return [_as_told(path, site) for path in found if path.is_file()]


def _as_told(path: Path, site: Site) -> Path:
    """As a user would name it."""
    root = absolute(site.root)
    return site.root / path.relative_to(root) if path.is_relative_to(root) else path


def configs_of(
    tomls: Iterable[Path], settings: Settings, earlier: Iterable[Path] = (), lenient: bool = False
) -> list[InstanceConfig]:
    """Return the configuration of every file, with absolute sources; `lenient`: leave out earlier files with errors."""
    if not settings.launch.runs("babysitter"):
        return []
    given = {absolute(path): path for path in tomls}
    others = [path for path in earlier if absolute(path) not in given]
    if lenient:
        others = [path for path in others if _loads(path, settings)]
    return _placed(load([*others, *given.values()], settings))


def _loads(path: Path, settings: Settings) -> bool:
    try:
        return bool(load([path], settings))
    except ConfigError:
        return False


def _placed(configs: Iterable[InstanceConfig]) -> list[InstanceConfig]:
    placed = [dataclasses.replace(config, source=absolute(config.source)) for config in configs]
    wrong = [config.source for config in placed if re.search(r"[\0\r\n]", str(config.source))]
    if wrong:
        raise ConfigError(*(f"{str(path)!r}: a line break in a file's name; rename it" for path in wrong))
    return placed


def _fit(site: Path) -> None:
    wrong = [char for char in UNFIT_FOR_A_SITE if char in str(site)]
    if wrong:
        raise ConfigError(f"{site}: supervisord cannot work under a path with {wrong[0]!r} in it; move the site")
