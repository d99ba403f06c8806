"""The configuration of supervisord's programs as comparable values. Pure.

`parse_groups` reads the values that `config_serializer` creates from supervisord's own objects.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

AUTO = "AUTO"  # stands for a log path that supervisord chooses; supervisord considers it equal to any path


@dataclasses.dataclass(frozen=True, slots=True)
class ProgramConfig:
    """The configuration of a program. `keys` maps the keys of its section in supervisord's files to their text values.

    Keys without a value are omitted. `environment` is added to supervisord's own environment.
    """

    name: str  # full name in supervisorctl's notation: "qwen:server", "router"
    keys: Mapping[str, str]
    environment: Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class GroupConfig:
    """The configuration of a group, the unit of `supervisorctl update`. `keys` has the group's own: kind, socket..."""

    name: str
    keys: Mapping[str, str]
    programs: Mapping[str, ProgramConfig]  # full name -> program


@dataclasses.dataclass(frozen=True, slots=True)
class SupervisordConfig:
    """The configuration that supervisord runs. `root` is the directory of its supervisord.conf."""

    root: str
    groups: Mapping[str, GroupConfig]


def parse_groups(payload: Mapping[str, Any]) -> dict[str, GroupConfig]:
    """Return a dict from names to groups in a payload that `config_serializer.serialize` created."""
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
