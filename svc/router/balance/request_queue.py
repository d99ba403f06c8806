"""Waiting for an instance: a bounded line for each model, first come, first served.

Nobody here owns a timer: the sweeper calls `expire`, and whoever ends a request
or changes the table calls `wake`.
"""

import itertools
import threading
from collections import Counter, deque
from collections.abc import Iterable

from svc.base.errors import RateLimited


class Waiter:
    """One request's place in a line. `wait` returns when it is worth looking again, or must stop."""

    __slots__ = ("_event", "deadline", "expired", "number")

    def __init__(self, deadline: float, number: int) -> None:
        self.deadline = deadline
        self.number = number  # in the order of arrival
        self.expired = False
        self._event = threading.Event()

    def wait(self) -> None:
        self._event.wait()
        self._event.clear()

    def wake(self) -> None:
        self._event.set()


class RequestQueue:
    """The lines by model; None is the line of those to whom any model will do."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.waiting = 0
        self._numbers = itertools.count()
        self._lines: dict[str | None, deque[Waiter]] = {}
        self._beside: dict[Waiter, str | None] = {}  # those that wait for a change of the table, and their models

    def occupied(self, model: str | None) -> bool:
        """Whether somebody is before a newcomer."""
        return model in self._lines

    def join(self, model: str | None, deadline: float, retry_after: int, in_line: bool = True) -> Waiter:
        """The last place, or one beside the line; raises RateLimited when all places are taken."""
        if self.waiting >= self.size:
            raise RateLimited("all instances are busy and the queue is full; try again later", retry_after=retry_after)
        place = Waiter(deadline, next(self._numbers))
        if in_line:
            self._lines.setdefault(model, deque()).append(place)
        else:
            self._beside[place] = model
        self.waiting += 1
        return place

    def first(self, model: str | None, place: Waiter) -> bool:
        """Whether it is this place's turn: beside a line it always is."""
        return place in self._beside or self._lines[model][0] is place

    def leave(self, model: str | None, place: Waiter) -> None:
        """Served, or given up: the next one may look."""
        self.waiting -= 1
        if self._beside.pop(place, self) is not self:
            return
        line = self._lines[model]
        line.remove(place)
        if line:
            line[0].wake()
        else:
            del self._lines[model]

    def wake(self, models: Iterable[str | None]) -> None:
        """Something became free for these models: those who are first look again, who came first before the others."""
        first = [self._lines[model][0] for model in models if model in self._lines]
        for place in sorted([*first, *self._beside], key=lambda place: place.number):
            place.wake()

    def wake_all(self) -> None:
        """The table changed."""
        self.wake(list(self._lines))

    def expire(self, now: float) -> None:
        """Those who have waited too long stop."""
        for line in (*self._lines.values(), self._beside):
            for place in list(line):
                if place.deadline <= now:
                    place.expired = True
                    place.wake()

    def lengths(self) -> dict[str | None, int]:
        counts = Counter(self._beside.values())
        counts.update({model: len(line) for model, line in self._lines.items()})
        return dict(counts)
