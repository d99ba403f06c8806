"""Where the generated files stand, and how they name other files from there. Pure."""

import dataclasses
import os.path
from pathlib import Path

from svc.render import ini

HERE = "%(here)s/"  # supervisord's name for the directory of the file it reads


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Absolute paths; what lies in the site with the generated files is named relative to them, so that all moves."""

    site: Path  # where programs run
    conf_d: Path  # supervisord.conf lies beside it
    state: Path  # has logs/ and var/
    console: bool = False  # what the programs say goes to supervisord's own stdout

    @classmethod
    def of(cls, site: Path, conf_d: Path | None = None) -> "Place":
        """The site's own, in `conf_d` if given; one outside the site is taken to become the site's conf.d."""
        site = absolute(site)
        conf_d = absolute(conf_d) if conf_d else site / "conf.d"
        return cls(site, conf_d if conf_d.is_relative_to(site) else site / "conf.d", site)

    def named(self, path: Path, start: Path | None = None) -> str:
        """A path as seen from `start` (default: conf.d); absolute if they share neither site nor state."""
        path, start = absolute(path), start or self.conf_d
        shared = any(path.is_relative_to(top) and start.is_relative_to(top) for top in (self.site, self.state))
        return os.path.relpath(path, start) if shared else str(path)

    def bare(self, path: Path, start: Path | None = None) -> str:
        """A path as a value of supervisord's."""
        name = self.named(path, start)
        return ini.bare(name) if os.path.isabs(name) else HERE + ini.bare(name)

    def work_dir(self, told: str) -> str:
        """A program's own directory, as its file has it: a relative one is relative to the site."""
        if os.path.isabs(told):
            return ini.bare(told)
        return f"{self.bare(self.site)}/{ini.bare(told)}" if told else self.bare(self.site)

    def word(self, path: Path) -> str:
        """A path as a word of a command."""
        name = self.named(path)
        return ini.words([name]) if os.path.isabs(name) else ini.here(name)


def absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))
