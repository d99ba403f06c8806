"""The configuration of supervisord's programs, as values that can be compared. Pure.

`config_serializer` makes the payload of supervisord's own objects.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

AUTO = "AUTO"  # a log file that supervisord names itself: equal to any, as in supervisord's own comparison


@dataclasses.dataclass(frozen=True, slots=True)
class ProgramConfig:
    """One program. `keys` are supervisord's own (command, directory, stopwaitsecs...), their values as text.

    A key without a value is left out. `environment` is what the program gets beside supervisord's own environment.
    """

    name: str  # as supervisorctl writes it: "qwen:server", "router"
    keys: Mapping[str, str]
    environment: Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class GroupConfig:
    """What `supervisorctl update` adds, removes or replaces. `keys`: kind, priority, of an [fcgi-program] socket..."""

    name: str
    keys: Mapping[str, str]
    programs: Mapping[str, ProgramConfig]  # by their names


@dataclasses.dataclass(frozen=True, slots=True)
class SupervisordConfig:
    """The configuration that a supervisord runs. `root`: the directory of its supervisord.conf, as given to it."""

    root: str
    groups: Mapping[str, GroupConfig]


def parse_groups(payload: Mapping[str, Any]) -> dict[str, GroupConfig]:
    """Return the groups of a payload that `config_serializer.serialize` has made, by name."""
    return {
        name: GroupConfig(
            name,
            group["keys"],
            {
                full_name: ProgramConfig(full_name, program["keys"], program["environment"])
                for full_name, program in group["programs"].items()
            },
        )
        for name, group in payload.items()
    }
