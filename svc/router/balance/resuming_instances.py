"""Chooses the instance that continues an answer which another instance has begun."""

from collections.abc import Container

import msgspec

from svc.base.errors import RateLimited, Unavailable
from svc.router.balance.balancer import Balancer
from svc.router.balance.refused_requests import REGISTRY_NOTICE_SECONDS
from svc.router.balance.request_queue import OnWait
from svc.router.balance.routing_request import RoutingRequest
from svc.router.balance.routing_table import RoutingTable
from svc.router.balance.target import Target


def may_resume(table: RoutingTable, model: str | None, names: Container[str], proof: str) -> bool:
    """Return whether an instance of the model, other than those with these names, is proven to continue answers.

    `proof`: the key in its metadata that says so; empty if every instance of the model can answer the request, because
    it only repeats an earlier one.
    """
    return any(
        has_proof(target, proof) and target.name not in names and (model is None or model in target.models)
        for target in table.targets
    )


def has_place_elsewhere(balancer: Balancer, model: str | None, left: tuple[Target, ...], proof: str) -> bool:
    """Return whether an instance, other than those in `left`, could continue an answer at once."""
    pool, excluded = balancer.table.pool(model), _excluded(balancer.table, model, left, proof)
    members = pool.members if pool is not None else ()
    return any(member.name not in excluded and not balancer.is_full(member.target) for member in members)


def choose_resuming_or_wait(
    balancer: Balancer,
    request: RoutingRequest,
    on_wait: OnWait,
    left: tuple[Target, ...],
    proof: str,
    queue_timeout: float,
) -> Target | None:
    """Return an instance that continues an answer; None if there is none in time.

    The instances in `left` are excluded until their entries in the table change. If all others are busy, or an instance
    is about to return, wait up to `queue_timeout`. If there are no others, wait REGISTRY_NOTICE_SECONDS for the table
    to show that the instance restarts. The request is not ordered, and delays no other one, because its client has a
    part of the answer already. Its account is not charged: what the answer uses is counted by its first request.
    """
    request = msgspec.structs.replace(request, account=None, charge=None)

    def choose() -> Target | None:
        try:
            return balancer.pick(request, _excluded(balancer.table, request.model, left, proof))
        except Unavailable:
            return None

    def may_come() -> bool:
        table = balancer.table
        excluded = _excluded(table, request.model, left, proof)
        return request.model in table.returning or table.has_other_members(request.model, excluded)

    if target := choose():
        return target
    try:
        if not may_come():
            if all(target.static for target in left):
                return None
            target = balancer.wait(request, on_wait, min(REGISTRY_NOTICE_SECONDS, queue_timeout), choose, ordered=False)
            if target is not None or not may_come():
                return target
        return balancer.wait(request, on_wait, queue_timeout, choose, ordered=False)
    except RateLimited:  # the queue is full
        return None


def _excluded(table: RoutingTable, model: str | None, left: tuple[Target, ...], proof: str) -> tuple[str, ...]:
    """Return the names of the instances that must not be asked to continue the answer."""
    names, pool = table.unchanged_names(left), table.pool(model)
    if not proof or pool is None:
        return names
    return (*names, *[member.name for member in pool.members if not has_proof(member.target, proof)])


def has_proof(target: Target, proof: str) -> bool:
    """Return whether an instance is proven to continue answers; see `may_resume` for `proof`."""
    return not proof or target.metadata.get(proof) is True
