"""The configuration of supervisord's programs as comparable values. Pure.

`config_serializer` creates the payload from supervisord's own objects.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

AUTO = "AUTO"  # a log file that supervisord names itself; equal to any other, as in supervisord


@dataclasses.dataclass(frozen=True, slots=True)
class ProgramConfig:
    """The configuration of a program. `keys` are supervisord's (command, directory, stopwaitsecs...), with text values.

    Keys without a value are omitted. `environment` is added to supervisord's own environment.
    """

    name: str  # the full name, as supervisorctl writes it: "qwen:server", "router"
    keys: Mapping[str, str]
    environment: Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class GroupConfig:
    """The configuration of a group, the unit of `supervisorctl update`. `keys` are its kind, priority, socket..."""

    name: str
    keys: Mapping[str, str]
    programs: Mapping[str, ProgramConfig]  # by full name


@dataclasses.dataclass(frozen=True, slots=True)
class SupervisordConfig:
    """The configuration that supervisord runs. `root` is the directory of its supervisord.conf, as it was given."""

    root: str
    groups: Mapping[str, GroupConfig]


def parse_groups(payload: Mapping[str, Any]) -> dict[str, GroupConfig]:
    """Return the groups in a payload of `config_serializer.serialize`, by name."""
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
