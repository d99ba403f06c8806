"""The request queue of a process that relays. A place goes to the request that waits longest, in whichever process.

Each process has its own waiters in its own lines. What the others need to know is in the shared counts:

                          slot 0    slot 1    slot 2
    "line MODEL"            0         17        12      the ticket of the first waiter in each process's line; 0: none
    "length MODEL"          0         3         1       how many requests for the model wait
    "waiting"               0         3         1       how many requests wait
    "unordered"             0         1         0       how many waiters stand in no line
    common "queue"        total: 5   last ticket: 21

Tickets ascend over all processes, so the smallest one in "line MODEL" has its turn: here the waiter of slot 2.
"""

from collections import deque
from collections.abc import Callable, Iterable

from svc.base.errors import RateLimited
from svc.router.balance.request_queue import QUEUE_FULL, RequestQueue, Waiter
from svc.router.workers.shared_counts import LAST_TICKET, TOTAL, SharedCounts, becomes_true


class SharedQueue(RequestQueue):
    """The lines of one process, in one order with those of the other processes."""

    def __init__(self, size: int, counts: SharedCounts, free_places: Callable[[str | None], int]) -> None:
        """`free_places` returns how many more requests for a model the instances could take now."""
        super().__init__(size)
        self._free_places = free_places
        self.models: frozenset[str] = frozenset()  # the table's models: requests for others never wait
        self._counts = counts
        self._common = counts.queue
        self._waiting = counts.waiting
        self._without_line = counts.row("unordered")

    @property
    def waiting(self) -> int:
        """The number of requests that wait in all processes; exact under the lock once killed processes are cleared."""
        return self._common[TOTAL]

    @waiting.setter
    def waiting(self, count: int) -> None:
        """Ignore the count of one process, which the base class keeps."""

    def has_waiters(self, model: str | None) -> bool:
        return (model is None or model in self.models) and any(self._tickets(model))  # clients may invent any name

    def join(self, model: str | None, deadline: float, retry_after: int, ordered: bool = True) -> Waiter:
        slot, common = self._counts.slot, self._common
        length, tickets = self._length(model), self._tickets(model)

        def has_room() -> bool:
            # A free place will be taken by a request that waits: its process has been woken, but has not run yet.
            return common[TOTAL] < self.size or common[TOTAL] < self.size + self._free_places(model)

        becomes_true(has_room)
        with self._counts.lock:
            if not has_room():
                raise RateLimited(QUEUE_FULL, retry_after=retry_after)
            common[TOTAL] += 1
            common[LAST_TICKET] += 1
            self._waiting[slot] += 1
            length[slot] += 1
            waiter = Waiter(deadline, common[LAST_TICKET])
            if not ordered:
                self._unordered[waiter] = model
                self._without_line[slot] += 1
            elif line := self._lines.get(model):
                line.append(waiter)
            else:
                self._lines[model] = deque([waiter])
                tickets[slot] = waiter.number
        waiter.wake()  # another process may have freed a place just before it could see this waiter
        return waiter

    def first_ticket(self, model: str | None) -> int:
        """Return the smallest ticket of the requests for a model that wait in any process; 0 if none waits."""
        return min(filter(None, self._tickets(model)), default=0)

    def is_first(self, model: str | None, waiter: Waiter) -> bool:
        if waiter in self._unordered:
            return True
        return self._lines[model][0] is waiter and self.first_ticket(model) == waiter.number

    def leave(self, model: str | None, waiter: Waiter) -> None:
        """Remove a waiter, if it still waits, and wake those whose turn it may be now."""
        if waiter not in self._unordered and waiter not in self._lines.get(model, ()):
            return
        slot = self._counts.slot
        length, tickets = self._length(model), self._tickets(model)
        with self._counts.lock:
            self._common[TOTAL] -= 1
            self._waiting[slot] -= 1
            length[slot] -= 1
            if self._unordered.pop(waiter, self) is not self:
                self._without_line[slot] -= 1
            else:
                line = self._lines[model]
                line.remove(waiter)
                tickets[slot] = line[0].number if line else 0
                if not line:
                    del self._lines[model]
        self.wake_own()
        others = (slot for slot, count in enumerate(self._waiting) if count and slot != self._counts.slot)
        self._counts.wake(others)  # its turn passes on, also to other models' requests for the same instances

    def wake(self, models: Iterable[str | None]) -> None:
        """Wake the first waiter of each of these models, in its process, and the waiters that stand in no line."""
        slots = {slot for slot, count in enumerate(self._without_line) if count}
        for model in models:
            tickets = self._tickets(model).tolist()  # other processes may change the row meanwhile
            if first := min(filter(None, tickets), default=0):
                slots.add(tickets.index(first))
        if self._counts.slot in slots:
            slots.remove(self._counts.slot)
            self.wake_own()
        self._counts.wake(slots)

    def wake_own(self) -> None:
        """Wake the first waiter of each line of this process, and its waiters that stand in no line."""
        super().wake(list(self._lines))

    def wake_all(self) -> None:
        self.wake_own()  # each process gets the new table, and wakes its own waiters

    def expire(self, now: float) -> None:
        super().expire(now)
        self.wake_own()  # ten times a second: so the turn of a process that was killed passes on

    def _tickets(self, model: str | None) -> memoryview:
        return self._counts.row(f"line {model}" if model is not None else "line")

    def _length(self, model: str | None) -> memoryview:
        return self._counts.row(f"length {model}" if model is not None else "length")


def lengths(counts: SharedCounts, models: Iterable[str]) -> dict[str | None, int]:
    """Return the number of waiting requests for each of these models, and under None for requests without a model."""
    lengths: dict[str | None, int] = {model: sum(counts.row(f"length {model}")) for model in models}
    return {model: count for model, count in {None: sum(counts.row("length")), **lengths}.items() if count}
