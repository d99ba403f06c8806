"""The directories of the generated files, and the names by which the files refer to other files."""

import dataclasses
import os.path
from pathlib import Path

from svc.render import ini

HERE = "%(here)s/"  # supervisord replaces it by the directory of the file that it reads


@dataclasses.dataclass(frozen=True, slots=True)
class RenderPaths:
    """Absolute paths. Generated files name the rest of their site by relative paths, so that the site can be moved."""

    site: Path  # where programs run
    conf_d: Path  # supervisord.conf lies beside it
    state: Path  # has logs/ and var/
    logs_to_stdout: bool = False  # programs write to supervisord's own stdout instead of logs/

    @classmethod
    def of(cls, site: Path, conf_d: Path | None = None) -> "RenderPaths":
        """Return the paths of a site; a `conf_d` outside the site is rendered as if it were the site's conf.d."""
        site = absolute(site)
        conf_d = absolute(conf_d) if conf_d else site / "conf.d"
        return cls(site, conf_d if conf_d.is_relative_to(site) else site / "conf.d", site)

    def relative(self, path: Path, start: Path | None = None) -> str:
        """Return a path relative to `start` (default: conf.d); absolute if the two share neither site nor state."""
        path, start = absolute(path), start or self.conf_d
        shared = any(path.is_relative_to(top) and start.is_relative_to(top) for top in (self.site, self.state))
        return os.path.relpath(path, start) if shared else str(path)

    def bare(self, path: Path, start: Path | None = None) -> str:
        """Return a path as a value in supervisord's files."""
        name = self.relative(path, start)
        return ini.bare(name) if os.path.isabs(name) else HERE + ini.bare(name)

    def work_dir(self, path: str) -> str:
        """Return the working directory that a TOML file gives; a relative path is relative to the site."""
        if os.path.isabs(path):
            return ini.bare(path)
        return f"{self.bare(self.site)}/{ini.bare(path)}" if path else self.bare(self.site)

    def argument(self, path: Path) -> str:
        """Return a path as an argument of a command."""
        name = self.relative(path)
        return ini.arguments([name]) if os.path.isabs(name) else ini.here_argument(name)


def absolute(path: Path) -> Path:
    """Return an absolute path; links in it stay links."""
    return Path(os.path.abspath(path))
