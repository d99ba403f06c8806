"""What a rollout has begun, in var/rollout.json: written before it acts, so that one that died is finished by another.

It tells the drain marks that are a rollout's own from those that an operator has set.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from svc.base import private_files
from svc.base.errors import CommandError
from svc.config.site import Site

RESUME_WITHIN = 3600.0  # seconds in which the same command goes on where it ended, instead of beginning anew


@dataclasses.dataclass(slots=True)
class Journal:
    """`what` is the command; `ours` the instances with our drain mark; `begun` and `done` names of parts."""

    path: Path
    what: str = ""
    wrote: float = 0.0  # Unix seconds
    ours: set[str] = dataclasses.field(default_factory=set)
    begun: set[str] = dataclasses.field(default_factory=set)  # stopped, or to be stopped, and not back yet
    done: set[str] = dataclasses.field(default_factory=set)

    @classmethod
    def of(cls, site: Site) -> "Journal":
        """As the rollout before has left it; raises CommandError where it cannot be read."""
        path = site.var / "rollout.json"
        try:
            told = json.loads(path.read_bytes())
            names = {key: set(map(str, told[key])) for key in ("ours", "begun", "done")}
            return cls(path, str(told["what"]), float(told["wrote"]), **names)
        except FileNotFoundError:
            return cls(path)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CommandError(
                f"{path}: cannot read what an earlier rollout has begun ({error}); see `svc services` for what is "
                "drained, and remove the file"
            ) from None

    def begin(self, what: str, now: float) -> None:
        """The same command goes on, soon after it ended in the middle; another begins anew. Drain marks are kept."""
        if what != self.what or not 0 <= now - self.wrote < RESUME_WITHIN:
            self.what, self.done = what, set()

    def write(self) -> None:
        """Whole or not at all."""
        told: dict[str, Any] = {"what": self.what, "wrote": time.time()}
        told |= {key: sorted(getattr(self, key)) for key in ("ours", "begun", "done")}
        try:
            private_files.write(self.path, json.dumps(told).encode())
        except OSError as error:
            raise CommandError(
                f"{self.path}: cannot write: {error.strerror}; make {self.path.parent} writable"
            ) from None

    def end(self, whole: bool) -> None:
        """`whole`: everything was done. What is still drained, or not back, is kept for the next rollout."""
        if whole:
            self.done = set()
        if self.ours or self.begun or self.done:
            self.write()
        else:
            self.path.unlink(missing_ok=True)


@contextlib.contextmanager
def alone(site: Site, words: Sequence[str]) -> Iterator[None]:
    """One rollout at a time on this site; the lock dies with its process. Raises CommandError with who has it."""
    with _lock(site) as file:
        _take(file, fcntl.LOCK_EX)
        file.truncate(0)
        clock = time.strftime("%H:%M:%S")
        file.write(f"`svc {' '.join(words)}` (pid {os.getpid()}, since {clock})")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


@contextlib.contextmanager
def beside(site: Site) -> Iterator[None]:
    """No rollout meanwhile, but others that do not mind each other; raises CommandError with who is at work."""
    with _lock(site) as file:
        _take(file, fcntl.LOCK_SH)
        yield


def _lock(site: Site) -> IO[str]:
    path = site.var / "rollout.lock"
    private_files.prepare(path)
    try:
        return path.open("a+")
    except OSError as error:
        raise CommandError(f"{path}: cannot write: {error.strerror}; make {path.parent} writable") from None


def _take(file: IO[str], kind: int) -> None:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        who = file.read().strip() or "`svc up`"
        raise CommandError(f"{who} is at work on this site; wait until it is done, or end it with Ctrl-C") from None
