"""The request queue: requests wait for an instance in a line for each model, up to a total limit.

Without accounts, a line is first come, first served. With accounts, `fair_order.py` decides whose request is the next;
those of one account are served in the order of arrival.

The queue has no timers: the worker's sweep calls `expire`; the end of a request and a new table call `wake`.
"""

import itertools
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping

from svc.base.errors import RateLimited
from svc.router.balance.account import Account
from svc.router.balance.fair_order import NO_ACCOUNT, Charge, CounterKey, FairOrder, Rank, in_order
from svc.router.balance.routing_request import RoutingRequest

QUEUE_FULL = "all instances are busy and the queue is full; try again later"
QUEUE_FULL_OF_ACCOUNT = "all instances are busy and too many of your requests wait already; try again later"
LAST = sys.maxsize  # the ticket of a request that has not waited: it is behind all others with the same counter


class Waiter:
    """One request in a queue. `wait` returns when it may be the request's turn, or when the wait must end."""

    __slots__ = ("_event", "charge", "deadline", "expired", "number", "since")

    def __init__(self, deadline: float, number: int, charge: Charge | None = None) -> None:
        self.deadline = deadline
        self.since = 0.0  # when the wait began, in monotonic seconds; 0: it has only just begun
        self.number = number  # ascending in the order of arrival
        self.charge = charge  # None: the request has no account
        self.expired = False
        self._event = threading.Event()

    def wait(self) -> None:
        self._event.wait()
        self._event.clear()

    def wake(self) -> None:
        self._event.set()

    @property
    def key(self) -> CounterKey:
        return NO_ACCOUNT if self.charge is None else self.charge.key


OnWait = Callable[[Waiter], None]  # called with the waiter before and after each wait; may raise


class Line:
    """The waiters of one model: those of each account in the order of arrival."""

    def __init__(self, order: FairOrder) -> None:
        self._order = order
        self._accounts: dict[CounterKey, deque[Waiter]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._accounts.values()))

    def __iter__(self) -> Iterator[Waiter]:
        return itertools.chain.from_iterable(self._accounts.values())

    def __contains__(self, waiter: Waiter) -> bool:
        return waiter in self._accounts.get(waiter.key, ())

    def has_account(self, key: CounterKey) -> bool:
        return key in self._accounts

    def has_foreground(self) -> bool:
        return any(key[1] >= 0 for key in self._accounts)

    def append(self, waiter: Waiter) -> None:
        self._accounts.setdefault(waiter.key, deque()).append(waiter)

    def remove(self, waiter: Waiter) -> None:
        waiters = self._accounts[waiter.key]
        waiters.remove(waiter)
        if not waiters:
            del self._accounts[waiter.key]

    def first(self) -> Waiter:
        """Return the waiter whose turn it is."""
        heads = [waiters[0] for waiters in self._accounts.values()]
        return heads[0] if len(heads) == 1 else min(heads, key=self.rank)

    def rank(self, waiter: Waiter) -> Rank:
        return self._order.rank(waiter.charge, waiter.number)


