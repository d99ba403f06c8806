"""Generated files on disk: proven before they are written, written whole or not at all."""

import contextlib
import dataclasses
import difflib
import fcntl
import os
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from supervisor.options import ServerOptions

from svc.base import atomic_file, private_files
from svc.base.errors import CommandError, ConfigError
from svc.base.mask import both_without_secrets
from svc.render.paths import Place

MADE_BY = '; made by "svc render" from '
OURS = re.compile(r'[;#] made by "svc render" from (.*)')  # a comment, as each program has it


def source_of(path: Path) -> str | None:
    """What a generated file says it was made from; None for a file that is not ours."""
    try:
        with path.open("rb") as file:
            first = file.readline().decode(errors="replace").rstrip("\r\n")
    except OSError:
        return None
    found = OURS.fullmatch(first)
    return found[1] if found else None


def generated(directory: Path, pattern: str = "*.conf") -> dict[Path, str]:
    """The files of a directory that are ours, with what they were made from."""
    found = ((path, source_of(path)) for path in sorted(directory.glob(pattern)))
    return {path: source for path, source in found if source is not None}


def prove(texts: Mapping[str, str], place: Place) -> None:
    """Raises ConfigError with supervisord's own complaint if its parser refuses the texts."""
    with tempfile.TemporaryDirectory(prefix="svc-") as top:
        state = Path(top, "site")
        beside = state / os.path.relpath(place.conf_d.parent, place.state)
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
    """What has to be written and removed, each with the bytes before and after (None: no file).

    `private` files hold secrets: only their user and group may read them.
    """

    edits: tuple[tuple[Path, bytes | None, bytes | None], ...]
    private: frozenset[Path] = frozenset()

    @property
    def stale(self) -> bool:
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
        """A unified diff of every file, without secrets; a line whose secret has changed is one of it."""
        return "".join(line for edit in self.edits for line in _diff(*edit))

    def write(self) -> None:
        """Raises CommandError, with everything as it was, if a file cannot be written."""
        directories = {path.parent for path, _, _ in self.edits}
        for path in self.private:
            private_files.tighten(path)
        try:
            with contextlib.ExitStack() as locks:
                for directory in sorted(directories):
                    directory.mkdir(parents=True, exist_ok=True)
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
        """Everything that is new, beside where it will stand."""
        try:
            for path, _, after in self.edits:
                if after is not None:
                    atomic_file.stage(_new(path), after, self._mode(path))
                elif not os.access(path.parent, os.W_OK):
                    raise PermissionError(13, "Permission denied", str(path))
        except OSError:
            self._unstage()
            raise

    def _mode(self, path: Path) -> int:
        """Return the mode of the new file, before the umask."""
        return private_files.limited_mode(path, private_files.MODE) if path in self.private else 0o666

    def _replace(self) -> None:
        done = []
        try:
            for path, before, after in self.edits:
                if after is None:
                    path.unlink(missing_ok=True)
                else:
                    os.replace(_new(path), path)
                done.append((path, before))
        except OSError:
            self._unstage()
            for path, before in done:
                if before is None:
                    path.unlink(missing_ok=True)
                else:
                    path.write_bytes(before)
            raise

    def _unstage(self) -> None:
        for path, _, _ in self.edits:
            with contextlib.suppress(OSError):
                _new(path).unlink(missing_ok=True)


def difference(wanted: Mapping[Path, str], unwanted: list[Path], private: Collection[Path] = ()) -> Change:
    """From what is on disk to `wanted`, of which `private` hold secrets.

    Raises ConfigError for each file in the way that is not ours.
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


def _new(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")  # supervisord's *.conf does not match it


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """One writer at a time."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
