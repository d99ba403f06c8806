"""Deadlines of connections, and which of them to close at the connection limit. Pure.

When the connection limit is reached, idle connections are closed, starting with the client that has the most of them
(load shedding). So one client cannot displace the others. While the server has free connections, there is no limit for
one client.
"""

import heapq
import ipaddress
import math
from collections.abc import Iterable
from enum import IntEnum
from typing import Generic, NamedTuple, Protocol, TypeVar

from svc.perimeter.hosts import address_of

YOUNG_SECONDS = 1.0  # the first request of a new connection usually follows at once
STALLED_SECONDS = 5.0  # a client that reads nothing for so long has a full buffer, and is not just slow
IPV6_PREFIX = 64  # one machine may use all addresses of such a network
RESERVED_DESCRIPTORS = 128  # listening sockets, logs, the store, checks, other servers
MAX_RESERVED_FRACTION = 1 / 4  # of a low descriptor limit
CLOSE_FRACTION = 1 / 16  # of all connections, closed at once: selecting them costs time


class ConnectionStage(IntEnum):
    """What a connection waits for. A connection in a lower stage is closed before one in a higher stage."""

    SILENT = 0  # the first byte of its first request
    IDLE = 1  # the first byte of another request
    REQUEST = 2  # the rest of a request
    SENDING = 3  # the client, which reads its answer
    POLLING = 4  # a change that the client waits for in a long poll
    BUSY = 5  # the answer to its request: never closed


class StagedConnection(Protocol):
    """A connection that may be closed: its client, its stage, and when the stage began."""

    @property
    def address(self) -> str: ...

    @property
    def stage(self) -> ConnectionStage: ...

    @property
    def since(self) -> float: ...


C = TypeVar("C", bound=StagedConnection)


class Candidate(NamedTuple, Generic[C]):
    """A connection that may be closed; the smallest candidate is closed first."""

    is_young: bool
    stage: ConnectionStage
    since: float
    number: int  # unlike connections, numbers can be compared
    connection: C


class ConnectionDeadlines(NamedTuple):
    """Seconds that a connection may stay in a stage."""

    idle: float
    request: float  # from its first byte to its last
    answer: float  # until the client has taken what is sent


def expires(stage: ConnectionStage, since: float, deadlines: ConnectionDeadlines) -> float:
    """Return when a connection that entered this stage at `since` has to be ended."""
    if stage <= ConnectionStage.IDLE:
        return since + deadlines.idle
    if stage is ConnectionStage.REQUEST:
        return since + deadlines.request
    return since + deadlines.answer if stage is ConnectionStage.SENDING else math.inf


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
        if stage is ConnectionStage.BUSY or (stage is ConnectionStage.SENDING and now - since < STALLED_SECONDS):
            continue
        address = connection.address
        if address not in networks:
            networks[address] = network(address)
        groups = polling if stage is ConnectionStage.POLLING else waiting
        candidate = Candidate(now - since < YOUNG_SECONDS, stage, since, number, connection)
        groups.setdefault(networks[address], []).append(candidate)
    selected = _from_largest(waiting, count)
    return selected + _from_largest(polling, count - len(selected))


def _from_largest(groups: dict[str, list[Candidate[C]]], count: int) -> list[C]:
    """Return `count` connections: each is the first candidate of the group that has the most candidates left."""
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
    """Return what counts as one client: an IPv4 address, or the /64 network of an IPv6 address."""
    if ":" not in address:
        return address
    parsed = address_of(address.partition("%")[0])
    if parsed is None or parsed.version == 4:
        return str(parsed or address)
    return str(ipaddress.IPv6Network((parsed, IPV6_PREFIX), strict=False))
