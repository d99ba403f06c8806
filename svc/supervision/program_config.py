"""The configuration of supervisord's programs as comparable values. Pure.

`parse_groups` reads the values that `config_serializer` creates from supervisord's own objects.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

AUTO = "AUTO"  # the value of a log file that supervisord names; supervisord sees no difference to another log file


@dataclasses.dataclass(frozen=True, slots=True)
class ProgramConfig:
    """The configuration of a program. `keys` are those of its section in supervisord's files, with text values.

    Keys without a value are omitted. `environment` is added to supervisord's own environment.
    """

    name: str  # the full name, as supervisorctl writes it: "qwen:server", "router"
    keys: Mapping[str, str]
    environment: Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class GroupConfig:
    """The configuration of a group, the unit of `supervisorctl update`. `keys` are the group's own: kind, socket..."""

    name: str
    keys: Mapping[str, str]
    programs: Mapping[str, ProgramConfig]  # by full name


@dataclasses.dataclass(frozen=True, slots=True)
class SupervisordConfig:
    """The configuration that supervisord runs. `root` is the directory of its supervisord.conf."""

    root: str
    groups: Mapping[str, GroupConfig]


def parse_groups(payload: Mapping[str, Any]) -> dict[str, GroupConfig]:
    """Return, by name, the groups in a payload that `config_serializer.serialize` created."""
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
