"""What supervisord was told of its programs, in words that compare. Pure; `describe` makes them of its objects."""

import dataclasses
from collections.abc import Mapping
from typing import Any

AUTO = "AUTO"  # a log file that supervisord names itself: equal to any, as in its own comparison


@dataclasses.dataclass(frozen=True, slots=True)
class Program:
    """One program. `keys` are supervisord's own (command, directory, stopwaitsecs...), their values as text.

    A key without a value is not there. `environment` is what the program gets beside supervisord's own.
    """

    name: str  # as supervisorctl writes it: "qwen:server", "router"
    keys: Mapping[str, str]
    environment: Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class Group:
    """What `supervisorctl update` adds, removes or replaces. `keys`: kind, priority, of an [fcgi-program] socket..."""

    name: str
    keys: Mapping[str, str]
    programs: Mapping[str, Program]  # by the same names


@dataclasses.dataclass(frozen=True, slots=True)
class Running:
    """All that a supervisord runs by. `root`: the directory of its supervisord.conf, as it was told."""

    root: str
    groups: Mapping[str, Group]


def read(told: Mapping[str, Any]) -> dict[str, Group]:
    """By name, what `described` told."""
    return {
        name: Group(
            name,
            group["keys"],
            {full: Program(full, one["keys"], one["environment"]) for full, one in group["programs"].items()},
        )
        for name, group in told.items()
    }
