"""Moves streams away from drained instances whose operator has asked for a handover. The worker calls it once a second.

A stream is moved if its answer may be continued and another instance has room for it. Its connection to the instance is
interrupted, and the exchange goes on with another instance, as it does after a failure (`resume/`). All other requests
stay where they are until they end.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Protocol

from svc.protocol.service import CONTINUES, CONTINUES_MESSAGES
from svc.router.balance.balancer import Balancer
from svc.router.balance.resuming_instances import has_proof
from svc.router.balance.target import Target
from svc.router.proxy.attempt import Attempt
from svc.router.proxy.exchange import HANDOVER
from svc.router.proxy.resumption import PASSING_REASONS

# A moved stream makes its new instance read the whole conversation, which delays the streams that are there already.
MAX_MOVING_STREAMS = 20  # in one process at the same time
MOVING = "moving"
PROOFS = (CONTINUES, CONTINUES_MESSAGES)
# Why a request stays, in addition to the reasons of `Exchange.why_not_resumable`.
NOT_STREAMED = "not_streamed"  # it is no event stream, or has not begun to be answered
NO_ENGINE = "engine"  # no other instance of the model continues answers
NO_ROOM = "instance"  # those that continue answers have no free place


class Proven(Protocol):
    """`resumption.Resumption` implements it."""

    @property
    def proof(self) -> str: ...


class RelayedRequest(Protocol):
    """A request that is relayed; `exchange.Exchange` implements it."""

    instance: str
    model: str | None
    interruption: str
    attempt: Attempt | None
    closed: bool

    @property
    def stream(self) -> object | None: ...

    @property
    def resumption(self) -> Proven | None: ...

    def why_not_resumable(self) -> str: ...

    def interrupt(self, reason: str) -> None: ...


class Handover:
    """Moves the streams of one process."""

    def __init__(self, balancer: Balancer) -> None:
        self._balancer = balancer
        self._reasons: dict[RelayedRequest, str] = {}  # requests that stay until they end, and why

    def move(self, exchanges: Iterable[RelayedRequest]) -> dict[tuple[str, str], int]:
        """Move streams of the instances that hand over; return how many requests move, and how many stay and why.

        The keys of the dict are the instance, and MOVING or the reason why the requests stay. Once as many streams move
        as may, the others count as moving, because the rounds that follow decide on them.
        """
        names = self._balancer.table.handovers
        concerned = [exchange for exchange in exchanges if exchange.instance in names and not exchange.closed]
        counts = Counter((exchange.instance, MOVING) for exchange in concerned if exchange.interruption == HANDOVER)
        places, remaining = FreePlaces(self._balancer), max(1, MAX_MOVING_STREAMS - counts.total())
        self._reasons = {exchange: self._reasons[exchange] for exchange in concerned if exchange in self._reasons}
        for exchange in concerned:
            if exchange.interruption or exchange.attempt is None:
                continue
            reason = self._reasons.get(exchange) or (self._judge(exchange, places) if remaining else "")
            if not reason and remaining:
                if exchange.resumption is not None:
                    places.take(exchange.model, exchange.resumption.proof)
                remaining -= 1
                exchange.interrupt(HANDOVER)
            counts[exchange.instance, reason or MOVING] += 1
        return dict(counts)

    def _judge(self, exchange: RelayedRequest, places: "FreePlaces") -> str:
        """Return why a request stays at its instance; "" if it may be moved."""
        if exchange.stream is None:
            return NOT_STREAMED
        if not any(places.has_instance(exchange.model, proof) for proof in PROOFS):
            return NO_ENGINE  # without the cost of reading the request
        reason = exchange.why_not_resumable()
        if reason not in (NO_ENGINE, NO_ROOM, *PASSING_REASONS):
            self._reasons[exchange] = reason
        if reason or exchange.resumption is None:
            return reason or "not_supported"
        return "" if places.has_place(exchange.model, exchange.resumption.proof) else NO_ROOM


class FreePlaces:
    """The places for moved streams at the instances that continue answers and get requests.

    Only half of the free places of an instance are used at a time: its new requests need some, and other processes move
    streams too.
    """

    def __init__(self, balancer: Balancer) -> None:
        self._balancer = balancer
        self._places: dict[str, float] = {}  # instance -> its places

    def has_instance(self, model: str | None, proof: str) -> bool:
        """Return whether an instance continues answers of the model, even if it has no place now.

        `proof`: the key in its metadata that says so.
        """
        return any(True for _ in self._instances(model, proof))

    def has_place(self, model: str | None, proof: str) -> bool:
        return any(self._free(target) > 0 for target in self._instances(model, proof))

    def take(self, model: str | None, proof: str) -> None:
        """Take one of the model's places."""
        target = max(self._instances(model, proof), key=self._free)
        self._places[target.name] = self._free(target) - 1

    def _instances(self, model: str | None, proof: str) -> Iterator[Target]:
        table = self._balancer.table
        pool = table.pool(model)
        for member in pool.members if pool is not None else ():
            if has_proof(member.target, proof) and member.name in table.candidates:
                yield member.target

    def _free(self, target: Target) -> float:
        if target.name not in self._places:
            limit = self._balancer.work.view.limit(target)
            free = limit - self._balancer.loads.get(target.name, 0)
            self._places[target.name] = (free + 1) // 2 if limit else float("inf")
        return self._places[target.name]
