"""Chooses the instance for a request, and keeps the request in the queue as long as there is none for it."""

from svc.base.errors import RateLimited
from svc.router.balance.balancer import Balancer
from svc.router.balance.request_queue import OnWait
from svc.router.balance.routing_request import RoutingRequest
from svc.router.balance.target import Target


def choose_or_wait(balancer: Balancer, request: RoutingRequest, on_wait: OnWait) -> Target:
    """Return the instance for a request; wait for one up to `queue_timeout`, behind requests that wait already.

    While all instances of the model are asleep, wait up to their `wake_timeout`. `on_wait` is called with the waiter
    before and after each wait, and may raise. Raise RateLimited if no instance becomes free in time, Unavailable if no
    instance can serve the request.
    """
    queue, account = balancer.queue, request.account
    is_charged = queue.waiting or (account is not None and account.priority < 0)
    charge = queue.charge(request, balancer.clock) if is_charged else None
    if not (queue.waiting and queue.must_wait(request.model, charge)) and (target := balancer.pick(request)):
        if charge is not None:
            queue.begin(charge, balancer.work.expected_tokens(request) if queue.waiting else 0)
        return target
    since, is_asleep = balancer.clock(), request.model in balancer.table.asleep
    if target := balancer.wait(request, on_wait, balancer.queue_timeout, lambda: balancer.pick(request)):
        if is_asleep:
            balancer.statistics.models[request.model or ""].wake_wait.observe(balancer.clock() - since)
        return target
    if balancer.table.serves(request.model):
        message = f"all instances are busy: none was free within {balancer.queue_timeout:g} s"
        raise RateLimited(message, balancer.statistics.retry_after())
    raise balancer.unserved_error(request.model)
