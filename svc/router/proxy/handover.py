"""Moves streams away from drained instances whose operator has asked for a handover. The worker calls it once a second.

A stream is moved if its answer may be continued and another instance has room for it. Its connection to the instance is
interrupted, and the exchange goes on with another instance, as it does after a failure (`resume/`). All other requests
stay where they are until they end.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Protocol

from svc.protocol.service import CONTINUES, CONTINUES_MESSAGES
from svc.router.balance.balancer import Balancer
from svc.router.balance.continuing_instances import FreePlaces
from svc.router.proxy.attempt import Attempt
from svc.router.proxy.response_breaks import HANDOVER
from svc.router.proxy.resumption import PASSING_REASONS

# A moved stream makes its new instance read the whole conversation, which delays the streams that are there already.
MAX_MOVING_STREAMS = 20  # limit for the streams of one process that move at the same time
MOVING = "moving"
PROOFS = (CONTINUES, CONTINUES_MESSAGES)
# Why a request stays, in addition to the reasons of `eligibility.REASONS`.
NOT_STREAMED = "not_streamed"  # its response is no event stream, or has not begun
NO_ENGINE = "engine"  # no other instance of the model continues answers
NO_ROOM = "instance"  # the instances that continue answers have no free place


class RelayedRequest(Protocol):
    """A request that is relayed; `exchange.Exchange` implements it."""

    instance: str
    model: str | None
    interruption: str
    attempt: Attempt | None
    closed: bool

    @property
    def stream(self) -> object | None: ...

    def take_place(self, places: FreePlaces) -> str: ...

    def interrupt(self, reason: str) -> None: ...


class Handover:
    """Moves the streams of one process."""

    def __init__(self, balancer: Balancer) -> None:
        self._balancer = balancer
        self._reasons: dict[RelayedRequest, str] = {}  # requests that stay until they end, and why

    def move(self, exchanges: Iterable[RelayedRequest]) -> dict[tuple[str, str], int]:
        """Move streams of the instances that hand over; return how many requests move, and how many stay and why.

        The keys of the dict are pairs: an instance, and either MOVING or the reason why requests stay there. Once
        MAX_MOVING_STREAMS move, all others are counted as moving too: later rounds decide on them.
        """
        names = self._balancer.table.handovers
        concerned = [exchange for exchange in exchanges if exchange.instance in names and not exchange.closed]
        counts = Counter((exchange.instance, MOVING) for exchange in concerned if exchange.interruption == HANDOVER)
        places = FreePlaces(self._balancer)
        # At least one more may move: all that move now could be stuck for minutes, because their clients do not read.
        remaining = max(1, MAX_MOVING_STREAMS - counts.total())
        self._reasons = {exchange: self._reasons[exchange] for exchange in concerned if exchange in self._reasons}
        for exchange in concerned:
            if exchange.interruption or exchange.attempt is None:
                continue
            reason = self._reasons.get(exchange) or (self._judge(exchange, places) if remaining else "")
            if not reason and remaining:
                remaining -= 1
                exchange.interrupt(HANDOVER)
            counts[exchange.instance, reason or MOVING] += 1
        return dict(counts)

    def _judge(self, exchange: RelayedRequest, places: FreePlaces) -> str:
        """Return why a request stays at its instance; "" if it has a place at another one."""
        if exchange.stream is None:
            return NOT_STREAMED
        if not any(places.has_instance(exchange.model, proof) for proof in PROOFS):
            return NO_ENGINE  # decided first, because to read the request costs more
        if not any(places.has_place(exchange.model, proof) for proof in PROOFS):
            return NO_ROOM  # decided next, because many streams may wait for room, and each is judged in every round
        reason = exchange.take_place(places)
        if reason not in (NO_ENGINE, NO_ROOM, *PASSING_REASONS):
            self._reasons[exchange] = reason
        return reason
