"""The request queue of a process that relays. All processes have one order (see `balance/fair_order.py`).

Each process has its own waiters in its own lines. What the others need to know is in the shared counts:

                          slot 0    slot 1    slot 2
    "line MODEL"            0         17        12      the ticket of the first waiter in each process's line; 0: none
    "rank MODEL"            0          0         0      its level and the priority of its account, in one number
    "counter MODEL"         0        850       900      the counter of its account; without accounts 0
    "length MODEL"          0         3         1       how many requests for the model wait
    "since MODEL"           0      5120      4870       since when its oldest request waits, in monotonic ms
    "waiting"               0         3         1       how many requests wait
    "unordered"             0         1         0       how many waiters stand in no line
    common "queue"        total: 5   last ticket: 21

The smallest triple of rank, counter and ticket has its turn: here the waiter of slot 1. Without accounts that is the
smallest ticket, and tickets ascend over all processes. The counters themselves are in a table (`shared_accounts.py`).

A process writes its first waiter when a waiter joins or leaves, when the process is woken, and ten times a second. In
between, what the others read may be out of date, because the counter has risen. So a process that is woken writes
first, and if it does not have the turn any more, it wakes the process that has it.
"""

from collections.abc import Callable, Iterable

from svc.base.errors import RateLimited
from svc.router.balance.fair_order import Charge, FairOrder, Rank
from svc.router.balance.request_queue import LAST, QUEUE_FULL, QUEUE_FULL_OF_ACCOUNT, RequestQueue, Waiter
from svc.router.workers.shared_accounts import SharedCounters
from svc.router.workers.shared_counts import LAST_TICKET, TOTAL, SharedCounts, becomes_true

PRIORITIES = 1 << 20  # the number of priorities that a packed number can hold beside the level


