"""Deadlines of connections, and which of them to close at the connection limit. Pure.

When the connection limit is reached, idle connections are closed, starting with the
client that has most of them (load shedding). So one client cannot displace the
others. There is no limit for one client while the server has free connections.
"""

import heapq
import ipaddress
import math
from collections.abc import Iterable
from enum import IntEnum
from typing import Generic, NamedTuple, Protocol, TypeVar

from svc.perimeter.hosts import address_of

YOUNG_SECONDS = 1.0  # the request of a connection is usually on its way with it
STALLED_SECONDS = 5.0  # a reader that takes nothing for so long has a full buffer, and is not just slow
IPV6_PREFIX = 64  # one machine has all the addresses of such a network
RESERVED_DESCRIPTORS = 128  # listening sockets, logs, the store, checks, other servers
MAX_RESERVED_FRACTION = 1 / 4  # of a low descriptor limit
CLOSE_FRACTION = 1 / 16  # of the connections is closed at once: selecting them costs time


class Stage(IntEnum):
    """What a connection waits for, in the order in which connections are closed."""

    SILENT = 0  # the first byte of its first request
    IDLE = 1  # the first byte of another request
    REQUEST = 2  # the rest of a request
    SENDING = 3  # the client, which does not read its answer
    POLLING = 4  # a change for which the client polls
    BUSY = 5  # the answer to its request: never closed


class Connection(Protocol):
    @property
    def address(self) -> str: ...

    @property
    def stage(self) -> Stage: ...

    @property
    def since(self) -> float: ...


C = TypeVar("C", bound=Connection)


class Candidate(NamedTuple, Generic[C]):
    """A connection that may be closed; the smallest candidate is closed first."""

    is_young: bool
    stage: Stage
    since: float
    number: int  # unlike connections, numbers can be compared
    connection: C


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


def clients_within(descriptor_limit: int, max_clients: int, descriptors_per_client: int = 1) -> int:
    """Return how many clients may be connected: at most `max_clients`, with some descriptors reserved."""
    reserved = min(RESERVED_DESCRIPTORS, int(descriptor_limit * MAX_RESERVED_FRACTION))
    return max(1, min(max_clients, (descriptor_limit - reserved) // descriptors_per_client))


def select_to_close(connections: Iterable[C], count: int, now: float) -> list[C]:
    """Return up to `count` connections to close: polls only if there are not enough others."""
    waiting: dict[str, list[Candidate[C]]] = {}
    polling: dict[str, list[Candidate[C]]] = {}
    networks: dict[str, str] = {}
    for number, connection in enumerate(connections):
        stage, since = connection.stage, connection.since
        if stage is Stage.BUSY or (stage is Stage.SENDING and now - since < STALLED_SECONDS):
            continue
        address = connection.address
        if address not in networks:
            networks[address] = network(address)
        groups = polling if stage is Stage.POLLING else waiting
        candidate = Candidate(now - since < YOUNG_SECONDS, stage, since, number, connection)
        groups.setdefault(networks[address], []).append(candidate)
    selected = _from_largest(waiting, count)
    return selected + _from_largest(polling, count - len(selected))


def _from_largest(groups: dict[str, list[Candidate[C]]], count: int) -> list[C]:
    """Return connections of candidates in their order, each of the group that has the most left."""
    for group in groups.values():
        group.sort(reverse=True)
    sizes = [(-len(group), name) for name, group in groups.items()]
    heapq.heapify(sizes)
    selected: list[C] = []
    while sizes and len(selected) < count:
        size, name = heapq.heappop(sizes)
        selected.append(groups[name].pop().connection)
        if size < -1:
            heapq.heappush(sizes, (size + 1, name))
    return selected


def network(address: str) -> str:
    """Return what counts as one client: the address, or its IPv6 network."""
    if ":" not in address:
        return address
    parsed = address_of(address.partition("%")[0])
    if parsed is None or parsed.version == 4:
        return str(parsed or address)
    return str(ipaddress.IPv6Network((parsed, IPV6_PREFIX), strict=False))
