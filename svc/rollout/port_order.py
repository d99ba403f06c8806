"""Ports that change hands: who has to leave before another can come. Pure."""

import re
from collections.abc import Collection, Mapping

from svc.base.errors import ConfigError
from svc.supervision.programs import Group

SHIM = re.compile(r"^svc launch .*?--port (\d+) ")
SOCKET = re.compile(r":(\d+)$")
Ports = Mapping[str, Collection[int]]


def held(groups: Mapping[str, Group]) -> dict[str, set[int]]:
    """The ports of each group that runs, as far as its commands and its socket tell."""
    found: dict[str, set[int]] = {}
    for name, group in groups.items():
        commands = (program.keys.get("command", "") for program in group.programs.values())
        told = [*map(SHIM.search, commands), SOCKET.search(group.keys.get("socket", ""))]
        found[name] = {int(match[1]) for match in told if match}
    return found


def waits(wanted: Ports, there: Ports, leaving: Collection[str]) -> dict[str, set[str]]:
    """For each of `wanted` those of `leaving` whose ports it needs; raises ConfigError where they wait in a circle."""
    found = {
        name: {other for other in leaving if other != name and set(there.get(other, ())) & set(ports)}
        for name, ports in wanted.items()
    }
    if circle := _circle(found):
        first, *others = circle
        raise ConfigError(
            f"{first}: port: it is to get a port of {' and '.join(others)}, and the other way round; "
            "change one of them to a free port and apply, then the other"
        )
    return found


def _circle(edges: Mapping[str, Collection[str]]) -> list[str]:
    """What is left when again and again those are taken away that wait for nobody who is left."""
    left = dict(edges)
    while True:
        free = [name for name, others in left.items() if not any(other in left for other in others)]
        if not free:
            return sorted(left)
        for name in free:
            del left[name]
