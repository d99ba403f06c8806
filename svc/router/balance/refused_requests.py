"""Chooses the instance for a request after instances have refused its connection: they may have ended just now."""

from svc.router.balance.balancer import Balancer
from svc.router.balance.request_queue import OnWait
from svc.router.balance.routing_request import RoutingRequest
from svc.router.balance.target import Target

REGISTRY_NOTICE_SECONDS = 5.0  # time in which a babysitter notices the end of its instance, and the table shows it


def choose_again_or_wait(
    balancer: Balancer,
    request: RoutingRequest,
    on_wait: OnWait,
    refused: tuple[Target, ...],
    taken: tuple[str, ...],
    queue_timeout: float,
) -> Target | None:
    """Return an instance for a request after the instances in `refused` refused a connection; None if none is free.

    First wait up to REGISTRY_NOTICE_SECONDS for the table to show the new state of these instances. If they restart, or
    other instances are only busy, wait up to `queue_timeout` more. The instances in `taken` have received the request,
    and do not get it again. Raise RateLimited if the queue is full, Unavailable if no instance can serve the request.
    """
    unchanged = {target.name for target in refused}

    def choose() -> Target | None:
        # Names are removed and never added again, because a changed entry may change back.
        unchanged.intersection_update(balancer.table.unchanged_names(refused))
        return balancer.pick(request, (*unchanged, *taken))

    seconds = min(REGISTRY_NOTICE_SECONDS, queue_timeout)
    target = balancer.wait(request, on_wait, seconds, choose, ordered=False)  # so that it delays no other request
    if target is not None:
        return target
    excluded = (*balancer.table.unchanged_names(refused), *taken)
    if balancer.table.may_wait(request.model) or balancer.table.has_other_members(request.model, excluded):
        return balancer.wait(request, on_wait, queue_timeout, lambda: balancer.pick(request, taken))
    return balancer.pick(request, taken)  # an instance may have been away too briefly for the registry to notice