class RequestQueue:
    """A line of waiters for each model; None is the line of requests that contain no model."""

    def __init__(self, size: int, order: FairOrder | None = None) -> None:
        self.size = size
        self.order = FairOrder() if order is None else order
        self.order.group = self.group
        self.groups: Mapping[str, str] = {}  # model -> group of models that share instances
        self.waiting = 0
        self._numbers = itertools.count()
        self._lines: dict[str | None, Line] = {}
        self._unordered: dict[Waiter, str | None] = {}  # waiter that stands in no line -> its model

    def group(self, model: str | None) -> str:
        """Return the group of a model; "" for a model that no instance has."""
        return self.groups.get(model or "", "")

    def new_charge(self, account: Account, model: str | None, since: float, body_bytes: int) -> Charge:
        """Return a new charge for a request that arrives, without any tokens yet."""
        key = (self.group(model), account.priority, account.name)
        return Charge(key, account.share, since, body_bytes, account.priority < 0)

    def charge(self, request: RoutingRequest, clock: Callable[[], float]) -> Charge | None:
        """Return the charge of a request, None if it has no account.

        A charge is made when it is first needed: while no request waits, most requests get a place at once and need no
        charge.
        """
        if request.charge is None and request.account is not None:
            charge = self.new_charge(request.account, request.model, clock(), len(request.body))
            request.charge = charge
        return request.charge

    def must_wait(self, model: str | None, charge: Charge | None = None) -> bool:
        """Return whether a new request for this model has to wait behind others."""
        line = self._lines.get(model)
        if line is None:
            return False
        if charge is None or line.has_account(charge.key):
            return True
        self.order.lift(charge.key)
        return line.rank(line.first()) < self.order.rank(charge, LAST)

    def join(
        self,
        model: str | None,
        deadline: float,
        retry_after: int,
        ordered: bool = True,
        charge: Charge | None = None,
    ) -> Waiter:
        """Add a waiter and return it. It stands in the model's line, or in no line if it is not `ordered`.

        Raise RateLimited, with `retry_after` in seconds, if the queue is full.
        """
        if self.waiting >= self.size:
            raise RateLimited(QUEUE_FULL, retry_after=retry_after)
        if not self.order.may_wait(charge, self.size - self.waiting):
            raise RateLimited(QUEUE_FULL_OF_ACCOUNT, retry_after=retry_after)
        waiter = Waiter(deadline, next(self._numbers), charge)
        self._add(model, waiter, ordered)
        self.waiting += 1
        if charge is not None and ordered and self._lines[model].first() is waiter:
            waiter.wake()  # others of its line may wait for a place that this request may have
        return waiter

    def _add(self, model: str | None, waiter: Waiter, ordered: bool) -> None:
        if not ordered:
            self._unordered[waiter] = model
            return
        if waiter.charge is not None:
            self.order.lift(waiter.charge.key)
        self.order.arrive(waiter.charge)
        line = self._lines.get(model)
        if line is None:
            line = self._lines[model] = Line(self.order)
        line.append(waiter)

    def is_first(self, model: str | None, waiter: Waiter) -> bool:
        """Return whether it is this waiter's turn. A waiter that stands in no line always has its turn."""
        if waiter in self._unordered:
            return True
        self.order.flush()
        return self._has_turn(model, waiter)

    def _has_turn(self, model: str | None, waiter: Waiter) -> bool:
        line = self._lines[model]
        first = line.first()
        if first is not waiter:
            if waiter.charge is not None:
                first.wake()  # the order may have changed since this waiter was woken
            return False
        charge = waiter.charge
        if charge is not None and charge.key[1] < 0:
            # A background request leaves some places to others, unless its long wait has put it ahead of some of them.
            charge.is_background = line.rank(waiter).level > 0 or not self._has_foreground(model)
        return True

    def _has_foreground(self, model: str | None) -> bool:
        """Return whether requests of priority 0 or higher wait for this model."""
        line = self._lines.get(model)
        return line is not None and line.has_foreground()

    def begin(self, charge: Charge, expected: int) -> None:
        """Count a request that gets a place without a wait. `expected`: its tokens if others wait, else 0."""
        if expected:
            charge.expected = expected
            self.order.serve(charge)
        else:
            self.order.begin(charge)

    def serve(self, model: str | None, waiter: Waiter) -> None:
        """Remove a waiter whose request gets a place, and charge its account."""
        if waiter.charge is not None:
            self.order.serve(waiter.charge)
        self.leave(model, waiter)

    def leave(self, model: str | None, waiter: Waiter) -> None:
        """Remove a waiter, if it still waits, and wake the first of those that remain in its line."""
        if self._unordered.pop(waiter, self) is not self:
            self.waiting -= 1
        elif self._remove(model, waiter):
            self.waiting -= 1
            if model in self._lines:
                self._lines[model].first().wake()

    def _remove(self, model: str | None, waiter: Waiter) -> bool:
        """Remove a waiter from its line; return False if it does not stand there any more."""
        line = self._lines.get(model)
        if line is None or waiter not in line:
            return False
        line.remove(waiter)
        self.order.depart(waiter.charge)
        self.order.flush()
        if not line:
            del self._lines[model]
        return True

    def wake(self, models: Iterable[str | None]) -> None:
        """Wake the first waiter of each of these models, in the order of their turns: an instance may be free.

        Waiters that stand in no line are woken too.
        """
        self.order.flush()
        first = [self._lines[model].first() for model in models if model in self._lines]
        waiters = [*first, *self._unordered]
        if len(waiters) > 1:
            ranks = ((waiter.key[0], self.order.rank(waiter.charge, waiter.number)) for waiter in waiters)
            waiters = [waiters[index] for index in in_order(ranks)]
        for waiter in waiters:
            waiter.wake()

    def wake_all(self) -> None:
        """Wake the first waiter of every model, because the table has changed."""
        self.wake(list(self._lines))

    def sweep(self, now: float) -> None:
        """Do the periodic work, ten times a second."""
        self.order.now = now
        self.order.flush()
        if self.waiting:
            self.expire(now)
            if self.order.has_waiting:
                self.wake_all()  # the order, and the places that a request may have, change with time

    def expire(self, now: float) -> None:
        """Wake the waiters whose deadline has passed, and mark them as expired."""
        for waiter in list(itertools.chain(*self._lines.values(), self._unordered)):
            if waiter.deadline <= now:
                waiter.expired = True
                waiter.wake()

    def oldest(self) -> dict[str | None, float]:
        """Return for each model the time at which the request that waits longest began to wait."""
        oldest: dict[str | None, float] = {}
        waiters = [(model, waiter) for model, line in self._lines.items() for waiter in line]
        for model, waiter in (*waiters, *((model, waiter) for waiter, model in self._unordered.items())):
            if waiter.since:
                oldest[model] = min(waiter.since, oldest.get(model, waiter.since))
        return oldest

    def lengths(self) -> dict[str | None, int]:
        """Return the number of waiters for each model."""
        counts = Counter(self._unordered.values())
        counts.update({model: len(line) for model, line in self._lines.items()})
        return dict(counts)