class SharedQueue(RequestQueue):
    """The lines of one process, in one order with those of the other processes."""

    def __init__(self, size: int, counts: SharedCounts, free_places: Callable[[str | None], int]) -> None:
        """`free_places` returns how many more requests for a model the instances could take now."""
        super().__init__(size, FairOrder(SharedCounters(counts.accounts), counts.lock, counts.processes - 1))
        self._free_places = free_places
        self.models: frozenset[str] = frozenset()  # the table's models: requests for other models never wait
        self._counts = counts
        self._common = counts.queue
        self._waiting = counts.waiting
        self._without_line = counts.row("unordered")
        self._with_oldest: set[str | None] = set()  # the models whose oldest request was published last

    @property
    def waiting(self) -> int:
        """The number of requests that wait in all processes; exact under the lock once killed processes are cleared."""
        return self._common[TOTAL]

    @waiting.setter
    def waiting(self, count: int) -> None:
        """Ignore the value: the base class counts the requests of this process only."""

    def must_wait(self, model: str | None, charge: Charge | None = None) -> bool:
        if not (model is None or model in self.models) or not any(self._tickets(model)):  # other names may be invented
            return False
        line = self._lines.get(model)
        if charge is None or (line is not None and line.has_account(charge.key)):
            return True
        with self._counts.lock:
            self.order.lift(charge.key, self._lowest_counter(model, charge.key[1]))
            first = self.first_rank(model)
            return first is not None and first < self.order.rank(charge, LAST)

    def join(
        self,
        model: str | None,
        deadline: float,
        retry_after: int,
        ordered: bool = True,
        charge: Charge | None = None,
    ) -> Waiter:
        slot, common = self._counts.slot, self._common

        def has_room() -> bool:
            # For each free place at an instance, one waiting request is about to leave: its process was woken already.
            return common[TOTAL] < self.size or common[TOTAL] < self.size + self._free_places(model)

        becomes_true(has_room)
        with self._counts.lock:
            if not has_room():
                raise RateLimited(QUEUE_FULL, retry_after=retry_after)
            if not self.order.may_wait(charge, max(1, self.size - common[TOTAL])):
                raise RateLimited(QUEUE_FULL_OF_ACCOUNT, retry_after=retry_after)
            common[TOTAL] += 1
            common[LAST_TICKET] += 1
            self._waiting[slot] += 1
            self._length(model)[slot] += 1
            waiter = Waiter(deadline, common[LAST_TICKET], charge)
            if charge is not None and ordered:
                self.order.lift(charge.key, self._lowest_counter(model, charge.key[1]))
            self._add(model, waiter, ordered)
            if ordered:
                self._publish(model)
            else:
                self._without_line[slot] += 1
        waiter.wake()  # another process may have freed a place just before it could see this waiter
        return waiter

    def _publish(self, model: str | None) -> bool:
        """Write the first waiter of this process's line for the others; return whether that has changed anything."""
        slot, line = self._counts.slot, self._lines.get(model)
        rows = (self._tickets(model), self._row("rank", model), self._row("counter", model))
        values = (0, 0, 0)
        if line is not None:
            rank = line.rank(line.first())
            values = (rank.ticket, _pack(rank.level, rank.priority), rank.counter)
        changed = [row for row, value in zip(rows, values, strict=True) if row[slot] != value]
        for row, value in zip(rows, values, strict=True):
            row[slot] = value
        return bool(changed)

    def _first(self, model: str | None) -> tuple[Rank, int] | None:
        """Return the rank of the request for a model that has its turn, and the slot of its process."""
        rows = zip(self._row("rank", model), self._row("counter", model), self._tickets(model), strict=True)
        firsts = ((rank, counter, ticket, slot) for slot, (rank, counter, ticket) in enumerate(rows) if ticket)
        first = min(firsts, default=None)
        if first is None:
            return None
        packed, counter, ticket, slot = first
        return Rank(*_unpack(packed), counter, ticket), slot

    def first_rank(self, model: str | None) -> Rank | None:
        """Return the rank of the request for a model that has its turn, in any process; None if none waits."""
        first = self._first(model)
        return None if first is None else first[0]

    def _lowest_counter(self, model: str | None, priority: int) -> int | None:
        """Return the smallest counter of the first waiters for a model whose accounts have this priority."""
        rows = zip(self._tickets(model), self._row("rank", model), self._row("counter", model), strict=True)
        counters = (counter for ticket, rank, counter in rows if ticket and _unpack(rank)[1] == priority)
        return min(counters, default=None)

    def is_first(self, model: str | None, waiter: Waiter) -> bool:
        if waiter in self._unordered:
            return True
        with self._counts.lock:
            self.order.flush()
            changed = self._publish(model)
            if not self._has_turn(model, waiter):
                return False
            first = self._first(model)
        if first is None or first[1] == self._counts.slot:
            return True
        if changed:
            self._counts.wake([first[1]])
        return False

    def _has_foreground(self, model: str | None) -> bool:
        if super()._has_foreground(model):
            return True
        rows = zip(self._tickets(model), self._row("rank", model), strict=True)
        return any(ticket and _unpack(rank)[1] >= 0 for ticket, rank in rows)

    def serve(self, model: str | None, waiter: Waiter) -> None:
        with self._counts.lock:
            super().serve(model, waiter)

    def leave(self, model: str | None, waiter: Waiter) -> None:
        """Remove a waiter, if it still waits, and wake those whose turn it may be now."""
        slot = self._counts.slot
        with self._counts.lock:
            if self._unordered.pop(waiter, self) is not self:
                self._without_line[slot] -= 1
            elif self._remove(model, waiter):
                self._publish(model)
            else:
                return
            self._common[TOTAL] -= 1
            self._waiting[slot] -= 1
            self._length(model)[slot] -= 1
        self.wake_own()
        others = (slot for slot, count in enumerate(self._waiting) if count and slot != self._counts.slot)
        self._counts.wake(others)  # its turn passes on, also to other models' requests for the same instances

    def wake(self, models: Iterable[str | None]) -> None:
        """Wake the first waiter of each of these models, in its process, and the waiters that stand in no line."""
        slots = {slot for slot, count in enumerate(self._without_line) if count}
        with self._counts.lock:
            slots.update(first[1] for model in models if (first := self._first(model)) is not None)
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
        self._publish_oldest()
        with self._counts.lock:
            for model in self._lines:
                self._publish(model)
        self.wake_own()  # ten times a second, so that the turn of a killed process passes on

    def _publish_oldest(self) -> None:
        """Write since when the oldest requests wait. A request for a model that no instance has does not wait."""
        slot, oldest = self._counts.slot, self.oldest()
        for model in {*oldest, *self._with_oldest}:
            self._row("since", model)[slot] = int(1000 * oldest.get(model, 0.0))
        self._with_oldest = set(oldest)

    def _tickets(self, model: str | None) -> memoryview:
        return self._row("line", model)

    def _length(self, model: str | None) -> memoryview:
        return self._row("length", model)

    def _row(self, kind: str, model: str | None) -> memoryview:
        return self._counts.row(kind if model is None else f"{kind} {model}")


def _pack(level: int, priority: int) -> int:
    """Return a number for a level and a priority, in the order of levels, then priorities."""
    return level * PRIORITIES + priority


def _unpack(number: int) -> tuple[int, int]:
    level = (number + PRIORITIES // 2) // PRIORITIES
    return level, number - level * PRIORITIES


def lengths(counts: SharedCounts, models: Iterable[str]) -> dict[str | None, int]:
    """Return the number of waiting requests for each of these models, and under None for requests without a model."""
    lengths: dict[str | None, int] = {model: sum(counts.row(f"length {model}")) for model in models}
    return {model: count for model, count in {None: sum(counts.row("length")), **lengths}.items() if count}


def oldest(counts: SharedCounts, models: Iterable[str]) -> dict[str | None, float]:
    """Return since when the oldest request for each of these models waits, in monotonic seconds."""
    times = {model: [since for since in counts.row(f"since {model}") if since] for model in models}
    return {model: min(row) / 1000 for model, row in times.items() if row}
