"""The request queue: requests wait for an instance, first come, first served for each model, up to a total limit.

The queue has no timers: the worker's sweep calls `expire`; the end of a request and a new table call `wake`.
"""

import itertools
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable

from svc.base.errors import RateLimited

QUEUE_FULL = "all instances are busy and the queue is full; try again later"


class Waiter:
    """One request in a queue. `wait` returns when it may be the request's turn, or when the wait must end."""

    __slots__ = ("_event", "deadline", "expired", "number")

    def __init__(self, deadline: float, number: int) -> None:
        self.deadline = deadline
        self.number = number  # ascending in the order of arrival
        self.expired = False
        self._event = threading.Event()

    def wait(self) -> None:
        self._event.wait()
        self._event.clear()

    def wake(self) -> None:
        self._event.set()


OnWait = Callable[[Waiter], None]  # called with the waiter before and after each wait; may raise


class RequestQueue:
    """A line of waiters for each model; None is the line of requests that contain no model."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.waiting = 0
        self._numbers = itertools.count()
        self._lines: dict[str | None, deque[Waiter]] = {}
        self._unordered: dict[Waiter, str | None] = {}  # waiter that stands in no line -> its model

    def has_waiters(self, model: str | None) -> bool:
        """Return whether a new request for this model has to wait behind others."""
        return model in self._lines

    def join(self, model: str | None, deadline: float, retry_after: int, ordered: bool = True) -> Waiter:
        """Add a waiter and return it. It stands at the end of the model's line, or in no line if it is not `ordered`.

        Raise RateLimited, with `retry_after` in seconds, if the queue is full.
        """
        if self.waiting >= self.size:
            raise RateLimited(QUEUE_FULL, retry_after=retry_after)
        waiter = Waiter(deadline, next(self._numbers))
        if ordered:
            self._lines.setdefault(model, deque()).append(waiter)
        else:
            self._unordered[waiter] = model
        self.waiting += 1
        return waiter

    def is_first(self, model: str | None, waiter: Waiter) -> bool:
        """Return whether it is this waiter's turn. A waiter that stands in no line always has its turn."""
        return waiter in self._unordered or self._lines[model][0] is waiter

    def leave(self, model: str | None, waiter: Waiter) -> None:
        """Remove a waiter, and wake the first of those that remain in its line."""
        self.waiting -= 1
        if self._unordered.pop(waiter, self) is not self:
            return
        line = self._lines[model]
        line.remove(waiter)
        if line:
            line[0].wake()
        else:
            del self._lines[model]

    def wake(self, models: Iterable[str | None]) -> None:
        """Wake the first waiter of each of these models, in the order of arrival, because an instance may be free.

        Waiters that stand in no line are woken too.
        """
        first = [self._lines[model][0] for model in models if model in self._lines]
        for waiter in sorted([*first, *self._unordered], key=lambda waiter: waiter.number):
            waiter.wake()

    def wake_all(self) -> None:
        """Wake the first waiter of every model, because the table has changed."""
        self.wake(list(self._lines))

    def expire(self, now: float) -> None:
        """Wake the waiters whose deadline has passed, and mark them as expired."""
        for line in (*self._lines.values(), self._unordered):
            for waiter in list(line):
                if waiter.deadline <= now:
                    waiter.expired = True
                    waiter.wake()

    def lengths(self) -> dict[str | None, int]:
        """Return the number of waiters for each model."""
        counts = Counter(self._unordered.values())
        counts.update({model: len(line) for model, line in self._lines.items()})
        return dict(counts)
