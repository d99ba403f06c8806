"""The order of instances that take over ports: the old user of a port stops before the new user starts. Pure."""

import re
from collections.abc import Collection, Mapping

from svc.base.errors import ConfigError
from svc.supervision.program_config import GroupConfig

LAUNCH_PORT = re.compile(r"^svc launch .*?--port (\d+) ")
SOCKET_PORT = re.compile(r":(\d+)$")
Ports = Mapping[str, Collection[int]]


def held_ports(groups: Mapping[str, GroupConfig]) -> dict[str, set[int]]:
    """Return, for each group, the ports in its commands and in its socket."""
    ports: dict[str, set[int]] = {}
    for name, group in groups.items():
        commands = (program.keys.get("command", "") for program in group.programs.values())
        matches = [*map(LAUNCH_PORT.search, commands), SOCKET_PORT.search(group.keys.get("socket", ""))]
        ports[name] = {int(match[1]) for match in matches if match}
    return ports


def port_waits(wanted: Ports, held: Ports, leaving: Collection[str]) -> dict[str, set[str]]:
    """Return, for each name in `wanted`, the names in `leaving` that use its ports; raise ConfigError for a cycle."""
    waits = {
        name: {other for other in leaving if other != name and set(held.get(other, ())) & set(ports)}
        for name, ports in wanted.items()
    }
    if cycle := _names_in_cycle(waits):
        first, *others = cycle
        raise ConfigError(
            f"{first}: port: it is to get a port of {' and '.join(others)}, and the other way round; "
            "change one of them to a free port and apply, then the other"
        )
    return waits


def _names_in_cycle(edges: Mapping[str, Collection[str]]) -> list[str]:
    """Return the names that are part of a cycle or wait for one.

    The function removes names in rounds until only these are left: each round removes the names that wait for no
    remaining name.
    """
    rest = dict(edges)
    while True:
        free = [name for name, others in rest.items() if not any(other in rest for other in others)]
        if not free:
            return sorted(rest)
        for name in free:
            del rest[name]
