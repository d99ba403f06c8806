"""Chooses the instance for a request about an object that one instance has: its owner, as long as it runs.

1. An owner that is drained, ejected or fails its checks gets the request all the same: no other instance can answer it,
   and a client would believe the 404 of another instance.
2. If the owner is full, a request for inference (with `previous_response_id`) waits for a place at it, and delays no
   other request. A request that reads, cancels or deletes does not wait: it generates nothing, and a cancellation frees
   a place.
"""

from svc.base.errors import RateLimited
from svc.router.balance.balancer import Balancer
from svc.router.balance.request_queue import OnWait
from svc.router.balance.routing_request import RoutingRequest
from svc.router.balance.target import Target


def choose_owner_or_wait(
    balancer: Balancer, request: RoutingRequest, on_wait: OnWait, seconds: float, is_inference: bool
) -> Target:
    """Return the request's owner, after a wait of at most `seconds` if it is full; raise RateLimited."""
    owner = request.owner
    assert owner is not None
    if not is_inference or balancer.claim_place(owner):
        return owner
    target = balancer.wait(
        request, on_wait, seconds, lambda: owner if balancer.claim_place(owner) else None, ordered=False
    )
    if target is None:
        message = f"{owner.name}, which has what the request continues, is busy: it was not free within {seconds:g} s"
        raise RateLimited(message, balancer.statistics.retry_after())
    return target
