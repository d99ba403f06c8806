"""The directories of generated files, and the paths that these files contain."""

import dataclasses
import os.path
from pathlib import Path

from svc.render import ini

HERE = "%(here)s/"  # supervisord expands this to the directory of the file that contains it


@dataclasses.dataclass(frozen=True, slots=True)
class RenderPaths:
    """The absolute directories of a site. Generated files contain relative paths, so that the site can be moved."""

    site: Path  # the working directory of programs
    conf_d: Path  # the directory conf.d, which is beside supervisord.conf
    state: Path  # the directory with logs/ and var/
    logs_to_stdout: bool = False  # programs write to supervisord's own stdout instead of logs/

    @classmethod
    def of(cls, site: Path, conf_d: Path | None = None) -> "RenderPaths":
        """Return the paths of a site. If `conf_d` is outside the site, the site's own conf.d replaces it."""
        site = absolute(site)
        conf_d = absolute(conf_d) if conf_d else site / "conf.d"
        return cls(site, conf_d if conf_d.is_relative_to(site) else site / "conf.d", site)

    def relative(self, path: Path, start: Path | None = None) -> str:
        """Return a path relative to `start` (default: conf.d) if `site` or `state` contains both; else absolute."""
        path, start = absolute(path), start or self.conf_d
        shared = any(path.is_relative_to(top) and start.is_relative_to(top) for top in (self.site, self.state))
        return os.path.relpath(path, start) if shared else str(path)

    def bare(self, path: Path, start: Path | None = None) -> str:
        """Return a path as an unquoted value in a supervisord file."""
        name = self.relative(path, start)
        return ini.bare(name) if os.path.isabs(name) else HERE + ini.bare(name)

    def work_dir(self, path: str) -> str:
        """Return a TOML file's work_dir, absolute or relative to the site, as a value in a supervisord file."""
        if os.path.isabs(path):
            return ini.bare(path)
        return f"{self.bare(self.site)}/{ini.bare(path)}" if path else self.bare(self.site)

    def argument(self, path: Path) -> str:
        """Return a path as a quoted argument of a command."""
        name = self.relative(path)
        return ini.arguments([name]) if os.path.isabs(name) else ini.here_argument(name)


def absolute(path: Path) -> Path:
    """Return the absolute form of a path without resolving symbolic links."""
    return Path(os.path.abspath(path))
