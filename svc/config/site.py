"""The directories and files of a host's site."""

import contextlib
import dataclasses
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from svc.base import file_owner
from svc.base.errors import CommandError
from svc.base.own_commands import as_user
from svc.base.private_files import make_directory

MAX_SOCKET_PATH_BYTES = 100  # bind() fails for a longer path of a unix socket
USAGE_FILE = "usage.db"  # the router's ledger in var/, unless usage_file names another file
GITIGNORE = "*\n!.gitignore\n"


@dataclasses.dataclass(frozen=True, slots=True)
class Site:
    """The directory of a site, with `config/` (sources), `conf.d/` (generated), `logs/` and `var/` (state)."""

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
    def var_conf_d(self) -> Path:
        """The directory to which `svc up` renders, instead of conf.d/, if environment variables change the settings."""
        return self.var / "conf.d"

    @property
    def var_supervisord_conf(self) -> Path:
        return self.var / "supervisord.conf"

    @property
    def logs_are_writable(self) -> bool:
        """Whether programs can create files in logs/ or, if logs/ is missing, can create logs/ itself."""
        return is_writable(self.logs)

    @property
    def has_files(self) -> bool:
        """Whether the directory contains a file of a site: svc.toml, an instance's TOML or supervisord.conf."""
        return self.svc_toml.exists() or self.supervisord_conf.exists() or any(self.config.glob("*.toml"))

    def make_missing_dirs(self) -> None:
        """Make logs/ and var/ if they are missing, because supervisord does not start without them.

        A directory without a .gitignore gets one, so that a git repository of the site contains the directory, but not
        its files.
        """
        for path in (self.logs, self.var):
            _make_missing_dir(path)

    def make_var(self) -> None:
        """Make var/ and its .gitignore if they are missing."""
        _make_missing_dir(self.var)

    def make_dirs(self, logs: bool = True) -> None:
        """Make var/, and also logs/ if `logs` is true; raise CommandError for a directory that is not writable."""
        for path in (self.logs, self.var) if logs else (self.var,):
            _make_missing_dir(path)
            with _write_errors(path), tempfile.TemporaryFile(dir=path):
                pass
        if len(str(self.socket.absolute()).encode()) > MAX_SOCKET_PATH_BYTES:
            raise CommandError(
                f"{self.socket.absolute()}: a socket's path may have {MAX_SOCKET_PATH_BYTES} bytes; "
                "move the site to a shorter path"
            )

    def tomls(self, given: tuple[str, ...] = (), configs: str = "") -> list[Path]:
        """Return the babysitter TOML files: `given`, else `configs`, else every config/*.toml except svc.toml.

        `configs` contains names separated by blanks.
        """
        names = list(given) or configs.split()
        if not names:
            return sorted(p for p in self.config.glob("*.toml") if p.name != "svc.toml")
        return [self._find_toml(name) for name in names]

    def _find_toml(self, name: str) -> Path:
        path = Path(name)
        for candidate in (path, self.root / path, self.config / path):
            if candidate.is_file():
                return candidate
        raise CommandError(
            f"{name}: no such file, neither here nor in {self.config}; give the path of a babysitter TOML"
        )


def is_writable(directory: Path) -> bool:
    """Return whether files can be created in a directory or, if it is missing, whether it can be created."""
    existing = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    return os.access(existing, os.W_OK | os.X_OK)


def _make_missing_dir(path: Path) -> None:
    if not path.exists():
        with _write_errors(path):
            make_directory(path)
    with (
        contextlib.suppress(OSError),  # the file exists, or logs/ is read-only
        open(file_owner.create(path / ".gitignore", os.O_WRONLY, 0o666), "w") as file,
    ):
        file.write(GITIGNORE)


@contextlib.contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    """Raise CommandError with the cure, instead of an OSError, if the block cannot write to the directory `path`."""
    try:
        yield
    except OSError as error:
        owner = file_owner.other_owner(path)
        cure = f"make it writable for user {os.getuid()} or use another site"
        if owner and isinstance(error, PermissionError) and shutil.which("sudo"):  # there is no sudo in a container
            cure = f"it belongs to {owner}: run `{as_user(owner)}`"
        raise CommandError(f"{path}: cannot write here: {error.strerror}; {cure}") from None
