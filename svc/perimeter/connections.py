"""Which connections a full server closes, and when one has waited too long: pure.

A server closes what costs nobody anything, before it lets a new client wait:
connections that hold a place and ask for nothing. Among those the network with
the most of them gives way first, so that one client cannot displace the others.
Nothing is capped while there is room.
"""

import heapq
import ipaddress
import math
from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple, Protocol, TypeVar

from svc.perimeter.hosts import address_of

YOUNG_SECONDS = 1.0  # the request of a connection is usually on its way with it
STALLED_SECONDS = 5.0  # a reader that takes nothing for so long has a full buffer, and is not just slow
IPV6_PREFIX = 64  # one machine has all the addresses of such a network
RESERVED_DESCRIPTORS = 128  # listening sockets, logs, the store, checks, other servers
RESERVED_SHARE = 4  # of a low limit, a quarter is reserved
SHED_SHARE = 16  # one of so many places is freed at once: choosing costs time


class Stage(IntEnum):
    """What a connection waits for, in the order in which it is shed."""

    SILENT = 0  # the first byte of its first request
    IDLE = 1  # the first byte of another request
    REQUEST = 2  # the rest of a request
    SENDING = 3  # the client takes nothing of its answer
    POLLING = 4  # a change that the client has asked for
    BUSY = 5  # its answer is being made: never shed


class Connection(Protocol):
    @property
    def address(self) -> str: ...

    @property
    def stage(self) -> Stage: ...

    @property
    def since(self) -> float: ...


C = TypeVar("C", bound=Connection)


class Deadlines(NamedTuple):
    """Seconds that a connection may stay in a stage."""

    idle: float
    request: float  # from its first byte to its last
    answer: float  # until the client has taken what is sent


def expires(stage: Stage, since: float, deadlines: Deadlines) -> float:
    """Return when a connection has been in this stage for too long."""
    if stage <= Stage.IDLE:
        return since + deadlines.idle
    if stage is Stage.REQUEST:
        return since + deadlines.request
    return since + deadlines.answer if stage is Stage.SENDING else math.inf


def capacity(descriptors: int, most: int, each: int = 1) -> int:
    """Return how many clients may be connected where each may need `each` descriptors, and some are reserved."""
    reserved = min(RESERVED_DESCRIPTORS, descriptors // RESERVED_SHARE)
    return max(1, min(most, (descriptors - reserved) // each))


def to_shed(connections: Iterable[C], count: int, now: float) -> list[C]:
    """Return up to `count` connections to close: polls only where nothing else is left."""
    waiting: dict[str, list[tuple[tuple[bool, int, float], int, C]]] = {}
    polling: dict[str, list[tuple[tuple[bool, int, float], int, C]]] = {}
    networks: dict[str, str] = {}
    for number, connection in enumerate(connections):
        stage, since = connection.stage, connection.since
        if stage is Stage.BUSY or (stage is Stage.SENDING and now - since < STALLED_SECONDS):
            continue
        address = connection.address
        if address not in networks:
            networks[address] = network(address)
        groups = polling if stage is Stage.POLLING else waiting
        rank = (now - since < YOUNG_SECONDS, int(stage), since)
        groups.setdefault(networks[address], []).append((rank, number, connection))
    chosen = _from_largest(waiting, count)
    return chosen + _from_largest(polling, count - len(chosen))


def _from_largest(groups: dict[str, list[tuple[tuple[bool, int, float], int, C]]], count: int) -> list[C]:
    """Return connections in order of rank, each of the group that has the most left."""
    for group in groups.values():
        group.sort(reverse=True)
    sizes = [(-len(group), name) for name, group in groups.items()]
    heapq.heapify(sizes)
    chosen: list[C] = []
    while sizes and len(chosen) < count:
        size, name = heapq.heappop(sizes)
        chosen.append(groups[name].pop()[2])
        if size < -1:
            heapq.heappush(sizes, (size + 1, name))
    return chosen


def network(address: str) -> str:
    """Return the client that an address stands for: itself, or its IPv6 network."""
    if ":" not in address:
        return address
    parsed = address_of(address.partition("%")[0])
    if parsed is None or parsed.version == 4:
        return str(parsed or address)
    return str(ipaddress.IPv6Network((parsed, IPV6_PREFIX), strict=False))
