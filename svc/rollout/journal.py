"""The journal of a rollout in var/rollout.json, with which the next command finishes an interrupted rollout.

The journal is written before each action. It also records which drain marks were set by rollouts and not by the
operator.
"""

import dataclasses
import json
import time
from collections.abc import Collection
from pathlib import Path

from svc.base import private_files
from svc.base.errors import CommandError
from svc.config.site import Site
from svc.protocol.instance_names import instance_name

RESUME_TIMEOUT_SECONDS = 3600.0  # a command that is repeated within this time skips instances that are done


@dataclasses.dataclass(slots=True)
class Journal:
    """The journal of rollouts: `drained` is a set of service names, `begun` and `done` are sets of instance names."""

    path: Path
    command: str = ""
    written_at: float = 0.0  # Unix seconds
    drained: set[str] = dataclasses.field(default_factory=set)  # drained by a rollout and not by the operator
    begun: set[str] = dataclasses.field(default_factory=set)  # stopped or about to stop, and not ready again yet
    done: set[str] = dataclasses.field(default_factory=set)
    allow_downtime: bool = False  # whether the command may stop the last healthy instance of a model
    handover: float | None = None  # after how many seconds of a drain the command has streams moved; None: never

    @classmethod
    def load(cls, site: Site) -> "Journal":
        """Return the journal of the last rollout, or an empty one. Raise CommandError if it cannot be read."""
        path = site.var / "rollout.json"
        try:
            fields = json.loads(path.read_bytes())
            drained, begun, done = (set(map(str, fields[key])) for key in ("ours", "begun", "done"))
            allow_downtime = fields.get("allow_downtime") is True  # missing in the file of an older svc
            handover = None if fields.get("handover") is None else float(fields["handover"])  # may be missing, too
            wrote = float(fields["wrote"])
            return cls(path, str(fields["what"]), wrote, drained, begun, done, allow_downtime, handover)
        except FileNotFoundError:
            return cls(path)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CommandError(
                f"{path}: cannot read what an earlier rollout has begun ({error}); see `svc services` for what is "
                "drained, and remove the file"
            ) from None

    def begin(self, command: str, now: float, allow_downtime: bool = False, handover: float | None = None) -> None:
        """Record the start of a command.

        Keep `done` only if `command` is the last command again, repeated within RESUME_TIMEOUT_SECONDS.
        """
        if command != self.command or not 0 <= now - self.written_at < RESUME_TIMEOUT_SECONDS:
            self.command, self.done = command, set()
        self.allow_downtime, self.handover = allow_downtime, handover

    def repeated(self) -> str:
        """Return the arguments of svc that repeat the command."""
        command = self.command if self.command == "apply" else f"rollout {self.command}"
        handover = "" if self.handover is None else f" --handover {self.handover:g}s"
        return f"{command}{' --allow-downtime' if self.allow_downtime else ''}{handover}"

    def unfinished(self, names: Collection[str]) -> list[str]:
        """Return the instances that an earlier rollout left drained or stopped, except those in `names`."""
        return sorted(({instance_name(name) for name in self.drained} | self.begun) - set(names))

    def write(self) -> None:
        """Write the file atomically."""
        fields: dict[str, object] = {"what": self.command, "wrote": time.time()}
        fields["allow_downtime"] = self.allow_downtime
        if self.handover is not None:
            fields["handover"] = self.handover
        fields |= {"ours": sorted(self.drained), "begun": sorted(self.begun), "done": sorted(self.done)}
        try:
            private_files.write(self.path, json.dumps(fields).encode())
        except OSError as error:
            raise CommandError(
                f"{self.path}: cannot write: {error.strerror}; make {self.path.parent} writable"
            ) from None

    def end(self, complete: bool) -> None:
        """Record the end of a command. `complete` means that every task was done.

        If nothing is left for the next rollout to finish, remove the file.
        """
        if complete:
            self.done = set()
        if self.drained or self.begun or self.done:
            self.write()
        else:
            self.path.unlink(missing_ok=True)
