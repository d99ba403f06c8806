"""Finds the instances that can continue an answer of another instance.

`proof` is the key in the metadata of the instances whose engines are proven to continue such answers. It is empty if
the client has received nothing yet: then every instance of the model can answer the repeated request.
"""

from collections.abc import Container, Iterator

import msgspec

from svc.base.errors import RateLimited, Unavailable
from svc.router.balance.balancer import Balancer
from svc.router.balance.refused_requests import REGISTRY_NOTICE_SECONDS
from svc.router.balance.request_queue import OnWait
from svc.router.balance.routing_request import RoutingRequest
from svc.router.balance.routing_table import RoutingTable
from svc.router.balance.target import Target


def has_continuing_instance(table: RoutingTable, model: str | None, proof: str) -> bool:
    """Return whether an instance of the model continues answers, even if it gets no requests now."""
    return any(_continues(target, proof) and (model is None or model in target.models) for target in table.targets)


def choose_continuing_or_wait(
    balancer: Balancer,
    request: RoutingRequest,
    on_wait: OnWait,
    failed: tuple[Target, ...],
    proof: str,
    queue_timeout: float,
) -> Target | None:
    """Return an instance that continues an answer; None if there is none in time.

    The instances in `failed` are excluded until their entries in the table change. If all others are busy, or an
    instance is about to return, wait up to `queue_timeout`. If there are no others, wait up to REGISTRY_NOTICE_SECONDS
    for the table to show that a failed instance restarts. The request does not wait behind others, because its client
    has a part of the answer already, and it delays no other one. Its account is not charged: the tokens of the whole
    answer are charged to the client's request.
    """
    request = msgspec.structs.replace(request, account=None, charge=None)

    def choose() -> Target | None:
        try:
            return balancer.pick(request, _excluded(balancer.table, request.model, failed, proof))
        except Unavailable:
            return None

    def may_come() -> bool:
        table = balancer.table
        excluded = _excluded(table, request.model, failed, proof)
        return request.model in table.returning or table.has_other_members(request.model, excluded)

    def wait(seconds: float) -> Target | None:
        return balancer.wait(request, on_wait, seconds, choose, ordered=False, may_wake=False)

    if target := choose():
        return target
    try:
        if not may_come():
            if all(target.static for target in failed):
                return None
            target = wait(min(REGISTRY_NOTICE_SECONDS, queue_timeout))
            if target is not None or not may_come():
                return target
        return wait(queue_timeout)
    except RateLimited:  # the queue is full
        return None


def _excluded(table: RoutingTable, model: str | None, failed: tuple[Target, ...], proof: str) -> tuple[str, ...]:
    """Return the names of the instances that must not be asked to continue the answer."""
    names, pool = table.unchanged_names(failed), table.pool(model)
    if pool is None:
        return names
    return (*names, *[member.name for member in pool.members if not _continues(member.target, proof)])


def _continues(target: Target, proof: str) -> bool:
    return not proof or target.continues(proof)


class FreePlaces:
    """The places for moved streams at the instances that continue answers and get requests.

    Only half of the free places of an instance are used at a time: its new requests need some, and other processes move
    streams too.
    """

    def __init__(self, balancer: Balancer) -> None:
        self._balancer = balancer
        self._places: dict[str, float] = {}  # instance -> places that streams can still take

    def has_instance(self, model: str | None, proof: str, excluded: Container[str] = ()) -> bool:
        """Return whether an instance that is not excluded continues answers of the model, even if it has no place."""
        return any(True for _ in self._instances(model, proof, excluded))

    def has_place(self, model: str | None, proof: str) -> bool:
        """Return whether an instance that continues answers of the model has a place."""
        return any(self._free(target) > 0 for target in self._instances(model, proof, ()))

    def take(self, model: str | None, proof: str, excluded: Container[str] = ()) -> bool:
        """Take one place at an instance that is not excluded; return False if there is none."""
        target = max(self._instances(model, proof, excluded), key=self._free, default=None)
        if target is None or self._free(target) <= 0:
            return False
        self._places[target.name] -= 1
        return True

    def _instances(self, model: str | None, proof: str, excluded: Container[str]) -> Iterator[Target]:
        table = self._balancer.table
        pool = table.pool(model)
        for member in pool.members if pool is not None else ():
            name = member.name
            if _continues(member.target, proof) and name in table.candidates and name not in excluded:
                yield member.target

    def _free(self, target: Target) -> float:
        if target.name not in self._places:
            limit = self._balancer.work.view.limit(target)
            free = limit - self._balancer.loads.get(target.name, 0)
            self._places[target.name] = (free + 1) // 2 if limit else float("inf")
        return self._places[target.name]
