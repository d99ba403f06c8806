"""Write generated files: validate them first, then write all of them or none."""

import contextlib
import dataclasses
import difflib
import fcntl
import functools
import os
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from svc.base import atomic_file, file_owner, private_files, temporary_files
from svc.base.errors import CommandError, ConfigError
from svc.base.mask import both_without_secrets
from svc.render.paths import RenderPaths

MADE_BY = '; made by "svc render" from '
# Comments begin with `;` in supervisord's files, and with `#` in the files of all other programs.
FIRST_LINE = re.compile(r'[;#] made by "svc render" from (.*)')


def source_of(path: Path) -> str | None:
    """Return the source file that the first line of a generated file names; None if svc did not generate the file."""
    try:
        with path.open("rb") as file:
            first = file.readline().decode(errors="replace").rstrip("\r\n")
    except OSError:
        return None
    match = FIRST_LINE.fullmatch(first)
    return match[1] if match else None


def generated_files(directory: Path, pattern: str = "*.conf") -> dict[Path, str]:
    """Return a dict from the path of each generated file in a directory to the file's source."""
    files = ((path, source_of(path)) for path in sorted(directory.glob(pattern)))
    return {path: source for path, source in files if source is not None}


def validate(texts: Mapping[str, str], paths: RenderPaths) -> None:
    """Raise ConfigError with supervisord's own error message if its parser refuses the texts."""
    # Imported here, because the import takes 40 ms, and most commands import this module but render nothing.
    from supervisor.options import ServerOptions

    temporary_files.ensure_directory(paths.state / "var")
    with tempfile.TemporaryDirectory(prefix="svc-") as top:
        state = Path(top, "site")
        beside = state / os.path.relpath(paths.conf_d.parent, paths.state)
        for directory in (state / "logs", state / "var", beside / "conf.d"):
            directory.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (beside / name).write_bytes(text.encode())
        options = ServerOptions()
        options.here = str(beside)
        options.configfile = str(beside / "supervisord.conf")
        try:
            options.read_config(options.configfile)
        except ValueError as error:
            complaint = " ".join(str(error).replace(f"{beside}/", "").split())
            raise ConfigError(f"supervisord would refuse what was to be written: {complaint}") from None


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """The files to write and to remove. `edits` has each path with its old and its new bytes; None means no file.

    The files in `private` may contain secrets, so they can be read only by their user and group.
    """

    edits: tuple[tuple[Path, bytes | None, bytes | None], ...]
    private: frozenset[Path] = frozenset()

    @property
    def stale(self) -> bool:
        """Whether any file has to be written or removed."""
        return bool(self.edits)

    @property
    def added(self) -> list[Path]:
        return [path for path, before, after in self.edits if before is None]

    @property
    def changed(self) -> list[Path]:
        return [path for path, before, after in self.edits if before is not None and after is not None]

    @property
    def removed(self) -> list[Path]:
        return [path for path, before, after in self.edits if after is None]

    def diff(self) -> str:
        """Return a unified diff of every file. Secrets are masked, but lines with a changed secret are in the diff."""
        return "".join(line for edit in self.edits for line in _diff(*edit))

    def write(self) -> None:
        """Write and remove the files. If one cannot be written, restore everything and raise CommandError."""
        directories = {path.parent for path, _, _ in self.edits}
        for path in self.private:
            private_files.tighten(path)
        try:
            with contextlib.ExitStack() as locks:
                for directory in sorted(directories):
                    file_owner.make_directories(directory)
                    locks.enter_context(_locked(directory))
                self._stage()
                self._replace()
                for directory in directories:
                    atomic_file.sync_directory(directory)
        except OSError as error:
            where = error.filename or next(iter(directories))
            raise CommandError(
                f"{where}: cannot write: {error.strerror}; nothing was changed; make {Path(where).parent} writable"
            ) from None

    def _stage(self) -> None:
        """Write the new bytes of every file to a temporary file in the same directory."""
        try:
            for path, _, after in self.edits:
                if after is not None:
                    owner = functools.partial(file_owner.keep, path=path)
                    atomic_file.stage(_temporary(path), after, self._mode(path), on_open=owner)
                elif not os.access(path.parent, os.W_OK):
                    raise PermissionError(13, "Permission denied", str(path))
        except OSError:
            self._unstage()
            raise

    def _mode(self, path: Path) -> int:
        """Return the mode with which to create the new file at `path`, before the umask is applied."""
        return private_files.limited_mode(path, private_files.MODE) if path in self.private else 0o666

    def _replace(self) -> None:
        done = []
        try:
            for path, before, after in self.edits:
                if after is None:
                    path.unlink(missing_ok=True)
                else:
                    os.replace(_temporary(path), path)
                done.append((path, before))
        except OSError:
            self._unstage()
            for path, before in done:
                if before is None:
                    path.unlink(missing_ok=True)
                else:
                    owner = functools.partial(file_owner.keep, path=path)
                    atomic_file.write(path, before, self._mode(path), on_open=owner)
            raise

    def _unstage(self) -> None:
        for path, _, _ in self.edits:
            with contextlib.suppress(OSError):
                _temporary(path).unlink(missing_ok=True)


def difference(wanted: Mapping[Path, str], unwanted: list[Path], private: Collection[Path] = ()) -> Change:
    """Return the change that writes the `wanted` files and removes the `unwanted` ones. See Change for `private`.

    Raise ConfigError with each existing file that is wanted, but that svc did not generate.
    """
    edits, foreign = [], []
    for path, text in sorted(wanted.items()):
        before, after = _read(path), text.encode()
        if before is not None and source_of(path) is None:
            foreign.append(f"{path}: not made by svc render, so it is left alone; move it away or rename the instance")
        elif before != after:
            edits.append((path, before, after))
    if foreign:
        raise ConfigError(*foreign)
    return Change((*edits, *((path, _read(path), None) for path in unwanted)), frozenset(private))


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CommandError(f"{path}: cannot read it: {error.strerror}; it is in the way of a generated file") from None


def _diff(path: Path, before: bytes | None, after: bytes | None) -> Iterator[str]:
    texts = both_without_secrets(*((text or b"").decode(errors="replace") for text in (before, after)))
    old, new = (text.splitlines(keepends=True) for text in texts)
    name = ["/dev/null" if text is None else str(path) for text in (before, after)]
    return difflib.unified_diff(old, new, name[0], name[1])


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")  # the pattern *.conf of [include] does not match this name


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold a lock on a directory, so that only one process at a time writes to it."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
