"""What `svc render` writes for other programs than supervisord, each in a directory of the site."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from svc.config.instance.model import InstanceConfig
from svc.config.site import Site
from svc.render import files, nginx, systemd
from svc.render.generate import configs_of
from svc.render.paths import Place
from svc.settings import Settings

# The texts by name, from the instances, the settings, and where the site is.
OUTPUTS: dict[str, Callable[[Sequence[InstanceConfig], Settings, Place], Mapping[str, str]]] = {
    "systemd": systemd.systemd,
    "logrotate": systemd.logrotate,
    "nginx": nginx.render,
}


def plan_output(
    site: Site, settings: Settings, name: str, tomls: Sequence[Path], out: Path | None = None
) -> files.Change:
    """What has to be written so that `out` (default: the directory of that name) is what the files say.

    Ours that are no longer made go, from their own directory. Raises ConfigError with every problem; nothing is
    written here.
    """
    own = site.root / name
    texts = OUTPUTS[name](configs_of(tomls, settings), settings, Place.of(site.root))
    wanted = {(out or own) / file: text for file, text in texts.items()}
    there = {} if out else files.generated(own, "*")
    return files.difference(wanted, [path for path in there if path not in wanted])
