"""One host's site: where its files lie."""

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

from svc.base.errors import CommandError
from svc.base.private_files import make_directory

SOCKET_LIMIT = 100  # bytes; bind() on a longer unix socket path fails
IGNORE_ALL_ELSE = "*\n!.gitignore\n"


@dataclasses.dataclass(frozen=True, slots=True)
class Site:
    """A directory with `config/` (sources), `conf.d/` (generated), `logs/` and `var/` (state)."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "config"

    @property
    def svc_toml(self) -> Path:
        return self.config / "svc.toml"

    @property
    def conf_d(self) -> Path:
        return self.root / "conf.d"

    @property
    def supervisord_conf(self) -> Path:
        return self.root / "supervisord.conf"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def var(self) -> Path:
        return self.root / "var"

    @property
    def socket(self) -> Path:
        return self.var / "supervisor.sock"

    @property
    def pidfile(self) -> Path:
        return self.var / "supervisord.pid"

    @property
    def own_conf_d(self) -> Path:
        """Where `svc up` renders to when the environment changes what would be rendered."""
        return self.var / "conf.d"

    @property
    def own_supervisord_conf(self) -> Path:
        return self.var / "supervisord.conf"

    @property
    def keeps_logs(self) -> bool:
        return writable(self.logs)

    def make_room(self) -> None:
        """logs/ and var/, where they are missing: supervisord does not start without them.

        git keeps the directories of a site that is committed, and ignores what comes into them.
        """
        for path in (self.logs, self.var):
            _make_room(path)

    def make_dirs(self, logs: bool = True) -> None:
        """var/, and logs/ unless nothing is to be written there; raises CommandError that names what cannot be."""
        for path in (self.logs, self.var) if logs else (self.var,):
            _make_room(path)
            with _writing(path):
                probe = path / ".writable"
                probe.touch()
                probe.unlink()
        if len(str(self.socket.absolute()).encode()) > SOCKET_LIMIT:
            raise CommandError(
                f"{self.socket.absolute()}: a socket's path may have {SOCKET_LIMIT} bytes; "
                "move the site to a shorter path"
            )

    def tomls(self, given: tuple[str, ...] = (), configs: str = "") -> list[Path]:
        """The babysitter files: those given, else those of `configs`, else every config/*.toml but svc.toml."""
        names = list(given) or configs.split()
        if not names:
            return sorted(p for p in self.config.glob("*.toml") if p.name != "svc.toml")
        return [self._find(name) for name in names]

    def _find(self, name: str) -> Path:
        path = Path(name)
        for candidate in (path, self.root / path, self.config / path):
            if candidate.is_file():
                return candidate
        raise CommandError(
            f"{name}: no such file, neither here nor in {self.config}; give the path of a babysitter TOML"
        )


def writable(directory: Path) -> bool:
    """Whether files can be made in it, and itself if it is not there."""
    there = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    return os.access(there, os.W_OK | os.X_OK)


def _make_room(path: Path) -> None:
    if not path.exists():
        with _writing(path):
            make_directory(path)
            (path / ".gitignore").write_text(IGNORE_ALL_ELSE)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CommandError(
            f"{path}: cannot write here: {error.strerror}; make it writable for user {os.getuid()} or use another site"
        ) from None
