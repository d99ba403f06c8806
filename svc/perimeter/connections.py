"""Compute the deadlines of connections, and select connections to close at the connection limit. Pure.

When the connection limit is reached, idle connections are closed (load shedding). The client with the most connections
loses the first one, so one client cannot displace the others. Below the limit, a client may have any number.
"""

import heapq
import ipaddress
import math
from collections.abc import Iterable
from enum import IntEnum
from typing import Generic, NamedTuple, Protocol, TypeVar

from svc.perimeter.hosts import address_of

YOUNG_SECONDS = 1.0  # connections that entered their stage less than this ago are closed last: a request may follow
STALLED_SECONDS = 5.0  # a client that reads nothing for this long has stopped reading, and is not just slow
IPV6_PREFIX = 64  # one machine may use all addresses of a /64 network
RESERVED_DESCRIPTORS = 128  # descriptors for listening sockets, logs, the store and connections to other servers
MAX_RESERVED_FRACTION = 1 / 4  # at most this part of the descriptor limit is reserved, if the limit is low
CLOSE_FRACTION = 1 / 16  # the part of all connections that is closed at a time: selecting one at a time is costly


class ConnectionStage(IntEnum):
    """What a connection waits for. Connections in lower stages are closed before those in higher stages."""

    SILENT = 0  # waits for the first byte of its first request
    IDLE = 1  # waits for the first byte of its next request
    REQUEST = 2  # waits for the rest of a request
    SENDING = 3  # waits until the client reads the answer
    POLLING = 4  # waits for a change (long poll)
    BUSY = 5  # waits for the server's answer to a request; never closed


class StagedConnection(Protocol):
    """A connection that may be closed, with its client's address, its stage, and the time at which the stage began."""

    @property
    def address(self) -> str: ...

    @property
    def stage(self) -> ConnectionStage: ...

    @property
    def since(self) -> float: ...


C = TypeVar("C", bound=StagedConnection)


class ClosableConnection(NamedTuple, Generic[C]):
    """A connection that may be closed. Candidates compare in the order of closing: the smallest is closed first."""

    is_young: bool
    stage: ConnectionStage
    since: float
    number: int  # breaks ties: connections cannot be compared
    connection: C


class ConnectionDeadlines(NamedTuple):
    """The maximum seconds for which a connection may stay in a stage.

    `idle` is the limit for the first byte of a request to arrive, `request` for the rest of the request, and `answer`
    for the client to make room for the data of one write.
    """

    idle: float
    request: float
    answer: float


def expires(stage: ConnectionStage, since: float, deadlines: ConnectionDeadlines) -> float:
    """Return the time at which to end a connection that entered this stage at `since`."""
    if stage <= ConnectionStage.IDLE:
        return since + deadlines.idle
    if stage is ConnectionStage.REQUEST:
        return since + deadlines.request
    return since + deadlines.answer if stage is ConnectionStage.SENDING else math.inf


def clients_within(descriptor_limit: int, max_clients: int, descriptors_per_client: int = 1) -> int:
    """Return the maximum number of connected clients: at most `max_clients`, with some descriptors kept in reserve."""
    reserved = min(RESERVED_DESCRIPTORS, int(descriptor_limit * MAX_RESERVED_FRACTION))
    return max(1, min(max_clients, (descriptor_limit - reserved) // descriptors_per_client))


def select_to_close(connections: Iterable[C], count: int, now: float) -> list[C]:
    """Return up to `count` connections to close; long polls only if there are not enough other connections."""
    waiting: dict[str, list[ClosableConnection[C]]] = {}
    polling: dict[str, list[ClosableConnection[C]]] = {}
    networks: dict[str, str] = {}
    for number, connection in enumerate(connections):
        stage, since = connection.stage, connection.since
        if stage is ConnectionStage.BUSY or (stage is ConnectionStage.SENDING and now - since < STALLED_SECONDS):
            continue
        address = connection.address
        if address not in networks:
            networks[address] = network(address)
        groups = polling if stage is ConnectionStage.POLLING else waiting
        candidate = ClosableConnection(now - since < YOUNG_SECONDS, stage, since, number, connection)
        groups.setdefault(networks[address], []).append(candidate)
    selected = _from_largest(waiting, count)
    return selected + _from_largest(polling, count - len(selected))


def _from_largest(groups: dict[str, list[ClosableConnection[C]]], count: int) -> list[C]:
    """Return up to `count` connections, selected one by one.

    Each selected connection is the next one of the group that has the most candidates left at that moment.
    """
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
    """Return the network that counts as one client: an IPv4 address, or the /64 network of an IPv6 address."""
    if ":" not in address:
        return address
    parsed = address_of(address.partition("%")[0])
    if parsed is None or parsed.version == 4:
        return str(parsed or address)
    return str(ipaddress.IPv6Network((parsed, IPV6_PREFIX), strict=False))
